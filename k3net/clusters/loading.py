"""Clusters made usable: each one's API server is asked, and its client kept for those who work with it."""

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks

from k3net.clusters.client import Client, Unreachable
from k3net.clusters.registry import Registry
from k3net.clusters.slots import Slots, Stopped
from k3net.errors import CorruptRecord, K3netError, NotFound, StoreUnavailable
from k3net.log import make_logger
from k3net.model.cluster import Cluster
from k3net.services import Periodic

ACTIVE, UNREACHABLE, INVALID = "active", "unreachable", "invalid"
_LOOK = 1.0
_JITTER = 0.1


@dataclass(frozen=True)
class ClusterState:
    """What this instance makes of a cluster, of `generation`; times are monotonic, `version` the API server's.

    `serving` is the generation whose client is in use: an older one while the newest does not work, 0 for none.
    """

    name: str
    generation: int
    state: str = UNREACHABLE
    reason: str = "not asked yet"
    version: str = ""
    serving: int = 0
    checked_at: float | None = None
    since: float = 0.0


class _Held:
    """One cluster: `client` is in use, `candidate` is of the newest generation and has not been seen to work."""

    def __init__(self, cluster: Cluster, now: float):
        self.cluster = replace(cluster, sealed="")
        self.state = ClusterState(cluster.name, cluster.generation, since=now)
        self.client: Client | None = None
        self.candidate: Client | None = None
        self.due = now
        self.under_way: Deferred[Any] | None = None


