"""Who may ask: tokens, a rate per address, and on loopback nobody whom a browser was tricked into asking for."""

import hashlib
import hmac
import ipaddress
import os
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from k3net.errors import Forbidden, TooManyRequests, Unauthorized
from k3net.web.request import Request

MAX_TOKEN_FILE = 1 << 16


class Tokens:
    """Lets in who bears a token of the files: one a line, `#` begins a comment, several are valid at once.

    A file that changes is read again within a second; one that cannot be read lets nobody in and is told in `error`.
    """

    def __init__(self, clock: Any, paths: Sequence[str]):
        self._clock = clock
        self._paths = tuple(paths)
        self._looked_at: float | None = None
        self._seen: dict[str, object] = {}
        self._digests: dict[str, list[bytes]] = {}
        self._errors: dict[str, str] = {}

    def __call__(self, request: Request) -> None:
        scheme, _, token = (request.requestHeaders.getRawHeaders(b"Authorization") or [b""])[0].partition(b" ")
        if scheme.lower() != b"bearer" or not self.knows(token.strip()):
            raise Unauthorized("a valid bearer token is needed")

    def knows(self, token: bytes) -> bool:
        """Whether it is one of them."""
        digest = hashlib.sha256(token).digest()
        self._refresh()
        known = [one for digests in self._digests.values() for one in digests]
        return bool(sum(hmac.compare_digest(digest, one) for one in known))

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        self._refresh()
        if not self._paths:
            return "no token file is configured: nobody is let in"
        return "; ".join(self._errors.values())

    def _refresh(self) -> None:
        now = self._clock.seconds()
        if self._looked_at is not None and 0 <= now - self._looked_at < 1:
            return
        self._looked_at = now
        for path in self._paths:
            self._look_at(path)

    def _look_at(self, path: str) -> None:
        try:
            stat = os.stat(path)
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if self._seen.get(path) == seen:
                return
            self._digests[path] = _read_digests(path)
        except OSError as error:
            self._digests[path] = []
            self._seen.pop(path, None)
            self._errors[path] = f"{path}: {error.strerror}"
            return
        self._seen[path] = seen
        self._errors.pop(path, None)
        if not self._digests[path]:
            self._errors[path] = f"{path}: no token in it"


def _read_digests(path: str) -> "list[bytes]":
    with open(path, "rb") as file:
        lines = file.read(MAX_TOKEN_FILE).splitlines()
    tokens = (line.strip() for line in lines)
    return [hashlib.sha256(token).digest() for token in tokens if token and not token.startswith(b"#")]


class RateLimit:
    """A token bucket for each of the last `addresses` addresses: `rate` requests a second, `burst` at once."""

    def __init__(self, clock: Any, *, rate: float = 50.0, burst: float = 100.0, addresses: int = 4096):
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._limit = addresses
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __call__(self, request: Request) -> None:
        if not self.admits(request.peer):
            raise TooManyRequests(f"at most {self._rate:g} requests a second")

    def admits(self, address: str) -> bool:
        """Take one request out of the bucket of `address`, if it holds one."""
        now = self._clock.seconds()
        level, at = self._buckets.pop(address, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - at) * self._rate)
        admitted = level >= 1
        self._buckets[address] = (level - 1 if admitted else level, now)
        if len(self._buckets) > self._limit:
            self._buckets.popitem(last=False)
        return admitted


def loopback_host(request: Request) -> None:
    """Refuse a request by another name than localhost: a web page whose name was rebound to 127.0.0.1 sends its own."""
    names = request.requestHeaders.getRawHeaders(b"Host")
    if names and not _is_loopback_name(names[0].decode("latin-1")):
        raise Forbidden("this listener answers to localhost only")


def _is_loopback_name(host: str) -> bool:
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    if port and not (port.isascii() and port.isdigit()):
        return False
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
