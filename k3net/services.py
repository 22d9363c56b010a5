"""The only two lifecycles: a loop that survives what it runs, and services in order; and what a service needs."""

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.python.failure import Failure

from k3net.log import make_logger


class Dependency(NamedTuple):
    """Something outside this process; `since` is when (monotonic) it was lost, None while it answers."""

    name: str
    since: float | None
    error: str


class Periodic(Service):
    """Calls `f()` every `interval` seconds and waits for its Deferred; the loop survives its exceptions.

    Calls never overlap: one that overruns is followed by the next at once. `kick()` asks for a call now, and
    `again_in(delay)`, said by `f` itself, for the next one sooner than the interval.
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
        self._again_in: float | None = None
        self.name = name
        self.started_at: float | None = None
        self.last_success: float | None = None
        self.failing_since: float | None = None
        self.failures = 0
        self.last_error = ""

    @property
    def interval(self) -> float:
        return self._interval

    @property
    def loops(self) -> "tuple[Periodic, ...]":
        """Itself, as a part of the daemon tells it (k3net/parts.py)."""
        return (self,)

    def startService(self) -> None:
        super().startService()
        self.started_at = self._clock.seconds()
        if self._under_way is None:
            self._timer = self._clock.callLater(self._first, self._call)

    def kick(self, within: float = 0.0) -> None:
        """Call within so many seconds, or as soon as the call under way has ended."""
        if not self.running:
            return
        if self._under_way is not None:
            self.again_in(within)
        elif self._timer is not None and self._timer.getTime() - self._clock.seconds() > within:
            self._timer.reset(within)

    def again_in(self, delay: float) -> None:
        self._again_in = delay if self._again_in is None else min(delay, self._again_in)

    def _call(self) -> None:
        self._timer = None
        self._again_in = None
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
        spread = self._interval * self._jitter * (2 * random.random() - 1)  # noqa: S311 - timing, not a secret
        usual = max(0.0, begun + self._interval + spread - self._clock.seconds())
        return usual if self._again_in is None else min(self._again_in, usual)

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
