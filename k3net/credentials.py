"""What a client shows to a server: a token and certificates, read anew from their files when these change."""

import os
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from k3net.errors import K3netError

T = TypeVar("T")
_LARGEST = 1 << 20


class BadSecret(K3netError):
    """A file that is to hold a token or a certificate does not."""


class Token:
    """The token of each request: the one given, else the first of the file `path`, else "".

    One token a line, `#` begins a comment; BadSecret when there is none in the file.
    """

    def __init__(self, given: str = "", path: str = ""):
        self._given = given
        self._file = _Followed([path], _first_token)
        self._path = path

    def __call__(self) -> str:
        return self._file.value() if self._path and not self._given else _checked(self._given)

    def __repr__(self) -> str:
        return "Token(***)"


class Trust:
    """How https is spoken: `ca_file` "" trusts what this machine trusts; the client's certificate is optional.

    Called with the host that is to be asked; BadSecret when a file cannot be used.
    """

    def __init__(self, ca_file: str = "", cert_file: str = "", key_file: str = ""):
        paths = [ca_file, *((cert_file, key_file) if cert_file else ())]
        self._files = _Followed(paths, _certificates)

    def __call__(self, host: str) -> Any:
        from twisted.internet.ssl import optionsForClientTLS  # OpenSSL is for those who speak https

        authorities, certificate = self._files.value()
        return optionsForClientTLS(host, trustRoot=authorities, clientCertificate=certificate)


class _Followed(Generic[T]):
    """What `read(contents)` makes of these files (None for ""), made anew when one of them has changed."""

    def __init__(self, paths: list[str], read: "Callable[..., T]"):
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
    lines = (line.strip() for line in contents.splitlines())
    token = next((line for line in lines if line and not line.startswith(b"#")), b"")
    if not token:
        raise ValueError("no token in it")
    return _checked(token.decode("utf-8", "replace"))


def _checked(token: str) -> str:
    if token and not re.fullmatch(r"[\x21-\x7e]+", token):
        raise BadSecret("the token is not printable ASCII without spaces")
    return token


def _certificates(ca: "bytes | None", certificate: "bytes | None" = None, key: "bytes | None" = None) -> Any:
    from OpenSSL.crypto import Error
    from twisted.internet.ssl import Certificate, PrivateCertificate, trustRootFromCertificates

    try:
        blocks = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", ca or b"", re.DOTALL)
        if ca is not None and not blocks:
            raise ValueError("no certificate in the CA file")
        authorities = trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks]) if blocks else None
        own = None if certificate is None else PrivateCertificate.loadPEM(certificate + b"\n" + (key or b""))
    except Error as error:
        raise ValueError(f"not a PEM certificate or key: {error}") from None
    return authorities, own
