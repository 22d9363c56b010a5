"""Claims on subnets in the store of one process."""

from dataclasses import replace
from typing import Any

from zope.interface import implementer

from k3net.model.claims import Claim, may_write
from k3net.store.claims import IClaimStore, new_version


@implementer(IClaimStore)
class MemoryClaims:
    """`_shared` is `k3net.store.memory.Shared`, whose `claims` are by subnet."""

    _shared: Any

    def claims(self) -> list[Claim]:
        with self._shared.lock:
            return list(self._shared.claims.values())

    def claim(self, wanted: Claim, instead_of: str = "") -> Claim:
        with self._shared.lock:
            held: Claim | None = self._shared.claims.get(wanted.subnet)
            if held is not None and not may_write(wanted, held, instead_of):
                return held
            new = replace(wanted, version=new_version())
            self._shared.claims[wanted.subnet] = new
            return new

    def release(self, claim: Claim) -> None:
        with self._shared.lock:
            if self._shared.claims.get(claim.subnet) == claim:
                del self._shared.claims[claim.subnet]
