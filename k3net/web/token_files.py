"""Files of tokens, and the token that a request shows."""

import hmac
import secrets
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from k3net.credentials import BadSecret, Followed
from k3net.log import make_logger
from k3net.web.request import Request

NO_FILE = "no token file is configured: nobody is let in"

T = TypeVar("T")


class TokenFiles(Generic[T]):
    """What the tokens in these files stand for; several are valid at once.

    `read(line)` gives the token of a line (b"" where there is none) and what it stands for, or raises ValueError. The
    files are looked at again after `every` seconds, and read when they have changed. One that cannot be read, has a bad
    line or no token at all holds none, and is told in `error`, and in the log when that changes.
    """

    def __init__(
        self, clock: Any, paths: Sequence[str], read: "Callable[[bytes], tuple[bytes, T]]", *, every: float = 1.0
    ):
        self._clock = clock
        self._read = read
        self._every = every
        self._key = secrets.token_bytes(32)
        self._files = [Followed([path], self._tokens) for path in paths]
        self._looked_at: float | None = None
        self._known: list[dict[bytes, T]] = []
        self._errors: list[str] = []
        self._log = make_logger()

    def meanings(self, token: bytes) -> "list[T]":
        """What it stands for in each of the files that have it, in their order."""
        self._look()
        digest = self._digest(token)
        return [known[digest] for known in self._known if digest in known]

    @property
    def error(self) -> str:
        """What is wrong with the files, or ""."""
        self._look()
        return "; ".join(self._errors)

    def _look(self) -> None:
        now = self._clock.seconds()
        if self._looked_at is not None and 0 <= now - self._looked_at < self._every:
            return
        self._looked_at = now
        before = self._errors
        self._known, self._errors = [], []
        for file in self._files:
            try:
                self._known.append(file.value())
            except BadSecret as error:
                self._errors.append(str(error))
                if str(error) not in before:
                    self._log.warn("its tokens let nobody in: {error}", error=str(error))

    def _tokens(self, contents: bytes) -> "dict[bytes, T]":
        found: dict[bytes, T] = {}
        for number, line in enumerate(contents.splitlines(), 1):
            try:
                token, meaning = self._read(line)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            if token:
                found[self._digest(token)] = meaning
        if not found:
            raise ValueError("no token in it")
        return found

    def _digest(self, token: bytes) -> bytes:
        """By a key that nobody else knows: how long it takes to find, or not to find one, tells nothing of a token."""
        return hmac.digest(self._key, token, "sha256")


def shown(request: Request) -> "bytes | None":
    """The bearer token of a request (RFC 6750 section 2.1), or None."""
    scheme, _, token = (request.requestHeaders.getRawHeaders(b"Authorization") or [b""])[0].partition(b" ")
    return token.strip() if scheme.lower() == b"bearer" else None
