"""What the connectivity checker's server answers (spec/3-checker.md), for `/openapi.json`."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType


class Taken(Struct):
    status: Literal["success"]
    message: str


class Beaten(Struct):
    """An agent that says nothing for so long is gone."""

    status: Literal["success"]
    message: str
    expiry_seconds: float


class Hosts(Struct):
    """`silent`: fell silent a short while ago, and still worth a test."""

    host_ips: list[str]
    count: int
    silent: "list[str] | UnsetType" = UNSET


class Pods(Struct):
    pod_ips: list[str]
    count: int
    silent: "list[str] | UnsetType" = UNSET


class Cell(Struct):
    """The last result of one source and target."""

    ping: str
    port_status: str
    test_duration: str
    latency: "str | UnsetType" = UNSET
    timestamp: "str | UnsetType" = UNSET


class Matrix(Struct):
    """By source, then target."""

    results: dict[str, dict[str, Cell]]


class ServiceResults(Struct):
    """By source."""

    results: dict[str, Any]


class AgentAnswer(Struct, kw_only=True):
    name: str
    namespace: str
    node_ip: str
    pod_ip: str
    pod_name: str
    version: int
    last_heartbeat: str


class ClientList(Struct):
    kind: Literal["ClientList"]
    items: list[AgentAnswer]


class Count(Struct):
    active_client_count: int


class Everything(Struct, kw_only=True):
    active_client_count: int
    host_ips: list[str]
    pod_ips: list[str]
    host_test_results: dict[str, dict[str, Cell]]
    pod_test_results: dict[str, dict[str, Cell]]
    service_test_results: dict[str, Any]


class SummaryAnswer(Struct, kw_only=True):
    """The rate in percent, the durations as texts."""

    total_tests: int
    successful_tests: int
    failed_tests: int
    success_rate: float
    avg_test_duration: str
    total_test_duration: str
    service_name: "str | UnsetType" = UNSET


class ReportAnswer(Struct, kw_only=True):
    timestamp: str
    active_client_count: int
    host_ips: list[str]
    pod_ips: list[str]
    host_test_summary: SummaryAnswer
    pod_test_summary: SummaryAnswer
    service_test_summary: SummaryAnswer
    state: str
    coverage: dict[str, float]
    verdicts: list[dict[str, Any]]


class VerdictList(Struct):
    kind: Literal["VerdictList"]
    state: str
    items: list[dict[str, Any]]


class Health(Struct):
    status: Literal["healthy"]


class Exchanged(Struct):
    """How much of it was not taken."""

    instance: str
    refused: int
