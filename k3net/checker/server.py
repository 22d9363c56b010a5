"""The checker's server: what the agents say goes in, what it comes to comes out."""

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.python.failure import Failure

from k3net.checker.registry import Registry
from k3net.checker.results import Results
from k3net.checker.wire import BadResult, Heartbeat, Report, ServiceReport
from k3net.errors import BadRequest
from k3net.model import rfc3339
from k3net.model.rounds import rounds
from k3net.model.verdict import LAYERS, ROUNDS, Verdict, verdicts
from k3net.services import Periodic

_SWEEP = 1.0
_SHORTEST_REST = 1.0
_RESTS = 4.0
_MOST_LINES = 20
_MOST_NAMED = 5
_LAYER_OF = {"hosts": "host", "pods": "pod"}


class InvalidRequest(BadRequest):
    """A body that does not fit; `details` names the field."""

    def __init__(self, message: str, details: str = ""):
        super().__init__(message)
        self.details = details


class CheckerServer(Periodic):
    """Knows the agents that live and their results, and reads verdicts from these.

    `wall()` is the time of day. `in_thread(f)` is a Deferred of what `f()` returns: it works on copies, and takes a
    while when agents are many. `accepted(kind, key, body)` is told what agents said here: heartbeats, hosts, pods,
    service; `heard(heartbeat)` that an agent lives, at most once a second.
    """

    def __init__(
        self,
        clock: Any,
        *,
        wall: Callable[[], float],
        expiry: float,
        in_thread: Callable[[Callable[[], Any]], "Deferred[Any]"],
        accepted: "Callable[[str, str, Any], None] | None" = None,
        heard: "Callable[[Heartbeat], None] | None" = None,
    ):
        super().__init__(clock, _SWEEP, self._look, name="checker")
        self._wall = wall
        self._in_thread = in_thread
        self._accepted = accepted or (lambda kind, key, body: None)
        self._heard = heard or (lambda said: None)
        self.registry = Registry(expiry)
        self.results = Results(self.registry)
        self.heartbeats = 0
        self._verdicts: tuple[Verdict, ...] = ()
        self._read_at_change = -1
        self._read_at = float("-inf")
        self._took = 0.0
        self._reading = False
        self._asking: list[Deferred[tuple[Verdict, ...]]] = []

    def heartbeat(self, said: Heartbeat, *, forwarded: bool = False) -> None:
        """An agent lives, or says goodbye. InvalidRequest, CacheError when there is no room for it."""
        node_ip, pod_ip = _address(said.node_ip, "node_ip"), _address(said.pod_ip, "pod_ip")
        if (node_ip, pod_ip) != (said.node_ip, said.pod_ip):
            said = replace(said, node_ip=node_ip, pod_ip=pod_ip)
        now = self.sweep()
        self.heartbeats += 1
        if said.goodbye:
            self._goodbye(said, forwarded)
            return
        client, replaced = self.registry.beat(said, now, self._wall())
        if client.version == 1:
            self._log.info(
                "checker: agent {pod!r} on {node!r}, pod {ip}", pod=said.pod_name, node=client.name, ip=client.pod_ip
            )
            self.results.changes += 1
        self.results.drop(replaced)
        if now - client.told_at >= _SWEEP:
            client.told_at = now
            self._heard(said)
        if not forwarded:
            self._accepted("heartbeats", f"{said.namespace}/{said.pod_name}", said)

    def _goodbye(self, said: Heartbeat, forwarded: bool) -> None:
        gone = self.registry.goodbye(said)
        self.results.drop(gone)
        for client in gone:
            self._log.info("checker: agent {pod!r} on {node!r} says goodbye", pod=client.pod_name, node=client.name)
        if gone and not forwarded:
            self._accepted("heartbeats", f"{said.namespace}/{said.pod_name}", said)

    def report(self, kind: str, report: Report, *, forwarded: bool = False) -> None:
        """What an agent found; `kind` is hosts or pods. InvalidRequest, CacheError."""
        address = _address(report.source_ip, "source_ip")
        now = self.sweep()
        layer = _LAYER_OF[kind]
        source = self.registry.source(address, layer, now)
        try:
            self.results.take(source, layer, address, report.results or (), now)
        except BadResult as error:
            raise InvalidRequest(str(error), error.field) from None
        if not forwarded:
            self._accepted(kind, report.source_ip, report)

    def service_report(self, report: ServiceReport, *, forwarded: bool = False) -> None:
        """What an agent found of the service. InvalidRequest, CacheError."""
        address = _address(report.source_ip, "source_ip")
        now = self.sweep()
        source = self.registry.source(address, "pod", now)
        try:
            self.results.take_service(source, address, report.result)
        except ValueError as error:
            raise InvalidRequest(str(error), "$.result") from None
        if not forwarded:
            self._accepted("service", report.source_ip, report)

    @property
    def alarms(self) -> "Iterator[str]":
        """What an operator should know of the agents."""
        for (namespace, pod), clients in islice(self.registry.pods.shared(), _MOST_LINES):
            name = f"{namespace}/{pod}" if namespace else pod
            hosts = ", ".join(sorted(client.node_ip for client in clients)[:_MOST_NAMED])
            yield f"checker: {len(clients)} agents have the same pod name, {name!r}: on {hosts}"

    def addresses(self, layer: str) -> "list[str]":
        """Of the agents that live, sorted."""
        self.sweep()
        return self.registry.addresses(layer)

    def silent(self, layer: str) -> "list[str]":
        """Addresses of agents that fell silent a short while ago without a goodbye, sorted: still worth a test."""
        live = set(self.addresses(layer))
        return sorted({client.address(layer) for client in self.registry.silent} - live)

    def rows(self, layer: str) -> "list[tuple[str, bytes]]":
        """Each source's address and its cells, a JSON object."""
        self.sweep()
        return self.results.rows(layer)

    def clients(self) -> "list[dict[str, Any]]":
        """The records of the agents that live, by name."""
        self.sweep()
        return [
            {
                "name": client.name,
                "namespace": client.namespace,
                "node_ip": client.node_ip,
                "pod_ip": client.pod_ip,
                "pod_name": client.pod_name,
                "version": client.version,
                "last_heartbeat": rfc3339.format_nanos(client.last_heartbeat),
            }
            for client in sorted(self.registry, key=lambda client: client.name)
        ]

    def verdicts(self) -> "Deferred[tuple[Verdict, ...]]":
        """What the results mean now; read anew at most once a second."""
        self.sweep()
        if not self._reading and self._fresh():
            return succeed(self._verdicts)
        asked: Deferred[tuple[Verdict, ...]] = Deferred()
        self._asking.append(asked)
        self._read()
        return asked

    @inlineCallbacks
    def read_anew(self):
        """Whoever asks after this gets verdicts of what is known now, however young others are."""
        if self._reading:
            yield self.verdicts()
        self._read_at = float("-inf")

    @property
    def last_verdicts(self) -> "tuple[Verdict, ...]":
        """As they were last read; the loop reads them when something changed."""
        return self._verdicts

    def sweep(self) -> float:
        """Forget the agents that fell silent; the time it is."""
        now = self._clock.seconds()
        silent, forgotten = self.registry.expire(now)
        if silent:
            self.results.fall_silent(silent)
            for client in silent[:_MOST_LINES]:
                self._log.info(
                    "checker: agent {pod!r} on {node!r} is silent and gone", pod=client.pod_name, node=client.name
                )
            if len(silent) > _MOST_LINES:
                self._log.info("checker: and {more} agents more, all at once", more=len(silent) - _MOST_LINES)
        if forgotten:
            self.results.drop(forgotten)
        return now

    def _look(self) -> None:
        now = self.sweep()
        self.results.lapse(now)
        rest = max(_SHORTEST_REST, _RESTS * self._took)
        if self._read_at_change != self.results.changes and now - self._read_at >= rest:
            self._read()

    def _fresh(self) -> bool:
        if self._read_at_change == self.results.changes:
            return True
        return self._clock.seconds() - self._read_at < _SHORTEST_REST

    def _read(self) -> None:
        if self._reading:
            return
        begun = self._read_at = self._clock.seconds()
        self._read_at_change = self.results.changes
        judge = self._judge()

        def told(found: "tuple[Verdict, ...]") -> None:
            self._took = self._clock.seconds() - begun
            self._verdicts = found

        def failed(failure: Failure) -> Failure:
            self._log.failure("the verdicts could not be read", failure=failure)
            return failure

        def ended(result: "Failure | None") -> None:
            self._reading = False
            asking, self._asking = self._asking, []
            for asked in asking:
                if result is None:
                    asked.callback(self._verdicts)
                else:
                    asked.errback(result)

        self._reading = True
        self._in_thread(judge).addCallback(told).addErrback(failed).addBoth(ended)

    def _judge(self) -> "Callable[[], tuple[Verdict, ...]]":
        """A function that reads the verdicts from what is known now."""
        clients, results = self.registry.by_bit, self.results
        tested = results.evidence()
        names = [None if c is None or (c.silent and not tested >> c.bit & 1) else c.name for c in clients]
        rows = {layer: [None if c is None else results.row(c, layer) for c in clients] for layer in LAYERS}
        layers = {layer: [None if row is None else row.marks() for row in of] for layer, of in rows.items()}
        services = [results.findings(client) for client in clients]
        ports = dict(results.ports)

        def judge() -> "tuple[Verdict, ...]":
            last, *earlier = rounds(names, layers, services)
            return verdicts(last.pictures, last.services, earlier=earlier[: ROUNDS - 1], ports=ports)

        return judge


def _address(text: str, field: str) -> str:
    """In the form in which agents are told of it, and tell of it; InvalidRequest when it is none."""
    try:
        return str(ip_address(text))
    except ValueError:
        raise InvalidRequest(f"expected an IP address, not {text!r}", f"$.{field}") from None
