"""A report as cells to show, marks to judge by, and numbers to count."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from k3net.checker.durations import LAN_BUCKETS, Durations
from k3net.checker.registry import Registry
from k3net.checker.wire import BadResult, PairResult, Ports
from k3net.errors import reason_and_place
from k3net.model.matrix import Findings, mask_of

_UNWRITTEN = Raw()
_PORTS = msgspec.json.Decoder(Ports | None)


class Cell(Struct, frozen=True, gc=False, omit_defaults=True):
    """One pair in the matrix; spec/3-checker.md, and ours after `test_duration`. Empty: not measured."""

    ping: str
    port_status: str
    test_duration: str
    latency: str = ""
    loss: float | None = None
    reason: str = ""
    timestamp: datetime | None = None


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


@dataclass(slots=True)
class Targets:
    """Whom one source told of last, as a mask, and how many have no bit: most of its reports are of the same ones."""

    mask: int = 0
    strangers: int = 0
    _of: "tuple[int, int] | None" = None

    def look_up(self, targets: Iterable[str], registry: Registry, layer: str) -> None:
        """Be those of these from now on."""
        of = (hash(tuple(targets)), registry.generation)
        if of == self._of:
            return
        bits = list(map(registry.bits[layer].get, targets))
        known = [bit for bit in bits if bit is not None]
        self.mask, self.strangers, self._of = mask_of(known, registry.size), len(bits) - len(known), of


def read(
    results: Sequence[PairResult], registry: Registry, layer: str, targets: Targets, durations: Durations
) -> "tuple[dict[str, Cell], Findings, Counts, Rtt]":
    """The results of one source in one layer; `targets` are those of its last report, and then of this one.

    The round trips are those of successes. BadResult for a duration or ports that are none. Most tests succeed: these
    are read many at a time, and only the odd ones each by itself.
    """
    try:
        seconds, trips = _times(results, durations)
    except KeyError:
        results = durations.in_texts(results)
        seconds, trips = _times(results, durations)
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
    usual = _usual_ports(results)
    odd = [
        result
        for result in results
        if result.port_status != usual or result.ping_status != "reachable" or result.received != result.sent
    ]
    marks = _Odd()
    for result in odd:
        port = _port(result, results)
        marks.add(result, port, registry.bits[layer].get(result.target_ip, -1), durations.seconds[result.test_duration])
        cells[result.target_ip] = replace(cells[result.target_ip], port_status=port, loss=_loss(result))
    targets.look_up(cells, registry, layer)
    reported, size = targets.mask, registry.size
    found = Findings(
        reported,
        (reported & ~mask_of(marks.unpinged, size), mask_of(marks.unreachable, size)),
        (reported & ~mask_of(marks.untried, size), mask_of(marks.closed, size)),
        (targets.strangers - marks.strangers_unmeasured, marks.strangers_failed),
        seconds - marks.seconds_unmeasured,
        marks.loss,
    )
    sent = sum([result.sent for result in results])
    counts = Counts(
        ok=len(results) - marks.failed - marks.unmeasured,
        failed=marks.failed,
        not_measured=marks.unmeasured,
        sent=sent,
        received=min(sent, sent - marks.lost),
    )
    if marks.unanswered:
        trips = Counter([result.latency for result in results if result.ping_status == "reachable"])
    return cells, found, counts, _round_trips(trips, durations)


def ports_of(result: PairResult) -> "dict[str, str]":
    """Its `port_status`, read; msgspec.DecodeError."""
    return _PORTS.decode(result.port_status) or {}


def _times(results: Sequence[PairResult], durations: Durations) -> "tuple[float, Counter[str | int]]":
    """The seconds of all tests, and how often each round trip is told; KeyError for a duration that is not known."""
    seconds = sum(map(durations.seconds.__getitem__, [result.test_duration for result in results]))
    trips = Counter([result.latency for result in results])
    if unknown := trips.keys() - durations.seconds.keys():
        raise KeyError(*unknown)
    return seconds, trips


def _usual_ports(results: Sequence[PairResult]) -> Raw:
    """How an open port is written by the first that has one."""
    return next((result.port_status for result in results if _port(result, results) == "open"), _UNWRITTEN)


class _Odd:
    """What results that are not plain successes take from those that are."""

    __slots__ = (
        "closed", "failed", "loss", "lost", "seconds_unmeasured", "strangers_failed", "strangers_unmeasured",
        "unanswered", "unmeasured", "unpinged", "unreachable", "untried",
    )  # fmt: skip

    def __init__(self) -> None:
        self.unpinged: list[int] = []
        self.unreachable: list[int] = []
        self.untried: list[int] = []
        self.closed: list[int] = []
        self.loss: dict[int, tuple[int, int]] = {}
        self.failed = self.unmeasured = self.unanswered = self.lost = 0
        self.strangers_failed = self.strangers_unmeasured = 0
        self.seconds_unmeasured = 0.0

    def add(self, result: PairResult, port: str, bit: int, seconds: float) -> None:
        ping = result.ping_status
        failed = ping == "unreachable" or port == "closed"
        measured = bool(ping or port)
        self.failed += failed
        self.unmeasured += not measured
        self.unanswered += ping != "reachable"
        self.lost += result.sent - result.received
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


def _port(result: PairResult, results: Sequence[PairResult]) -> str:
    try:
        ports = ports_of(result)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        at = next(at for at, one in enumerate(results) if one is result)
        reason, place = reason_and_place(error)
        raise BadResult(reason, f"$.results[{at}].port_status{place.removeprefix('$')}") from None
    return ("closed" if "closed" in ports.values() else "open") if ports else ""


def _loss(result: PairResult) -> "float | None":
    if result.loss is not None or not 0 <= result.received < result.sent:
        return result.loss
    return 1 - result.received / result.sent


def _round_trips(told: "Counter[str | int]", durations: Durations) -> Rtt:
    rtt = Rtt()
    for raw, count in told.items():
        if raw:
            bucket = durations.bucket[raw]
            rtt.buckets[bucket] += count
            rtt.seconds += count * durations.seconds[raw]
    return rtt
