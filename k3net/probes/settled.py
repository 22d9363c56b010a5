"""A probe made of Deferreds that may fail, as one that never does."""

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from k3net.log import make_logger
from k3net.model.result import ProbeResult


def settled(reactor: Any, target: str, probe: str, asking: "Deferred[ProbeResult]") -> "Deferred[ProbeResult]":
    """What `asking` finds. One that is cancelled, or that breaks, has not measured anything."""

    def cancelled(_: Any) -> None:
        told(ProbeResult(target, probe, None, reactor.seconds(), reason="cancelled"))
        asking.cancel()

    def told(found: Any) -> None:
        if done.called:
            return
        if isinstance(found, Failure):
            if not found.check(CancelledError):
                make_logger().failure(
                    "the {probe} probe of {target!r} broke", failure=found, probe=probe, target=target
                )
            found = ProbeResult(target, probe, None, reactor.seconds(), reason="local fault: the probe broke")
        done.callback(found)

    done: Deferred[ProbeResult] = Deferred(cancelled)
    asking.addBoth(told)
    return done
