"""Connectivity results as bit masks: a row a source, a bit a target; a summary costs no look at a pair."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from k3net.model.row_state import RowState
from k3net.model.verdict import ROUNDS

_LEAST_LOSSY = 2


def mask_of(bits: Iterable[int], size: int) -> int:
    """The integer with these bits (all below `size`) set."""
    digits = bytearray(b"0" * (size or 1))
    for bit in bits:
        digits[bit] = 49
    return int(digits[::-1], 2)


@dataclass(frozen=True, slots=True)
class Findings:
    """What one report says of one layer: masks of targets, and sums over those results that were measured.

    `reported` are the targets named, `icmp` and `tcp` are (measured, failed). `strangers` are (tests, failures) of
    targets without a bit. `seconds` is how long the tests took together. `loss` gives (sent, lost) of the targets that
    lost some packets and not all.
    """

    reported: int = 0
    icmp: tuple[int, int] = (0, 0)
    tcp: tuple[int, int] = (0, 0)
    strangers: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    loss: Mapping[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def tests(self) -> int:
        return (self.icmp[0] | self.tcp[0]).bit_count() + self.strangers[0]


@dataclass(frozen=True, slots=True)
class Summary:
    """Tests whose result counts now: all that was measured must have succeeded; `seconds` is their time together."""

    tests: int = 0
    failed: int = 0
    seconds: float = 0.0

    @property
    def success_rate(self) -> float:
        """Percent; 0 without tests."""
        return 100.0 * (self.tests - self.failed) / self.tests if self.tests else 0.0

    @property
    def average(self) -> float:
        return self.seconds / self.tests if self.tests else 0.0


@dataclass(slots=True)
class _Part:
    """What is left of one report: the targets that no later one named."""

    at: float
    targets: int
    seconds: float
    tests: int

    def without(self, gone: int) -> "_Part | None":
        left = self.targets & ~gone
        if left == self.targets:
            return self
        share = left.bit_count() / self.targets.bit_count()
        return _Part(self.at, left, self.seconds * share, round(self.tests * share)) if left else None


@dataclass(frozen=True, slots=True)
class Marks:
    """A row at one moment: masks of targets by protocol (icmp, tcp), then by age, the last result first.

    `loss` is (sent, lost) of the targets that lost packets in two results or more of those remembered.
    """

    measured: tuple[tuple[int, ...], ...]
    failed: tuple[tuple[int, ...], ...]
    loss: Mapping[int, tuple[int, int]]


class Row:
    """What one source last found of each target of one layer, and up to three results before that.

    A target stays until a later report names it, or `forget`; results older than `stale` seconds go with `lapse`.
    """

    __slots__ = ("_failed", "_loss", "_measured", "_parts", "_strangers", "_strangers_seconds", "at")

    def __init__(self) -> None:
        self.at = float("-inf")
        self._measured = [[0] * ROUNDS, [0] * ROUNDS]
        self._failed = [[0] * ROUNDS, [0] * ROUNDS]
        self._parts: list[_Part] = []
        self._strangers = (0, 0)
        self._strangers_seconds = 0.0
        self._loss: dict[int, list[tuple[int, int]]] = {}

    @classmethod
    def of(cls, state: RowState) -> "Row":
        """One that knows what another did."""
        row = cls()
        row.at = state.at
        row._measured = [list(masks) for masks in state.measured]
        row._failed = [list(masks) for masks in state.failed]
        row._parts = [_Part(*part) for part in state.parts]
        row._strangers, row._strangers_seconds = state.strangers, state.strangers_seconds
        row._loss = {bit: list(results) for bit, results in state.loss.items()}
        return row

    def state(self) -> RowState:
        """What is known now; it does not change with the row."""
        return RowState(
            self.at,
            tuple(map(tuple, self._measured)),
            tuple(map(tuple, self._failed)),
            tuple((part.at, part.targets, part.seconds, part.tests) for part in self._parts),
            self._strangers,
            self._strangers_seconds,
            {bit: tuple(results) for bit, results in self._loss.items()},
        )

    def take(self, found: Findings, now: float) -> None:
        """The results of a report, at `now` (monotonic)."""
        self.at = now
        new, keep = found.reported, ~found.reported
        for measured, failed, (seen, bad) in zip(self._measured, self._failed, (found.icmp, found.tcp), strict=True):
            for age in range(ROUNDS - 1, 0, -1):
                measured[age] = measured[age] & keep | measured[age - 1] & new
                failed[age] = failed[age] & keep | failed[age - 1] & new
            measured[0] = measured[0] & keep | seen
            failed[0] = failed[0] & keep | bad
        tests = found.tests
        strange = found.strangers[0] / tests if tests else 0.0
        self._strangers, self._strangers_seconds = found.strangers, found.seconds * strange
        self._parts = [left for part in self._parts if (left := part.without(new)) is not None]
        if new:
            known = tests - found.strangers[0]
            self._parts.append(_Part(now, new, found.seconds - self._strangers_seconds, known))
        self._take_loss(found.loss, new)

    def _take_loss(self, loss: Mapping[int, tuple[int, int]], new: int) -> None:
        for bit, results in list(self._loss.items()):
            if new >> bit & 1 and bit not in loss:
                sent = results[-1][0]
                lost = sent if self._failed[0][0] >> bit & 1 else 0
                results.append((sent, lost))
                del results[:-ROUNDS]
                if not any(0 < gone < all_ for all_, gone in results):
                    del self._loss[bit]
        for bit, result in loss.items():
            results = self._loss.setdefault(bit, [])
            results.append(result)
            del results[:-ROUNDS]

    def forget(self, gone: int) -> None:
        """Drop what is known of these targets."""
        for masks in (*self._measured, *self._failed):
            masks[:] = [mask & ~gone for mask in masks]
        self._parts = [left for part in self._parts if (left := part.without(gone)) is not None]
        for bit in [bit for bit in self._loss if gone >> bit & 1]:
            del self._loss[bit]

    def lapse(self, by: float) -> int:
        """Drop what was found by then; the mask of it."""
        gone = 0
        for part in self._parts:
            if part.at <= by:
                gone |= part.targets
        if gone:
            self.forget(gone)
        return gone

    def lapse_each(self, by: Mapping[int, float]) -> None:
        """Drop what was found of each of these targets by the time beside it."""
        size = max(by, default=-1) + 1
        gone = 0
        for part in self._parts:
            gone |= part.targets & mask_of((bit for bit, at in by.items() if part.at <= at), size)
        if gone:
            self.forget(gone)

    @property
    def targets(self) -> int:
        """Those that anything is known of, measured or not."""
        known = 0
        for part in self._parts:
            known |= part.targets
        return known

    @property
    def oldest(self) -> "float | None":
        """When the oldest result that counts was found."""
        return min((part.at for part in self._parts), default=None)

    @property
    def tested(self) -> int:
        return self._measured[0][0] | self._measured[1][0]

    def summary(self, without: int = 0) -> Summary:
        """Of all but the targets in the mask `without`."""
        failed = ((self._failed[0][0] | self._failed[1][0]) & ~without).bit_count() + self._strangers[1]
        parts = [left for part in self._parts if (left := part.without(without)) is not None]
        seconds = sum(part.seconds for part in parts) + self._strangers_seconds
        return Summary((self.tested & ~without).bit_count() + self._strangers[0], failed, seconds)

    def marks(self) -> "Marks":
        """What is known now; it does not change with the row."""
        loss = {bit: told for bit, results in self._loss.items() if (told := _lossy(results)) is not None}
        return Marks(tuple(map(tuple, self._measured)), tuple(map(tuple, self._failed)), loss)


def _lossy(results: "list[tuple[int, int]]") -> "tuple[int, int] | None":
    """(sent, lost) of a pair that loses packets again and again; None of one that was cut off, or lost some once.

    Results that lost everything, two or more in a row, are those of an outage, and so are its edges beside them.
    """
    dead = [lost == sent for sent, lost in results]
    outage = {at for at in range(1, len(dead)) if dead[at - 1] and dead[at]}
    outage |= {at - 1 for at in outage}
    edges = {at + step for at in outage for step in (-1, 1)}
    left = [result for at, result in enumerate(results) if at not in outage | edges]
    if sum(0 < lost < sent for sent, lost in left) < _LEAST_LOSSY:
        return None
    return sum(sent for sent, _ in left), sum(lost for _, lost in left)


class Total:
    """The sum of the rows' summaries, kept as they change."""

    def __init__(self) -> None:
        self._of: dict[object, Summary] = {}
        self._tests = self._failed = 0
        self._seconds = 0.0

    def put(self, key: object, summary: "Summary | None") -> None:
        """The row `key` sums up to this now; None when it is gone. O(1)."""
        old = self._of.pop(key, None)
        if old is not None:
            self._tests -= old.tests
            self._failed -= old.failed
            self._seconds -= old.seconds
        if summary is not None:
            self._of[key] = summary
            self._tests += summary.tests
            self._failed += summary.failed
            self._seconds += summary.seconds
        if not self._of:
            self._seconds = 0.0  # no rest of rounding

    def summary(self) -> Summary:
        return Summary(self._tests, self._failed, max(0.0, self._seconds))
