"""What `fetch` puts between a connection and Twisted's HTTP client, and the words for what went wrong."""

from collections.abc import Callable
from typing import Any

from twisted.internet import error as net
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IHandshakeListener
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

MAGIC = b"HTTP/"


def connect_word(failure: Failure) -> str:
    """Why there is no connection; "" when it was something else."""
    if failure.check(net.ConnectionRefusedError):
        return "refused"
    if failure.check(net.TimeoutError, net.TCPTimedOutError):
        return "timeout"
    if failure.check(net.NoRouteError):
        return "unreachable"
    if failure.check(net.DNSLookupError):
        return "unknown host"
    if failure.check(net.ConnectError):
        return str(failure.value)
    if failure.check(ValueError):
        return f"not a URL for this: {failure.value}"
    return ""


def tls_word(failure: Any) -> str:
    """Why TLS failed; "" when it was not TLS. What it raises is known by its home, so that http needs no OpenSSL."""
    for reason in (failure, *getattr(failure.value, "reasons", ())):
        home = type(reason.value).__module__.partition(".")[0]
        if home == "service_identity":
            return "TLS: the certificate is another host's"
        if home == "OpenSSL":
            parts = reason.value.args[0] if reason.value.args else ()
            words = [entry[-1] for entry in parts if isinstance(entry, tuple) and entry] if parts else []
            return f"TLS: {', '.join(map(str, words)) or 'the connection was closed'}"
    return ""


@implementer(IBodyProducer)
class Body:
    """A body that is there already."""

    def __init__(self, data: bytes):
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> "Deferred[None]":
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All of it has been written."""

    resumeProducing = stopProducing = pauseProducing


@implementer(IHandshakeListener)
class Wire(ProtocolWrapper):
    """Counts what comes in, headers too, and hangs up on what does not begin as HTTP does."""

    factory: Any
    transport: Any
    wrappedProtocol: Any
    heard = b""
    full = False
    _received = 0

    @property
    def speaks_http(self) -> bool:
        return self.heard == MAGIC

    def connectionMade(self) -> None:
        self.factory.reached("connected", self.transport)
        super().connectionMade()

    def handshakeCompleted(self) -> None:
        self.factory.reached("secured", self.transport)

    def dataReceived(self, data: bytes) -> None:
        if not self._received:
            self.factory.reached("answered", self.transport)
        self._received += len(data)
        if len(self.heard) < len(MAGIC):
            self.heard = (self.heard + data)[: len(MAGIC)]
        self.full = self._received > self.factory.allowance
        if self.full or not MAGIC.startswith(self.heard):
            self.abort()
        else:
            super().dataReceived(data)

    def abort(self) -> None:
        self.transport.abortConnection()


class Watching(WrappingFactory):
    """Makes a Wire that takes `allowance` bytes, and tells `reached(moment, transport)`."""

    protocol = Wire
    noisy = False
    allowance = 0
    reached: "Callable[[str, Any], None]"
