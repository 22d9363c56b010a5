"""A server that does not answer as it should: since when, why, when to ask again, and when to say so."""

import random
from typing import Any

from k3net.log import make_logger
from k3net.services import Dependency

_FIRST = 1.0
_MOST_DOUBLINGS = 8
_A_LINE_EVERY = 60.0


class Trouble:
    """Backoff from one second to `longest`, doubled by each failure, with jitter; at most one log line a minute.

    `since` is when (monotonic) it began, None while all is well; `error` a text or "".
    """

    def __init__(self, clock: Any, longest: float, name: str):
        self._clock = clock
        self._longest = longest
        self._name = name
        self._failures = 0
        self._not_before = float("-inf")
        self._said = ""
        self._said_at = float("-inf")
        self._log = make_logger()
        self.since: float | None = None
        self.error = ""

    def told_as(self, name: str) -> tuple[Dependency, ...]:
        """What a part tells of its `dependencies`."""
        return (Dependency(name, self.since, self.error),)

    @property
    def wait(self) -> float:
        """Seconds until it may be asked again; 0 when it may be now."""
        return max(0.0, self._not_before - self._clock.seconds())

    def begin(self, error: Exception, *, aloud: bool = True) -> float:
        """It failed; how long to leave it alone: as long as `error.retry_after` says, or longer.

        What another one logs already needs not be said aloud.
        """
        now = self._clock.seconds()
        self.since = now if self.since is None else self.since
        self.error = str(error)
        backoff = min(self._longest, _FIRST * 2.0 ** min(self._failures, _MOST_DOUBLINGS)) * random.uniform(0.5, 1.0)  # noqa: S311
        self._failures += 1
        pause = max(backoff, getattr(error, "retry_after", 0.0))
        self._not_before = now + pause
        if aloud and self.error != self._said and now - self._said_at >= _A_LINE_EVERY:
            self._log.warn("{error}; what it said stays true, and it is asked again", error=self.error)
            self._said, self._said_at = self.error, now
        return pause

    def end(self) -> None:
        """It answered well."""
        if self._said:
            self._log.info("{name} answers again", name=self._name)
            self._said = ""
        self.since, self.error, self._failures, self._not_before = None, "", 0, float("-inf")
