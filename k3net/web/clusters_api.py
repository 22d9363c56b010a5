"""The API of the clusters (spec/5-clusters.md): what users ask, and what the instances say to each other."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from msgspec import Meta, Struct
from twisted.internet.defer import inlineCallbacks

from k3net.clusters.loading import INVALID, ClusterState
from k3net.clusters.service import Clusters, Known
from k3net.errors import BadRequest, CorruptRecord, RequestError, Unavailable
from k3net.model import rfc3339
from k3net.model.cluster import LONGEST_DESCRIPTION, Cluster, Receipt
from k3net.web.resource import JSON, RequestView, Route

LONGEST_KUBECONFIG = 1 << 18
MOST_IN_PAGE = 1000
_USUAL_PAGE = 500
_LONGEST_BODY = 2 * LONGEST_KUBECONFIG
_ETAG = re.compile(r'"(\d{1,18})"')

Check = Callable[[Any], None]
Checks = tuple[Check, ...]
Description = Annotated[str, Meta(max_length=LONGEST_DESCRIPTION)]
KubeConfig = Annotated[str, Meta(min_length=1, max_length=LONGEST_KUBECONFIG)]


class NewCluster(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that creates a cluster."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    kube_config: KubeConfig
    description: Description = ""

    def __repr__(self) -> str:
        return f"NewCluster({self.name!r})"


class ClusterChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that changes a cluster: what is left out stays as it is. A `name` must be that of the path."""

    name: "str | None" = None
    kube_config: "KubeConfig | None" = None
    description: "Description | None" = None

    def __repr__(self) -> str:
        return f"ClusterChange({self.name!r})"


class ReloadFailed(RequestError):
    """The cluster is in the store and cannot be loaded here."""

    status = 500


class ClustersApi:
    """Routes over `clusters()`, which is looked up when it is needed.

    `may(scope)` is the check that the API's tokens have a scope, `internal` are those of the other instances' calls,
    and `local` guard what says nothing. `others()` gives a Deferred of the Instances found now, `instance` is this one.
    """

    def __init__(
        self,
        clusters: Callable[[], Clusters],
        others: Callable[[], Any],
        *,
        instance: str,
        store_is_well: Callable[[], bool],
        local: Checks = (),
    ):
        self._clusters = clusters
        self._others = others
        self._instance = instance
        self._store_is_well = store_is_well
        self._local = local

    def routes(self, may: Callable[[str], Check]) -> "list[Route]":
        """Those for users."""
        read, write = (*self._local, may("read")), (*self._local, may("write"))
        one = "/api/v1/clusters/{name}"
        return [
            Route(
                "GET",
                "/api/v1/clusters",
                self._page,
                summary="The clusters by name, without their kubeconfigs, a page at a time.",
                query={
                    "limit": f"how many, 1 to {MOST_IN_PAGE}; without it {_USUAL_PAGE}",
                    "continue": "what the page before said",
                },
                checks=read,
            ),
            Route(
                "POST",
                "/api/v1/clusters",
                self._create,
                summary="Store a cluster, load it, and tell every other instance.",
                body=NewCluster,
                max_body=_LONGEST_BODY,
                checks=write,
                success=201,
            ),
            Route("GET", one, self._get, summary="One cluster, and what this instance makes of it.", checks=read),
            Route(
                "PUT",
                one,
                self._update,
                summary="Change a cluster; with If-Match only the one that has this ETag.",
                body=ClusterChange,
                max_body=_LONGEST_BODY,
                checks=write,
            ),
            Route(
                "DELETE",
                one,
                self._delete,
                summary="Delete a cluster; with If-Match only the one that has this ETag.",
                checks=write,
            ),
            Route("GET", f"{one}/delivery", self._delivery, summary="What each instance got of it.", checks=read),
            Route("GET", "/api/v1/instances", self._instances, summary="The other instances found now.", checks=read),
            Route(
                "POST",
                "/api/v1/rekey",
                self._rekey,
                summary="Encrypt every kubeconfig with the first key.",
                checks=write,
            ),
            *self.health_routes(),
        ]

    def internal_routes(self, internal: Checks) -> "list[Route]":
        """Those for the other instances."""
        path = "/api/v1/internal/clusters/{name}/reload"
        return [
            Route("POST", path, self._reload, summary="Read a cluster from the store and load it.", checks=internal),
            *self.health_routes(),
        ]

    def health_routes(self) -> "list[Route]":
        return [
            Route("GET", "/health/live", self._live, summary="The process lives, and who it is.", checks=self._local),
            Route(
                "GET",
                "/health/ready",
                self._ready,
                summary="The store answers, and what was in it is known here.",
                checks=self._local,
            ),
        ]

    # Users

    @inlineCallbacks
    def _page(self, view: RequestView):
        limit = view.query.get("limit", str(_USUAL_PAGE))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= MOST_IN_PAGE):
            raise BadRequest(f"limit: expected a number from 1 to {MOST_IN_PAGE}")
        items, after = yield self._clusters().page(view.query.get("continue", ""), int(limit))
        return {"kind": "ClusterList", "items": [_shown(one) for one in items], "continue": after}

    @inlineCallbacks
    def _create(self, view: RequestView):
        new: NewCluster = view.body
        known = yield self._clusters().create(new.name, new.description, new.kube_config)
        return _answer(known, 201)

    @inlineCallbacks
    def _get(self, view: RequestView):
        known = yield self._clusters().get(view.path["name"])
        return _answer(known)

    @inlineCallbacks
    def _update(self, view: RequestView):
        name, change = view.path["name"], view.body
        if change.name not in (None, name):
            raise BadRequest("name: a cluster cannot be renamed")
        known = yield self._clusters().update(
            name, description=change.description, kube_config=change.kube_config, generation=_if_match(view)
        )
        return _answer(known)

    @inlineCallbacks
    def _delete(self, view: RequestView):
        gone = yield self._clusters().delete(view.path["name"], generation=_if_match(view))
        return {"kind": "Cluster", "name": gone.name, "uid": gone.uid, "generation": gone.generation, "deleted": True}

    @inlineCallbacks
    def _delivery(self, view: RequestView):
        receipts, generation = yield self._clusters().delivery(view.path["name"])
        items = [_receipt(one) for one in receipts]
        return {"kind": "DeliveryList", "name": view.path["name"], "generation": generation, "items": items}

    @inlineCallbacks
    def _instances(self, _: RequestView):
        found = yield self._others()
        items = [{"address": one.address, "instance": one.identity} for one in found]
        return {"kind": "InstanceList", "own": self._instance, "items": items}

    @inlineCallbacks
    def _rekey(self, _: RequestView):
        done, failed = yield self._clusters().rekey()
        return {"kind": "Rekeyed", "rekeyed": done, "failed": failed}

    # Other instances

    @inlineCallbacks
    def _reload(self, view: RequestView):
        name = view.path["name"]
        state: ClusterState = yield self._clusters().reload(name)
        if state.state == INVALID:
            raise ReloadFailed(f"cluster {name!r} cannot be loaded: {state.reason}")
        data = {"cluster_name": name, "generation": state.generation, "state": state.state}
        return {"code": 200, "message": "Cluster reloaded successfully", "data": data}

    # Both

    def _live(self, _: RequestView) -> "dict[str, str]":
        return {"status": "live", "instance": self._instance}

    def _ready(self, _: RequestView) -> "dict[str, str]":
        if not self._store_is_well():
            raise Unavailable("the store does not answer")
        if not self._clusters().ready:
            raise Unavailable("what is in the store is not read yet")
        return {"status": "ready", "instance": self._instance}


