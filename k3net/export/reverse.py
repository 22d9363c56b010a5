"""Reverse DNS of many addresses at once: PTR records (RFC 1035 section 3.5), each within its time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.names import dns

from k3net.export.names import shown_name
from k3net.neighbors.entry import Address

IN_FLIGHT = 100
PORT = 53
_LONGEST_ANSWER = 512  # RFC 1035 section 4.2.1: we offer no more
_MOST_ALIASES = 8


class Asked(DatagramProtocol):
    """One question to one server from a port of its own; `done` gives the message, or None for no answer in `wait`."""

    noisy = False
    transport: Any

    def __init__(self, reactor: Any, server: str, question: str, wait: float):
        self._reactor = reactor
        self._server = server
        self._question = question
        self._message = dns.Message(id=dns.randomSource(), recDes=1)
        self._message.addQuery(question, dns.PTR)
        self._port: Any = None
        self._timer = reactor.callLater(wait, self._late)
        self.done: Deferred[dns.Message | None] = Deferred()
        try:
            interface = "::" if ":" in server else ""
            self._port = reactor.listenUDP(0, self, interface=interface, maxPacketSize=_LONGEST_ANSWER)
        except CannotListenError:
            self._end(None)

    def startProtocol(self) -> None:
        try:
            self.transport.connect(self._server, PORT)
            self.transport.write(self._message.toStr())
        except OSError:  # no route to it
            self._reactor.callLater(0, self._end, None)

    def datagramReceived(self, data: bytes, addr: Any) -> None:
        message = dns.Message()
        try:
            message.fromStr(data)
            message.trunc = message.trunc or len(data) >= _LONGEST_ANSWER
        except Exception:  # whatever a stranger's bytes may do to that parser
            return
        same = [(_text(q.name).lower(), q.type) for q in message.queries] == [(self._question, dns.PTR)]
        if message.answer and message.id == self._message.id and same:
            self._end(message)

    def connectionRefused(self) -> None:
        self._end(None)

    def _late(self) -> None:
        """An answer that is there counts: the reactor looks once more before this is no answer."""
        self._timer = self._reactor.callLater(0, self._end, None)

    def _end(self, message: "dns.Message | None") -> None:
        if self.done.called:
            return
        if self._timer.active():
            self._timer.cancel()
        if self._port is not None:
            self._port.stopListening()
        self.done.callback(message)


class ReverseDNS:
    """Asks `servers` in their order, those that were silent last; a name has `wait` seconds in all.

    `missing` counts why names are not known, but for those that no record has.
    """

    def __init__(self, reactor: Any, servers: Sequence[str], *, wait: float, in_flight: int = IN_FLIGHT):
        self._reactor = reactor
        self._servers = tuple(servers)
        self._wait = wait
        self._in_flight = in_flight
        self._silences: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()

    def names(
        self, addresses: Iterable[Address], deadline: float, done: Callable[[], None] = lambda: None
    ) -> "Deferred[dict[Address, str]]":
        """The names of those that have one, all asked by `deadline` (reactor time); `done()` after each."""
        waiting = iter(addresses)
        found: dict[Address, str] = {}
        ended: Deferred[dict[Address, str]] = Deferred()
        busy = 0

        @inlineCallbacks
        def work():
            nonlocal busy
            for address in waiting:
                left = deadline - self._reactor.seconds()
                if left <= 0:
                    self.missing["not asked in time"] += 1 + sum(1 for _ in waiting)
                    break
                name = yield self._name(address, min(self._wait, left))
                if name:
                    found[address] = name
                done()
            busy -= 1
            if not busy:
                ended.callback(found)

        busy = self._in_flight
        for _ in range(self._in_flight):
            work()
        return ended

    @inlineCallbacks
    def _name(self, address: Address, wait: float):
        question = address.reverse_pointer
        reason = "no answer"
        for server in sorted(self._servers, key=lambda server: self._silences[server]):
            message = yield Asked(self._reactor, server, question, wait / len(self._servers)).done
            if message is None:
                self._silences[server] += 1
                continue
            if message.rCode == dns.ENAME:
                return ""
            if message.rCode == dns.OK:
                targets = list(pointers(message, question))
                name = next(filter(None, map(shown_name, targets)), "")
                if not name and (targets or message.trunc):
                    self.missing["not a name" if targets else "the answer is too long"] += 1
                return name
            reason = "refused by the server"
        self.missing[reason] += 1
        return ""


def pointers(message: dns.Message, question: str) -> Iterator[str]:
    """The names that PTR records of `question` give, through aliases (RFC 2317), as text that may hold anything."""
    owner = question.lower()
    records: list[Any]
    for _ in range(_MOST_ALIASES):
        records = [r for r in message.answers if _text(r.name).lower() == owner]
        yield from (_text(r.payload.name) for r in records if r.type == dns.PTR)
        alias = next((_text(r.payload.name) for r in records if r.type == dns.CNAME), "")
        if not alias:
            return
        owner = alias.lower()


def _text(name: dns.Name) -> str:
    return name.name.decode("latin-1").removesuffix(".")
