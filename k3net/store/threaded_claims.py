"""The verbs of IClaimStore as Deferreds."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from k3net.model.claims import Claim


class ThreadedClaims:
    """For `k3net.store.threaded.ThreadedStore`, whose `_call` this uses."""

    _call: "Callable[..., Deferred[Any]]"

    def claims(self) -> "Deferred[list[Claim]]":
        return self._call("claims")

    def claim(self, wanted: Claim, instead_of: str = "") -> "Deferred[Claim]":
        return self._call("claim", wanted, instead_of)

    def release(self, claim: Claim) -> "Deferred[None]":
        return self._call("release", claim)
