"""What the routes of Nodes, peers and this daemon answer, for `/openapi.json`."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType


class NodeObject(Struct, kw_only=True):
    """A corev1.Node."""

    kind: str
    metadata: dict[str, Any]
    status: "dict[str, Any] | UnsetType" = UNSET


class NodeList(Struct, kw_only=True):
    """A corev1.NodeList."""

    apiVersion: Literal["v1"]
    kind: Literal["NodeList"]
    metadata: dict[str, str]
    items: list[NodeObject]


class ObservationAnswer(Struct):
    source: str
    age_seconds: float
    ttl_seconds: float
    ready: bool
    reason: str
    message: str
    addresses: list[str]
    port: int


class LastProbe(Struct):
    """`ok` null: it could not be measured."""

    ok: "bool | None"
    reason: str
    rtt_seconds: "float | None"
    age_seconds: float


class PeerAnswer(Struct, kw_only=True):
    name: str
    addresses: list[str]
    port: int
    verified: bool
    member: bool
    own: bool
    ready: Literal["True", "False", "Unknown"]
    reason: str
    message: str
    observations: list[ObservationAnswer]
    last_probe: "LastProbe | None"


class PeerList(Struct):
    kind: Literal["PeerList"]
    items: list[PeerAnswer]


class FieldAnswer(Struct):
    """One field of a Node, and the rule that chose its value."""

    field: str
    value: str
    source: str
    observer: str


class Explanation(Struct, kw_only=True):
    """`left_alone`: its writer has long been silent. `held`: the brake holds its demotion."""

    name: str
    observer: str
    managed: bool
    writer: str
    left_alone: bool
    members: list[str]
    stored: bool
    stored_ready: str
    resourceVersion: str
    held: bool
    fields: list[FieldAnswer]
    observations: list[ObservationAnswer]
    transitions: list[dict[str, str]]


class BrakeAnswer(Struct):
    """The Nodes whose demotions are held."""

    enabled: bool
    held: list[str]
    held_seconds: "float | None"


class Released(Struct):
    released: list[str]


class ConsulStatus(Struct, kw_only=True):
    """The rest only where Consul is on."""

    kind: Literal["ConsulStatus"]
    enabled: bool
    url: "str | UnsetType" = UNSET
    registration: "dict[str, Any] | UnsetType" = UNSET
    checks: "list[dict[str, str]] | UnsetType" = UNSET
    index: "int | UnsetType" = UNSET
    instances: "int | UnsetType" = UNSET
    age_seconds: "float | UnsetType | None" = UNSET
    failing_seconds: "float | UnsetType | None" = UNSET
    error: "str | UnsetType" = UNSET


class LoopAnswer(Struct):
    name: str
    ok: bool
    age_seconds: "float | None"
    failures: int
    error: str


class DependencyAnswer(Struct):
    name: str
    ok: bool
    since_seconds: "float | None"
    error: str


class Readiness(Struct):
    status: Literal["ready", "not ready"]
    loops: list[LoopAnswer]
    dependencies: list[DependencyAnswer]
    alarms: list[str]


class Version(Struct):
    version: str


class Info(Struct, kw_only=True):
    """spec/1-nodes-and-mdns.md, and ours beside it."""

    node: str
    port: int
    pid: int
    addrs: list[str]
    ts: str
    mdns: dict[str, str]
    selfUp: bool
    version: str
    instance: str
    store: str


class Reached(Struct):
    """`ok` null: not known here, or not measured."""

    node: str
    ok: "bool | None"
    reason: str
    rtt_seconds: "float | None"
