"""What a store does for clusters: the verbs every driver has besides those of IStore, and how a record is written."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import msgspec
from zope.interface import Interface

from k3net.errors import CorruptRecord
from k3net.model.cluster import Cluster, Receipt
from k3net.model.observation import valid_name

MOST_IN_PAGE = 1_000
MOST_CHANGES = 100
LONGEST_ERROR = 300


class IClusterStore(Interface):
    """A driver of IStore that keeps clusters too, apart from the Nodes; StoreUnavailable as there."""

    def clusters(after, limit):
        """A Page of at most `limit` clusters whose names come after `after` ("" for the first page)."""

    def cluster(name):
        """The Cluster of this name with its kubeconfig, None when there is none or only its tombstone.

        Raises CorruptRecord when the record is none.
        """

    def cluster_changes(since, limit):
        """The Changes after `since` (`Since()`: everything), at most `limit` of them."""

    def write_cluster(step):
        """Take a ClusterStep: Written, Stale or Impossible, by `k3net.model.cluster.judge`.

        Judged by what is stored at the moment of writing. After StoreUnavailable the outcome is unknown: read again.
        """

    def receipts(name):
        """What the instances got of this cluster: a tuple of Receipts in the order of their instances."""

    def add_receipts(name, receipts):
        """Merge Receipts into those there are (`k3net.model.cluster.merged`); nothing when there is no such cluster.

        A cluster that was deleted has receipts until its tombstone is forgotten.
        """


class _Stored(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The JSON text of a cluster where there are no columns for it."""

    uid: str
    description: str = ""
    created: float = 0.0
    updated: float = 0.0


class _Receipt(msgspec.Struct, frozen=True, array_like=True):
    instance: str
    generation: int
    state: str
    tries: int = 0
    last_error: str = ""
    at: float = 0.0


_receipts = msgspec.json.Decoder(list[_Receipt])
_stored = msgspec.json.Decoder(_Stored)


def text_of(cluster: Cluster) -> bytes:
    """All but name, generation, whether it is deleted, and the sealed kubeconfig."""
    return msgspec.json.encode(_Stored(cluster.uid, cluster.description, cluster.created, cluster.updated))


def read(
    name: str, text: Any, generation: int, *, deleted: bool = False, sealed: Any = ""
) -> "Cluster | CorruptRecord":
    """What `text_of` wrote; the CorruptRecord that says why when it did not."""
    try:
        if not valid_name(name):
            raise ValueError("not a DNS-1123 name")
        stored = _stored.decode(text)
        if isinstance(sealed, bytes):
            sealed = sealed.decode("ascii")
    except (ValueError, TypeError) as error:  # msgspec's and Unicode's are ValueErrors
        return CorruptRecord(name, f"no cluster: {error}")
    return Cluster(name, stored.uid, generation, stored.description, sealed, stored.created, stored.updated, deleted)


def receipts_text(receipts: Sequence[Receipt]) -> bytes:
    short = (replace(receipt, last_error=receipt.last_error[:LONGEST_ERROR]) for receipt in receipts)
    return msgspec.json.encode([_Receipt(**asdict(receipt)) for receipt in short])


def read_receipts(text: "bytes | str | None") -> tuple[Receipt, ...]:
    """What `receipts_text` wrote; nothing when it did not, for they are news, not truth."""
    try:
        found = _receipts.decode(text or b"[]")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()
    return tuple(Receipt(**msgspec.structs.asdict(one)) for one in found)


def bounded(limit: Any, most: int) -> int:
    return max(1, min(int(limit), most))
