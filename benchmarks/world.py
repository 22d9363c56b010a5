"""Peers for the real `Liveness`: their addresses are 10.x.y.z, and are reached at 127.x.y.z.

No peer may have a loopback address, so the last step before the wire puts one in its place.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from listeners import Target, node_at
from twisted.internet.defer import Deferred, succeed

from k3net.discovery.liveness import Liveness
from k3net.http import fetch
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.model.result import ProbeResult
from k3net.probes import tcp


def hear(table: Any, targets: Iterable[Target], now: float, ttl: float = 3600.0) -> None:
    """Observe, as mDNS does, a peer at each target."""
    for address, port in targets:
        table.observe(
            Observation(
                peer=node_at(address),
                source="mdns",
                seen_at=now,
                ttl=ttl,
                addresses=(f"10.{address.partition('.')[2]}",),
                port=port,
                reason="LANDiscovery",
                message="discovered via mDNS",
                meta={"pid": "1"},
            )
        )


def connect(reactor: Any, target: Target, timeout: float) -> "Deferred[ProbeResult]":
    address, port = target
    return tcp.probe(reactor, (f"127.{address.partition('.')[2]}", port), timeout)


def asking(reactor: Any) -> Callable[[str], "Deferred[Mapping[str, Any] | None]"]:
    """`/info` by the daemon's own `fetch`."""

    def ask(url: str) -> Any:
        done = fetch(reactor, "GET", url.replace("//10.", "//127."), timeout=1.4, max_bytes=16 * 1024)
        return done.addCallback(lambda answer: answer.json() if answer.status == 200 else None)

    return ask


def asking_nothing(_url: str) -> "Deferred[None]":
    """Proves nobody: the round is TCP alone."""
    return succeed(None)


def liveness(reactor: Any, table: PeerTable, observe: Callable[[Observation], object], **settings: Any) -> Liveness:
    """As the daemon makes it, with the defaults of etc/k3net.yaml."""
    return Liveness(
        reactor,
        observe,
        peers=lambda: table,
        own_addresses=frozenset,
        connect=connect,
        own_name="own",
        **{"ask": asking(reactor), "interval": 15.0, "timeout": 0.7, "max_in_flight": 256, **settings},
    )
