"""A cluster as it is stored, the steps that change it, and the one rule by which a step is taken."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from k3net.errors import CorruptRecord
from k3net.model.observation import valid_name

LONGEST_DESCRIPTION = 1024
LONGEST_SEALED = 400_000
MOST_CLUSTERS = 20_000
MOST_RECEIPTS = 1_000
"""Of one cluster."""
TOMBSTONES_KEPT = 1_000


@dataclass(frozen=True)
class Cluster:
    """A record: `generation` is the store's count of changes when it was written, so no two records ever share one.

    `sealed` is the encrypted kubeconfig, "" in a page; `created` and `updated` are seconds since 1970. One that is
    `deleted` is a tombstone: it says that the cluster is gone since that generation, and has no kubeconfig.
    """

    name: str
    uid: str
    generation: int
    description: str = ""
    sealed: str = field(default="", repr=False)
    created: float = 0.0
    updated: float = 0.0
    deleted: bool = False


@dataclass(frozen=True)
class CreateCluster:
    """Only if there is none of this name."""

    cluster: Cluster

    @property
    def name(self) -> str:
        return self.cluster.name


@dataclass(frozen=True)
class UpdateCluster:
    """Set description, sealed and updated, only if the stored record is the one `cluster` was made from.

    It is, when uid and generation are the same.
    """

    cluster: Cluster

    @property
    def name(self) -> str:
        return self.cluster.name


@dataclass(frozen=True)
class DeleteCluster:
    """Only if the stored record is `cluster`: uid and generation are the same."""

    cluster: Cluster
    now: float

    @property
    def name(self) -> str:
        return self.cluster.name


ClusterStep = CreateCluster | UpdateCluster | DeleteCluster


@dataclass(frozen=True)
class Receipt:
    """What one instance got of one cluster: `state` is delivered, failed or pending; `at` is seconds since 1970."""

    instance: str
    generation: int
    state: str
    tries: int = 0
    last_error: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class Written:
    """The step is in the store, and this is the record there now (for a deletion, the tombstone)."""

    cluster: Cluster


@dataclass(frozen=True)
class Stale:
    """Nothing was written: there is one already (create), there is none, or not the one planned against."""

    name: str
    stored: Cluster | None


@dataclass(frozen=True)
class Impossible:
    """Nothing was written, and reading again will not help."""

    name: str
    reason: str


ClusterOutcome = Written | Stale | Impossible


@dataclass(frozen=True)
class Page:
    """Clusters (or what is none, as CorruptRecord) in the order of their names, without `sealed`.

    `after` is what to ask the next page with, "" when this is the last.
    """

    clusters: tuple[Cluster | CorruptRecord, ...]
    after: str = ""


@dataclass(frozen=True)
class Since:
    """How far a reader of changes is: it has seen all up to `generation`.

    While it reads everything from the start, `sweep` is the store's generation when that began; else 0.
    """

    generation: int = 0
    sweep: int = 0

    def is_lost(self, newest: int, forgotten: int) -> bool:
        """Whether to begin anew: `forgotten` is the generation of the newest tombstone that is gone.

        Nothing has been read, or it was in another life of the store, or deletions since then are not known any more.
        """
        return self.generation == 0 or self.generation > newest or (self.sweep or self.generation) < forgotten


@dataclass(frozen=True)
class Changes:
    """What changed, in the order of generation, tombstones included; `then` is what to ask the next ones with.

    `from_start` says that this is the first part of everything there is. Who then reads on until `more` is false has
    seen all clusters, and drops those it did not see; when another `from_start` comes before that, it begins anew.
    `corrupt` are those among them that are no clusters.
    """

    clusters: tuple[Cluster, ...]
    then: Since
    more: bool = False
    from_start: bool = False
    corrupt: tuple[CorruptRecord, ...] = ()


def changes(
    since: Since,
    found: Iterable[Cluster | CorruptRecord],
    *,
    newest: int,
    lost: bool,
    upto: int | None,
) -> Changes:
    """From what was `found` after `since`, in the order of generation; `upto` is its last, or None if that is all."""
    found = tuple(found)
    sound = tuple(record for record in found if isinstance(record, Cluster))
    corrupt = tuple(record for record in found if isinstance(record, CorruptRecord))
    if upto is None:
        return Changes(sound, Since(newest), False, lost, corrupt)
    return Changes(sound, Since(upto, newest if lost else since.sweep), True, lost, corrupt)


def judge(step: ClusterStep, stored: Cluster | CorruptRecord | None, count: int) -> "Cluster | Stale | Impossible":
    """What to store, its generation still to be given; or why not. `count` is how many clusters there are."""
    if isinstance(stored, CorruptRecord):
        return Impossible(step.name, f"corrupt: {stored.reason}")
    live = None if stored is None or stored.deleted else stored
    wanted = step.cluster
    if isinstance(step, CreateCluster):
        if live is not None:
            return Stale(step.name, live)
        if count >= MOST_CLUSTERS:
            return Impossible(step.name, f"there are {count} clusters, the most there can be")
        return _fitting(wanted)
    if live is None or (live.uid, live.generation) != (wanted.uid, wanted.generation):
        return Stale(step.name, live)
    if isinstance(step, DeleteCluster):
        return Cluster(live.name, live.uid, 0, created=live.created, updated=step.now, deleted=True)
    return _fitting(replace(wanted, created=live.created))


def _fitting(cluster: Cluster) -> "Cluster | Impossible":
    if not valid_name(cluster.name):
        return Impossible(cluster.name, "not a DNS-1123 name")
    if not 0 < len(cluster.uid) <= 64 or not cluster.uid.isascii():
        return Impossible(cluster.name, "its uid is not 1 to 64 characters of ASCII")
    if len(cluster.description) > LONGEST_DESCRIPTION:
        return Impossible(cluster.name, f"its description is longer than {LONGEST_DESCRIPTION} characters")
    if len(cluster.sealed) > LONGEST_SEALED or not cluster.sealed.isascii():
        return Impossible(cluster.name, f"its sealed kubeconfig is not at most {LONGEST_SEALED} characters of ASCII")
    return replace(cluster, generation=0, deleted=False)


def merged(held: Iterable[Receipt], new: Iterable[Receipt]) -> tuple[Receipt, ...]:
    """One receipt for each instance: of the newest generation, then the latest; at most MOST_RECEIPTS.

    When there are too many, those of older generations go first, and of one generation the delivered ones.
    """
    newest: dict[str, Receipt] = {}
    for receipt in (*held, *new):
        known = newest.get(receipt.instance)
        if known is None or (receipt.generation, receipt.at) >= (known.generation, known.at):
            newest[receipt.instance] = receipt
    kept = sorted(newest.values(), key=lambda r: (-r.generation, r.state == "delivered", -r.at, r.instance))
    return tuple(sorted(kept[:MOST_RECEIPTS], key=lambda r: r.instance))
