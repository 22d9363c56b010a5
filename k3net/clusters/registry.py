"""The clusters' records: created, changed and deleted by compare-and-set, their kubeconfigs sealed."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, inlineCallbacks

from k3net.clusters.kubeconfig import Kubeconfig, read_kubeconfig
from k3net.clusters.secrets import CannotOpen, KeyRing
from k3net.errors import AlreadyThere, BadRequest, Changed, K3netError, NotFound, StoreUnavailable
from k3net.model.cluster import (
    LONGEST_DESCRIPTION,
    Changes,
    Cluster,
    ClusterStep,
    CreateCluster,
    DeleteCluster,
    Impossible,
    Page,
    Receipt,
    Since,
    Stale,
    UpdateCluster,
)
from k3net.model.observation import valid_name

_TRIES = 5


class Registry:
    """Clusters by name in a ThreadedStore; every verb gives a Deferred.

    `in_thread(f, *args)` gives the Deferred of a call in a thread, for what takes long. `wall()` is the time of day.
    What a caller did wrong leaves as a RequestError, a store that is away as StoreUnavailable.
    """

    def __init__(
        self,
        store: Any,
        ring: KeyRing,
        *,
        in_thread: "Callable[..., Deferred[Any]]",
        wall: Callable[[], float],
        allow: Collection[str] = (),
    ):
        self._store = store
        self._ring = ring
        self._in_thread = in_thread
        self._wall = wall
        self._allow = frozenset(allow)

    @inlineCallbacks
    def create(self, name: str, description: str, kube_config: str):
        """The new Cluster; BadRequest, BadKubeconfig, NoKey, AlreadyThere."""
        if not valid_name(name):
            raise BadRequest("name: expected a DNS-1123 name: small letters, digits, '-' and '.', at most 253")
        _check_description(description)
        now, uid = self._wall(), str(uuid4())
        sealed = yield self._sealed(kube_config, name, uid)
        cluster = Cluster(name, uid, 0, description, sealed, now, now)
        outcome = yield self._write(CreateCluster(cluster))
        if isinstance(outcome, Stale):
            raise AlreadyThere(f"there is a cluster {name!r} already")
        return outcome.cluster

    @inlineCallbacks
    def update(
        self, name: str, *, description: "str | None" = None, kube_config: "str | None" = None, generation: int = 0
    ):
        """The Cluster as it is now, with what was given (None: as it was) in place; NotFound, and as `create`.

        With a `generation` only if it still has that one: else Changed. Nothing is written when nothing differs.
        """
        _check_description(description or "")
        for _ in range(_TRIES):
            held = yield self._held(name, generation)
            wanted = held if description is None else replace(held, description=description)
            if kube_config is not None and not self._is_same(held, kube_config):
                sealed = yield self._sealed(kube_config, name, held.uid)
                wanted = replace(wanted, sealed=sealed)
            if wanted == held:
                return held
            outcome = yield self._write(UpdateCluster(replace(wanted, updated=self._wall())))
            if not isinstance(outcome, Stale):
                return outcome.cluster
        raise Changed(f"cluster {name!r} is changed by others all the time")

    @inlineCallbacks
    def delete(self, name: str, *, generation: int = 0):
        """The tombstone; NotFound, and Changed when it does not have the `generation` that was given."""
        for _ in range(_TRIES):
            held = yield self._held(name, generation)
            outcome = yield self._write(DeleteCluster(held, self._wall()))
            if not isinstance(outcome, Stale):
                return outcome.cluster
        raise Changed(f"cluster {name!r} is changed by others all the time")

    @inlineCallbacks
    def get(self, name: str):
        """The Cluster, its kubeconfig sealed; NotFound."""
        found = yield self._store.cluster(name)
        if found is None:
            raise NotFound(f"no cluster {name!r}")
        return found

    def page(self, after: str = "", limit: int = 500) -> "Deferred[Page]":
        """Clusters in the order of their names, without kubeconfigs."""
        return self._store.clusters(after, limit)

    def changes(self, since: Since, limit: int = 100) -> "Deferred[Changes]":
        return self._store.cluster_changes(since, limit)

    def receipts(self, name: str) -> "Deferred[tuple[Receipt, ...]]":
        return self._store.receipts(name)

    def add_receipts(self, name: str, receipts: Collection[Receipt]) -> "Deferred[None]":
        return self._store.add_receipts(name, tuple(receipts))

    def kubeconfig(self, cluster: Cluster) -> "Deferred[Kubeconfig]":
        """What the cluster's kubeconfig says; CannotOpen, BadSecret, BadKubeconfig."""
        return self._in_thread(self._opened, cluster)

    @inlineCallbacks
    def rekey(self):
        """Seal every kubeconfig with the first key; how many were not yet, and by name why one could not be.

        Safe beside other writers, and when it is cut short: what is done stays done.
        """
        self._ring.ready()
        done, failed, after = 0, {}, ""
        while True:
            page = yield self.page(after)
            for one in page.clusters:
                try:
                    done += yield self._rekey(one.name)
                except StoreUnavailable:
                    raise
                except K3netError as error:
                    failed[one.name] = str(error)
            after = page.after
            if not after:
                return done, failed

    @inlineCallbacks
    def _rekey(self, name: str):
        for _ in range(_TRIES):
            held = yield self._store.cluster(name)
            if held is None or self._ring.is_newest(held.sealed):
                return 0
            text = self._ring.open(held.sealed, name, held.uid)
            sealed = self._ring.seal(text, name, held.uid)
            outcome = yield self._write(UpdateCluster(replace(held, sealed=sealed)))
            if not isinstance(outcome, Stale):
                return 1
        raise Changed("is changed by others all the time")

    @inlineCallbacks
    def _held(self, name: str, generation: int):
        held = yield self.get(name)
        if generation and held.generation != generation:
            raise Changed(f"cluster {name!r} is of generation {held.generation} now, not {generation}")
        return held

    @inlineCallbacks
    def _write(self, step: ClusterStep):
        outcome = yield self._store.write_cluster(step)
        if isinstance(outcome, Impossible):
            raise BadRequest(f"cluster {step.name!r}: {outcome.reason}")
        return outcome

    @inlineCallbacks
    def _sealed(self, kube_config: str, name: str, uid: str):
        self._ring.ready()
        yield self._in_thread(read_kubeconfig, kube_config, self._allow)
        return self._ring.seal(kube_config, name, uid)

    def _is_same(self, held: Cluster, kube_config: str) -> bool:
        if not self._ring.is_newest(held.sealed):
            return False
        try:
            return self._ring.open(held.sealed, held.name, held.uid) == kube_config
        except CannotOpen:
            return False

    def _opened(self, cluster: Cluster) -> Kubeconfig:
        return read_kubeconfig(self._ring.open(cluster.sealed, cluster.name, cluster.uid), self._allow)


def _check_description(description: str) -> None:
    if len(description) > LONGEST_DESCRIPTION:
        raise BadRequest(f"description: longer than {LONGEST_DESCRIPTION} characters")
    if any((ord(c) < 32 and c not in "\n\t") or 0xD800 <= ord(c) < 0xE000 for c in description):
        raise BadRequest("description: has control characters")
