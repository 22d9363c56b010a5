"""Many calls, few at a time, and those that hang do not hold up the others."""

from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, maybeDeferred


class Stopped(Exception):
    """The call was not begun, or was cut short."""


class Slots:
    """Runs calls in their order, `quick` at a time; one that takes longer than `patience` seconds frees its place.

    Of those at most `slow` go on beside the quick ones, each to its own end; past that they keep their places.
    """

    def __init__(self, clock: Any, quick: int, *, slow: int = 500, patience: float = 1.0):
        self._clock = clock
        self._quick = quick
        self._slow = slow
        self._patience = patience
        self._waiting: deque[tuple[Callable[[], Any], Deferred[Any]]] = deque()
        self._in_place: set[Deferred[Any]] = set()
        self._aside: set[Deferred[Any]] = set()
        self.stopped = False

    @property
    def in_flight(self) -> int:
        return len(self._in_place) + len(self._aside)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def run(self, f: Callable[[], Any]) -> "Deferred[Any]":
        """The Deferred of `f()`, called when there is a place; fails with Stopped."""
        if self.stopped:
            return fail(Stopped())
        result: Deferred[Any] = Deferred()
        self._waiting.append((f, result))
        self._fill()
        return result

    def stop(self) -> None:
        """Cancel what is under way, and begin nothing more."""
        self.stopped = True
        while self._waiting:
            self._waiting.popleft()[1].errback(Stopped())
        for call in (*self._in_place, *self._aside):
            call.cancel()

    def _fill(self) -> None:
        while self._waiting and len(self._in_place) < self._quick:
            self._begin(*self._waiting.popleft())

    def _begin(self, f: Callable[[], Any], result: "Deferred[Any]") -> None:
        call = maybeDeferred(f)
        self._in_place.add(call)
        timer = self._clock.callLater(self._patience, self._step_aside, call)

        def ended(value: Any) -> None:
            if timer.active():
                timer.cancel()
            self._in_place.discard(call)
            self._aside.discard(call)
            result.callback(value)
            if self._waiting:
                self._clock.callLater(0, self._fill)

        call.addBoth(ended)

    def _step_aside(self, call: "Deferred[Any]") -> None:
        if len(self._aside) < self._slow:
            self._in_place.discard(call)
            self._aside.add(call)
            self._fill()
