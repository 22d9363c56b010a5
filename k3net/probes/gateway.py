"""Does a default gateway answer: what a daemon can show of its own network when no peer does."""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from k3net.probes import tcp

_PORTS = (53, 80, 22)


def gateway_answers(reactor: Any, gateways: Iterable[str], timeout: float) -> "Deferred[bool]":
    """Whether any gateway takes or refuses a connection; IPv6 link-local ones cannot be asked, and do not count."""
    asked = [
        tcp.probe(reactor, (gateway, port), timeout)
        for gateway in gateways
        if not ip_address(gateway.partition("%")[0]).is_link_local
        for port in _PORTS
    ]
    return gatherResults(asked).addCallback(lambda results: any(r.ok or r.reason == "refused" for r in results))
