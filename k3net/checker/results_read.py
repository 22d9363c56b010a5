"""A report as cells to show, marks to judge by, and numbers to count."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from k3net.checker.wire import ConnectivityResult, print_duration, read_duration
from k3net.model.matrix import Findings, mask_of

LAN_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_MOST_DURATIONS = 1 << 16
_NONE = -1


class Cell(Struct, frozen=True, gc=False, omit_defaults=True):
    """One pair in the matrix; spec/3-checker.md, and ours after `test_duration`. Empty: not measured."""

    ping: str
    port_status: str
    test_duration: str
    latency: str = ""
    loss: float | None = None
    reason: str = ""
    timestamp: datetime | None = None


class Durations:
    """Durations by how they were told, remembered, for they repeat: as printed, in seconds, the bucket they are in."""

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.printed: dict[str | int, str] = {"": ""}
        self.seconds: dict[str | int, float] = {"": 0.0}
        self.bucket: dict[str | int, int] = {"": _NONE}

    def learn(self, told: "Iterable[str | int]") -> None:
        """Know these from now on; ValueError for one that is none."""
        new = set(told) - self.seconds.keys()
        if len(self.seconds) + len(new) > _MOST_DURATIONS:
            self._clear()
        for raw in new:
            seconds = read_duration(raw)
            self.printed[raw] = raw if isinstance(raw, str) else print_duration(seconds)
            self.seconds[raw] = seconds
            self.bucket[raw] = bisect_left(LAN_BUCKETS, seconds)

    def in_texts(self, result: ConnectivityResult) -> ConnectivityResult:
        """The same, its durations as printed."""
        took, trip = self.printed[result.test_duration], self.printed[result.latency]
        return replace(result, test_duration=took, latency=trip)


@dataclass(slots=True)
class Counts:
    """Tests by their result, and packets."""

    ok: int = 0
    failed: int = 0
    not_measured: int = 0
    sent: int = 0
    received: int = 0

    def add(self, more: "Counts") -> None:
        self.ok += more.ok
        self.failed += more.failed
        self.not_measured += more.not_measured
        self.sent += more.sent
        self.received += more.received


@dataclass(slots=True)
class Rtt:
    """A histogram: how many in each bucket of LAN_BUCKETS and above them all, and their sum in seconds."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(LAN_BUCKETS) + 1))
    seconds: float = 0.0

    def add(self, more: "Rtt") -> None:
        self.buckets = [count + new for count, new in zip(self.buckets, more.buckets, strict=True)]
        self.seconds += more.seconds


def read(
    results: Sequence[ConnectivityResult], bits: Mapping[str, int], size: int, durations: Durations
) -> "tuple[dict[str, Cell], Findings, Counts, Rtt]":
    """The results of one source: `bits` are those of the targets by address, all below `size`.

    The round trips are those of successes. ValueError for a duration that is none. Most tests succeed: these are read
    many at a time, and only the odd ones each by itself.
    """
    took, trips = _durations_of(results)
    told = {*took, *trips}
    durations.learn(told)
    if any(not isinstance(raw, str) for raw in told):
        results = [durations.in_texts(result) for result in results]
        took, trips = _durations_of(results)
        durations.learn({*took, *trips})
    cells = {
        result.target_ip: Cell(
            result.ping_status,
            "open",
            result.test_duration or "0ns",  # type: ignore[arg-type]
            result.latency,  # type: ignore[arg-type]
            result.loss,
            result.reason,
            result.timestamp,
        )
        for result in results
    }
    usual = next((r.port_status for r in results if _port(r) == "open"), None)
    odd = [r for r in results if r.port_status != usual or r.ping_status != "reachable" or r.loss]
    marks = _Odd()
    for result in odd:
        marks.add(result, bits.get(result.target_ip, -1), durations.seconds[result.test_duration])
        cells[result.target_ip] = replace(cells[result.target_ip], port_status=_port(result))
    known = [bit for bit in map(bits.get, cells) if bit is not None]
    reported = mask_of(known, size)
    strange = len(cells) - len(known)
    found = Findings(
        reported,
        (reported & ~mask_of(marks.unpinged, size), mask_of(marks.unreachable, size)),
        (reported & ~mask_of(marks.untried, size), mask_of(marks.closed, size)),
        (strange - marks.strangers_unmeasured, marks.strangers_failed),
        sum(map(durations.seconds.__getitem__, took)) - marks.seconds_unmeasured,
        marks.loss,
    )
    sent = sum([result.sent for result in results])
    counts = Counts(
        ok=len(results) - marks.failed - marks.unmeasured,
        failed=marks.failed,
        not_measured=marks.unmeasured,
        sent=sent,
        received=min(sent, sum([result.received for result in results])),
    )
    answered = trips
    if marks.unanswered:
        answered = [result.latency for result in results if result.ping_status == "reachable"]
    return cells, found, counts, _round_trips(answered, durations)


def _durations_of(results: Sequence[ConnectivityResult]) -> "tuple[list[str | int], list[str | int]]":
    return [result.test_duration for result in results], [result.latency for result in results]


class _Odd:
    """What results that are not plain successes take from those that are."""

    __slots__ = (
        "closed", "failed", "loss", "seconds_unmeasured", "strangers_failed", "strangers_unmeasured", "unanswered",
        "unmeasured", "unpinged", "unreachable", "untried",
    )  # fmt: skip

    def __init__(self) -> None:
        self.unpinged: list[int] = []
        self.unreachable: list[int] = []
        self.untried: list[int] = []
        self.closed: list[int] = []
        self.loss: dict[int, tuple[int, int]] = {}
        self.failed = self.unmeasured = self.unanswered = 0
        self.strangers_failed = self.strangers_unmeasured = 0
        self.seconds_unmeasured = 0.0

    def add(self, result: ConnectivityResult, bit: int, seconds: float) -> None:
        ping, port = result.ping_status, _port(result)
        failed = ping == "unreachable" or port == "closed"
        measured = bool(ping or port)
        self.failed += failed
        self.unmeasured += not measured
        self.unanswered += ping != "reachable"
        if not measured:
            self.seconds_unmeasured += seconds
        if bit < 0:
            self.strangers_failed += failed
            self.strangers_unmeasured += not measured
            return
        for word, missing, bad in ((ping, self.unpinged, self.unreachable), (port, self.untried, self.closed)):
            if not word:
                missing.append(bit)
            elif word in ("unreachable", "closed"):
                bad.append(bit)
        if ping and 0 < result.received < result.sent:
            self.loss[bit] = (result.sent, result.sent - result.received)


def _port(result: ConnectivityResult) -> str:
    ports = result.port_status
    return ("closed" if "closed" in ports.values() else "open") if ports else ""


def _round_trips(told: "Iterable[str | int]", durations: Durations) -> Rtt:
    rtt = Rtt()
    for raw, count in Counter(told).items():
        if (bucket := durations.bucket[raw]) != _NONE:
            rtt.buckets[bucket] += count
            rtt.seconds += count * durations.seconds[raw]
    return rtt
