"""Clusters in the sqlite file: a table of their own, made when it is first asked for."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from zope.interface import implementer

from k3net.errors import CorruptRecord
from k3net.model import cluster as model
from k3net.model.cluster import (
    Changes,
    Cluster,
    ClusterOutcome,
    ClusterStep,
    CreateCluster,
    Impossible,
    Page,
    Receipt,
    Since,
    Written,
)
from k3net.model.observation import valid_name
from k3net.store import clusters
from k3net.store.clusters import MOST_CHANGES, MOST_IN_PAGE, IClusterStore, bounded

_TABLES = """
create table if not exists clusters (
    name text primary key, generation integer not null unique, deleted integer not null, record blob not null,
    sealed text not null, receipts blob);
create index if not exists clusters_deleted on clusters (deleted, generation);
create table if not exists clusters_meta (key text primary key, value integer not null);
insert or ignore into clusters_meta values ('generation', 0), ('forgotten', 0);
"""
_PAGE = (
    "select name, generation, deleted, record, '' from clusters where name > ? and deleted = 0 order by name limit ?"
)
_ONE = "select name, generation, deleted, record, sealed from clusters where name = ?"
_CHANGES = (
    "select name, generation, deleted, record, sealed from clusters where generation > ? order by generation limit ?"
)
_INSERT = "insert into clusters (generation, deleted, record, sealed, name) values (?, ?, ?, ?, ?)"
_CHANGE = "update clusters set generation = ?, deleted = ?, record = ?, sealed = ? where name = ?"
_RENEW = "update clusters set generation = ?, deleted = ?, record = ?, sealed = ?, receipts = null where name = ?"
_OLDEST_KEPT = "select generation from clusters where deleted = 1 order by generation desc limit 1 offset ?"


@implementer(IClusterStore)
class SqliteClusters:
    """`_opened()` is the connection of `k3net.store.sqlite.SqliteStore` for one call."""

    _opened: Callable[[], AbstractContextManager[sqlite3.Connection]]
    _with_clusters: sqlite3.Connection | None = None

    def clusters(self, after: str, limit: int) -> Page:
        limit = bounded(limit, MOST_IN_PAGE)
        if not after.isascii():
            return Page(())
        with self._tables() as connection:
            rows = connection.execute(_PAGE, (after, limit + 1)).fetchall()
        found = tuple(_read(row) for row in rows[:limit])
        return Page(found, found[-1].name if len(rows) > limit else "")

    def cluster(self, name: str) -> Cluster | None:
        if not valid_name(name):
            return None
        with self._tables() as connection:
            row = connection.execute(_ONE, (name,)).fetchone()
        found = None if row is None else _read(row)
        if isinstance(found, CorruptRecord):
            raise found
        return None if found is None or found.deleted else found

    def cluster_changes(self, since: Since, limit: int) -> Changes:
        limit = bounded(limit, MOST_CHANGES)
        with self._tables() as connection:
            connection.execute("begin")
            meta = _meta(connection)
            lost = since.is_lost(meta["generation"], meta["forgotten"])
            rows = connection.execute(_CHANGES, (0 if lost else since.generation, limit + 1)).fetchall()
            connection.execute("commit")
        upto = rows[limit - 1][1] if len(rows) > limit else None
        return model.changes(since, map(_read, rows[:limit]), newest=meta["generation"], lost=lost, upto=upto)

    def write_cluster(self, step: ClusterStep) -> ClusterOutcome:
        if not valid_name(step.name):
            return Impossible(step.name, "not a DNS-1123 name")
        with self._tables() as connection:
            connection.execute("begin immediate")
            outcome = _written(connection, step)
            connection.execute("commit" if isinstance(outcome, Written) else "rollback")
        return outcome

    def receipts(self, name: str) -> tuple[Receipt, ...]:
        if not valid_name(name):
            return ()
        with self._tables() as connection:
            row = connection.execute("select receipts from clusters where name = ?", (name,)).fetchone()
        return clusters.read_receipts(row and row[0])

    def add_receipts(self, name: str, receipts: Iterable[Receipt]) -> None:
        if not valid_name(name):
            return
        with self._tables() as connection:
            connection.execute("begin immediate")
            row = connection.execute("select receipts from clusters where name = ?", (name,)).fetchone()
            if row is not None:
                text = clusters.receipts_text(model.merged(clusters.read_receipts(row[0]), receipts))
                connection.execute("update clusters set receipts = ? where name = ?", (text, name))
            connection.execute("commit")

    @contextmanager
    def _tables(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as connection:
            if self._with_clusters is not connection:
                connection.execute("begin immediate")
                for statement in filter(str.strip, _TABLES.split(";")):
                    connection.execute(statement)
                connection.execute("commit")
                self._with_clusters = connection
            yield connection


def _written(connection: sqlite3.Connection, step: ClusterStep) -> ClusterOutcome:
    row = connection.execute(_ONE, (step.name,)).fetchone()
    [[count]] = connection.execute("select count(*) from clusters where deleted = 0")
    verdict = model.judge(step, None if row is None else _read(row), count)
    if not isinstance(verdict, Cluster):
        return verdict
    connection.execute("update clusters_meta set value = value + 1 where key = 'generation'")
    new = replace(verdict, generation=_meta(connection)["generation"])
    values = (new.generation, new.deleted, clusters.text_of(new), new.sealed, new.name)
    connection.execute(_INSERT if row is None else _RENEW if isinstance(step, CreateCluster) else _CHANGE, values)
    if new.deleted:
        _forget(connection)
    return Written(new)


def _forget(connection: sqlite3.Connection) -> None:
    row = connection.execute(_OLDEST_KEPT, (model.TOMBSTONES_KEPT,)).fetchone()
    if row is not None:
        connection.execute("delete from clusters where deleted = 1 and generation <= ?", row)
        connection.execute("update clusters_meta set value = ? where key = 'forgotten'", row)


def _meta(connection: sqlite3.Connection) -> "dict[str, int]":
    return {key.decode(): value for key, value in connection.execute("select key, value from clusters_meta")}


def _read(row: "tuple[Any, ...]") -> Cluster | CorruptRecord:
    name, generation, deleted, record, sealed = row
    return clusters.read(
        name.decode(errors="backslashreplace"), record, generation, deleted=bool(deleted), sealed=sealed
    )
