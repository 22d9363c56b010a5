"""A figure: what was measured, what is wanted, and what else was measured beside it in the same run."""

import json
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

RUNS = 5
MISSING = 77  # exit status of a benchmark for which this machine lacks something
CORES = range(os.cpu_count() or 1)


@dataclass(frozen=True)
class Figure:
    """`measured` holds a value for each run; `references` those of other programs doing the same."""

    name: str
    unit: str
    measured: Sequence[float]
    at_most: float | None = None
    at_least: float | None = None
    references: Mapping[str, Sequence[float]] = field(default_factory=dict)
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median is what is wanted; None when nothing is."""
        value = statistics.median(self.measured)
        if self.at_most is not None:
            return value <= self.at_most
        return None if self.at_least is None else value >= self.at_least

    @property
    def wanted(self) -> str:
        if self.at_most is not None:
            return f"<= {number(self.at_most)}"
        return "" if self.at_least is None else f">= {number(self.at_least)}"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "median": statistics.median(self.measured), "wanted": self.wanted, "met": self.met}


def spread(values: Sequence[float]) -> str:
    """The median, and where there are several values the least and the greatest."""
    text = number(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({number(min(values))}..{number(max(values))})"


def number(value: float) -> str:
    """Three digits that count, and no more than three after the point."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3}f}"


def tell(figures: Iterable[Figure]) -> None:
    """Print the figures as `run.py` reads them: a JSON object a line."""
    for figure in figures:
        print(json.dumps(figure.as_json()), flush=True)


def measure(f: Callable[[Any], Awaitable[list[Figure]]]) -> None:
    """Tell what `await f(reactor)` gives; its clock is monotonic, as the daemon's is."""

    def main(reactor: Any) -> "Deferred[None]":
        reactor.seconds = time.monotonic
        return Deferred.fromCoroutine(f(reactor)).addCallback(tell)  # type: ignore[arg-type]

    react(main)


def stay_on_first_core() -> None:
    """Keep this process to one core, the one that is measured."""
    with suppress(OSError):
        os.sched_setaffinity(0, {min(CORES)})


def stay_on_last_core() -> None:
    """Keep a helper off the core that is measured, if there is another."""
    with suppress(OSError):
        os.sched_setaffinity(0, {max(CORES)})


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def lan() -> tuple[Any, Any]:
    """`Lab` and `wait_for` of tests/integration: hosts in network namespaces.

    Without root the program ends here.
    """
    if os.geteuid() != 0:
        progress(" skipped: needs root, to make network namespaces")
        raise SystemExit(MISSING)
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from integration.lab import Lab, wait_for

    return Lab, wait_for
