"""Who may ask: tokens, a rate per address, and on loopback nobody whom a browser was tricked into asking for."""

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from k3net.errors import Forbidden, TooManyRequests, Unauthorized
from k3net.model.token_line import words_of
from k3net.web.request import Request
from k3net.web.token_files import NO_FILE, TokenFiles, shown


class Tokens:
    """Lets in who bears a token of the files: one a line, `#` begins a comment, several are valid at once.

    A token of which more is said in its line (what it may, whom it speaks for) is one of another API, and none here.
    A file that changes is read again within a second; one that cannot be read lets nobody in and is told in `error`.
    """

    asks = "a token of api.token_files"
    refuses = (Unauthorized,)

    def __init__(self, clock: Any, paths: Sequence[str]):
        self._files = TokenFiles(clock, paths, _alone)
        self._none = not paths

    def __call__(self, request: Request) -> None:
        token = shown(request)
        if token is None or not self.knows(token):
            raise Unauthorized("a valid bearer token is needed")

    def knows(self, token: bytes) -> bool:
        """Whether it is one of them."""
        return bool(self._files.meanings(token))

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        return NO_FILE if self._none else self._files.error


def _alone(line: bytes) -> "tuple[bytes, None]":
    words = words_of(line)
    return (words[0] if len(words) == 1 else b""), None


class RateLimit:
    """A token bucket for each of the last `addresses` addresses: `rate` requests a second, `burst` at once."""

    refuses = (TooManyRequests,)

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


class LoopbackHost:
    """Refuses a request by another name than localhost: a web page whose name was rebound to 127.0.0.1 sends that."""

    refuses = (Forbidden,)

    def __call__(self, request: Request) -> None:
        names = request.requestHeaders.getRawHeaders(b"Host")
        if names and not _is_loopback_name(names[0].decode("latin-1")):
            raise Forbidden("this listener answers to localhost only")


loopback_host = LoopbackHost()


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
