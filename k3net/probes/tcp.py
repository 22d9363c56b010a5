"""TCP connect: does this port take a connection, and how soon."""

import errno
import select
import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from k3net.model.result import ProbeResult
from k3net.probes.numeric import socket_address
from k3net.probes.outcome import code_of, outcome


def probe(reactor: Any, target: tuple[str, int], timeout: float) -> "Deferred[ProbeResult]":
    """Connect to (address, port) and hang up; the address is an IP address, so that no name service can delay it."""
    return _Connect(reactor, target, timeout).begin()


@implementer(IWriteDescriptor)
class _Connect:
    """One connect by hand: several times as many a second as an endpoint makes, and it knows why one failed."""

    def __init__(self, reactor: Any, target: tuple[str, int], timeout: float):
        self._reactor = reactor
        self._target = target
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._timer: Any = None
        self._begun = reactor.seconds()
        self._done: Deferred[ProbeResult] = Deferred(lambda _: self._end(None, "cancelled"))

    def begin(self) -> "Deferred[ProbeResult]":
        address, port = self._target
        try:
            family, there = socket_address(address, port)
            self._socket = socket.socket(family, socket.SOCK_STREAM)
            self._socket.setblocking(False)
            code = self._socket.connect_ex(there)
        except (OSError, OverflowError, ValueError) as error:
            code = code_of(error)
        if code == errno.EINPROGRESS:
            self._reactor.addWriter(self)
            self._timer = self._reactor.callLater(self._timeout, self._late)
        else:
            self._found(code)
        return self._done

    def fileno(self) -> int:
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        return "tcp-probe"

    def doWrite(self) -> None:
        self._look()

    def connectionLost(self, reason: Failure) -> None:
        self._look()

    def _late(self) -> None:
        """The time is up; an answer that is there counts, since it was this process that did not come to read it."""
        waiting = select.poll()
        waiting.register(self, select.POLLOUT)
        if waiting.poll(0):
            self._look()
        else:
            self._end(False, "timeout")

    def _look(self) -> None:
        if self._socket is not None:
            self._found(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _found(self, code: int) -> None:
        self._end(*outcome(code))

    def _end(self, ok: bool | None, reason: str) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._socket is not None:
            self._reactor.removeWriter(self)
            self._socket.close()
            self._socket = None
        if self._done.called:
            return
        now = self._reactor.seconds()
        address, port = self._target
        name = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        self._done.callback(ProbeResult(name, "tcp", ok, now, rtt=now - self._begun if ok else None, reason=reason))
