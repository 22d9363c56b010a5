"""The parts of the clusters, and whom each of them talks to."""

import os
from collections.abc import Iterator
from typing import Any

from twisted.internet.defer import inlineCallbacks
from twisted.internet.threads import deferToThreadPool

from k3net.clusters.broadcast import Broadcast
from k3net.clusters.calls import ReloadCall
from k3net.clusters.loading import Loading
from k3net.clusters.registry import Registry
from k3net.clusters.secrets import KeyRing
from k3net.clusters.service import Clusters
from k3net.config import Settings
from k3net.credentials import ServerTls, Token, Trust
from k3net.discovery.instance_names import addresses_of_service
from k3net.discovery.instances import MOST_INSTANCES, Instance, Instances, instances_among
from k3net.http import fetch
from k3net.log import make_logger
from k3net.parts import Part, Surroundings
from k3net.services import Dependency
from k3net.store.etcd_watch import EtcdWatch
from k3net.web.access import loopback_host
from k3net.web.clusters_api import Checks, ClustersApi
from k3net.web.instances_api import InstancesApi
from k3net.web.resource import Route
from k3net.web.scoped_tokens import INTERNAL, ScopedTokens
from k3net.web.site import Listener

NAME = "clusters"
INTERNAL_NAME = "clusters-internal"
WATCH_NAME = "clusters-watch"
_PATIENCE = 1.0
_LONGEST_ANSWER = 4096


class ClustersWires:
    """Makers of the parts "clusters" and "clusters-internal", and the routes that `api.listen` serves for them."""

    def __init__(self, daemon: Surroundings, s: Settings):
        self._daemon = daemon
        self._reactor = daemon.reactor
        self._s = s
        self._c = s.clusters
        self._log = make_logger()
        self._tokens = ScopedTokens(self._reactor, self._c.token_files)
        self._internal_tokens = ScopedTokens(self._reactor, self._c.internal_token_files, (INTERNAL,))
        self._ring = KeyRing(self._c.key_files, self._warn)
        self._instances: Instances | None = None
        self._call = ReloadCall(
            self._reactor,
            timeout=float(self._c.timeout),
            token=Token(path=next(iter(self._c.internal_token_files), "")),
            trust=self._trust(),
        )

    def parts(self) -> Iterator[Part]:
        if self._c.enabled:
            yield Part(NAME, (self._s.storage, self._c), self._clusters)
            if self._s.storage.type == "etcd":
                yield Part(WATCH_NAME, (self._s.storage, self._c), self._watch)
            if self._c.internal_listen:
                yield Part(INTERNAL_NAME, self._c, self._internal)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What the routes are made of."""
        return (self._c.enabled, self._c.token_files)

    def info(self) -> dict[str, str]:
        """What `/info` says, so that others find the port of the internal listener."""
        if not (self._c.enabled and self._c.internal_listen):
            return {}
        return {"clusters": str(self._daemon[INTERNAL_NAME].port)}

    def dependencies(self) -> Iterator[Dependency]:
        if not self._c.enabled:
            return
        files: list[tuple[str, Any]] = [("clusters' tokens", self._tokens), ("clusters' keys", self._ring)]
        if self._c.internal_token_files:
            files.append(("instances' tokens", self._internal_tokens))
        for name, file in files:
            if error := file.error:
                yield Dependency(name, self._reactor.seconds(), error)

    def routes(self) -> "list[Route]":
        if not self._c.enabled:
            return []
        local: Checks = (loopback_host,) if self._s.api.listen.on_loopback else ()
        users = ClustersApi(lambda: self._daemon[NAME], lambda: self._found().others(), instance=self._daemon.instance)
        return [*users.routes(self._tokens.may, local), *self._instances_api().health_routes(local)]

    def _instances_api(self) -> InstancesApi:
        return InstancesApi(
            lambda: self._daemon[NAME],
            instance=self._daemon.instance,
            store_is_well=lambda: self._daemon["store"].unavailable_since is None,
        )

    def _clusters(self) -> Clusters:
        c, d, reactor = self._c, self._daemon, self._reactor

        def in_thread(f: Any, *args: Any) -> Any:
            return deferToThreadPool(reactor, reactor.getThreadPool(), f, *args)

        registry = Registry(d["store"], self._ring, in_thread=in_thread, wall=d.wall, allow=c.allow)
        loading = Loading(
            reactor,
            registry,
            in_thread=in_thread,
            interval=float(c.check_interval),
            timeout=float(c.check_timeout),
        )
        broadcast = Broadcast(
            reactor,
            instances=self._addresses,
            ask=self._ask,
            keep=registry.add_receipts,
            wall=d.wall,
            own=d.instance,
            fan_out=c.fan_out,
            timeout=float(c.timeout),
        )
        return Clusters(reactor, registry, loading, broadcast, catch_up=float(c.catch_up))

    def _warn(self, text: str) -> None:
        self._log.warn("{text}", text=text)

    def _watch(self) -> EtcdWatch:
        return EtcdWatch(self._reactor, self._s.storage, self._daemon[NAME].hint, name=WATCH_NAME)

    def _internal(self) -> Listener:
        """For the other instances: by a token of theirs, by a certificate of `internal_ca`, or by both."""
        c = self._c
        checks: Checks = (self._internal_tokens.may(INTERNAL),) if c.internal_token_files else ()
        tls = ServerTls(c.internal_cert, c.internal_key, c.internal_ca) if c.internal_cert else None
        routes = self._instances_api().routes(checks)
        return Listener(self._reactor, c.internal_listen, routes, name=INTERNAL_NAME, tls=tls)

    def _trust(self) -> "Trust | None":
        c = self._c
        if not c.internal_cert:
            return None
        return Trust(c.internal_ca, c.internal_cert, c.internal_key, server_name=c.internal_server_name)

    # The other instances

    def _found(self) -> Instances:
        if self._instances is None:
            d = self._daemon
            self._instances = Instances(
                self._reactor,
                environ=os.environ,
                own_identity=d.instance,
                own_places=self._own_places,
                resolve=lambda name: addresses_of_service(self._reactor, name, most=MOST_INSTANCES),
                identify=self._identify,
                discovered=lambda: list(instances_among(d.table, d["reconcile"].store_id, self._reactor.seconds())),
                discovery=self._c.instances.discovery,
                domain=str(self._c.instances.domain),
            )
        return self._instances

    @inlineCallbacks
    def _addresses(self):
        found = yield self._found().at_hand()
        return tuple(one.address for one in found)

    @inlineCallbacks
    def _ask(self, address: str, name: str, change: str):
        """ReloadCall, whose answers tell who is where."""
        identity = yield self._call(address, name, change)
        self._found().met(address, identity)
        return identity

    def _own_places(self) -> "list[tuple[str, int]]":
        port = self._daemon[INTERNAL_NAME].port if self._c.internal_listen else 0
        addresses = [*self._daemon.host.own_addresses, "127.0.0.1", "::1"]
        return [(str(address), port) for address in addresses] if port else []

    @inlineCallbacks
    def _identify(self, instance: Instance):
        """The random `instance` that is behind an address."""
        trust = self._trust()
        scheme = "https" if trust else "http"
        url = f"{scheme}://{instance.address}/health/live"
        answer = yield fetch(self._reactor, "GET", url, timeout=_PATIENCE, max_bytes=_LONGEST_ANSWER, tls=trust)
        said = answer.json(dict[str, Any])
        return str(said.get("instance", ""))[:64]
