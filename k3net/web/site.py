"""Listeners: a table of routes on an address, with bounds on who may hold how many connections."""

import errno
import ipaddress
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.error import CannotListenError
from twisted.web import http

from k3net.log import make_logger
from k3net.web.channel import Channel, Deadlines
from k3net.web.request import Request
from k3net.web.resource import Route, Table

_ADDRESS = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<four>[^:\[\]]*)):(?P<port>\d{1,5})")
BACKLOG = 1024  # a burst past it would wait a second for its SYN to be sent again
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}

Check = Callable[[Request], None]


class Site(http.HTTPFactory):
    """Serves `routes`; every request first passes the `checks`, which raise a RequestError to refuse it.

    At most `connections` at once, `per_peer` of them from one address. When all are taken, the oldest that is not
    being answered makes room, so that connections which say nothing keep nobody out.
    """

    protocol = Channel  # type: ignore[assignment]
    noisy = False

    def __init__(
        self,
        clock: Any,
        routes: Iterable[Route],
        *,
        checks: Sequence[Check] = (),
        connections: int = 256,
        per_peer: int = 64,
        deadlines: "Deadlines | None" = None,
    ):
        super().__init__(timeout=None, reactor=clock)  # type: ignore[arg-type]
        self.clock = clock
        self.table = Table(routes)
        self.checks = tuple(checks)
        self.deadlines = deadlines or Deadlines()
        self.logger = make_logger()
        self._limit = connections
        self._per_peer = per_peer
        self._channels: dict[Channel, None] = {}
        self._count: Counter[str] = Counter()
        self._empty: Deferred[None] | None = None

    def startFactory(self) -> None:
        """No access log, and no timer for its dates."""

    def stopFactory(self) -> None:
        """Nothing was begun."""

    def log(self, request: Any) -> None:
        """No access log."""

    def buildProtocol(self, addr: Any) -> Any:
        peer = plain_address(addr.host)
        if self._count[peer] >= self._per_peer or not self._has_room():
            return None
        channel: Any = super().buildProtocol(addr)
        channel.site = self
        channel.peer = peer
        self._channels[channel] = None
        self._count[peer] += 1
        return channel

    def _has_room(self) -> bool:
        if len(self._channels) < self._limit:
            return True
        oldest = next((channel for channel in self._channels if not channel.answering), None)
        if oldest is None:
            return False
        oldest.abort()
        self.forget(oldest)
        return True

    def forget(self, channel: Channel) -> None:
        if channel not in self._channels:
            return
        del self._channels[channel]
        self._count[channel.peer] -= 1
        if not self._count[channel.peer]:
            del self._count[channel.peer]
        if self._empty is not None and not self._channels:
            done, self._empty = self._empty, None
            done.callback(None)

    def close(self, within: float) -> "Deferred[None]":
        """Close what is idle, let answers end, and cut off what is left after `within` seconds."""
        for channel in list(self._channels):
            if channel.answering:
                channel.closing = True
            else:
                channel.close()
        if not self._channels:
            return succeed(None)
        done: Deferred[None] = Deferred()
        self._empty = done

        def cut() -> None:
            for channel in list(self._channels):
                channel.abort()

        timer = self.clock.callLater(within, cut)

        def ended(result: None) -> None:
            if timer.active():
                timer.cancel()

        return done.addCallback(ended)


class Listener(Service):
    """A Site on an address such as `:7946` (IPv6 and IPv4), `127.0.0.1:8080` or `[::1]:0`; TLS by a ServerTls `tls`.

    `startService` raises CannotListenError; after it `port` is the real port. `routes` and `checks` are those of its
    Site, and `asks_for_certificate` whether a client has to show one. `stopService` takes at most
    `stop_within` seconds.
    """

    def __init__(
        self,
        reactor: Any,
        address: str,
        routes: Iterable[Route],
        *,
        name: str = "listen",
        stop_within: float = 2.0,
        tls: Any = None,
        **settings: Any,
    ):
        self.name = name
        self.port = 0
        self._reactor = reactor
        self._host, self._wanted = parse_address(address)
        self.routes = tuple(routes)
        self._site = Site(reactor, self.routes, **settings)
        self.checks = self._site.checks
        self.asks_for_certificate = tls is not None and tls.asks_for_certificate
        self._stop_within = stop_within
        self._tls = tls
        self._listening: Any = None

    def startService(self) -> None:
        factory = self._site if self._tls is None else _encrypted(self._site, self._tls)
        bound = bind(self._host, self._wanted)
        try:
            self._listening = self._reactor.adoptStreamPort(bound.fileno(), bound.family, factory)
        finally:
            bound.close()
        self.port = self._listening.getHost().port
        super().startService()

    @inlineCallbacks
    def stopService(self):
        super().stopService()
        if self._listening is not None:
            listening, self._listening = self._listening, None
            yield listening.stopListening()
            yield self._site.close(self._stop_within)


def _encrypted(site: Site, tls: Any) -> Any:
    from twisted.protocols.tls import TLSMemoryBIOFactory  # OpenSSL is for those who speak https

    class Encrypted(TLSMemoryBIOFactory):
        noisy = False

        def buildProtocol(self, addr: Any) -> Any:
            channel = site.buildProtocol(addr)
            return None if channel is None else self.protocol(self, channel)

    tls.check()
    return Encrypted(tls, False, site)  # type: ignore[arg-type]


def parse_address(text: str) -> "tuple[str, int]":
    """Host ("" for every address) and port of `host:port`; the host is an IP literal or localhost. ValueError."""
    form = _ADDRESS.fullmatch(text.strip())
    if form is None or int(form["port"]) > 65535:
        raise ValueError(f"expected an address such as :7946, 127.0.0.1:8080 or [::1]:8080, not {text[:60]!r}")
    host = "127.0.0.1" if form["four"] == "localhost" else form["six"] or form["four"]
    if host:
        ipaddress.IPv6Address(host) if form["six"] else ipaddress.IPv4Address(host)
    return host, int(form["port"])


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a listener on `address`."""
    host, _ = parse_address(address)
    return bool(host) and ipaddress.ip_address(host).is_loopback


def bind(host: str, port: int) -> socket.socket:
    """A listening, non-blocking TCP socket; CannotListenError."""
    try:
        if host:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            bound = socket.create_server((host, port), family=family, backlog=BACKLOG)
        else:
            bound = _bind_all(port)
    except OSError as error:
        raise CannotListenError(host or "*", port, error) from error
    bound.setblocking(False)
    return bound


def _bind_all(port: int) -> socket.socket:
    try:
        return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
    return socket.create_server(("0.0.0.0", port), backlog=BACKLOG)  # noqa: S104 - asked for by the empty host


def plain_address(host: str) -> str:
    """An address as its owner writes it: IPv4 out of its IPv6-mapped form, no zone."""
    host = host.split("%", 1)[0]
    return host[7:] if host.startswith("::ffff:") and "." in host else host
