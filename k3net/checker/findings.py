"""From what the probes found to what is told the server (spec/3-checker.md)."""

from datetime import datetime

from msgspec.structs import replace

from k3net.checker.wire import ConnectivityResult, Ping, print_duration
from k3net.model.result import ProbeResult

_REFUSED = "refused"
_ANSWERED = ("", _REFUSED)
_PING_STATUS: "dict[bool | None, Ping]" = {True: "reachable", False: "unreachable", None: ""}


def connectivity(
    source: str, target: str, port: int, ping: ProbeResult, tcp: ProbeResult, took: float, at: datetime
) -> "ConnectivityResult | None":
    """One test of a target by ICMP and TCP; None when neither could be measured, which is never "down".

    `took` is in seconds, `at` when it ended. Where ICMP could not be measured, a port that answered, be it with a
    refusal, shows that the target is reachable; where ICMP got no answer, a refusal does.
    """
    if ping.ok is None and tcp.ok is None:
        return None
    reached = ping.ok
    if (reached is None and tcp.reason in _ANSWERED) or (not ping.received and tcp.reason == _REFUSED):
        reached = True
    icmp = "" if ping.ok else f"icmp: {ping.reason}"
    closed = "" if tcp.ok else f"tcp: {tcp.reason}"
    rtt = ping.rtt if ping.rtt is not None else tcp.rtt
    return ConnectivityResult(
        source_ip=source,
        target_ip=target,
        ping_status=_PING_STATUS[reached],
        port_status={} if tcp.ok is None else {str(port): "open" if tcp.ok else "closed"},
        latency="" if rtt is None else print_duration(rtt),
        test_duration=print_duration(took),
        timestamp=at,
        sent=ping.sent,
        received=ping.received,
        reason="; ".join(filter(None, [icmp, closed]))[:120],
    )


def service_connectivity(
    source: str,
    service: str,
    port: int,
    dns: ProbeResult,
    ping: "ProbeResult | None",
    tcp: "ProbeResult | None",
    took: float,
    at: datetime,
) -> "ConnectivityResult | None":
    """The test of a service: its name, and when that resolves its first address. None when nothing was measured."""
    if dns.ok is None:
        return None
    if ping is None or tcp is None:
        return ConnectivityResult(
            source_ip=source,
            target_ip=service,
            ping_status="unreachable",
            port_status={str(port): "closed"},
            test_duration=print_duration(took),
            timestamp=at,
            reason=f"dns: {dns.reason}"[:120],
            resolved=False,
        )
    found = connectivity(source, service, port, ping, tcp, took, at)
    return None if found is None else replace(found, resolved=True)
