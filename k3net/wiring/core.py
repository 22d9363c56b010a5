"""Which parts these settings ask for, and whom each of them talks to."""

import os
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from twisted.internet.defer import inlineCallbacks

from k3net import __version__, host
from k3net.config import Settings
from k3net.discovery.liveness import Liveness
from k3net.discovery.mdns import Mdns
from k3net.discovery.opinions import Opinions
from k3net.discovery.own_node import OwnNode
from k3net.http import fetch
from k3net.model import rfc3339
from k3net.model.brake import Brake, Reach
from k3net.model.result import ProbeResult
from k3net.parts import Part, Surroundings
from k3net.probes import PROBES
from k3net.probes.gateway import gateway_answers
from k3net.reconciler.service import Reconciler
from k3net.services import Dependency, Periodic
from k3net.status import readiness
from k3net.store import deadline, opener
from k3net.store.threaded import ThreadedStore
from k3net.web.access import RateLimit, Tokens, loopback_host
from k3net.web.api import (
    brake_routes,
    consul_routes,
    described,
    explain_routes,
    node_routes,
    peer_routes,
    status_routes,
    version_routes,
)
from k3net.web.health import health_routes, probe_routes
from k3net.web.site import Listener
from k3net.wiring.agent import AgentWires
from k3net.wiring.blackbox import blackbox_routes
from k3net.wiring.checker import CONNECTIONS, CheckerWires, checker_doors
from k3net.wiring.clusters import INTERNAL_NAME, ClustersWires
from k3net.wiring.consul import ConsulWires
from k3net.wiring.pod_cidr import PodCidrWires

_LOOK = 5.0
_LONGEST_INFO = 16 * 1024


def parts(daemon: Surroundings, s: Settings) -> Iterator[Part]:
    """The parts in the order they start; `made_of` names all that one depends on."""
    wires = _Wires(daemon, s)
    core = (s.node.name, s.storage)
    yield Part("store", core, wires.store)
    yield Part("reconcile", (core, s.node.register_self, s.reconcile, s.liveness), wires.reconciler)
    yield Part("host", (), wires.host)
    if s.mdns.enabled:
        yield Part("mdns", (core, s.mdns, s.listen, s.liveness.peer_ttl), wires.mdns)
    # After mdns, so that it stops before: who is probed after a goodbye, and answers, is there.
    yield Part("listen", (core, s.listen, s.mdns, s.node, wires.consul.identity), wires.health)
    yield from wires.consul.parts()
    yield Part("liveness", (core, s.liveness), wires.liveness)
    yield from wires.checker.parts()
    yield from wires.clusters.parts()
    clusters = (wires.clusters.identity, s.clusters.internal_listen)
    yield Part("api", (core, s.api, s.metrics, s.blackbox, s.consul, wires.checker.identity, clusters), wires.api)
    yield from AgentWires(daemon, s).parts()
    if s.node.register_self:
        yield wires.pod_cidr.part()
        yield Part("own-node", (core, s.node, s.listen, s.mdns, wires.consul.identity), wires.own_node)
    yield Part("watchdog", (), daemon.notifier.watchdog)


def open_doors(s: Settings) -> Iterator[str]:
    """What an operator opened on purpose, and is told at every start."""
    if s.api.auth == "none" and not s.api.listen.on_loopback:
        yield f"api.auth is none: everybody who reaches {s.api.listen} reads this API"
    yield from checker_doors(s)


