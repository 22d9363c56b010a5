"""An agent, as its server knows it."""

from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class Client:
    """An agent: `version` counts its heartbeats, `heard` is monotonic, `last_heartbeat` the time of day.

    A stranger has reported and sent no heartbeat yet: it has an address, and neither bit nor version. A silent one
    said no goodbye and is no client any more, but keeps its bit for what others find of it.
    """

    name: str
    node_ip: str
    pod_ip: str
    pod_name: str = ""
    namespace: str = ""
    bit: int = -1
    version: int = 0
    heard: float = 0.0
    last_heartbeat: float = 0.0
    told_at: float = float("-inf")
    silent: bool = False

    @property
    def stranger(self) -> bool:
        return not self.version

    @property
    def pod(self) -> "tuple[str, str]":
        return self.namespace, self.pod_name

    def address(self, layer: str) -> str:
        """Its own as a target in this layer."""
        return self.node_ip if layer == "host" else self.pod_ip
