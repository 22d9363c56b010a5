"""The clusters of this instance: changed here, told to the others, caught up with from the store, and loaded."""

from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred

from k3net.clusters.broadcast import Broadcast
from k3net.clusters.loading import INVALID, ClusterState, Loading
from k3net.clusters.registry import Registry
from k3net.errors import NotFound
from k3net.log import make_logger
from k3net.model.cluster import Cluster, Since
from k3net.model.observation import valid_name
from k3net.services import Periodic

_JITTER = 0.1
_HINTS_TOGETHER = 0.05
_LOAD_PATIENCE = 2.0


class Known(NamedTuple):
    """A cluster as it is stored, and what this instance makes of it (None: not loaded yet)."""

    cluster: Cluster
    state: "ClusterState | None"


class Clusters(Service):
    """Each change is stored first, then loaded here and told to the others, neither of which is waited for.

    What others changed is read at the start, at each `reload`, when `hint()` is called, and every `catch_up` seconds:
    so a telling that never came costs time, and nothing else. A `reload` tells nobody.
    """

    def __init__(
        self, clock: Any, registry: Registry, loading: Loading, broadcast: Broadcast, *, catch_up: float = 60.0
    ):
        self._registry = registry
        self._loading = loading
        self._broadcast = broadcast
        self._since = Since()
        self._swept: set[str] = set()
        self._log = make_logger()
        self._catching_up = Periodic(clock, catch_up, self._catch_up, name="clusters-catch-up", jitter=_JITTER)

    @property
    def loops(self) -> tuple[Periodic, Periodic]:
        return (self._catching_up, self._loading)

    @property
    def ready(self) -> bool:
        """Whether everything that was stored when this instance began is known here."""
        return self._catching_up.last_success is not None

    def startService(self) -> None:
        super().startService()
        self._loading.startService()
        self._catching_up.startService()

    @inlineCallbacks
    def stopService(self):
        super().stopService()
        self._broadcast.stop()
        for loop in self.loops:
            yield maybeDeferred(loop.stopService)

    def hint(self) -> None:
        """Something in the store may have changed."""
        self._catching_up.kick(within=_HINTS_TOGETHER)

    # What users ask

    @inlineCallbacks
    def create(self, name: str, description: str, kube_config: str):
        """Known; raises as Registry.create does."""
        cluster = yield self._registry.create(name, description, kube_config)
        return self._spread(cluster, "creation")

    @inlineCallbacks
    def update(
        self, name: str, *, description: "str | None" = None, kube_config: "str | None" = None, generation: int = 0
    ):
        """Known; raises as Registry.update does."""
        cluster = yield self._registry.update(
            name, description=description, kube_config=kube_config, generation=generation
        )
        return self._spread(cluster, "update")

    @inlineCallbacks
    def delete(self, name: str, *, generation: int = 0):
        """The tombstone; raises as Registry.delete does."""
        cluster = yield self._registry.delete(name, generation=generation)
        self._spread(cluster, "deletion")
        return cluster

    @inlineCallbacks
    def get(self, name: str):
        """Known; NotFound."""
        cluster = yield self._registry.get(name)
        return Known(cluster, self._loading.state(name))

    @inlineCallbacks
    def page(self, after: str, limit: int):
        """At most `limit` clusters whose names come after `after`, and what to ask the next page with ("": the last).

        What is stored under a cluster's name and is none is a CorruptRecord.
        """
        found = yield self._registry.page(after, limit)
        items = [
            Known(one, self._loading.state(one.name)) if isinstance(one, Cluster) else one for one in found.clusters
        ]
        return items, found.after

    @inlineCallbacks
    def delivery(self, name: str):
        """The Receipts of a cluster, and its generation; NotFound for one that never was, or is long gone."""
        receipts = yield self._registry.receipts(name)
        try:
            cluster = yield self._registry.get(name)
        except NotFound:
            if not receipts:
                raise
            return receipts, max(receipt.generation for receipt in receipts)
        return receipts, cluster.generation

    def rekey(self) -> "Deferred[tuple[int, dict[str, str]]]":
        """As Registry.rekey."""
        return self._registry.rekey()

    def _spread(self, cluster: Cluster, change: str) -> Known:
        self._loading.take(cluster)
        self._broadcast.tell(cluster, change)
        return Known(cluster, self._loading.state(cluster.name))

    # What other instances and the store say

    @inlineCallbacks
    def reload(self, name: str):
        """Read a cluster from the store and load it: its ClusterState; NotFound, StoreUnavailable.

        Whoever told waits: not longer than 2 s for the cluster's API server, which this instance goes on to ask.
        """
        if not valid_name(name):
            raise NotFound(f"no cluster {name[:300]!r}")
        self._log.info("Received cluster reload request for: {name}", name=name)
        state = yield self._loading.reload(name, patience=_LOAD_PATIENCE)
        if state is None:
            raise NotFound(f"no cluster {name!r}")
        if state.state != INVALID:
            self._log.info("Successfully reloaded cluster: {name}", name=name)
        return state

    @inlineCallbacks
    def _catch_up(self):
        more = True
        while more:
            found = yield self._registry.changes(self._since)
            if found.from_start:
                self._swept = set()
            for cluster in found.clusters:
                self._loading.take(cluster)
                if not cluster.deleted:
                    self._swept.add(cluster.name)
            sweeping = bool(self._since.sweep) or found.from_start
            self._since, more = found.then, found.more
            if sweeping and not more:
                newer = {state.name for state in self._loading.states() if state.generation > found.then.generation}
                self._loading.keep_only(self._swept | newer)
                self._swept = set()
