"""How etcd is asked: one client, on the endpoint that answered last, and every failure as one readable sentence."""

import os
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlsplit

for _name, _value in {"PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python", "GRPC_VERBOSITY": "NONE"}.items():
    if not os.environ.get(_name):  # etcd3's messages are too old for protobuf's C code; errors are told by ourselves
        os.environ[_name] = _value

import etcd3  # noqa: E402
import grpc  # noqa: E402
from etcd3 import etcdrpc as rpc  # noqa: E402

from k3net.errors import StoreUnavailable  # noqa: E402

_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel inherits the back-off of the one that failed
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", -1),
)
_KEEPALIVE = (  # etcd itself takes a ping each 5 s
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
)
_ROOTS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
_TOO_LARGE = ("request is too large", "larger than max", "too many operations")
_OLD_TOKEN = ("invalid auth token", "revision of auth store is old")
_MEANINGS = {
    "Connection refused": "connection refused; is it running?",
    "lookup failed": "its name has no address",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not from storage.etcd.ca, or has expired",
    "certificate signature failure": "its certificate is not from storage.etcd.ca, or has expired",
    "Hostname Verification Check failed": "its certificate is for another name or address",
    "Handshake read failed": "it does not speak TLS; is its URL http://?",
    "Unwrap failed": "it ends the TLS connection; does it want a (or another) storage.etcd.cert?",
    "Failed to create security handshaker": "storage.etcd.ca, cert and key are no PEM files that go together",
    "Failed parsing HTTP/2": "no etcd answers there, but something else",
    ": Socket closed": "it closes the connection; is its URL https://?",
    "no leader": "no leader; more than half of its cluster must run and reach each other",
    "leader changed": "its cluster has just changed its leader",
    "database space exceeded": "database space exceeded (alarm NOSPACE); compact, defragment, then disarm the alarm",
    "permission denied": "permission denied; give its user readwrite on the prefixes /kubernetes//v1/Node/ and /k3net/",
    "user name is empty": "it asks who we are; set storage.etcd.username and password",
    "invalid user ID or password": "it does not take this storage.etcd.username and password",
    "corrupt cluster": "its data is damaged (alarm CORRUPT); restore the member from the others or a backup",
}
"""What etcd and gRPC say, and what that means; the first that is found counts."""


class TooLarge(StoreUnavailable):
    """etcd would not take it, or the answer would be too long: nothing was done, and less of it may pass."""


class Login(NamedTuple):
    """Who we are: a user, the files of a certificate, or both; "" is none. `ca` is a file, or the system's when ""."""

    username: str = ""
    password: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""


class Endpoint(NamedTuple):
    """One member of the cluster; `text` is its URL as configured."""

    text: str
    host: str
    port: int
    tls: bool

    @classmethod
    def of(cls, text: str) -> "Endpoint":
        parts = urlsplit(text)
        host = parts.hostname or ""
        return cls(text, f"[{host}]" if ":" in host else host, parts.port or 2379, parts.scheme == "https")


class _Failed(Exception):
    """One endpoint did not answer as it should; the text says why."""


