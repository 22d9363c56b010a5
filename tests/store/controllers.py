"""A controller that works on the same records without asking k3net, one per store."""

import json
import sqlite3
from typing import Any

from k3net.store.memory import Shared


def text_of(manifest: dict[str, Any]) -> bytes:
    """As Go writes it, not as k3net does."""
    return json.dumps(manifest, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


class MemoryController:
    def __init__(self, shared: Shared):
        self._shared = shared

    def put(self, manifest: dict[str, Any]) -> None:
        self.put_raw(manifest["metadata"]["name"], text_of(manifest))

    def put_raw(self, name: str, text: bytes) -> None:
        with self._shared.lock:
            number, _ = self._shared.texts.get(name, (0, b""))
            self._shared.texts[name] = number + 1, text

    def edit_without_version_bump(self, name: str, manifest: dict[str, Any]) -> None:
        with self._shared.lock:
            number, _ = self._shared.texts.get(name, (1, b""))
            self._shared.texts[name] = number, text_of(manifest)

    def delete(self, name: str) -> None:
        with self._shared.lock:
            self._shared.texts.pop(name, None)

    def raw(self, name: str) -> "bytes | None":
        with self._shared.lock:
            return self._shared.texts.get(name, (0, None))[1]

    def close(self) -> None:
        """Nothing to let go of."""


class SqliteController:
    """Numbers the versions of each row by itself, from 1 again after a delete."""

    def __init__(self, path: str):
        self._connection = sqlite3.connect(path, timeout=20, isolation_level=None)
        self._connection.text_factory = bytes
        self._connection.execute("pragma synchronous = normal")
        self._connection.execute(
            "create table if not exists nodes (name text primary key, manifest text, version integer)"
        )

    def put(self, manifest: dict[str, Any]) -> None:
        self.put_raw(manifest["metadata"]["name"], text_of(manifest))

    def put_raw(self, name: str, text: bytes) -> None:
        self._connection.execute(
            "insert into nodes values (?, cast(? as text), 1)"
            " on conflict (name) do update set manifest = excluded.manifest, version = version + 1",
            (name, text),
        )

    def edit_without_version_bump(self, name: str, manifest: dict[str, Any]) -> None:
        self._connection.execute(
            "insert into nodes values (?, cast(? as text), 1)"
            " on conflict (name) do update set manifest = excluded.manifest",
            (name, text_of(manifest)),
        )

    def delete(self, name: str) -> None:
        self._connection.execute("delete from nodes where name = ?", (name,))

    def raw(self, name: str) -> "bytes | None":
        row = self._connection.execute("select cast(manifest as blob) from nodes where name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def close(self) -> None:
        self._connection.close()