class Loading(Periodic):
    """Asks each cluster's API server when it is taken in, and every `interval` seconds: active, unreachable, invalid.

    `in_thread(f, *args)` is that of Registry. At most `at_once` are asked at a time, and those that hang hold up no
    other. A client that works is replaced only by one that works.
    """

    def __init__(
        self,
        clock: Any,
        registry: Registry,
        *,
        in_thread: "Callable[..., Deferred[Any]]",
        interval: float = 60.0,
        timeout: float = 5.0,
        at_once: int = 32,
        connect: Callable[..., Any] = Client,
    ):
        super().__init__(clock, min(_LOOK, interval), self._look_round, name="clusters-loading")
        self._registry = registry
        self._in_thread = in_thread
        self._every = interval
        self._timeout = timeout
        self._at_once = at_once
        self._connect = connect
        self._held: dict[str, _Held] = {}
        self._slots = Slots(clock, at_once)
        self._log = make_logger()

    def client(self, name: str) -> "Client | None":
        """The client to ask this cluster with: the last one that worked, else the newest; None when there is none."""
        held = self._held.get(name)
        return None if held is None else held.client or held.candidate

    def state(self, name: str) -> "ClusterState | None":
        held = self._held.get(name)
        return None if held is None else held.state

    def states(self) -> Iterator[ClusterState]:
        """Of every cluster, in no order."""
        return (held.state for held in self._held.values())

    def take(self, cluster: Cluster) -> "Deferred[ClusterState | None]":
        """Load this record (a tombstone: let go of it); the state it came to, None when it is gone.

        One that is not newer than what is held is only checked; calls for the same cluster share one check.
        """
        held = self._held.get(cluster.name)
        if cluster.deleted:
            if held is not None and held.cluster.generation <= cluster.generation:
                self.forget(cluster.name)
            return self._settled(cluster.name)
        now = self._clock.seconds()
        if held is None:
            held = self._held[cluster.name] = _Held(cluster, now)
        elif cluster.generation > held.cluster.generation:
            held.cluster = replace(cluster, sealed="")
            held.candidate = None
            if held.under_way is not None:  # it asks by a kubeconfig that is not the newest
                held.due = now
                return self._settled(cluster.name).addCallback(lambda _: self._check(held, cluster))
        return self._check(held, cluster)

    @inlineCallbacks
    def reload(self, name: str, *, patience: float = 60.0):
        """Read this cluster from the store and load it: its ClusterState; NotFound, StoreUnavailable.

        After `patience` seconds the state so far, and the check goes on.
        """
        try:
            cluster = yield self._registry.get(name)
        except NotFound:
            self.forget(name)
            raise
        state = yield self.take(cluster).addTimeout(patience, self._clock, lambda *_: self.state(name))
        return state

    def forget(self, name: str) -> None:
        self._held.pop(name, None)

    def keep_only(self, names: Collection[str]) -> None:
        """Forget all others: they were deleted while nobody told."""
        for name in self._held.keys() - names:
            self.forget(name)

    def startService(self) -> None:
        self._slots = Slots(self._clock, self._at_once)
        super().startService()

    def stopService(self) -> "Deferred[None] | None":
        self._slots.stop()
        return super().stopService()

    def _look_round(self) -> None:
        now = self._clock.seconds()
        for held in tuple(self._held.values()):
            if held.under_way is None and now >= held.due:
                self._check(held, None)

    def _settled(self, name: str) -> "Deferred[ClusterState | None]":
        """When no check of it is under way any more: its state."""
        done: Deferred[ClusterState | None] = Deferred()
        held = self._held.get(name)
        if held is None or held.under_way is None:
            done.callback(None if held is None else held.state)
        else:
            held.under_way.addCallback(lambda _: done.callback(self.state(name)))
        return done

    def _check(self, held: _Held, cluster: "Cluster | None") -> "Deferred[ClusterState | None]":
        """Ask with the newest kubeconfig, which is in `cluster`, or in the store when a client is still to be made."""
        if held.under_way is None:
            spread = 1 + _JITTER * (2 * random.random() - 1)  # noqa: S311 - timing, not a secret
            held.due = self._clock.seconds() + self._every * spread
            if self._slots.waiting:
                cluster = None  # thousands that wait for their turn are not to be kept
            held.under_way = self._slots.run(lambda: self._ask(held, cluster))
            held.under_way.addBoth(self._ended, held)
        return self._settled(held.cluster.name)

    def _ended(self, failure: Any, held: _Held) -> None:
        held.under_way = None
        if failure is not None and not failure.check(Stopped, CancelledError):
            self._log.failure("cluster {cluster!r}: broken", failure, cluster=held.cluster.name)

    @inlineCallbacks
    def _ask(self, held: _Held, cluster: "Cluster | None"):
        generation = held.cluster.generation
        client = held.candidate or (held.client if held.state.serving == generation else None)
        try:
            if client is None:
                if cluster is None or cluster.generation != generation or not cluster.sealed:
                    cluster = yield self._registry.get(held.cluster.name)
                    if cluster.generation > held.cluster.generation:
                        held.cluster = replace(cluster, sealed="")
                    generation = cluster.generation
                kubeconfig = yield self._registry.kubeconfig(cluster)
                client = yield self._in_thread(self._connect, self._clock, kubeconfig)
                if held.cluster.generation == generation:
                    held.candidate = client
            version = yield client.version(timeout=self._timeout)
        except (NotFound, StoreUnavailable):
            return  # the store will say what became of it
        except Unreachable as error:
            self._becomes(held, generation, UNREACHABLE, str(error))
        except CorruptRecord as error:
            self._becomes(held, generation, INVALID, error.reason)
        except K3netError as error:
            self._becomes(held, generation, INVALID, str(error))
        else:
            if held.cluster.generation == generation:
                held.client, held.candidate = client, None
            self._becomes(held, generation, ACTIVE, "", version.git_version)

    def _becomes(self, held: _Held, generation: int, state: str, reason: str, version: str = "") -> None:
        name = held.cluster.name
        if self._slots.stopped or held.cluster.generation != generation or self._held.get(name) is not held:
            return
        now, before = self._clock.seconds(), held.state
        changed = (before.state, before.reason, before.generation) != (state, reason, generation)
        held.state = ClusterState(
            name,
            generation,
            state,
            reason,
            version or before.version,
            generation if state == ACTIVE else before.serving,
            now,
            now if changed else before.since,
        )
        if changed and state == ACTIVE:
            self._log.info("cluster {cluster!r} is active: {version}", cluster=name, version=version)
        elif changed:
            self._log.warn("cluster {cluster!r} is {state}: {reason}", cluster=name, state=state, reason=reason)
