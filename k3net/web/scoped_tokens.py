"""Tokens that may do some things and not others."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Any

from k3net.credentials import BadSecret, Followed
from k3net.errors import Forbidden, TooManyRequests, Unauthorized
from k3net.web.access import RateLimit
from k3net.web.request import Request

READ, WRITE, INTERNAL = "read", "write", "internal"

_Scopes = dict[bytes, frozenset[str]]


class ScopedTokens:
    """Tokens of files: a line is `TOKEN`, which has all of `scopes`, or `TOKEN SCOPE...`; `#` begins a comment.

    Several are valid at once, and a file that changes is read again at the next request. One that cannot be read, or
    names a scope that is none, lets nobody in and is told in `error`. Who guesses is slowed down, by address.
    """

    def __init__(self, clock: Any, paths: Sequence[str], scopes: Sequence[str] = (READ, WRITE)):
        self._files = [Followed([path], self._read) for path in paths]
        self._scopes = frozenset(scopes)
        self._guesses = RateLimit(clock, rate=1.0, burst=20.0)

    def may(self, scope: str) -> Callable[[Request], None]:
        """The check of a route: 401 without a valid token, 403 for one without this scope, 429 for who guesses on."""

        def check(request: Request) -> None:
            held = self._held(request)
            if held is None:
                if not self._guesses.admits(request.peer):
                    raise TooManyRequests("too many requests without a valid token")
                raise Unauthorized("a valid bearer token is needed")
            if scope not in held:
                raise Forbidden(f"this token has no scope {scope!r}")

        return check

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        if not self._files:
            return "no token file is configured: nobody is let in"
        return "; ".join(self._known()[1])

    def _held(self, request: Request) -> "frozenset[str] | None":
        word, _, token = (request.requestHeaders.getRawHeaders(b"Authorization") or [b""])[0].partition(b" ")
        if word.lower() != b"bearer":
            return None
        digest = hashlib.sha256(token.strip()).digest()
        found = None
        for tokens in self._known()[0]:
            for known, scopes in tokens.items():
                if hmac.compare_digest(digest, known):
                    found = scopes
        return found

    def _known(self) -> "tuple[list[_Scopes], list[str]]":
        known, errors = [], []
        for file in self._files:
            try:
                known.append(file.value())
            except BadSecret as error:
                errors.append(str(error))
        return known, errors

    def _read(self, contents: bytes) -> _Scopes:
        found: _Scopes = {}
        for number, line in enumerate(contents.splitlines(), 1):
            token, *words = line.partition(b"#")[0].split() or [b""]
            scopes = frozenset(word.decode("ascii", "replace") for word in words)
            if not scopes <= self._scopes:
                raise ValueError(f"line {number}: expected TOKEN, or TOKEN and of {', '.join(sorted(self._scopes))}")
            if token:
                found[hashlib.sha256(token).digest()] = scopes or self._scopes
        if not found:
            raise ValueError("no token in it")
        return found
