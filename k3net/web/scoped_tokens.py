"""Tokens that may do some things and not others."""

from collections.abc import Sequence
from typing import Any

from k3net.errors import Forbidden, TooManyRequests, Unauthorized
from k3net.model.token_line import words_of
from k3net.web.access import RateLimit
from k3net.web.request import Request
from k3net.web.token_files import NO_FILE, TokenFiles, shown

READ, WRITE, INTERNAL = "read", "write", "internal"


class ScopedTokens:
    """Tokens of files: a line is `TOKEN`, which has all of `scopes`, or `TOKEN SCOPE...`; `#` begins a comment.

    Several are valid at once, and a file that changes is read again at the next request. One that cannot be read, or
    names a scope that is none, lets nobody in and is told in `error`. Who guesses is slowed down, by address.
    """

    def __init__(self, clock: Any, paths: Sequence[str], scopes: Sequence[str] = (READ, WRITE)):
        self._files = TokenFiles(clock, paths, self._read, every=0.0)
        self._none = not paths
        self._scopes = frozenset(scopes)
        self._guesses = RateLimit(clock, rate=1.0, burst=20.0)

    def may(self, scope: str) -> "HasScope":
        """The check of a route."""
        return HasScope(self, scope)

    def check(self, request: Request, scope: str) -> None:
        held = self._held(request)
        if held is None:
            if not self._guesses.admits(request.peer):
                raise TooManyRequests("too many requests without a valid token")
            raise Unauthorized("a valid bearer token is needed")
        if scope not in held:
            raise Forbidden(f"this token has no scope {scope!r}")

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        return NO_FILE if self._none else self._files.error

    def _held(self, request: Request) -> "frozenset[str] | None":
        token = shown(request)
        found = [] if token is None else self._files.meanings(token)
        return found[-1] if found else None

    def _read(self, line: bytes) -> "tuple[bytes, frozenset[str]]":
        token, *words = words_of(line) or [b""]
        scopes = frozenset(word.decode("ascii", "replace") for word in words)
        if not scopes <= self._scopes:
            raise ValueError(f"expected TOKEN, or TOKEN and of {', '.join(sorted(self._scopes))}")
        return token, scopes or self._scopes


class HasScope:
    """401 without a valid token, 403 for one without this scope, 429 for who guesses on."""

    refuses = (Unauthorized, Forbidden, TooManyRequests)

    def __init__(self, tokens: ScopedTokens, scope: str):
        self._tokens = tokens
        self._scope = scope
        self.asks = f"a token with the scope {scope!r}"

    def __call__(self, request: Request) -> None:
        self._tokens.check(request, self._scope)
