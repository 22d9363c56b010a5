"""One request: found in the table, its body capped, its answer written."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web import http
from zope.interface import implementer

from k3net.errors import BadRequest, RequestError
from k3net.web.resource import (
    JSON,
    JSON_TYPE,
    NO_BODY_LIMIT,
    BodyTooLarge,
    InternalError,
    JSONPieces,
    JSONStream,
    RequestView,
    Route,
    Text,
    as_request_error,
    decode_query,
    refusal,
)

ENCODER = msgspec.json.Encoder(decimal_format="number")  # a stored number that no float holds is one here too
CHUNK = 1 << 16
SERVER = b"k3net"


class Request(http.Request):
    """Asks the site's table who answers; a client that has gone away is nobody's error."""

    channel: Any
    content: Any
    route: "Route | None" = None
    limit = NO_BODY_LIMIT
    stream: "Stream | None" = None
    speaks_for: "frozenset[str] | None" = None
    _body: "list[bytes]"
    _received = 0
    _gone = False
    _refused: "RequestError | None" = None

    def begin(self, method: bytes, target: bytes, length: "int | None") -> None:
        """Decide before the body is read: finds the route and its cap. Raises what should end the connection."""
        self.method = method
        self._site = site = self.channel.site
        if len(self.requestHeaders.getRawHeaders(b"Host") or ()) > 1:
            raise BadRequest("more than one Host header")
        missing = None
        try:
            self.route, self._values = site.table.match(method.decode("ascii"), target.split(b"?", 1)[0])
            if self.route.body is not None:
                self.limit = self.route.max_body
        except RequestError as error:
            missing = error
        own = self.route.checks if self.route is not None else None
        for check in site.checks if own is None else own:
            check(self)
        if missing is not None:
            if length != 0:
                raise missing
            self._refused = missing
        if length is not None and length > self.limit:
            raise BodyTooLarge(f"at most {self.limit} bytes")

    @property
    def peer(self) -> str:
        return self.channel.peer

    def gotLength(self, length: "int | None") -> None:
        self._body = []

    def handleContentChunk(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self.limit:
            self.channel.refuse(BodyTooLarge(f"at most {self.limit} bytes"))
        elif not self.channel.refused:
            self._body.append(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """As twisted.web has it, except that no form is parsed: 16 MiB of one take it 1.8 s."""
        self.method, self.uri, self.clientproto = command, path, version
        self.path, _, query = path.partition(b"?")
        self.args = http.parse_qs(query, True)
        self.process()

    def process(self) -> None:
        self.setHeader(b"Server", SERVER)
        self.setHeader(b"Date", http.datetimeToString())
        self.setHeader(b"Cache-Control", b"no-store")
        self.setHeader(b"X-Content-Type-Options", b"nosniff")
        maybeDeferred(self._answer).addCallback(self._write).addErrback(self.fail)

    def _answer(self) -> Any:
        if self.route is None:
            raise self._refused or BadRequest("no route")
        view = RequestView(
            method=self.method.decode("ascii"),
            path=self._values,
            query=decode_query(self.args),
            peer=self.peer,
            header=self.getHeader,
            body=self.route.decode(self.getHeader("content-type"), b"".join(self._body)),
            speaks_for=self.speaks_for,
        )
        return self.route.answer(view)

    def _write(self, answer: Any) -> None:
        if self._gone:
            return
        if isinstance(answer, (JSONStream, JSONPieces)):
            self.setHeader(b"Content-Type", JSON_TYPE.encode())
            if isinstance(answer, JSONPieces):
                self.setHeader(b"Content-Length", str(sum(map(len, answer.pieces))).encode())
            if self.method == b"HEAD":
                self.finish()
            else:
                pieces = _pieces(answer) if isinstance(answer, JSONStream) else _joined(answer.pieces)
                self.stream = Stream(self, pieces)
                self.registerProducer(self.stream, True)
                self.stream.resumeProducing()
        elif isinstance(answer, Text):
            body = answer.body.encode() if isinstance(answer.body, str) else answer.body
            self._send(answer.status, answer.content_type, body)
        else:
            wrapped = answer if isinstance(answer, JSON) else JSON(answer)
            for name, value in wrapped.headers.items():
                self.setHeader(name, value)
            self._send(wrapped.status, JSON_TYPE, ENCODER.encode(wrapped.value))

    def _send(self, status: int, content_type: str, body: bytes) -> None:
        self.setResponseCode(status, HTTPStatus(status).phrase.encode())
        self.setHeader("Content-Type", content_type)
        self.setHeader("Content-Length", str(len(body)))
        self.write(body)
        self.finish()

    def fail(self, failure: Failure) -> None:
        """Answer with the error; half an answer is cut off, so that nobody takes it for a whole one."""
        error = as_request_error(failure.value)  # type: ignore[arg-type]
        if isinstance(error, InternalError):
            self._site.logger.failure("{method} {path!r} failed", failure=failure, method=self.method, path=self.path)
        if self._gone:
            return
        if self.startedWriting:
            self.channel.abort()
            return
        answer = refusal(error)
        for name, value in answer.headers.items():
            self.setHeader(name, value)
        self._send(answer.status, answer.headers["Content-Type"], answer.body)

    def connectionLost(self, reason: Failure) -> None:
        self._gone = True
        if self.stream is not None:
            self.stream.stopProducing()
        super().connectionLost(reason)


@implementer(IPushProducer)
class Stream:
    """Sends a large document in pieces, one per turn of the reactor, while the client takes them."""

    def __init__(self, request: Request, pieces: Iterator[bytes]):
        self._request = request
        self._call_later = request.channel.site.clock.callLater
        self._pieces = pieces
        self._call: Any = None
        self._ended = False

    def resumeProducing(self) -> None:
        if self._call is None and not self._ended:
            self._call = self._call_later(0, self._produce)

    def pauseProducing(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def stopProducing(self) -> None:
        self.pauseProducing()
        self._ended = True

    def _produce(self) -> None:
        self._call = None
        try:
            piece = next(self._pieces, None)
        except Exception:
            self._ended = True
            self._request.fail(Failure())
            return
        if piece is None:
            self._ended = True
            self._request.unregisterProducer()
            self._request.finish()
            return
        self.resumeProducing()
        self._request.write(piece)


def _joined(pieces: Sequence[bytes]) -> Iterator[bytes]:
    """The same in pieces of 64 KiB or more."""
    small: list[bytes] = []
    size = 0
    for piece in pieces:
        small.append(piece)
        size += len(piece)
        if size >= CHUNK:
            yield b"".join(small)
            small, size = [], 0
    if small:
        yield b"".join(small)


def _pieces(answer: JSONStream) -> Iterator[bytes]:
    """Of about 64 KiB, encoded one after the other."""
    buffer = bytearray(answer.prefix)
    encode = ENCODER.encode
    for index, item in enumerate(answer.items):
        if index:
            buffer += b","
        buffer += encode(item)
        if len(buffer) >= CHUNK:
            yield bytes(buffer)
            buffer.clear()
    buffer += answer.suffix
    yield bytes(buffer)
