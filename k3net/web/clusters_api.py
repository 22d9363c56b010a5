"""The API of the clusters for users (spec/5-clusters.md)."""

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import inlineCallbacks

from k3net.clusters.service import Clusters
from k3net.errors import AlreadyThere, BadRequest, Changed, Unavailable
from k3net.web.clusters_wire import (
    LONGEST_KUBECONFIG,
    MOST_IN_PAGE,
    ClusterAnswer,
    ClusterChange,
    ClusterGone,
    ClusterList,
    DeliveryList,
    ETag,
    InstanceAnswer,
    InstanceList,
    Limit,
    NewCluster,
    Rekeyed,
    cluster_answer,
    receipt_answer,
    unfit,
    with_etag,
)
from k3net.web.resource import Parameter, RequestView, Route

_USUAL_PAGE = 500
_LONGEST_BODY = 2 * LONGEST_KUBECONFIG
_ETAG = re.compile(r'"(\d{1,18})"')
_GIVES_ETAG = {"ETag": "What If-Match takes."}
_IF_MATCH = {"If-Match": Parameter("the ETag that the cluster must still have; * or nothing: any", ETag)}

Check = Callable[[Any], None]
Checks = tuple[Check, ...]


class ClustersApi:
    """Routes over `clusters()`, which is looked up when it is needed.

    `others()` gives a Deferred of the Instances found now, `instance` is this one.
    """

    def __init__(self, clusters: Callable[[], Clusters], others: Callable[[], Any], *, instance: str):
        self._clusters = clusters
        self._others = others
        self._instance = instance

    def routes(self, may: Callable[[str], Check], local: Checks = ()) -> "list[Route]":
        """`may(scope)` is the check that a token has a scope; `local` come before it."""
        read, write = (*local, may("read")), (*local, may("write"))
        one = "/api/v1/clusters/{name}"
        all_of_them = "/api/v1/clusters"
        return [
            Route(
                "GET",
                all_of_them,
                self._page,
                summary="The clusters by name, without their kubeconfigs, a page at a time.",
                query={
                    "limit": Parameter(f"how many; without it {_USUAL_PAGE}", Limit),
                    "continue": "what the page before said",
                },
                returns=ClusterList,
                refuses=(Unavailable,),
                checks=read,
            ),
            Route(
                "POST",
                all_of_them,
                self._create,
                summary="Store a cluster, load it, and tell every other instance.",
                body=NewCluster,
                max_body=_LONGEST_BODY,
                unfit=unfit,
                returns=ClusterAnswer,
                success=201,
                gives=_GIVES_ETAG,
                refuses=(AlreadyThere, Unavailable),
                checks=write,
            ),
            Route(
                "GET",
                one,
                self._get,
                summary="One cluster, and what this instance makes of it.",
                returns=ClusterAnswer,
                gives=_GIVES_ETAG,
                refuses=(Unavailable,),
                checks=read,
            ),
            Route(
                "PUT",
                one,
                self._update,
                summary="Change a cluster; with If-Match only the one that has this ETag.",
                headers=_IF_MATCH,
                body=ClusterChange,
                max_body=_LONGEST_BODY,
                unfit=unfit,
                returns=ClusterAnswer,
                gives=_GIVES_ETAG,
                refuses=(Changed, Unavailable),
                checks=write,
            ),
            Route(
                "DELETE",
                one,
                self._delete,
                summary="Delete a cluster; with If-Match only the one that has this ETag.",
                headers=_IF_MATCH,
                returns=ClusterGone,
                refuses=(Changed, Unavailable),
                checks=write,
            ),
            Route(
                "GET",
                f"{one}/delivery",
                self._delivery,
                summary="What each instance got of it.",
                returns=DeliveryList,
                refuses=(Unavailable,),
                checks=read,
            ),
            Route(
                "GET",
                "/api/v1/instances",
                self._instances,
                summary="The other instances found now.",
                returns=InstanceList,
                checks=read,
            ),
            Route(
                "POST",
                "/api/v1/rekey",
                self._rekey,
                summary="Encrypt every kubeconfig with the first key.",
                returns=Rekeyed,
                refuses=(Unavailable,),
                checks=write,
            ),
        ]

    @inlineCallbacks
    def _page(self, view: RequestView):
        text = view.query.get("limit", str(_USUAL_PAGE))
        limit = int(text) if re.fullmatch("[0-9]{1,4}", text) else 0
        if not 1 <= limit <= MOST_IN_PAGE:
            raise BadRequest(f"limit: expected a number from 1 to {MOST_IN_PAGE}")
        items, after = yield self._clusters().page(view.query.get("continue", ""), limit)
        return ClusterList(items=[cluster_answer(one) for one in items], after=after)

    @inlineCallbacks
    def _create(self, view: RequestView):
        new: NewCluster = view.body
        known = yield self._clusters().create(new.name, new.description, new.kube_config)
        return with_etag(known, 201)

    @inlineCallbacks
    def _get(self, view: RequestView):
        known = yield self._clusters().get(view.path["name"])
        return with_etag(known)

    @inlineCallbacks
    def _update(self, view: RequestView):
        name, change = view.path["name"], view.body
        if change.name not in (None, name):
            raise BadRequest("name: a cluster cannot be renamed")
        known = yield self._clusters().update(
            name, description=change.description, kube_config=change.kube_config, generation=_if_match(view)
        )
        return with_etag(known)

    @inlineCallbacks
    def _delete(self, view: RequestView):
        gone = yield self._clusters().delete(view.path["name"], generation=_if_match(view))
        return ClusterGone(name=gone.name, uid=gone.uid, generation=gone.generation)

    @inlineCallbacks
    def _delivery(self, view: RequestView):
        receipts, generation = yield self._clusters().delivery(view.path["name"])
        items = [receipt_answer(one) for one in receipts]
        return DeliveryList(name=view.path["name"], generation=generation, items=items)

    @inlineCallbacks
    def _instances(self, _: RequestView):
        found = yield self._others()
        return InstanceList(own=self._instance, items=[InstanceAnswer(one.address, one.identity) for one in found])

    @inlineCallbacks
    def _rekey(self, _: RequestView):
        done, failed = yield self._clusters().rekey()
        return Rekeyed(rekeyed=done, failed=failed)


def _if_match(view: RequestView) -> int:
    """The generation that the caller knows; 0 when it does not say."""
    given = view.header("if-match")
    text = "*" if given is None else given.strip()
    form = _ETAG.fullmatch(text)
    if form is None and text != "*":
        raise BadRequest("If-Match: expected the ETag of a cluster, or *")
    return int(form[1]) if form is not None else 0
