"""Opinions: other members are asked to try a machine that this daemon does not reach."""

import random
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import gatherResults, inlineCallbacks

from k3net.http import FetchError, fetch
from k3net.model.brake import Opinion

_ASKED = 3
_LONGEST = 4096
_TO_AND_FRO = 1.0


class Opinions:
    """Asks up to three members at a time, by `GET /probe?node=` on their health port.

    `members()` names the others, `where(member)` gives a member's addresses and port; a probe takes `timeout` seconds.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        members: Callable[[], Iterable[str]],
        where: Callable[[str], tuple[tuple[str, ...], int]],
        timeout: float,
    ):
        self._reactor = reactor
        self._members = members
        self._where = where
        self._timeout = timeout

    @inlineCallbacks
    def on(self, name: str):
        """What they say of this machine; an empty Opinion when none can be asked."""
        others = sorted(set(self._members()) - {name})
        asked = random.sample(others, min(_ASKED, len(others)))
        words = yield gatherResults([self._word(member, name) for member in asked])
        reached = next((member for member, word in zip(asked, words, strict=True) if word is True), "")
        denied = tuple(member for member, word in zip(asked, words, strict=True) if word is False)
        return Opinion(reached_by=reached, denied_by=denied)

    @inlineCallbacks
    def _word(self, member: str, name: str):
        """True or False, or None from one that does not know, did not measure, or cannot be asked."""
        addresses, port = self._where(member)
        if not addresses or not port:
            return None
        host = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
        url = f"http://{host}:{port}/probe?node={quote(name, safe='')}"
        patience = 2 * self._timeout + _TO_AND_FRO
        try:
            answer = yield fetch(self._reactor, "GET", url, timeout=patience, max_bytes=_LONGEST)
            said = answer.json() if answer.status == 200 else None
        except FetchError:
            return None
        word = said.get("ok") if isinstance(said, dict) and said.get("node") == name else None
        return word if isinstance(word, bool) else None
