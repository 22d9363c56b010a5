"""Snapshots in the sqlite file: a table of their own, made when one is first saved."""

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager

from zope.interface import implementer

from k3net.store.snapshots import ISnapshotStore, Snapshot, check_fit, giving_way, newest_first

_TABLE = "create table if not exists snapshots (name text primary key, saved_at real not null, body blob not null)"
_KEPT = "select name, saved_at from snapshots where typeof(name) = 'text' and typeof(saved_at) = 'real'"


@implementer(ISnapshotStore)
class SqliteSnapshots:
    """A row a snapshot. `_opened()` is the connection of `k3net.store.sqlite.SqliteStore` for one call."""

    _opened: Callable[[], AbstractContextManager[sqlite3.Connection]]

    def save_snapshot(self, name: str, body: bytes, now: float) -> None:
        check_fit(name, body)
        with self._opened() as connection:
            connection.execute("begin immediate")
            connection.execute(_TABLE)
            old = [(snapshot.name,) for snapshot in giving_way(_kept(connection), name, now)]
            connection.executemany("delete from snapshots where name = ?", old)
            connection.execute("insert or replace into snapshots values (?, ?, ?)", (name, now, body))
            connection.execute("commit")

    def snapshots(self) -> "list[Snapshot]":
        with self._opened() as connection:
            return newest_first(_kept(connection)) if _is_there(connection) else []

    def snapshot(self, name: str) -> "bytes | None":
        with self._opened() as connection:
            if not _is_there(connection):
                return None
            row = connection.execute("select body from snapshots where name = ?", (name,)).fetchone()
        return row[0] if row and isinstance(row[0], bytes) else None


def _is_there(connection: sqlite3.Connection) -> bool:
    return connection.execute("select 1 from sqlite_master where name = 'snapshots'").fetchone() is not None


def _kept(connection: sqlite3.Connection) -> "list[Snapshot]":
    return [Snapshot(name.decode(errors="replace"), float(at)) for name, at in connection.execute(_KEPT)]
