"""`GET /probe?target=&module=`: this machine's view of a target, as the Prometheus blackbox exporter answers."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Meta
from twisted.internet.defer import Deferred, TimeoutError, inlineCallbacks  # noqa: A004 - what addTimeout raises

from k3net.errors import BadRequest, Forbidden, Unavailable
from k3net.model.result import ProbeResult
from k3net.probes import PROBES, http
from k3net.probes.names import addresses_of, is_address
from k3net.web.api import METRICS_TYPE
from k3net.web.blackbox_text import Asked, exposition
from k3net.web.resource import Parameter, RequestView, Route, Text

MODULES = {"http_2xx": "http", "tcp_connect": "tcp", "icmp": "icmp", "dns": "dns"}
_USUAL = "http_2xx"
_TIMEOUT = 10.0
_LONGEST = 60.0
_MARGIN = 0.5
_SHORTEST = 0.01
_DNS_PORT = 53
_LONGEST_TARGET = 2048
TargetText = Annotated[str, Meta(min_length=1, max_length=_LONGEST_TARGET, pattern=r"^[\x21-\x7e]+$")]
Seconds = Annotated[str, Meta(pattern=r"^(?=.*[1-9])[0-9]{1,9}(\.[0-9]{1,9})?$")]
_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?", re.A)


class AllowList:
    """What may be probed: these networks and names (`*.example.org` too), and the peers.

    `peer(name)` gives the addresses of a peer by its Node name, `is_peer(address)` tells whether one has it.
    """

    def __init__(
        self,
        targets: Iterable[str],
        *,
        peer: Callable[[str], Sequence[str]] = lambda name: (),
        is_peer: Callable[[str], bool] = lambda address: False,
    ):
        self._networks = []
        self._names = set()
        for target in targets:
            try:
                self._networks.append(ip_network(target))
            except ValueError:
                self._names.add(target)
        self._peer = peer
        self._is_peer = is_peer

    def admits(self, host: str) -> str:
        """Why this name or address may be probed; Forbidden when it may not."""
        if is_address(host):
            address = ip_address(host)
            for network in self._networks:
                if address.version == network.version and address in network:
                    return f"it is in {network}"
            if self._is_peer(host):
                return "it is a peer's address"
        else:
            for name in self._patterns(host):
                if name in self._names:
                    return f"{name} is allowed"
            if self._peer(host):
                return "it is a peer"
        raise Forbidden(f"{host!r} is no peer, and not in blackbox.allowed_targets")

    def known_addresses(self, host: str) -> Sequence[str]:
        """Those of a peer of this name, which no name service is asked about."""
        return self._peer(host)

    def _patterns(self, host: str) -> "list[str]":
        name = host.lower().removesuffix(".")
        labels = name.split(".")
        return [name, *(f"*.{'.'.join(labels[i:])}" for i in range(1, len(labels)))]


class Target(NamedTuple):
    """`host` is what must be allowed and resolved; `port` 0 stands for none, `name` is what DNS is asked for."""

    host: str
    port: int = 0
    url: str = ""
    name: str = ""


class Blackbox:
    """Probes for whoever asks on `api.listen`, at most `at_once` at a time."""

    def __init__(
        self,
        reactor: Any,
        allowed: AllowList,
        *,
        tls: "Callable[[str], Any] | None" = None,
        at_once: int = 16,
    ):
        self._reactor = reactor
        self._allowed = allowed
        self._tls = tls
        self._at_once = at_once
        self._under_way = 0

    def routes(self) -> "list[Route]":
        return [
            Route(
                "GET",
                "/probe",
                self.answer,
                summary="What this machine finds of a target, as the Prometheus blackbox exporter says it.",
                query={
                    "target": Parameter(
                        "an address, a peer's Node name or an allowed name; with a port, or a URL, by the module",
                        TargetText,
                        required=True,
                    ),
                    "module": Parameter(f"without it {_USUAL}", Literal["http_2xx", "tcp_connect", "icmp", "dns"]),
                    "debug": "true: what was done, and the metrics beneath",
                },
                headers={"X-Prometheus-Scrape-Timeout-Seconds": Parameter("how long Prometheus waits", Seconds)},
                returns="text/plain",
                refuses=(Forbidden, Unavailable),
            )
        ]

    @inlineCallbacks
    def answer(self, view: RequestView):
        """The metrics; 503 for what was not measured, so that a fault of this machine is no failure of the target."""
        module = view.query.get("module") or _USUAL
        if module not in MODULES:
            raise BadRequest(f"unknown module {module!r}: expected one of {', '.join(MODULES)}")
        target = parse_target(module, view.query.get("target", ""))
        timeout = scrape_timeout(view.header("x-prometheus-scrape-timeout-seconds"))
        why = self._allowed.admits(target.host) if target.host else "the servers are this machine's own"
        if target.name:
            why = f"{self._allowed.admits(target.name)}; {why}"
        if self._under_way >= self._at_once:
            raise Unavailable(f"{self._at_once} probes are under way")
        self._under_way += 1
        try:
            asked = yield self._probe(MODULES[module], target, timeout)
        finally:
            self._under_way -= 1
        if view.query.get("debug") == "true":
            return Text(explained(module, view.query["target"], why, timeout, asked))
        if asked.result.ok is None:
            raise Unavailable(f"not measured: {asked.result.reason}")
        return Text(exposition(asked), METRICS_TYPE)

    @inlineCallbacks
    def _probe(self, prober: str, target: Target, timeout: float):
        begun = self._reactor.seconds()
        address, reason = "", ""
        if target.host:
            address, reason = yield self._resolve(target.host, timeout)
        lookup = self._reactor.seconds() - begun
        if reason:
            found = ProbeResult(target.host, prober, False, self._reactor.seconds(), reason=reason)
        else:
            found = yield self._ask(prober, target, address, max(_SHORTEST, timeout - lookup))
        return Asked(prober, address, lookup, self._reactor.seconds() - begun, found)

    @inlineCallbacks
    def _resolve(self, host: str, timeout: float):
        """An address, or why there is none."""
        addresses = self._allowed.known_addresses(host)
        if not addresses:
            try:
                addresses = yield addresses_of(self._reactor, host).addTimeout(timeout, self._reactor)
            except TimeoutError:
                return "", "timeout"
        return (addresses[0], "") if addresses else ("", "unknown host")

    def _ask(self, prober: str, target: Target, address: str, timeout: float) -> "Deferred[ProbeResult]":
        if prober == "http":
            return http.probe(self._reactor, target.url, timeout, tls=self._tls, address=address)
        where: Any = {
            "icmp": address,
            "tcp": (address, target.port),
            "dns": (target.name, address, target.port) if address else target.name,
        }[prober]
        return PROBES[prober](self._reactor, where, timeout)


def parse_target(module: str, text: str) -> Target:
    """`db1`, `10.0.0.1:22`, `http://db1/health`, `db.example.org@10.0.0.10`: by the module; BadRequest."""
    if not text:
        raise BadRequest("target: say what to probe, as in /probe?module=icmp&target=10.0.0.1")
    if len(text) > _LONGEST_TARGET or not text.isascii() or not text.isprintable() or " " in text:
        raise BadRequest("target: expected printable ASCII without spaces, at most 2048 letters")
    if module == "http_2xx":
        return _of_url(text if "://" in text else f"http://{text}")
    if module == "dns":
        name, _, server = text.partition("@")
        if is_address(name) or not name:
            raise BadRequest("target: the module dns asks for a name, as in db.example.org or db.example.org@10.0.0.10")
        host, port = _host_and_port(server) if server else ("", 0)
        if server and not is_address(host):
            raise BadRequest("target: name the DNS server by its address")
        return Target(host, port or _DNS_PORT, name=name)
    host, port = _host_and_port(text)
    if module == "icmp" and port:
        raise BadRequest("target: icmp knows no ports")
    if module == "tcp_connect" and not port:
        raise BadRequest("target: the module tcp_connect needs a port, as in db1:5432")
    return Target(host, port)


def _of_url(url: str) -> Target:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not parts.hostname or "@" in parts.netloc:
        raise BadRequest("target: expected a URL such as http://db1:8080/health, without a user's name")
    return Target(parts.hostname, url=url)


def _host_and_port(text: str) -> "tuple[str, int]":
    """Port 0 when there is none; BadRequest."""
    if is_address(text):
        return text, 0
    form = _HOST_AND_PORT.fullmatch(text)
    if form is None or int(form["port"] or 1) not in range(1, 65536) or (form["six"] and not is_address(form["six"])):
        raise BadRequest(f"target: expected host:port, 10.0.0.1:22 or [fd00::1]:22, not {text[:80]!r}")
    return form["six"] or form["host"], int(form["port"] or 0)


def scrape_timeout(header: "str | None") -> float:
    """Seconds for a probe: half a second less than Prometheus waits, ten when it does not say; BadRequest."""
    if header is None:
        return _TIMEOUT
    try:
        seconds = float(header)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise BadRequest("X-Prometheus-Scrape-Timeout-Seconds: expected a number of seconds")
    return max(_SHORTEST, min(seconds - _MARGIN if seconds > _MARGIN else seconds, _LONGEST))


def explained(module: str, target: str, why: str, timeout: float, asked: Asked) -> str:
    """What `debug=true` shows."""
    found = asked.result
    word = {True: "succeeded", False: "failed", None: "not measured"}[found.ok]
    lines = [
        f"module {module}, target {target!r}: may be probed, {why}",
        f"timeout {timeout:g} s",
        f"address {asked.address}" if asked.address else "no address",
        f"looked up in {asked.lookup:.6f} s",
        *(f"{phase} {seconds:.6f} s" for phase, seconds in found.phases.items()),
        *(f"{name} {value!r}" for name, value in found.facts.items()),
        f"probe {word} after {asked.took:.6f} s" + (f": {found.reason}" if found.reason else ""),
    ]
    log = "\n".join(lines)
    return f"Logs for the probe:\n{log}\n\nMetrics that would have been returned:\n{exposition(asked).decode()}"
