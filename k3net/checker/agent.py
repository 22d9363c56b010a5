"""The agent: says that it lives, learns who else does, tests them all, and tells the server (spec/3-checker.md)."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import (
    Deferred,
    DeferredSemaphore,
    gatherResults,
    inlineCallbacks,
    maybeDeferred,
)

from k3net.checker.account import Account
from k3net.checker.calls import Server, ServerError
from k3net.checker.findings import connectivity, service_connectivity
from k3net.checker.wire import ConnectivityResult, Heartbeat, SentReport, ServiceReport
from k3net.log import make_logger
from k3net.model.mesh import Mesh
from k3net.model.result import ProbeResult
from k3net.services import Dependency, Periodic

_JITTER = 0.1
_PACKETS = 3
_SPACING = 0.25
_PATIENCE = 1.0
_AT_ONCE = 256
_PARTING = 2.0
_LEAST = 1.0

Probe = Callable[..., "Deferred[ProbeResult]"]


class Identity(NamedTuple):
    """Who the agent is: what its heartbeats say."""

    node_name: str
    node_ip: str
    pod_ip: str
    pod_name: str
    namespace: str


class Aims(NamedTuple):
    """What is tested: hosts on `test_port`, pods on `client_port`, and a service unless its name is empty."""

    test_port: int
    client_port: int
    service_name: str
    service_port: int
    full_mesh_limit: int
    neighbours: int


class Agent(Service):
    """Heartbeats every `heartbeat` seconds with jitter, and every `every` seconds a round of tests, the first at once.

    A round tests its hosts, pods and service at the same time, 256 targets at once, and posts one report for each of
    these layers. While the server gives no lists, the last ones count. Stopping ends the round where it is, and says
    goodbye.
    `ping(address, count, interval, timeout)` keeps its own pace; `connect` and `resolve` are probes of k3net.probes.
    """

    def __init__(
        self,
        reactor: Any,
        server: Server,
        identity: Identity,
        aims: Aims,
        *,
        ping: Probe,
        connect: Probe,
        resolve: Probe,
        wall: Callable[[], float],
        heartbeat: float = 5.0,
        every: float = 60.0,
    ):
        self._reactor = reactor
        self._server = server
        self._identity = identity
        self._aims = aims
        self._ping = ping
        self._connect = connect
        self._resolve = resolve
        self._wall = wall
        self._mesh = Mesh(aims.full_mesh_limit, aims.neighbours, max(1, aims.neighbours))
        self._account = Account(reactor, self._mesh, every)
        self._slots = DeferredSemaphore(_AT_ONCE)
        self._listed: dict[str, tuple[str, ...]] = {"hosts": (), "pods": ()}
        self._log = make_logger()
        self._heartbeat = Periodic(reactor, heartbeat, self._beat, name="checker heartbeat", jitter=_JITTER)
        self._going: Deferred[None] | None = None
        self._round = Periodic(reactor, every, self._follow_round, name="checker round", jitter=_JITTER, first=1.0)

    # What is told of it (k3net/parts.py)

    @property
    def loops(self) -> tuple[Periodic, Periodic]:
        return (self._heartbeat, self._round)

    @property
    def alarms(self) -> Iterator[str]:
        return self._account.alarms

    @property
    def dependencies(self) -> "tuple[Dependency, ...]":
        return (Dependency("checker-server", self._heartbeat.failing_since, self._heartbeat.last_error),)

    @property
    def collectors(self) -> "tuple[Account, ...]":
        return (self._account,)

    # Lifecycle

    def startService(self) -> None:
        super().startService()
        self._heartbeat.startService()
        self._round.startService()

    @inlineCallbacks
    def stopService(self):
        super().stopService()
        stopped = [maybeDeferred(loop.stopService) for loop in self.loops]
        if self._going is not None:
            self._going.cancel()
        yield gatherResults(stopped)
        if self._heartbeat.last_success is not None:
            yield self._say_goodbye()

    # Heartbeats

    def _beat(self, *, goodbye: bool = False) -> Any:
        return self._server.beat(Heartbeat(**self._identity._asdict(), timestamp=self._now(), goodbye=goodbye))

    @inlineCallbacks
    def _say_goodbye(self):
        """So that nobody takes a machine that is drained for one that is down."""
        try:
            yield self._within(_PARTING, self._beat(goodbye=True))
        except ServerError as error:
            self._log.info("the checker's server did not hear the goodbye: {error}", error=error)

    # A round

    @inlineCallbacks
    def _follow_round(self):
        self._going = self._go_round()
        try:
            yield self._going
        except Exception:
            if self.running:  # else it was cut short
                raise
        finally:
            self._account.ended()
            self._going = None

    @inlineCallbacks
    def _go_round(self):
        number = self._account.began()
        me, aims = self._identity, self._aims
        layers = [
            self._layer("hosts", me.node_ip, aims.test_port, self._server.hosts, number),
            self._layer("pods", me.pod_ip, aims.client_port, self._server.pods, number),
        ]
        if aims.service_name:
            layers.append(self._service())
        troubles = yield gatherResults([each.addErrback(_kept) for each in layers], consumeErrors=True)
        for trouble in filter(None, troubles):
            raise trouble

    @inlineCallbacks
    def _layer(self, layer: str, own: str, port: int, listed: Callable[[], Any], number: int):
        """Test and tell; when the server cannot be asked the targets are those of the last time. Raises ServerError."""
        trouble = yield self._list(layer, own, listed)
        found = yield self._tested_all(own, self._mesh.targets(own, self._listed[layer], number), port)
        self._account.found(layer, found)
        measured = [each for each in found if each is not None]
        if any(_failed(each) for each in measured) and not (yield self._list(layer, own, listed)):
            there = set(self._listed[layer])  # who left while the round was under way is not told as down
            measured = [each for each in measured if each.target_ip in there]
        if measured:
            yield self._in_time(self._server.take(layer, SentReport(own, measured)))
        if trouble is not None:
            raise trouble

    @inlineCallbacks
    def _list(self, layer: str, own: str, listed: Callable[[], Any]):
        """Whom the layer has now; the result is None, or why the server did not say."""
        try:
            self._listed[layer] = yield self._in_time(listed())
        except ServerError as error:
            return error
        self._account.expect(layer, {*self._listed[layer]} - {own})
        return None

    def _in_time(self, asked: "Deferred[Any]") -> "Deferred[Any]":
        """What the server answers while the round has time for it: no round falls behind because of the server."""
        return self._within(max(_LEAST, self._account.left), asked)

    def _within(self, seconds: float, asked: "Deferred[Any]") -> "Deferred[Any]":
        """The answer of the server; a ServerError when it takes longer."""

        def late(*_: Any) -> Any:
            raise ServerError(f"no answer within {seconds:.0f} s", may_pass=True)

        return asked.addTimeout(seconds, self._reactor, late)

    def _tested_all(self, own: str, wanted: Sequence[str], port: int) -> "Deferred[Any]":
        return gatherResults([self._slots.run(self._pair, own, target, port) for target in wanted], consumeErrors=True)

    @inlineCallbacks
    def _pair(self, own: str, target: str, port: int):
        begun = self._reactor.seconds()
        ping, tcp = yield self._both(target, port)
        return connectivity(own, target, port, ping, tcp, self._reactor.seconds() - begun, self._now())

    @inlineCallbacks
    def _service(self):
        me, aims = self._identity, self._aims
        begun = self._reactor.seconds()
        dns = yield self._resolve(self._reactor, aims.service_name, _PATIENCE * 2)
        ping = tcp = None
        if dns.ok:
            ping, tcp = yield self._both(dns.facts["addresses"][0], aims.service_port)
        took = self._reactor.seconds() - begun
        found = service_connectivity(me.pod_ip, aims.service_name, aims.service_port, dns, ping, tcp, took, self._now())
        self._account.found("service", [found])
        if found is not None:
            yield self._in_time(self._server.take("service", ServiceReport(me.pod_ip, found)))

    def _both(self, target: str, port: int) -> "Deferred[Any]":
        """The results of ICMP and TCP, at the same time."""
        connecting = self._connect(self._reactor, (target, port), _PATIENCE)
        return gatherResults([self._ping(target, _PACKETS, _SPACING, _PATIENCE), connecting], consumeErrors=True)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), timezone.utc)


def _failed(found: ConnectivityResult) -> bool:
    return found.ping_status == "unreachable" or "closed" in (found.port_status or {}).values()


def _kept(failure: Any) -> Exception:
    """The error of a layer, until the others are through."""
    failure.trap(Exception)
    return failure.value
