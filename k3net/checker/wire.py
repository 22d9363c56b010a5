"""What agents and servers say to each other, field by field (spec/3-checker.md); ours beside it have defaults."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct, field
from msgspec.json import schema

from k3net.model.duration import format_duration, parse_duration

MOST_RESULTS = 10_000
"""In one report."""

Ip = Annotated[str, Meta(min_length=2, max_length=45, pattern=r"^[0-9A-Fa-f.:]+$(?!\n)")]
Name = Annotated[str, Meta(max_length=253, pattern=r"^[A-Za-z0-9._-]*$(?!\n)")]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
LongDuration = Annotated[str, Meta(max_length=40)] | Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Ping = Literal["reachable", "unreachable", ""]
Ports = Annotated[dict[Annotated[str, Meta(max_length=5)], Literal["open", "closed"]], Meta(max_length=16)]
Time = Annotated[datetime, Meta(tz=True)]

_PORTS_SCHEMA = schema(Ports | None)


def _no_ports() -> Raw:
    return Raw(b"{}")


class Heartbeat(Struct, frozen=True, gc=False, omit_defaults=True):
    """An agent lives. Ours: `node_name`, what its host is called, and `goodbye` in the last one before a clean stop."""

    node_ip: Ip
    pod_ip: Ip
    pod_name: Annotated[str, Meta(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9._-]+$(?!\n)")]
    namespace: Name = ""
    timestamp: Time | None = None
    node_name: Name = ""
    goodbye: bool = False

    @property
    def pod(self) -> "tuple[str, str]":
        return self.namespace, self.pod_name


class _Result(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    target_ip: Annotated[str, Meta(min_length=1, max_length=253)]
    ping_status: Ping = ""
    port_status: Any = None
    latency: LongDuration = ""
    test_duration: LongDuration = ""
    timestamp: Time | None = None
    loss: Annotated[float, Meta(ge=0, le=1)] | None = None
    sent: Count = 0
    received: Count = 0
    reason: Annotated[str, Meta(max_length=120)] = ""


class ConnectivityResult(_Result, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One test of one target. Empty `ping_status` or `port_status`: not measured, and `reason` may say why.

    Durations are texts as Go prints them, or nanoseconds. Ours: of the packets `sent` so many were `received`, or else
    `loss` is the share that was not; `reason` is why it failed. In a service test the target is the service's name, and
    `resolved` says whether DNS knows it.
    """

    source_ip: Annotated[str, Meta(max_length=45)] = ""
    port_status: Ports | None = {}
    resolved: bool | None = None


class SentReport(Struct, frozen=True, gc=False):
    """What one source found in one layer: the body of `POST /api/v1/test-results/hosts` and `/pods`."""

    source_ip: Ip
    results: list[ConnectivityResult]


class PairResult(_Result, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """A ConnectivityResult as the server reads it, thousands at a time: no more of it than it needs.

    `port_status` is as it was written, still to be read as `Ports`: nearly all are written alike.
    """

    port_status: Annotated[Raw, Meta(extra_json_schema=_PORTS_SCHEMA)] = field(default_factory=_no_ports)


class Report(Struct, frozen=True, gc=False):
    """A SentReport as the server reads it. Go prints null for a list or map that has nothing: so does its client."""

    source_ip: Ip
    results: Annotated[list[PairResult], Meta(max_length=MOST_RESULTS)] | None


class ServiceReport(Struct, frozen=True, gc=False):
    """The body of `POST /api/v1/test-results/service`."""

    source_ip: Ip
    result: ConnectivityResult


class BadResult(ValueError):
    """A result that breaks a rule; `field` is its path in the report."""

    def __init__(self, reason: str, field: str):
        super().__init__(reason)
        self.field = field


def print_duration(seconds: float) -> str:
    """`850ns`, `12.00µs`, `0.52ms`, `2.03s`, and from one minute on Go's own form, `1m30s`."""
    nanos = round(seconds * 1e9)
    if nanos >= 60 * 10**9:
        return format_duration(nanos / 1e9)
    if nanos < 1000:
        return f"{max(0, nanos)}ns"
    if nanos < 10**5:
        return f"{nanos / 1e3:.2f}µs"
    return f"{nanos / 1e6:.2f}ms" if nanos < 10**9 else f"{nanos / 1e9:.2f}s"


def read_duration(raw: "str | int") -> float:
    """Seconds in a duration as text (empty: 0) or nanoseconds; ValueError when it is negative or none."""
    seconds = raw / 1e9 if isinstance(raw, int) else parse_duration(raw) if raw else 0.0
    if seconds < 0:
        raise ValueError(f"expected a duration that is not negative, not {raw!r}")
    return seconds
