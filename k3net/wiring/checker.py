"""The parts of the connectivity checker's server, and whom each of them talks to."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool

from k3net.checker.exchange import Members
from k3net.checker.keeping import Keeping
from k3net.checker.report import Reporter
from k3net.checker.server import CheckerServer
from k3net.checker.server_metrics import ServerMetrics
from k3net.checker.wire import Heartbeat
from k3net.config import Settings
from k3net.credentials import Token
from k3net.errors import InvalidObservation
from k3net.model.observation import Observation
from k3net.parts import Part, Surroundings
from k3net.probes.names import addresses_of
from k3net.services import Dependency, Sequential
from k3net.web.access import RateLimit, Tokens, loopback_host
from k3net.web.checker_api import CheckerApi, Checks
from k3net.web.resource import RequestView, Route
from k3net.web.source_tokens import SourceTokens

NAME = "checker"
CONNECTIONS: dict[str, Any] = {"connections": 4096, "per_peer": 1024}
"""Room for a thousand agents that keep theirs, also behind one address."""

_MOST_MEMBERS = 10_000
_A_SOURCE: dict[str, Any] = {"rate": 10.0, "burst": 50.0, "addresses": 40_000}


def checker_doors(s: Settings) -> Iterator[str]:
    """What an operator opened on purpose."""
    if s.checker.server.enabled and s.checker.auth == "none" and not s.api.listen.on_loopback:
        yield f"checker.auth is none: everybody who reaches {s.api.listen} may report for any agent, and read results"


class CheckerParts(Sequential):
    """The server, its reports, the members it shares the work with, and what keeps its state."""

    def __init__(
        self,
        server: CheckerServer,
        reporter: Reporter,
        members: "Members | None",
        keeping: "Keeping | None",
        collectors: "list[Any]",
    ):
        super().__init__()
        self.server = server
        self.reporter = reporter
        self.keeping = keeping
        self.collectors = collectors
        for child in (server, reporter, members, keeping):  # the last stops first, and saves what is known then
            if child is not None:
                child.setServiceParent(self)


class CheckerWires:
    """The maker of the part "checker", and the routes that `api.listen` serves for it."""

    def __init__(self, daemon: Surroundings, s: Settings):
        self._daemon = daemon
        self._reactor = daemon.reactor
        self._s = s
        self._c = s.checker.server
        self._tokens: SourceTokens | None = None

    def parts(self) -> Iterator[Part]:
        if self._c.enabled:
            s = self._s
            yield Part(NAME, (self._c, s.api.token_files, s.node.name, s.storage), self._checker)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What the routes are made of."""
        return (self._c.enabled, self._s.checker.auth, self._c.token_files)

    def dependencies(self) -> Iterator[Dependency]:
        if self._tokens is not None and self._tokens.error:
            yield Dependency("agents' tokens", self._reactor.seconds(), self._tokens.error)

    def routes(self, tokens: Tokens) -> "list[Route]":
        """`tokens` are those of the API; what they let in may report too."""
        if not self._c.enabled:
            return []
        s = self._s
        local: Checks = (loopback_host,) if s.api.listen.on_loopback else ()
        checks = local
        if s.checker.auth == "token" and not local:
            self._tokens = SourceTokens(self._reactor, self._c.token_files, tokens)
            checks = (self._tokens,)
        routes = CheckerApi(
            self._reactor,
            lambda: self._daemon[NAME].server,
            lambda: self._daemon[NAME].reporter,
            instance=self._daemon.instance,
            admits=RateLimit(self._reactor, **_A_SOURCE).admits,
            checks=checks,
            open_checks=local,
        ).routes()
        return [replace(route, answer=self._when_loaded(route.answer)) if _tells(route) else route for route in routes]

    def _when_loaded(self, answer: Callable[[RequestView], Any]) -> Callable[[RequestView], Any]:
        """The same, after what was known before a restart is known again."""

        def later(view: RequestView) -> Any:
            keeping = self._daemon[NAME].keeping
            return answer(view) if keeping is None else keeping.loaded().addCallback(lambda _: answer(view))

        return later

    def _checker(self) -> CheckerParts:
        c, d, reactor = self._c, self._daemon, self._reactor
        members = None
        if c.members:
            files = (*c.token_files, *self._s.api.token_files)
            asked = self._s.checker.auth == "token" and files
            members = Members(
                reactor,
                c.members,
                instance=d.instance,
                token=Token("", files[0] if asked else ""),
                resolve=lambda host, port: addresses_of(reactor, host, _MOST_MEMBERS),
            )

        def in_thread(f: Callable[[], Any]) -> "Deferred[Any]":
            return deferToThreadPool(reactor, reactor.getThreadPool(), f)

        server = CheckerServer(
            reactor,
            wall=d.wall,
            expiry=float(c.expiry),
            in_thread=in_thread,
            accepted=members.offer if members is not None else None,
            heard=self._observe,
        )
        reporter = Reporter(reactor, server, wall=d.wall, interval=float(c.report_interval))
        keeping = None
        if self._s.storage.type != "memory":
            keeping = Keeping(
                reactor,
                server,
                lambda: d["store"],
                name=str(self._s.node.name),
                wall=d.wall,
                in_thread=in_thread,
            )
        return CheckerParts(server, reporter, members, keeping, [ServerMetrics(server, reactor.seconds)])

    def _observe(self, said: Heartbeat) -> None:
        """A heartbeat that names its node is seen of that machine too."""
        if not said.node_name:
            return
        try:
            seen = Observation(
                peer=said.node_name,
                source="checker",
                seen_at=self._reactor.seconds(),
                ttl=float(self._c.expiry),
                addresses=(said.node_ip,),
                reason="PeerAlive",
                message="its agent reports to the connectivity checker",
            )
        except InvalidObservation as error:
            self._daemon.metrics.observation_refused("checker", error.field)
        else:
            self._daemon.observe(seen)


def _tells(route: Route) -> bool:
    """Whether it answers from what the agents said."""
    return route.method == "GET" and not route.path.endswith("/health")
