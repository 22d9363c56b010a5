"""The tokens of agents: shared by a fleet, or bound to the addresses that one agent speaks for."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from k3net.errors import Forbidden, Unauthorized
from k3net.model.token_line import words_of
from k3net.web.access import Tokens
from k3net.web.request import Request
from k3net.web.token_files import TokenFiles, shown


class SourceTokens:
    """Lets in who bears a token of the files, or one that `also` knows, and tells the request whom it speaks for.

    A line is `TOKEN`, good for every source, or `TOKEN ADDRESS...`, good for those sources only; `#` begins a comment.
    Files are read again within a second of a change; one that cannot be read lets nobody in and is told in `error`.
    """

    asks = "a token of checker.server.token_files or api.token_files"
    refuses = (Unauthorized, Forbidden)

    def __init__(self, clock: Any, paths: Sequence[str], also: Tokens):
        self._files = TokenFiles(clock, paths, _bound)
        self._also = also

    def __call__(self, request: Request) -> None:
        token = shown(request)
        if token is None:
            raise Unauthorized("a valid bearer token is needed")
        found = self._files.meanings(token)
        if found:
            request.speaks_for = found[0]
        elif not self._also.knows(token):
            raise Unauthorized("a valid bearer token is needed")

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        return self._files.error


def _bound(line: bytes) -> "tuple[bytes, frozenset[str] | None]":
    """The token, and the addresses it is bound to, as their owners write them; ValueError."""
    token, *words = words_of(line) or [b""]
    try:
        return token, frozenset(str(ip_address(word.decode("ascii"))) for word in words) or None
    except ValueError:
        raise ValueError("expected TOKEN, or TOKEN and IP addresses") from None
