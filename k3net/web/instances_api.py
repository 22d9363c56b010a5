"""What the instances say to each other of clusters (spec/5-clusters.md), and to whoever asks whether one is well."""

from collections.abc import Callable

from twisted.internet.defer import inlineCallbacks

from k3net.clusters.loading import INVALID, ClusterState
from k3net.clusters.service import Clusters
from k3net.errors import RequestError, Unavailable
from k3net.web.clusters_api import Checks
from k3net.web.clusters_wire import Life, Reloaded, ReloadedData
from k3net.web.resource import RequestView, Route


class ReloadFailed(RequestError):
    """The cluster is in the store and cannot be loaded here."""

    status = 500


class InstancesApi:
    """Routes over `clusters()`, which is looked up when it is needed; `instance` is this one."""

    def __init__(self, clusters: Callable[[], Clusters], *, instance: str, store_is_well: Callable[[], bool]):
        self._clusters = clusters
        self._instance = instance
        self._store_is_well = store_is_well

    def routes(self, internal: Checks) -> "list[Route]":
        """Those of the internal listener: what changes something is behind the checks `internal`."""
        return [
            Route(
                "POST",
                "/api/v1/internal/clusters/{name}/reload",
                self._reload,
                summary="Read a cluster from the store and load it.",
                returns=Reloaded,
                refuses=(ReloadFailed, Unavailable),
                checks=internal,
            ),
            *self.health_routes(),
        ]

    def health_routes(self, checks: Checks = ()) -> "list[Route]":
        """Those of both listeners."""
        return [
            Route(
                "GET",
                "/health/live",
                self._live,
                summary="The process lives, and who it is.",
                returns=Life,
                checks=checks,
            ),
            Route(
                "GET",
                "/health/ready",
                self._ready,
                summary="The store answers, and what was in it is known here.",
                returns=Life,
                refuses=(Unavailable,),
                checks=checks,
            ),
        ]

    @inlineCallbacks
    def _reload(self, view: RequestView):
        name = view.path["name"]
        state: ClusterState = yield self._clusters().reload(name)
        if state.state == INVALID:
            raise ReloadFailed(f"cluster {name!r} cannot be loaded: {state.reason}")
        return Reloaded(ReloadedData(name, state.generation, state.state, self._instance))

    def _live(self, _: RequestView) -> Life:
        return Life("live", self._instance)

    def _ready(self, _: RequestView) -> Life:
        if not self._store_is_well():
            raise Unavailable("the store does not answer")
        if not self._clusters().ready:
            raise Unavailable("what is in the store is not read yet")
        return Life("ready", self._instance)
