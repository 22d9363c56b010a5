"""A report as cells to show, marks to judge by, and numbers to count."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from msgspec import Struct

from k3net.checker.wire import ConnectivityResult, print_duration, read_duration
from k3net.model.matrix import Findings, mask_of

LAN_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

_MOST_DURATIONS = 1 << 16


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
    """Reads durations and remembers them, for they repeat: (as printed, in seconds, the bucket of LAN_BUCKETS)."""

    def __init__(self) -> None:
        self._known: dict[str | int, tuple[str, float, int]] = {}

    def __call__(self, raw: "str | int") -> "tuple[str, float, int]":
        """ValueError when it is none."""
        found = self._known.get(raw)
        if found is None:
            seconds = read_duration(raw)
            printed = raw if isinstance(raw, str) and raw else print_duration(seconds)
            if len(self._known) >= _MOST_DURATIONS:
                self._known.clear()
            found = self._known[raw] = (printed, seconds, bisect_left(LAN_BUCKETS, seconds))
        return found


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


def read(  # noqa: C901 - one pass without a call for each: 800,000 results a second come by
    results: Iterable[ConnectivityResult], bits: Mapping[str, int], size: int, durations: Durations
) -> "tuple[dict[str, Cell], Findings, Counts, Rtt]":
    """The results of one source: `bits` are those of the targets by address, all below `size`.

    The round trips are those of successes. ValueError for a duration that is none.
    """
    cells: dict[str, Cell] = {}
    reported, pinged, unreachable, tried, closed = [], [], [], [], []
    loss: dict[int, tuple[int, int]] = {}
    counts, rtt = Counts(), Rtt()
    buckets = rtt.buckets
    strangers = [0, 0]
    total = 0.0
    for result in results:
        ports, ping = result.port_status, result.ping_status
        port = ("closed" if "closed" in ports.values() else "open") if ports else ""
        printed, seconds, _ = durations(result.test_duration)
        latency, share, sent = result.latency, result.loss, result.sent
        if latency != "":
            latency, round_trip, bucket = durations(latency)
            if ping == "reachable":
                buckets[bucket] += 1
                rtt.seconds += round_trip
        if sent:
            received = min(result.received, sent)
            counts.sent += sent
            counts.received += received
            if share is None:
                share = 1 - received / sent
        cells[result.target_ip] = Cell(ping, port, printed, latency, share, result.reason, result.timestamp)
        bit = bits.get(result.target_ip, -1)
        if bit >= 0:
            reported.append(bit)
        if not (ping or port):
            counts.not_measured += 1
            continue
        failed = ping == "unreachable" or port == "closed"
        total += seconds
        if failed:
            counts.failed += 1
        else:
            counts.ok += 1
        if bit < 0:
            strangers[0] += 1
            strangers[1] += failed
            continue
        if ping:
            pinged.append(bit)
            if failed and ping == "unreachable":
                unreachable.append(bit)
            if sent and 0 < received < sent:
                loss[bit] = (sent, sent - received)
        if port:
            tried.append(bit)
            if port == "closed":
                closed.append(bit)
    found = Findings(
        mask_of(reported, size),
        (mask_of(pinged, size), mask_of(unreachable, size)),
        (mask_of(tried, size), mask_of(closed, size)),
        (strangers[0], strangers[1]),
        total,
        loss,
    )
    return cells, found, counts, rtt
