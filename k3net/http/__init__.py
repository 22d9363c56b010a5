"""`fetch`: the one way out by HTTP, with one deadline and one cap for all of it.

Twisted's Agent asks and treq collects. treq's client is left out: it keeps cookies, offers and unpacks gzip, and cannot
ask an IPv6 address (hyperlink takes it for a name to encode).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import msgspec
from treq.content import collect
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from k3net.errors import K3netError
from k3net.http.wire import Body, Watching, Wire, connect_word, tls_word

_HEADERS_ALLOWANCE = 1 << 16


class FetchError(K3netError):
    """A request that brought no answer: `url`, and in `reason` why."""

    def __init__(self, url: str, reason: str):
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class ConnectFailed(FetchError):
    """No connection; `reason` is refused, timeout, unreachable, unknown host, `TLS: ...`, or the system's word."""


class NotHTTP(FetchError):
    """A connection, but nothing HTTP came over it; `reason` is silent, closed or another protocol."""


class TimedOut(FetchError):
    """HTTP that did not end in time."""


class TooLarge(FetchError):
    """More bytes than were allowed."""


class BrokenAnswer(FetchError):
    """HTTP that ended early, is malformed, or is not the JSON that was expected."""


@dataclass(frozen=True)
class Response:
    """What came back; `local` is this machine's address on the connection that brought it, `version` HTTP's."""

    url: str
    status: int
    headers: Headers
    body: bytes
    local: str = ""
    version: str = ""

    def json(self, shape: Any = Any) -> Any:
        """The body in the type `shape`, as msgspec reads it; BrokenAnswer when it does not fit."""
        try:
            return msgspec.json.decode(self.body, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BrokenAnswer(self.url, f"not the JSON expected: {error}") from None


def fetch(
    reactor: Any,
    method: str,
    url: str,
    *,
    headers: "Mapping[str, str | list[str]] | None" = None,
    data: "bytes | None" = None,
    timeout: float = 5.0,
    max_bytes: int = 1 << 20,
    tls: "Callable[[str], Any] | None" = None,
    address: str = "",
    reached: "Callable[[str, Any], None]" = lambda moment, transport: None,
) -> "Deferred[Response]":
    """Ask once: no redirects, no proxy, no compression, no cookies, no connection kept.

    `timeout` seconds cover connecting, asking and the whole body of at most `max_bytes`. Any status is a Response;
    otherwise the Deferred fails with a FetchError, and the connection is closed. A name in the URL is resolved, an
    address is not. Only with `tls` may it be an https URL: `tls(host)` gives what `wrapClientTLS` takes.
    With `address` that is asked, whatever the URL's host resolves to. `reached(moment, transport)` is told when the
    connection is `connected`, with TLS `secured`, and when the first of the answer has come (`answered`).
    """
    attempt = _Attempt(reactor, url, timeout, max_bytes, tls, address, reached)
    result: Deferred[Response] = maybeDeferred(attempt.ask, method, headers or {}, data)
    result.addCallback(attempt.read)
    result.addTimeout(timeout, reactor, attempt.late)
    return result.addErrback(attempt.failed)


class _Encoded(Exception):
    pass


class _Full(Exception):
    pass


@implementer(IAgentEndpointFactory, IStreamClientEndpoint)
class _Attempt:
    """One connection to where the URL says, and what is known of it when it fails."""

    def __init__(
        self,
        reactor: Any,
        url: str,
        timeout: float,
        max_bytes: int,
        tls: "Callable[[str], Any] | None",
        address: str,
        reached: "Callable[[str, Any], None]",
    ):
        self._reactor = reactor
        self._url = url
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._tls = tls
        self._address = address
        self._reached = reached
        self._endpoint: Any = None
        self._wire: Wire | None = None
        self._late = False
        self.full = False

    def ask(self, method: str, headers: "Mapping[str, str | list[str]]", data: "bytes | None") -> Any:
        sent = Headers(
            {
                "Accept-Encoding": ["identity"],
                **{name: [value] if isinstance(value, str) else value for name, value in headers.items()},
            }
        )
        body: Any = None if data is None else Body(data)
        agent = Agent.usingEndpointFactory(self._reactor, self)
        return agent.request(method.encode("ascii"), self._url.encode("ascii"), sent, body)

    def endpointForURI(self, uri: URI) -> "_Attempt":
        host = uri.host.decode("ascii")
        secure = uri.scheme == b"https" and self._tls is not None
        if not (secure or uri.scheme == b"http") or not host or (":" in host and not isIPv6Address(host)):
            raise ValueError("expected http://host:port/path")
        there = self._address or host
        if isIPAddress(there):
            self._endpoint = TCP4ClientEndpoint(self._reactor, there, uri.port, timeout=self._timeout)
        elif isIPv6Address(there.partition("%")[0]):
            self._endpoint = TCP6ClientEndpoint(self._reactor, there, uri.port, timeout=self._timeout)
        else:
            self._endpoint = HostnameEndpoint(self._reactor, there, uri.port, timeout=self._timeout)
        if secure:
            self._endpoint = wrapClientTLS(self._tls(host), self._endpoint)  # type: ignore[misc]
        return self

    def connect(self, factory: Any) -> Any:
        def connected(wire: Wire) -> Any:
            self._wire = wire
            return wire.wrappedProtocol

        watching = Watching(factory)
        watching.allowance = 2 * self._max_bytes + _HEADERS_ALLOWANCE
        watching.reached = self._reached
        return self._endpoint.connect(watching).addCallback(connected)

    def read(self, response: Any) -> "Deferred[Response]":
        for coding in response.headers.getRawHeaders("Content-Encoding", []):
            if coding.strip().lower() not in ("", "identity"):
                raise _Encoded(coding)
        body = BytesIO()

        def take(data: bytes) -> None:
            if body.tell() + len(data) > self._max_bytes:
                raise _Full
            body.write(data)

        local = self._wire.transport.getHost().host if self._wire is not None else ""

        def answer(_: Any) -> Response:
            if self._tls is not None:
                self.hang_up()  # a goodbye in TLS would wait for the other side's
            version = ".".join(map(str, response.version[1:]))
            return Response(self._url, response.code, response.headers, body.getvalue(), local, version)

        return collect(response, take).addCallback(answer)

    def hang_up(self) -> None:
        if self._wire is not None:
            self._wire.abort()

    def late(self, failure: Any, _timeout: float) -> Failure:
        self._late = True
        return failure

    def failed(self, failure: Failure) -> Any:
        """Close the connection; one error out of all that Twisted and treq may say."""
        self.hang_up()
        error = self._error(failure)
        if error is None:
            return failure
        raise error from None

    def _error(self, failure: Any) -> "FetchError | None":
        wire, url = self._wire, self._url
        if wire is None:
            if self._late:
                return ConnectFailed(url, "timeout")
            word = connect_word(failure)
            return ConnectFailed(url, word) if word else None
        if failure.check(_Full) or wire.full:
            return TooLarge(url, f"more than {self._max_bytes} bytes")
        broken = tls_word(failure)
        if broken:
            return ConnectFailed(url, broken)
        if not wire.speaks_http:
            return NotHTTP(url, "another protocol" if wire.heard else "silent" if self._late else "closed")
        if self._late:
            return TimedOut(url, f"no whole answer within {self._timeout:g} s")
        if failure.check(_Encoded):
            return BrokenAnswer(url, f"an encoding that was not asked for: {failure.value.args[0]!r}")
        reasons = getattr(failure.value, "reasons", None)
        return BrokenAnswer(url, (reasons[0] if reasons else failure).type.__name__)
