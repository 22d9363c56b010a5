"""Clusters in the store of one process."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from zope.interface import implementer

from k3net.model import cluster as model
from k3net.model.cluster import (
    Changes,
    Cluster,
    ClusterOutcome,
    ClusterStep,
    CreateCluster,
    Page,
    Receipt,
    Since,
    Written,
)
from k3net.store.clusters import MOST_CHANGES, MOST_IN_PAGE, IClusterStore, bounded


@dataclass
class SharedClusters:
    """What MemoryStores have in common, changed only under their lock; `forgotten` is the newest tombstone dropped."""

    generation: int = 0
    forgotten: int = 0
    clusters: dict[str, Cluster] = field(default_factory=dict)
    receipts: dict[str, tuple[Receipt, ...]] = field(default_factory=dict)

    def written(self, step: ClusterStep) -> ClusterOutcome:
        count = sum(not cluster.deleted for cluster in self.clusters.values())
        verdict = model.judge(step, self.clusters.get(step.name), count)
        if not isinstance(verdict, Cluster):
            return verdict
        self.generation += 1
        cluster = replace(verdict, generation=self.generation)
        self.clusters[step.name] = cluster
        if isinstance(step, CreateCluster):
            self.receipts.pop(step.name, None)
        if cluster.deleted:
            self._forget()
        return Written(cluster)

    def _forget(self) -> None:
        dead = sorted((c for c in self.clusters.values() if c.deleted), key=lambda c: c.generation)
        for cluster in dead[: -model.TOMBSTONES_KEPT]:
            del self.clusters[cluster.name]
            self.receipts.pop(cluster.name, None)
            self.forgotten = cluster.generation


@implementer(IClusterStore)
class MemoryClusters:
    """`_shared` is `k3net.store.memory.Shared`."""

    _shared: Any

    def clusters(self, after: str, limit: int) -> Page:
        limit = bounded(limit, MOST_IN_PAGE)
        with self._shared.lock:
            found = [c for c in self._all.clusters.values() if c.name > after and not c.deleted]
        found.sort(key=lambda cluster: cluster.name)
        page = tuple(replace(cluster, sealed="") for cluster in found[:limit])
        return Page(page, page[-1].name if len(found) > limit else "")

    def cluster(self, name: str) -> Cluster | None:
        with self._shared.lock:
            found = self._all.clusters.get(name)
        return None if found is None or found.deleted else found

    def cluster_changes(self, since: Since, limit: int) -> Changes:
        limit = bounded(limit, MOST_CHANGES)
        with self._shared.lock:
            newest = self._all.generation
            lost = since.is_lost(newest, self._all.forgotten)
            after = 0 if lost else since.generation
            found = [cluster for cluster in self._all.clusters.values() if cluster.generation > after]
        found.sort(key=lambda cluster: cluster.generation)
        upto = found[limit - 1].generation if len(found) > limit else None
        return model.changes(since, found[:limit], newest=newest, lost=lost, upto=upto)

    def write_cluster(self, step: ClusterStep) -> ClusterOutcome:
        with self._shared.lock:
            return self._all.written(step)

    def receipts(self, name: str) -> tuple[Receipt, ...]:
        with self._shared.lock:
            return self._all.receipts.get(name, ())

    def add_receipts(self, name: str, receipts: Iterable[Receipt]) -> None:
        with self._shared.lock:
            if name in self._all.clusters:
                self._all.receipts[name] = model.merged(self._all.receipts.get(name, ()), receipts)

    @property
    def _all(self) -> SharedClusters:
        found: SharedClusters = self._shared.clusters
        return found
