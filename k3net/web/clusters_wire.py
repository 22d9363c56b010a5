"""What the API of the clusters takes and answers; a kubeconfig is in no answer, and in no `repr`."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from k3net.clusters.service import Known
from k3net.errors import CorruptRecord
from k3net.model import rfc3339
from k3net.model.cluster import LONGEST_DESCRIPTION, Receipt
from k3net.web.resource import JSON, BadBody

LONGEST_KUBECONFIG = 1 << 18
MOST_IN_PAGE = 1000

Time = Annotated[str, Meta(description="RFC 3339.")]
Description = Annotated[str, Meta(max_length=LONGEST_DESCRIPTION)]
ETag = Annotated[str, Meta(pattern=r'^(\*|"[0-9]{1,18}")$')]
Limit = Annotated[int, Meta(ge=1, le=MOST_IN_PAGE)]
KubeConfig = Annotated[
    str, Meta(min_length=1, max_length=LONGEST_KUBECONFIG, description="YAML or JSON, as kubectl has it.")
]


class NewCluster(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that creates a cluster."""

    name: Annotated[str, Meta(min_length=1, max_length=253)]
    kube_config: KubeConfig
    description: Description = ""

    def __repr__(self) -> str:
        return f"NewCluster({self.name!r})"


class ClusterChange(Struct, frozen=True, forbid_unknown_fields=True):
    """The body that changes a cluster: what is left out stays as it is. A `name` must be that of the path."""

    name: "str | None" = None
    kube_config: "KubeConfig | None" = None
    description: "Description | None" = None

    def __repr__(self) -> str:
        return f"ClusterChange({self.name!r})"


class ClusterAnswer(Struct, frozen=True, kw_only=True, tag_field="kind", tag="Cluster"):
    """A cluster, and what this instance makes of it; of one that nobody can read there are only name and reason."""

    name: str
    state: Literal["active", "unreachable", "invalid"]
    reason: str
    uid: "str | UnsetType" = UNSET
    description: "str | UnsetType" = UNSET
    generation: "int | UnsetType" = UNSET
    created: "Time | UnsetType" = UNSET
    updated: "Time | UnsetType" = UNSET
    version: Annotated["str | UnsetType", Meta(description="Of its API server, as last seen.")] = UNSET
    serving: Annotated["int | UnsetType", Meta(description="The generation whose client is in use; 0: none.")] = UNSET
    loaded_generation: "int | UnsetType" = UNSET


class ClusterList(Struct, frozen=True, kw_only=True, tag_field="kind", tag="ClusterList"):
    items: list[ClusterAnswer]
    after: Annotated[str, Meta(description="What to ask the next page with; empty: this is the last.")] = field(
        name="continue"
    )


class ClusterGone(Struct, frozen=True, kw_only=True, tag_field="kind", tag="Cluster"):
    name: str
    uid: str
    generation: int
    deleted: Literal[True] = True


class ReceiptAnswer(Struct, frozen=True, kw_only=True):
    """What one instance got of a cluster."""

    instance: str
    generation: int
    state: Literal["delivered", "failed", "pending"]
    tries: int
    last_error: str
    at: Time


class DeliveryList(Struct, frozen=True, kw_only=True, tag_field="kind", tag="DeliveryList"):
    name: str
    generation: int
    items: list[ReceiptAnswer]


class InstanceAnswer(Struct, frozen=True):
    address: str
    instance: Annotated[str, Meta(description="Empty: it does not say.")]


class InstanceList(Struct, frozen=True, kw_only=True, tag_field="kind", tag="InstanceList"):
    own: str
    items: list[InstanceAnswer]


class Rekeyed(Struct, frozen=True, kw_only=True, tag_field="kind", tag="Rekeyed"):
    """How many kubeconfigs the first key sealed anew, and why it did not the others, by cluster."""

    rekeyed: int
    failed: dict[str, str]


class ReloadedData(Struct, frozen=True):
    cluster_name: str
    generation: int
    state: str
    instance: str


class Reloaded(Struct, frozen=True):
    """spec/5-clusters.md."""

    data: ReloadedData
    code: Literal[200] = 200
    message: str = "Cluster reloaded successfully"


class Life(Struct, frozen=True):
    status: Literal["live", "ready"]
    instance: str


def unfit(message: str, details: str) -> BadBody:
    """Why a body is none; the name of a field that is not known may be a secret in the wrong place."""
    return BadBody("a field is not known" if "unknown field" in message else message, details)


def with_etag(known: Known, status: int = 200) -> JSON:
    return JSON(cluster_answer(known), status, {"ETag": f'"{known.cluster.generation}"'})


def cluster_answer(known: "Known | CorruptRecord") -> ClusterAnswer:
    """For a list, or alone."""
    if isinstance(known, CorruptRecord):
        return ClusterAnswer(name=known.name, state="invalid", reason=f"corrupt: {known.reason}")
    cluster, state = known.cluster, known.state
    loaded: dict[str, Any] = {"state": "unreachable", "reason": "not loaded here yet", "version": "", "serving": 0}
    if state is not None:
        loaded = {
            "state": state.state,
            "reason": state.reason,
            "version": state.version,
            "serving": state.serving,
            "loaded_generation": state.generation,
        }
    return ClusterAnswer(
        name=cluster.name,
        uid=cluster.uid,
        description=cluster.description,
        generation=cluster.generation,
        created=rfc3339.format_seconds(cluster.created),
        updated=rfc3339.format_seconds(cluster.updated),
        **loaded,
    )


def receipt_answer(one: Receipt) -> ReceiptAnswer:
    return ReceiptAnswer(
        instance=one.instance,
        generation=one.generation,
        state=one.state,  # type: ignore[arg-type]
        tries=one.tries,
        last_error=one.last_error,
        at=rfc3339.format_seconds(one.at),
    )
