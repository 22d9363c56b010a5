"""Claims on subnets, in the stores that need no server."""

import shutil
import tempfile
from typing import Any

from store.claim_contract import make_claim_tests
from store.controllers import SqliteController
from store.makers import make_memory, make_sqlite, opened
from store.turns import Blocking
from zope.interface import implementer

from k3net.model.claims import Claim
from k3net.store.claims import IClaimStore
from k3net.store.sqlite import SqliteStore

MemoryClaimTests = make_claim_tests(make_memory)
SqliteClaimTests = make_claim_tests(make_sqlite)


@implementer(IClaimStore)
class BlockingClaims(Blocking):
    """A ThreadedStore's verbs for claims as a driver's again."""

    def claims(self) -> Any:
        return self._wait("claims")

    def claim(self, wanted: Claim, instead_of: str = "") -> Any:
        return self._wait("claim", wanted, instead_of)

    def release(self, claim: Claim) -> Any:
        return self._wait("release", claim)


def make_threaded(case: Any) -> tuple[Any, ...]:
    directory = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, directory)
    path = f"{directory}/k3net.db"
    return opened(case, lambda: BlockingClaims(lambda: SqliteStore(path)), SqliteController(path))


ThreadedClaimTests = make_claim_tests(make_threaded)
