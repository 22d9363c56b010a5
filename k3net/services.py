"""The only two lifecycles: a loop that survives what it runs, and services in order."""

import random
from collections.abc import Callable
from typing import Any

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.python.failure import Failure

from k3net.log import make_logger


class Periodic(Service):
    """Calls `f()` every `interval` seconds and waits for its Deferred; the loop survives its exceptions.

    Calls never overlap: one that overruns is followed by the next at once. `kick()` asks for a call now.
    `last_success` is a time of `clock`, or None; `failures` counts; `last_error` is a text or "".
    Stopping waits for the call under way.
    """

    def __init__(
        self,
        clock: Any,
        interval: float,
        f: Callable[[], Any],
        name: str,
        *,
        jitter: float = 0.0,
        first: float = 0.0,
    ):
        self._clock = clock
        self._interval = interval
        self._f = f
        self._jitter = jitter
        self._first = first
        self._log = make_logger()
        self._timer: Any = None
        self._under_way: Deferred[None] | None = None
        self._again = False
        self.name = name
        self.started_at: float | None = None
        self.last_success: float | None = None
        self.failing_since: float | None = None
        self.failures = 0
        self.last_error = ""

    @property
    def interval(self) -> float:
        return self._interval

    def startService(self) -> None:
        super().startService()
        self.started_at = self._clock.seconds()
        self._timer = self._clock.callLater(self._first, self._call)

    def kick(self) -> None:
        """Call as soon as the call under way (if any) has ended."""
        if not self.running:
            return
        if self._under_way is not None:
            self._again = True
        elif self._timer is not None:
            self._timer.reset(0)

    def _call(self) -> None:
        self._timer = None
        self._again = False
        begun = self._clock.seconds()
        done: Deferred[None] = Deferred()
        self._under_way = done

        def succeeded(_: Any) -> None:
            self.last_success = self._clock.seconds()
            self.failing_since = None
            self.last_error = ""

        def failed(failure: Failure) -> None:
            self.failures += 1
            text = f"{failure.type.__name__}: {failure.getErrorMessage()}" if failure.type else str(failure)
            if self.failing_since is None:
                self.failing_since = begun
            if text != self.last_error:
                self._log.warn("{loop} failed: {error}", loop=self.name, error=text)
            self.last_error = text

        def ended(_: Any) -> None:
            self._under_way = None
            if self.running:
                self._timer = self._clock.callLater(self._delay(begun), self._call)
            done.callback(None)

        maybeDeferred(self._f).addCallbacks(succeeded, failed).addBoth(ended)

    def _delay(self, begun: float) -> float:
        if self._again:
            return 0.0
        spread = self._interval * self._jitter * (2 * random.random() - 1)  # noqa: S311 - timing, not a secret
        return max(0.0, begun + self._interval + spread - self._clock.seconds())

    def stopService(self) -> "Deferred[None] | None":
        super().stopService()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._under_way is None:
            return None
        waiter: Deferred[None] = Deferred()
        self._under_way.addCallback(lambda _: waiter.callback(None))
        return waiter


class Sequential(MultiService):
    """Starts its children in order and stops them in reverse, each awaited, also when one fails to stop."""

    def __init__(self) -> None:
        super().__init__()
        self._log = make_logger()

    @inlineCallbacks
    def stopService(self):
        Service.stopService(self)
        for child in reversed(list(self)):
            try:
                yield maybeDeferred(child.stopService)
            except Exception as error:
                self._log.warn("{child} did not stop cleanly: {error!r}", child=IService(child).name, error=error)
