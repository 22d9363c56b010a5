"""The verbs of IClusterStore as Deferreds."""

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred

from k3net.model.cluster import Changes, Cluster, ClusterOutcome, ClusterStep, Page, Receipt, Since


class ThreadedClusters:
    """For `k3net.store.threaded.ThreadedStore`, whose `_call` this uses."""

    _call: "Callable[..., Deferred[Any]]"

    def clusters(self, after: str = "", limit: int = 500) -> "Deferred[Page]":
        return self._call("clusters", after, limit)

    def cluster(self, name: str) -> "Deferred[Cluster | None]":
        return self._call("cluster", name)

    def cluster_changes(self, since: Since, limit: int = 100) -> "Deferred[Changes]":
        return self._call("cluster_changes", since, limit)

    def write_cluster(self, step: ClusterStep) -> "Deferred[ClusterOutcome]":
        return self._call("write_cluster", step)

    def receipts(self, name: str) -> "Deferred[tuple[Receipt, ...]]":
        return self._call("receipts", name)

    def add_receipts(self, name: str, receipts: Sequence[Receipt]) -> "Deferred[None]":
        return self._call("add_receipts", name, tuple(receipts))
