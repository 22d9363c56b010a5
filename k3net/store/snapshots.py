"""What a store owes to snapshots, the state of a service that outlives its process: a few, each of them whole."""

from collections.abc import Iterable
from typing import NamedTuple

from zope.interface import Interface

from k3net.model.observation import valid_name

MOST_BYTES = 48 << 20
"""In one snapshot."""
MOST_KEPT = 4
KEPT_FOR = 3600.0
"""Seconds after which the next save of whomever drops a snapshot."""
PART = 1 << 20
"""Bytes in one value of a store that splits them; halved where it takes less."""


class Snapshot(NamedTuple):
    """One that is kept; `at` is the time of day when it was saved."""

    name: str
    at: float


class ISnapshotStore(Interface):
    """Snapshots are kept beside the Nodes, in a place of their own. As in IStore the calls block.

    StoreUnavailable after `save_snapshot`: the one before is there, or the new one, and never parts of both.
    """

    def save_snapshot(name, body, now):
        """Keep these bytes under this name, a DNS-1123 name, instead of what is there; `now` is the time of day.

        At most MOST_KEPT names are kept: the oldest gives way, and so does every other older than KEPT_FOR. When
        another saves under the same name at the same time, one of the two is kept. ValueError for what does not fit.
        """

    def snapshots():  # type: ignore[misc]
        """The Snapshots that there are, the newest first."""

    def snapshot(name):
        """The bytes under this name, None when there is nothing whole."""


def check_fit(name: str, body: bytes) -> None:
    """ValueError for what no store keeps."""
    if not valid_name(name):
        raise ValueError(f"not a DNS-1123 name: {name!r}")
    if len(body) > MOST_BYTES:
        raise ValueError(f"a snapshot of {len(body)} bytes; at most {MOST_BYTES} are kept")


def giving_way(kept: "Iterable[Snapshot]", name: str, now: float) -> "list[Snapshot]":
    """Which of these go when one is saved under this name."""
    others = newest_first(one for one in kept if one.name != name)
    return [one for rank, one in enumerate(others) if rank >= MOST_KEPT - 1 or now - one.at > KEPT_FOR]


def newest_first(kept: "Iterable[Snapshot]") -> "list[Snapshot]":
    return sorted(kept, key=lambda one: (-one.at, one.name))


def parts_of(body: bytes, size: int) -> "list[bytes]":
    """At least one."""
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]