def _if_match(view: RequestView) -> int:
    """The generation that the caller knows; 0 when it does not say."""
    text = (view.header("if-match") or "*").strip()
    form = _ETAG.fullmatch(text)
    if form is None and text != "*":
        raise BadRequest("If-Match: expected the ETag of a cluster, or *")
    return int(form[1]) if form is not None else 0


def _answer(known: Known, status: int = 200) -> JSON:
    return JSON(_shown(known), status, {"ETag": f'"{known.cluster.generation}"'})


def _shown(known: "Known | CorruptRecord") -> "dict[str, Any]":
    """Everything but the kubeconfig."""
    if isinstance(known, CorruptRecord):
        return {"kind": "Cluster", "name": known.name, "state": INVALID, "reason": f"corrupt: {known.reason}"}
    cluster, state = known.cluster, known.state
    return {
        "kind": "Cluster",
        "name": cluster.name,
        "uid": cluster.uid,
        "description": cluster.description,
        "generation": cluster.generation,
        "created": _time(cluster.created),
        "updated": _time(cluster.updated),
        **_loaded(cluster, state),
    }


def _loaded(cluster: Cluster, state: "ClusterState | None") -> "dict[str, Any]":
    """What this instance makes of it."""
    if state is None:
        return {"state": "unreachable", "reason": "not loaded here yet", "version": "", "serving": 0}
    return {
        "state": state.state,
        "reason": state.reason,
        "version": state.version,
        "serving": state.serving,
        "loaded_generation": state.generation,
    }


def _receipt(one: Receipt) -> "dict[str, Any]":
    return {
        "instance": one.instance,
        "generation": one.generation,
        "state": one.state,
        "tries": one.tries,
        "last_error": one.last_error,
        "at": _time(one.at),
    }


def _time(seconds: float) -> str:
    return rfc3339.format_seconds(seconds)
