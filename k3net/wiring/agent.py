"""The parts of the connectivity checker's agent, and whom each of them talks to."""

from collections.abc import Iterator
from typing import Any

from k3net.checker.agent import Agent, Aims, Identity
from k3net.checker.calls import Server
from k3net.config import Settings
from k3net.config.kinds import ListenAddress
from k3net.credentials import Token, Trust
from k3net.parts import Part, Surroundings
from k3net.probes import PROBES
from k3net.probes.icmp import Pinger
from k3net.web.access import RateLimit
from k3net.web.resource import Route
from k3net.web.site import Listener


class AgentWires:
    """Makers of the parts "checker-health" (what other agents test) and "checker-agent"."""

    def __init__(self, daemon: Surroundings, s: Settings):
        self._daemon = daemon
        self._reactor = daemon.reactor
        self._s = s
        self._c = s.checker.agent

    def parts(self) -> Iterator[Part]:
        if self._c.enabled:
            yield Part("checker-health", self._c.client_port, self._health)
            yield Part("checker-agent", (self._s.node.name, self._c), self._agent)

    def _health(self) -> Listener:
        routes = [Route("GET", "/health", self._answer, summary="The agent lives.")]
        address = ListenAddress(f":{self._c.client_port}")
        return Listener(self._reactor, address, routes, name="checker-health", checks=[RateLimit(self._reactor)])

    def _answer(self, _: Any) -> dict[str, Any]:
        return {"status": "healthy", "pod_name": self._c.pod_name, "node": str(self._s.node.name)}

    def _agent(self) -> Agent:
        c = self._c
        server = Server(self._reactor, str(c.server_url), token=Token(path=c.token_file), trust=Trust())
        return Agent(
            self._reactor,
            server,
            Identity(str(self._s.node.name), str(c.node_ip), str(c.pod_ip), c.pod_name, c.namespace),
            Aims(c.test_port, c.client_port, c.service_name, c.service_port, c.full_mesh_limit, c.neighbours),
            ping=Pinger(self._reactor, c.packets_per_second).ping,
            connect=PROBES["tcp"],
            resolve=PROBES["dns"],
            wall=self._daemon.wall,
            heartbeat=float(c.heartbeat),
            every=float(c.round),
        )