class Wire:
    """Transactions to one etcd cluster: the answer or StoreUnavailable, within about `timeout` seconds.

    Connects when first asked, and anew after any error. `hasleader` makes a member that is cut off from its cluster
    say so at once.
    """

    def __init__(self, endpoints: Sequence[str], timeout: float, login: Login):
        self._endpoints = [Endpoint.of(text) for text in endpoints]
        self._timeout = timeout
        self._login = login
        self._at = 0
        self._client: Any = None
        self._metadata: tuple[tuple[str, str], ...] = ()

    def read(self, request: Any) -> Any:
        """The TxnResponse to what changes nothing: of the first endpoint that gives one."""
        failures = {}
        for _ in self._endpoints:
            try:
                return self._ask(request, self._timeout / len(self._endpoints))
            except _Failed as error:
                failures[self._at] = str(error)
                self._go_on()
        raise StoreUnavailable(self._told(failures))

    def write(self, request: Any) -> Any:
        """The TxnResponse of the endpoint that answered last; asked once, for an error may hide that it was done."""
        try:
            return self._ask(request, self._timeout)
        except _Failed as error:
            text = self._told({self._at: str(error)})
            self._go_on()
            raise StoreUnavailable(text) from error

    def each(self, request: Any) -> "Iterator[Any]":
        """What each endpoint says to what changes nothing: a TxnResponse, or the StoreUnavailable that says why not."""
        for at in range(len(self._endpoints)):
            self.close()
            self._at = at
            try:
                yield self._ask(request, self._timeout / len(self._endpoints))
            except _Failed as error:
                yield StoreUnavailable(self._told({at: str(error)}))

    def watch(self, requests: "Iterator[Any]", began: Callable[[Any], None]) -> "Iterator[Any]":
        """Each WatchResponse to these WatchRequests, of another endpoint each time; StoreUnavailable at its end.

        `began(call)` is given what another thread may `cancel()`. A server that falls silent is found out in 15 s.
        """
        self.close()
        self._go_on()
        try:
            self._connect(self._timeout, _KEEPALIVE)
            call = rpc.WatchStub(self._client.channel).Watch(requests, metadata=self._metadata)
            began(call)
            yield from call
            raise _Failed("it ended the watch")
        except (grpc.RpcError, OSError, ValueError, _Failed) as error:
            raise StoreUnavailable(self._told({self._at: _why(error, self._timeout)})) from error
        finally:
            self.close()

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _go_on(self) -> None:
        self._at = (self._at + 1) % len(self._endpoints)

    def _told(self, failures: "dict[int, str]") -> str:
        """By reason, in the order of the configuration, so that the same trouble is always the same text."""
        where: dict[str, list[str]] = {}
        for at in sorted(failures):
            where.setdefault(failures[at], []).append(self._endpoints[at].text)
        return "etcd store " + "; ".join(f"{', '.join(texts)}: {reason}" for reason, texts in where.items())

    def _ask(self, request: Any, timeout: float, *, again: bool = True) -> Any:
        try:
            if self._client is None:
                self._connect(timeout)
            answer = self._client.kvstub.Txn(request, timeout, metadata=self._metadata)
            if not _answers(request, answer):
                raise _Failed("does not answer as etcd 3.3 or newer does")
        except grpc.RpcError as error:
            self.close()
            details = str(error.details())
            if again and any(text in details for text in _OLD_TOKEN):
                return self._ask(request, timeout, again=False)
            reason = _why(error, timeout)
            if any(text in details for text in _TOO_LARGE):
                raise TooLarge(self._told({self._at: reason})) from error
            raise _Failed(reason) from error
        except (OSError, ValueError) as error:  # a file of TLS; a token that no header can carry
            self.close()
            raise _Failed(_why(error, timeout)) from error
        except BaseException:
            self.close()
            raise
        return answer

    def _connect(self, timeout: float, more: "tuple[tuple[str, int], ...]" = ()) -> None:
        endpoint, login = self._endpoints[self._at], self._login
        files: dict[str, Any] = {}
        if endpoint.tls:
            files = {"ca_cert": login.ca or _roots(), "cert_cert": login.cert or None, "cert_key": login.key or None}
        self._client = etcd3.client(
            endpoint.host, endpoint.port, timeout=timeout, grpc_options=_OPTIONS + more, **files
        )
        self._metadata = (("hasleader", "true"),)
        if not (login.username and login.password):
            return
        request = rpc.AuthenticateRequest(name=login.username, password=login.password)
        try:
            token = rpc.AuthStub(self._client.channel).Authenticate(request, timeout, metadata=self._metadata).token
            self._metadata += (("token", token),)
        except grpc.RpcError as error:
            if "authentication is not enabled" not in str(error.details()):  # then nobody is asked, as in Go
                raise


def _answers(request: Any, answer: Any) -> bool:
    """Whether there is a response to each operation that the transaction took, of its kind."""
    asked = request.success if answer.succeeded else request.failure
    return len(asked) == len(answer.responses) and all(map(_responds, asked, answer.responses))


def _responds(op: Any, response: Any) -> bool:
    kind = op.WhichOneof("request")
    if response.WhichOneof("response") != kind.replace("request", "response"):
        return False
    return kind != "request_txn" or _answers(op.request_txn, response.response_txn)


def _roots() -> str:
    usual = [ssl.get_default_verify_paths().cafile, *_ROOTS]
    found = next((path for path in usual if path and os.path.exists(path)), None)
    if found is None:
        raise _Failed("this system has no list of certificate authorities; set storage.etcd.ca")
    return found


def _why(error: Exception, timeout: float) -> str:
    if isinstance(error, grpc.RpcError):
        return _reason(error.code(), str(error.details()), timeout)
    return _one_line(f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error))


def _reason(code: Any, details: str, timeout: float) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"no answer within {timeout:.2g} s"
    known = next((meaning for text, meaning in _MEANINGS.items() if text in details), None)
    last = details.removeprefix("failed to connect to all addresses; last error: ").removeprefix("etcdserver: ")
    return known or _one_line(last) or str(code.name)


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return (text if text.isprintable() else ascii(text))[:300]
