"""The store of one process: gone when it ends."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from uuid import uuid4

from zope.interface import implementer

from k3net.model.claims import Claim
from k3net.model.node import Node
from k3net.model.plan import Step
from k3net.store import records
from k3net.store.guard import judge
from k3net.store.interface import Done, Found, IStore, Listing, Outcome, Outcomes
from k3net.store.memory_claims import MemoryClaims
from k3net.store.memory_clusters import MemoryClusters, SharedClusters
from k3net.store.memory_snapshots import MemorySnapshots


@dataclass
class Shared:
    """What MemoryStores have in common: by name a number and a text, changed only under the lock."""

    identity: str = field(default_factory=lambda: str(uuid4()))
    number: int = 0
    texts: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    clusters: SharedClusters = field(default_factory=SharedClusters)
    claims: dict[str, Claim] = field(default_factory=dict)
    snapshots: dict[str, tuple[float, bytes]] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)


@implementer(IStore)
class MemoryStore(MemoryClusters, MemoryClaims, MemorySnapshots):
    """Keeps texts, as the others do, so that nobody's later change of a manifest reaches what is stored."""

    def __init__(self, shared: Shared | None = None):
        self._shared = Shared() if shared is None else shared

    def list(self) -> Listing:
        with self._shared.lock:
            found = list(self._shared.texts.items())
        return [records.read(name, text, number) for name, (number, text) in found]

    def get(self, name: str) -> Node | None:
        with self._shared.lock:
            found = self._shared.texts.get(name)
        return None if found is None else records.decode(name, found[1], found[0])

    def apply(self, steps: Iterable[Step]) -> Outcomes:
        with self._shared.lock:
            self._shared.number += 1
            return [self._apply_one(step) for step in steps]

    def _apply_one(self, step: Step) -> Outcome:
        found = self._shared.texts.get(step.name)
        verdict = judge(step, None if found is None else records.read(step.name, found[1], found[0]))
        if not isinstance(verdict, str):
            return verdict
        text = verdict.encode()
        self._shared.texts[step.name] = self._shared.number, text
        return Done(step.name, records.token(self._shared.number, text))

    def identity(self) -> str:
        return self._shared.identity

    def look(self) -> Found:
        return Found(self.list(), self.identity())

    def check(self) -> str:
        return records.complaint(self.list())

    def close(self) -> None:
        """Nothing to let go of."""


def opened(_settings: Any) -> MemoryStore:
    """For `k3net.store.opener`."""
    return MemoryStore()