class _Wires:
    """One maker for each part; what another part gives is looked up when it is needed, so that each can be remade."""

    def __init__(self, daemon: Surroundings, s: Settings):
        self._daemon = daemon
        self._reactor = daemon.reactor
        self._s = s
        self._name = str(s.node.name)
        self._peer_ttl = float(s.liveness.peer_ttl)
        self.consul = ConsulWires(daemon, s)
        self.checker = CheckerWires(daemon, s)
        self.clusters = ClustersWires(daemon, s)
        self.pod_cidr = PodCidrWires(daemon, s)

    def store(self) -> ThreadedStore:
        metrics = self._daemon.metrics
        return ThreadedStore(
            self._reactor,
            opener(self._s.storage),
            deadline=deadline(self._s.storage),
            took=metrics.store_took,
            missed=metrics.store_failed,
        )

    def reconciler(self) -> Reconciler:
        s, d = self._s, self._daemon
        opinions = Opinions(
            self._reactor,
            members=lambda: d["reconcile"].share.members - {self._name},
            where=self._where,
            timeout=s.liveness.probe_timeout,
        )
        return Reconciler(
            self._reactor,
            d["store"],
            d.table,
            name=self._name,
            instance=d.instance,
            registers=s.node.register_self,
            wall=d.wall,
            brake=Brake(s.liveness.peer_ttl, silence=3 * s.liveness.probe_interval, enabled=s.reconcile.brake),
            reach=self._reach,
            ask=opinions.on,
            interval=s.reconcile.interval,
            report_every=s.reconcile.report_every,
            peer_ttl=self._peer_ttl,
            counted=d.metrics.step_done,
        )

    def host(self) -> Periodic:
        return Periodic(self._reactor, _LOOK, self._daemon.look_at_host, name="host")

    def health(self) -> Listener:
        return Listener(
            self._reactor,
            self._s.listen,
            [*health_routes(self._info), *probe_routes(self._probe)],
            checks=[RateLimit(self._reactor)],
        )

    def mdns(self) -> Mdns:
        s, d = self._s, self._daemon
        return Mdns(
            self._reactor,
            d.observe,
            name=self._name,
            port=lambda: d["listen"].port,
            pid=os.getpid(),
            host=lambda: d.host,
            service_type=f"{s.mdns.service}.{s.mdns.domain}",
            interfaces=s.mdns.interfaces,
            allowed=[ip_network(cidr) for cidr in s.mdns.allowed_cidrs],
            peer_ttl=self._peer_ttl,
            peer_of=d.table.get,
            refused=lambda reason: d.metrics.observation_refused("mdns", reason),
        )

    def liveness(self) -> Liveness:
        s, d = self._s, self._daemon
        return Liveness(
            self._reactor,
            d.observe,
            peers=lambda: d.table,
            own_addresses=lambda: d.host.own_addresses,
            connect=PROBES["tcp"],
            ask=self._ask,
            own_name=self._name,
            peer_ttl=self._peer_ttl,
            interval=s.liveness.probe_interval,
            timeout=s.liveness.probe_timeout,
            max_in_flight=s.liveness.max_in_flight,
            counted=self._count_probe,
        )

    def api(self) -> Listener:
        s, d = self._s, self._daemon
        tokens = Tokens(self._reactor, s.api.token_files)
        guarded = s.api.auth == "token" and not s.api.listen.on_loopback
        checks: list[Any] = [tokens] if guarded else []
        if s.api.listen.on_loopback:
            checks.append(loopback_host)
        routes = [
            *node_routes(d.view.nodes, d.view.node),
            *explain_routes(d.view.explain),
            *brake_routes(d.view.brake, d.view.release_brake),
            *peer_routes(d.view.peers),
            *consul_routes(self.consul.status),
            *blackbox_routes(d, s),
            *self.checker.routes(tokens),
            *self.clusters.routes(),
            *status_routes(
                lambda: self._readiness(tokens if guarded else None), d.metrics.expose if s.metrics.enabled else None
            ),
            *version_routes(__version__),
        ]
        others = {"listen": lambda: d["listen"]}
        if s.clusters.enabled and s.clusters.internal_listen:
            others["clusters.internal_listen"] = lambda: d[INTERNAL_NAME]
        routes = described(routes, __version__, checks=checks, others=others)
        room = CONNECTIONS if s.checker.server.enabled else {}
        return Listener(self._reactor, s.api.listen, routes, name="api", checks=checks, **room)

    def own_node(self) -> OwnNode:
        s, d = self._s, self._daemon
        return OwnNode(
            self._reactor,
            d.observe,
            name=self._name,
            facts=lambda: {
                "addresses": d.host.addresses[:16],
                "port": d["listen"].port,
                "meta": {"pid": str(os.getpid()), **self.consul.own_meta(), **self.pod_cidr.meta()},
                "pod_cidrs": self.pod_cidr.cidrs(),
            },
            word=self.consul.own_word,
            may_speak=self._may_speak,
            interval=float(s.node.heartbeat),
            goodbye=s.node.goodbye,
        )

    def _may_speak(self) -> bool:
        """Whether the own name is this machine's: not taken, and found out if that can be found out soon."""
        if not self._s.mdns.enabled:
            return True
        mdns = self._daemon["mdns"]
        if mdns.name_is_free is None:
            return mdns.loop.failures > 0 or mdns.waited(1.5)
        return mdns.name_is_free

    def _info(self) -> dict[str, Any]:
        """spec/1-nodes-and-mdns.md, and `version`, `instance`, `store`."""
        s, d = self._s, self._daemon
        return {
            "node": self._name,
            "port": d["listen"].port,
            "pid": os.getpid(),
            "addrs": list(d.host.addresses),
            "ts": rfc3339.format_nanos(d.wall()),
            "mdns": {"service": str(s.mdns.service), "domain": str(s.mdns.domain)},
            "selfUp": s.node.register_self,
            "version": __version__,
            "instance": d.instance,
            "store": d["reconcile"].store_id,
            **self.consul.info(),
            **self.pod_cidr.info(),
            **self.clusters.info(),
        }

    @inlineCallbacks
    def _ask(self, url: str):
        answer = yield fetch(
            self._reactor, "GET", url, timeout=max(1.0, 2 * self._s.liveness.probe_timeout), max_bytes=_LONGEST_INFO
        )
        return answer.json() if answer.status == 200 else None

    @inlineCallbacks
    def _reach(self):
        last, held = self._daemon["liveness"].last_answer, self._daemon["reconcile"].brake.held_since
        works = last is not None and self._reactor.seconds() - last <= 3 * self._s.liveness.probe_interval
        if held is not None and not works:
            works = yield gateway_answers(self._reactor, host.default_gateways(), self._s.liveness.probe_timeout)
        return Reach(last_answer=last, network_works=works)

    @inlineCallbacks
    def _probe(self, name: str):
        """What `/probe?node=` answers: `ok` is null for what is not known here, or was not measured."""
        result = yield self._daemon["liveness"].probe_now(name)
        if result is None:
            return {"node": name, "ok": None, "reason": "not known here", "rtt_seconds": None}
        return {"node": name, "ok": result.ok, "reason": result.reason, "rtt_seconds": result.rtt}

    def _where(self, member: str) -> tuple[tuple[str, ...], int]:
        peer = self._daemon.table.get(member)
        return ((), 0) if peer is None else peer.whereabouts(self._reactor.seconds())

    def _count_probe(self, result: ProbeResult) -> None:
        word = "ok" if result.ok else result.reason.partition(":")[0]
        self._daemon.metrics.probed(result.probe, word, result.rtt)

    def _readiness(self, tokens: "Tokens | None") -> tuple[bool, dict[str, Any]]:
        d = self._daemon
        needs = [*d.dependencies(), *self.checker.dependencies(), *self.clusters.dependencies()]
        if tokens is not None and tokens.error:
            needs.append(Dependency("tokens", self._reactor.seconds(), tokens.error))
        return readiness(d.loops(), needs, [*d.alarms(), *open_doors(self._s)], self._reactor.seconds())
