"""What is shown to the other side, a token or certificates, read anew from their files when these change."""

import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from zope.interface import implementer

from k3net.errors import K3netError
from k3net.model.token_line import first_token

T = TypeVar("T")
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_LARGEST = 1 << 20


class BadSecret(K3netError):
    """A file that is to hold a token or a certificate does not."""


class Token:
    """The token of each request: the one given, else the first of the file `path`, else "".

    One token a line, and what else is in the line is for others; BadSecret when there is none in the file.
    """

    def __init__(self, given: str = "", path: str = ""):
        self._given = given
        self._file = Followed([path], _first_token)
        self._path = path

    def __call__(self) -> str:
        if self._path and not self._given:
            return self._file.value()
        try:
            return _checked(self._given)
        except ValueError as error:
            raise BadSecret(str(error)) from None

    def __repr__(self) -> str:
        return "Token(***)"


class Trust:
    """How https is spoken: `ca_file` "" trusts what this machine trusts; the client's certificate is optional.

    Called with the host that is to be asked; BadSecret when a file cannot be used. With a `server_name` the server's
    certificate is to be for that, whatever the host.
    """

    def __init__(self, ca_file: str = "", cert_file: str = "", key_file: str = "", *, server_name: str = ""):
        paths = [ca_file, *((cert_file, key_file) if cert_file else ())]
        self._files = Followed(paths, partial(client_tls, server_name=server_name))

    def __call__(self, host: str) -> Any:
        return self._files.value()(host)


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """How a listener speaks TLS by these PEM files; with a `ca_file` only to clients that show a certificate of its.

    BadSecret from `check()` when a file cannot be used; a file that changes counts from the next connection on, and
    one that then cannot be used leaves things as they were.
    """

    def __init__(self, cert_file: str, key_file: str, ca_file: str = ""):
        self.asks_for_certificate = bool(ca_file)
        self._files = Followed([cert_file, key_file, ca_file], server_tls)
        self._last: Any = None

    def check(self) -> None:
        self._last = self._files.value()

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        from OpenSSL.SSL import Connection

        try:
            self.check()
        except BadSecret:
            if self._last is None:
                raise
        return Connection(self._last.getContext(), None)


class Followed(Generic[T]):
    """What `read(contents)` makes of these files (None for ""), made anew when one of them has changed.

    BadSecret when a file cannot be read, or `read` raises ValueError.
    """

    def __init__(self, paths: Sequence[str], read: "Callable[..., T]"):
        self._paths = paths
        self._read = read
        self._seen: Any = None
        self._value: Any = None

    def value(self) -> T:
        try:
            stats = [os.stat(path) if path else None for path in self._paths]
            seen = [stat and (stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats]
            if seen != self._seen:
                self._value = self._read(*[_contents(path) if path else None for path in self._paths])
                self._seen = seen
        except OSError as error:
            raise BadSecret(f"{error.filename}: {error.strerror}") from None
        except ValueError as error:
            raise BadSecret(f"{', '.join(filter(None, self._paths))}: {error}") from None
        return self._value


def _contents(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_LARGEST)


def _first_token(contents: bytes) -> str:
    token = first_token(contents).decode("utf-8", "replace")
    if not token:
        raise ValueError("no token in it")
    return _checked(token)


def _checked(token: str) -> str:
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise ValueError("the token is not printable ASCII without spaces")
    return token


def client_tls(
    ca: "bytes | None" = None,
    certificate: "bytes | None" = None,
    key: "bytes | None" = None,
    *,
    server_name: str = "",
    verify: bool = True,
) -> "Callable[[str], Any]":
    """What `k3net.http.fetch` takes as `tls`; ValueError says what is wrong, and quotes nothing.

    Without `ca` the server is believed by what this machine trusts; `certificate` may be followed by those that link
    it to its authority. The server's certificate is to be for `server_name`, or the host of the URL when that is "".
    """
    from twisted.internet.ssl import (  # OpenSSL is for those who speak https
        Certificate,
        PrivateCertificate,
        optionsForClientTLS,
        trustRootFromCertificates,
    )

    authorities = None
    if ca is not None:
        authorities = trustRootFromCertificates([Certificate.loadPEM(pem) for pem in _certificates(ca, "CA file")])
    own, options = None, {}
    if certificate is not None:
        first, *chain = _certificates(certificate, "client's certificate")
        _check_key(first, key or b"")
        own = PrivateCertificate.loadPEM(first + b"\n" + (key or b""))
        options = {"extraCertChain": [Certificate.loadPEM(pem).original for pem in chain]} if chain else {}
    if not verify:
        return lambda host: _Unverified(server_name or host, own, options)
    return lambda host: optionsForClientTLS(
        server_name or host, trustRoot=authorities, clientCertificate=own, extraCertificateOptions=options
    )


def server_tls(certificate: "bytes | None", key: "bytes | None", ca: "bytes | None" = None) -> Any:
    """Twisted's CertificateOptions of a server; ValueError says what is wrong. With `ca` clients must be of its."""
    from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, trustRootFromCertificates

    first, *chain = _certificates(certificate or b"", "certificate file")
    _check_key(first, key or b"")
    own = PrivateCertificate.loadPEM(first + b"\n" + (key or b""))
    trusted = None
    if ca is not None:
        trusted = trustRootFromCertificates([Certificate.loadPEM(pem) for pem in _certificates(ca, "CA file")])
    return CertificateOptions(
        privateKey=own.privateKey.original,
        certificate=own.original,
        extraCertChain=[Certificate.loadPEM(pem).original for pem in chain] or None,
        trustRoot=trusted,
    )


def _certificates(pem: bytes, what: str) -> "list[bytes]":
    from cryptography.x509 import load_pem_x509_certificate

    found = _CERTIFICATE.findall(pem)
    if not found:
        raise ValueError(f"no certificate in the {what}")
    try:
        for one in found:
            load_pem_x509_certificate(one).public_key()
    except Exception:  # the parser has errors of several kinds
        raise ValueError(f"not a PEM certificate in the {what}") from None
    return found


def _check_key(certificate: bytes, key: bytes) -> None:
    """A key with a passphrase must not get to OpenSSL, which would ask the terminal for it."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise ValueError("the key is protected by a passphrase") from None
    except Exception:  # the parser has errors of several kinds
        raise ValueError("not a PEM key") from None
    if private.public_key() != load_pem_x509_certificate(certificate).public_key():
        raise ValueError("the key is not that of its certificate")


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Believes any server."""

    def __init__(self, host: str, own: Any, options: "dict[str, Any]"):
        from twisted.internet.ssl import CertificateOptions

        if own is not None:
            options = {**options, "privateKey": own.privateKey.original, "certificate": own.original}
        self._host = host
        self._context = CertificateOptions(verify=False, **options).getContext()

    def clientConnectionForTLS(self, _protocol: Any) -> Any:
        from OpenSSL.SSL import Connection

        connection = Connection(self._context, None)
        if not re.fullmatch(r"[0-9.]+|.*:.*", self._host):
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection
