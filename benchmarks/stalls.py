"""How long the reactor was kept from its timers."""

import time
from typing import Any

from figure import Figure

EVERY = 0.005


class Stalls:
    """While in the `with`: how late a 5 ms timer was at most, in seconds.

    `longest` counts what this process computed meanwhile, in all its threads, so that another program's load does not
    show; `by_the_clock` is what passed.
    """

    def __init__(self, reactor: Any):
        self._reactor = reactor
        self.longest = 0.0
        self.by_the_clock = 0.0

    def __enter__(self) -> "Stalls":
        self._last, self._used = self._reactor.seconds(), time.process_time()
        self._timer = self._reactor.callLater(EVERY, self._tick)
        return self

    def _tick(self) -> None:
        self._look()
        self._timer = self._reactor.callLater(EVERY, self._tick)

    def _look(self) -> None:
        now, used = self._reactor.seconds(), time.process_time()
        late = now - self._last - EVERY
        self.by_the_clock = max(self.by_the_clock, late)
        self.longest = max(self.longest, min(late, used - self._used))
        self._last, self._used = now, used

    def __exit__(self, *_: Any) -> None:
        self._look()
        self._timer.cancel()


def stall_figure(name: str, stalls: "list[Stalls]") -> Figure:
    """Wanted: no longer than a health check may wait."""
    clock = [1000 * one.by_the_clock for one in stalls]
    longest = [1000 * one.longest for one in stalls]
    return Figure(name, "ms", longest, at_most=200, references={"by the clock": clock})
