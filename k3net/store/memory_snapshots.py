"""Snapshots in the store of one process: they end with it."""

from typing import Any

from zope.interface import implementer

from k3net.store.snapshots import ISnapshotStore, Snapshot, check_fit, giving_way, newest_first


@implementer(ISnapshotStore)
class MemorySnapshots:
    """`_shared` is `k3net.store.memory.Shared`, whose `snapshots` are (at, body) by name."""

    _shared: Any

    def save_snapshot(self, name: str, body: bytes, now: float) -> None:
        check_fit(name, body)
        with self._shared.lock:
            for old in giving_way(self._kept(), name, now):
                del self._shared.snapshots[old.name]
            self._shared.snapshots[name] = now, body

    def snapshots(self) -> "list[Snapshot]":
        with self._shared.lock:
            return self._kept()

    def snapshot(self, name: str) -> "bytes | None":
        with self._shared.lock:
            found: tuple[float, bytes] | None = self._shared.snapshots.get(name)
        return None if found is None else found[1]

    def _kept(self) -> "list[Snapshot]":
        return newest_first(Snapshot(name, at) for name, (at, _) in self._shared.snapshots.items())
