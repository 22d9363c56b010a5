"""The verbs of ISnapshotStore as Deferreds."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from k3net.store.snapshots import Snapshot


class ThreadedSnapshots:
    """For `k3net.store.threaded.ThreadedStore`, whose `_call` this uses."""

    _call: "Callable[..., Deferred[Any]]"

    def save_snapshot(self, name: str, body: bytes, now: float) -> "Deferred[None]":
        return self._call("save_snapshot", name, body, now)

    def snapshots(self) -> "Deferred[list[Snapshot]]":
        return self._call("snapshots")

    def snapshot(self, name: str) -> "Deferred[bytes | None]":
        return self._call("snapshot", name)
