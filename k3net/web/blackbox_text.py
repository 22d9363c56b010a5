"""A probe's result as the Prometheus blackbox exporter shows it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from k3net.model.result import ProbeResult

_HTTP_PHASES = ("resolve", "connect", "tls", "processing", "transfer")


@dataclass(frozen=True)
class Asked:
    """What was asked, and what came of it: `lookup` and `took` are seconds, `address` is "" when none was found."""

    prober: str
    address: str
    lookup: float
    took: float
    result: ProbeResult


@dataclass
class _Page:
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def gauge(self, name: str, text: str, value: float) -> None:
        Gauge(name, text, registry=self.registry).set(value)

    def phases(self, name: str, text: str, seconds: Mapping[str, float]) -> None:
        gauge = Gauge(name, text, ["phase"], registry=self.registry)
        for phase, value in seconds.items():
            gauge.labels(phase).set(value)


def exposition(asked: Asked) -> bytes:
    """The text format, version 0.0.4, with the exporter's names and help."""
    page = _Page()
    page.gauge("probe_success", "Displays whether or not the probe was a success", int(asked.result.ok is True))
    page.gauge("probe_duration_seconds", "Returns how long the probe took to complete in seconds", asked.took)
    page.gauge("probe_dns_lookup_time_seconds", "Returns the time taken for probe dns lookup in seconds", asked.lookup)
    if asked.address:
        address = ip_address(asked.address)
        page.gauge("probe_ip_protocol", "Specifies whether probe ip protocol is IP4 or IP6", address.version)
        page.gauge(
            "probe_ip_addr_hash",
            "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
            fnv1a(address.packed),
        )
    _OF_PROBER[asked.prober](page, asked)
    return generate_latest(page.registry)


def _icmp(page: _Page, asked: Asked) -> None:
    found = asked.result
    spent = {"resolve": asked.lookup, "setup": 0.0, "rtt": found.rtt or 0.0}
    page.phases("probe_icmp_duration_seconds", "Duration of icmp request by phase", spent)
    if "hop_limit" in found.facts:
        page.gauge("probe_icmp_reply_hop_limit", "Replied packet hop limit (TTL for ipv4)", found.facts["hop_limit"])
    page.gauge("probe_icmp_packets_sent", "Echo requests sent", found.sent)
    page.gauge("probe_icmp_packets_received", "Echo requests that were answered", found.received)


def _tcp(page: _Page, asked: Asked) -> None:
    spent = {"resolve": asked.lookup, "connect": asked.result.rtt or 0.0}
    page.phases("probe_tcp_duration_seconds", "Duration of tcp connect by phase", spent)
    page.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", 0)


def _dns(page: _Page, asked: Asked) -> None:
    found = asked.result
    spent = {"resolve": asked.lookup, "connect": 0.0, "request": found.rtt or 0.0}
    page.phases("probe_dns_duration_seconds", "Duration of DNS request by phase", spent)
    page.gauge(
        "probe_dns_query_succeeded",
        "Displays whether or not the query was executed successfully",
        int(found.received > 0),
    )
    page.gauge(
        "probe_dns_answer_rrs",
        "Returns number of entries in the answer resource record list",
        len(found.facts.get("addresses", ())),
    )


def _http(page: _Page, asked: Asked) -> None:
    found = asked.result
    spent = {phase: found.phases.get(phase, 0.0) for phase in _HTTP_PHASES} | {"resolve": asked.lookup}
    page.phases("probe_http_duration_seconds", "Duration of http request by phase, summed over all redirects", spent)
    length = found.facts.get("bytes", 0)
    version = float(found.facts.get("version", 0))
    for name, text, value in (
        ("status_code", "Response HTTP status code", found.facts.get("status", 0)),
        ("content_length", "Length of http content response", length),
        ("uncompressed_body_length", "Length of uncompressed response body", length),
        ("version", "Returns the version of HTTP of the probe response", version),
        ("redirects", "The number of redirects", 0),
        ("ssl", "Indicates if SSL was used for the final redirect", int("expires" in found.facts)),
    ):
        page.gauge(f"probe_http_{name}", text, value)
    page.gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", 0)
    if "expires" in found.facts:
        page.gauge(
            "probe_ssl_earliest_cert_expiry",
            "Returns last SSL chain expiry in unixtime",
            found.facts["expires"],
        )


_OF_PROBER = {"icmp": _icmp, "tcp": _tcp, "dns": _dns, "http": _http}


def fnv1a(data: bytes) -> int:
    """The 32-bit FNV-1a hash."""
    value = 0x811C9DC5
    for byte in data:
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value
