"""What a probe meets: real servers and silent ones, on 127.0.0.0/8."""

import socket
from collections.abc import Mapping
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.names import dns
from twisted.trial.unittest import TestCase


def listening(case: TestCase, address: str = "127.0.0.1", backlog: int = 100) -> int:
    """The port of a socket that takes connections."""
    sock = socket.create_server((address, 0), family=_family(address), backlog=backlog)
    case.addCleanup(sock.close)
    return sock.getsockname()[1]


def refusing(case: TestCase, kind: int = socket.SOCK_STREAM, address: str = "127.0.0.1") -> int:
    """A port that is taken, so that nobody else listens there, and that refuses."""
    sock = socket.socket(_family(address), kind)
    case.addCleanup(sock.close)
    sock.bind((address, 0))
    port = sock.getsockname()[1]
    if kind == socket.SOCK_DGRAM:
        sock.connect((address, port))  # datagrams of others find no socket, and the kernel says so
    return port


def full(case: TestCase) -> int:
    """A port whose backlog is full: the kernel drops every SYN."""
    port = listening(case, backlog=0)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(("127.0.0.1", port))
        case.addCleanup(filler.close)
    return port


def mute(case: TestCase) -> int:
    """A UDP port that takes every datagram and says nothing."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    case.addCleanup(sock.close)
    sock.bind(("127.0.0.1", 0))
    return sock.getsockname()[1]


class Saying(Protocol):
    """Says the same to whoever asks; nothing when it is to say b""."""

    factory: Any

    def dataReceived(self, data: bytes) -> None:
        if self.factory.words:
            self.transport.write(self.factory.words)


def web(case: TestCase, words: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", **how: Any) -> int:
    """The port of an HTTP server that answers with these bytes."""
    factory = Factory.forProtocol(Saying)
    factory.noisy = False
    factory.words = words
    listen = reactor.listenSSL if how else reactor.listenTCP
    port = listen(0, factory, interface="127.0.0.1", **how)
    case.addCleanup(port.stopListening)
    return port.getHost().port


class Nameserver(DatagramProtocol):
    """Answers from `zone`: the addresses of (name, "A" or "AAAA"), or an rcode; NXDOMAIN for what is not in it.

    `mangle` may change the bytes of an answer, or hold them back (None); `asked` is every question.
    """

    noisy = False

    def __init__(self, zone: Mapping[tuple[str, str], Any], mangle: Any = lambda data, question: data):
        self.zone = zone
        self.mangle = mangle
        self.asked: list[tuple[str, str]] = []

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        message = dns.Message()
        message.fromStr(data)
        [query] = message.queries
        question = (query.name.name.decode(), dns.QUERY_TYPES[query.type])
        self.asked.append(question)
        message.answer, message.recAv = 1, 1
        found = self.zone.get(question, dns.ENAME)
        if isinstance(found, int):
            message.rCode = found
        else:
            record = dns.Record_A if question[1] == "A" else dns.Record_AAAA
            message.answers = [
                dns.RRHeader(query.name.name, query.type, ttl=5, payload=record(address, 5)) for address in found
            ]
        said = self.mangle(message.toStr(), question)
        if said is not None:
            self.transport.write(said, addr)


def nameserver(case: TestCase, zone: Mapping[tuple[str, str], Any], **how: Any) -> tuple[Nameserver, int]:
    serving = Nameserver(zone, **how)
    port = reactor.listenUDP(0, serving, interface="127.0.0.1")
    case.addCleanup(port.stopListening)
    return serving, port.getHost().port


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
