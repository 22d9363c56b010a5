"""One name, asked of one DNS server over UDP (RFC 1035): its A and AAAA records."""

import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.names import dns
from twisted.python.failure import Failure
from zope.interface import implementer

from k3net.probes.numeric import socket_address
from k3net.probes.outcome import code_of, outcome

TYPES = {"A": dns.A, "AAAA": dns.AAAA}
_RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_HEADER = struct.Struct("!HHHHHH")
_RECURSE = 0x0100
_IN = 1
_LONGEST = 4096
_MOST_ADDRESSES = 16
_AT_ONCE = 32


@dataclass(frozen=True)
class Answer:
    """`addresses` as texts, the first sixteen; a truncated answer (RFC 1035 section 4.1.1) is there, but not whole."""

    rcode: str
    addresses: tuple[str, ...] = ()
    truncated: bool = False


@dataclass(frozen=True)
class Exchange:
    """`answers` by record type; while one is missing, `ok` (False or None) and `reason` say why."""

    answers: Mapping[str, Answer]
    ok: bool | None
    reason: str
    sent: int


def query(identifier: int, name: str, kind: int) -> bytes:
    """A question for `name`, which `is_dns_name` takes."""
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    return _HEADER.pack(identifier, _RECURSE, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, _IN)


def parse_answer(data: bytes, identifier: int, name: str, kind: int) -> Answer | None:
    """None when it does not answer this question, or cannot be read."""
    message = dns.Message()
    try:
        message.fromStr(data)
        [asked] = message.queries
        same = asked.name.name.decode("ascii").lower() == name.lower() and asked.type == kind
    except Exception:  # whatever a stranger's bytes may do to that parser
        return None
    if not message.answer or message.id != identifier or not same:
        return None
    if len(message.answers) < _HEADER.unpack_from(data)[3] and not message.trunc:  # the parser passes over a broken end
        return None
    wanted: list[Any] = [record.payload for record in message.answers if record.type == kind]
    addresses = [record.dottedQuad() if kind == dns.A else _ipv6(record) for record in wanted[:_MOST_ADDRESSES]]
    return Answer(_RCODES.get(message.rCode, f"RCODE{message.rCode}"), tuple(addresses), bool(message.trunc))


def _ipv6(record: Any) -> str:
    return socket.inet_ntop(socket.AF_INET6, record.address)


def exchange(reactor: Any, server: tuple[str, int], name: str, wait: float) -> "Deferred[Exchange]":
    """Both questions at once, and after half of `wait` seconds once more; never fails."""
    return _Asking(reactor, server, name, wait).begin()


@implementer(IReadDescriptor)
class _Asking:
    """A connected socket of its own: nobody but the server is heard, and what the network says of it is known."""

    def __init__(self, reactor: Any, server: tuple[str, int], name: str, wait: float):
        self._reactor = reactor
        self._server = server
        self._name = name
        self._wait = wait
        first = int.from_bytes(os.urandom(2), "big")
        self._identifiers = {"A": first, "AAAA": first ^ 1}
        self._answers: dict[str, Answer] = {}
        self._sent = 0
        self._socket: socket.socket | None = None
        self._timers: list[Any] = []
        self._done: Deferred[Exchange] = Deferred(lambda _: self._end(None, "cancelled"))

    def begin(self) -> "Deferred[Exchange]":
        address, port = self._server
        try:
            family, there = socket_address(address, port)
            self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket.connect(there)
        except (OSError, OverflowError, ValueError) as error:
            self._end(*outcome(code_of(error)))
            return self._done
        self._reactor.addReader(self)
        self._timers = [
            self._reactor.callLater(self._wait / 2, self._ask),
            self._reactor.callLater(self._wait, self._late),
        ]
        self._ask()
        return self._done

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return "dns-probe"

    def _ask(self) -> None:
        for word, kind in TYPES.items():
            if self._socket is None or word in self._answers:
                continue
            try:
                self._socket.send(query(self._identifiers[word], self._name, kind))
            except BlockingIOError:
                continue
            except OSError as error:
                self._end(*outcome(code_of(error)))
                return
            self._sent += 1

    def doRead(self) -> None:
        for _ in range(_AT_ONCE):
            if self._socket is None:
                return
            try:
                data = self._socket.recv(_LONGEST)
            except BlockingIOError:
                return
            except OSError as error:
                self._end(*outcome(code_of(error)))
                return
            for word, kind in TYPES.items():
                heard = parse_answer(data, self._identifiers[word], self._name, kind)
                if heard is not None:
                    self._answers[word] = heard
            if len(self._answers) == len(TYPES):
                self._end(True, "")

    def connectionLost(self, reason: Failure) -> None:
        """What the reactor makes of an error on a socket that nothing has come to."""
        self.doRead()
        if self._socket is not None:
            self._reactor.addReader(self)

    def _late(self) -> None:
        self.doRead()  # an answer that is there counts, since it was this process that did not come to read it
        self._end(False, "timeout")

    def _end(self, ok: bool | None, reason: str) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        if self._socket is not None:
            self._reactor.removeReader(self)
            self._socket.close()
            self._socket = None
        if not self._done.called:
            self._done.callback(Exchange(self._answers, ok, reason, self._sent))
