"""The tokens of agents: shared by a fleet, or bound to the addresses that one agent speaks for."""

import hashlib
import os
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from k3net.errors import Unauthorized
from k3net.web.access import MAX_TOKEN_FILE, Tokens
from k3net.web.request import Request

_REFRESH = 1.0


class SourceTokens:
    """Lets in who bears a token of the files, or one that `also` knows, and tells the request whom it speaks for.

    A line is `TOKEN`, good for every source, or `TOKEN ADDRESS...`, good for those sources only; `#` begins a comment.
    Files are read again within a second of a change; one that cannot be read lets nobody in and is told in `error`.
    """

    def __init__(self, clock: Any, paths: Sequence[str], also: Tokens):
        self._clock = clock
        self._paths = tuple(paths)
        self._also = also
        self._looked_at = float("-inf")
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._bound: dict[str, dict[bytes, frozenset[str] | None]] = {}
        self._errors: dict[str, str] = {}

    def __call__(self, request: Request) -> None:
        scheme, _, token = (request.requestHeaders.getRawHeaders(b"Authorization") or [b""])[0].partition(b" ")
        token = token.strip()
        if scheme.lower() != b"bearer":
            raise Unauthorized("a valid bearer token is needed")
        self._refresh()
        digest = hashlib.sha256(token).digest()
        for bound in self._bound.values():
            if digest in bound:
                request.speaks_for = bound[digest]
                return
        if not self._also.knows(token):
            raise Unauthorized("a valid bearer token is needed")

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        self._refresh()
        return "; ".join(self._errors.values())

    def _refresh(self) -> None:
        now = self._clock.seconds()
        if 0 <= now - self._looked_at < _REFRESH:
            return
        self._looked_at = now
        for path in self._paths:
            try:
                stat = os.stat(path)
                seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
                if self._seen.get(path) != seen:
                    self._bound[path] = _read(path)
                    self._seen[path] = seen
                    self._errors.pop(path, None)
            except (OSError, ValueError) as error:
                self._bound[path] = {}
                self._seen.pop(path, None)
                self._errors[path] = f"{path}: {getattr(error, 'strerror', None) or error}"


def _read(path: str) -> "dict[bytes, frozenset[str] | None]":
    """The digest of each token, and the addresses it is bound to, as their owners write them; ValueError."""
    with open(path, "rb") as file:
        lines = file.read(16 * MAX_TOKEN_FILE).splitlines()
    found: dict[bytes, frozenset[str] | None] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition(b"#")[0].split()
        if not words:
            continue
        try:
            addresses = frozenset(str(ip_address(word.decode("ascii"))) for word in words[1:])
        except ValueError:
            raise ValueError(f"line {number}: expected TOKEN, or TOKEN and IP addresses") from None
        found[hashlib.sha256(words[0]).digest()] = addresses or None
    if not found:
        raise ValueError("no token in it")
    return found
