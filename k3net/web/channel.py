"""One connection: total deadlines, and refusals that do not wait for the body."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from k3net.errors import BadRequest, RequestError
from k3net.web.request import SERVER, Request
from k3net.web.resource import BodyTooLarge, refusal

DISCARDED_AFTER_REFUSAL = 1 << 20
_LENGTH_DIGITS = 18
_LONG = 4096


class RequestTimeout(RequestError):
    status = 408


class HeadersTooLarge(RequestError):
    status = 431


@dataclass(frozen=True)
class Deadlines:
    """Total seconds, each from its own beginning; bytes that trickle in do not prolong them."""

    headers: float = 5.0
    body: float = 30.0
    answer: float = 120.0
    idle: float = 30.0
    linger: float = 2.0


@implementer(IHalfCloseableProtocol)
class Channel(http.HTTPChannel):
    """HTTP/1.1 as twisted.web reads it, ended by `site.deadlines`; errors of the protocol are JSON too."""

    requestFactory = Request
    maxHeaders = 100
    site: Any
    transport: Any
    peer = ""
    refused = False
    closing = False
    _timer: Any = None
    _idle = False
    _dropped = 0

    @property
    def answering(self) -> bool:
        return self._handlingRequest

    def connectionMade(self) -> None:
        super().connectionMade()
        self._arm(self.site.deadlines.headers, self._headers_late)

    def dataReceived(self, data: bytes) -> None:
        if self.refused:
            self._drop(data)
            return
        if self._idle:
            self._idle = False
            self._arm(self.site.deadlines.headers, self._headers_late)
        if len(data) > _LONG and self.line_mode and (end := data.find(b"\r\n\r\n") + 4) > 3:
            super().dataReceived(data[:end])  # else each line of the head is cut off the whole of it
            self._after_head(data[end:])
        else:
            super().dataReceived(data)

    def _after_head(self, data: bytes) -> None:
        if self.refused:
            self._drop(data)
        elif data:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if not self.refused:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        if self.refused:
            self._drop(data)
        else:
            super().rawDataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length" and len(value.strip()) > _LENGTH_DIGITS:
            self.refuse(BodyTooLarge("no body is that long"))
            return False
        if b"\0" in line:
            self.refuse(BadRequest("a header has a NUL"))
            return False
        return bool(super().headerReceived(line))

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(HeadersTooLarge("a line is too long"))

    def allHeadersReceived(self) -> None:
        if self.refused:
            return
        try:
            self.requests[-1].begin(self._command, self._path, self.length)
        except RequestError as error:
            self.refuse(error)
            return
        self._idle = False
        super().allHeadersReceived()
        self._arm(self.site.deadlines.body, self._body_late)

    def allContentReceived(self) -> None:
        if not self.refused:
            self._arm(self.site.deadlines.answer, self.abort)
            super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        if self.closing:
            self.persistent = False
        self._idle = True
        self._arm(self.site.deadlines.idle, self.close if self.persistent else self.abort)
        super().requestDone(request)

    def refuse(self, error: RequestError) -> None:
        """Answer now and end our half; what still comes is dropped for a moment, so that the answer arrives.

        RFC 9112 section 9.6.
        """
        if self.refused:
            return
        self.refused = True
        answer = refusal(error)
        head = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", f"Server: {SERVER.decode()}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        head += [f"Content-Length: {len(answer.body)}", "Connection: close", "", ""]
        body = b"" if self.requests and self.requests[-1].method == b"HEAD" else answer.body
        self._networkProducer.unregisterProducer()
        self.transport.write("\r\n".join(head).encode("latin-1") + body)
        self.transport.loseWriteConnection()
        self._arm(self.site.deadlines.linger, self.abort)

    def close(self) -> None:
        """End the connection, politely at first."""
        self._arm(self.site.deadlines.linger, self.abort)
        self.loseConnection()

    def readConnectionLost(self) -> None:
        """The client has sent all it will send: what it asked for is still answered."""
        self.closing = True
        if not self.answering:
            self.close()

    def writeConnectionLost(self) -> None:
        """Our half is closed; the client's FIN or the deadline ends the rest."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.site.forget(self)
        super().connectionLost(reason)

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self.refuse(HeadersTooLarge("the headers are too long"))
        else:
            self.refuse(BadRequest("not an HTTP request"))

    def _headers_late(self) -> None:
        self.refuse(RequestTimeout("the headers took too long"))

    def _body_late(self) -> None:
        self.refuse(RequestTimeout("the body took too long"))

    def abort(self) -> None:
        self.transport.abortConnection()

    def _drop(self, data: bytes) -> None:
        self._dropped += len(data)
        if self._dropped > DISCARDED_AFTER_REFUSAL:
            self.abort()

    def _arm(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.site.clock.callLater(seconds, self._ring, then)

    def _ring(self, then: Callable[[], None]) -> None:
        self._timer = None
        then()
