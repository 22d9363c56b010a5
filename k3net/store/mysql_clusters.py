"""Clusters in a MySQL or MariaDB database: two tables of their own, made when they are first asked for."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

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
from k3net.store.mysql_faults import Fault
from k3net.store.mysql_server import Server, Session

T = TypeVar("T")

_TABLES = (
    """create table if not exists k3net_clusters (
    name varchar(253) not null primary key,
    generation bigint unsigned not null,
    deleted tinyint not null,
    record mediumtext not null,
    sealed mediumtext not null,
    receipts mediumtext,
    unique key idx_k3net_clusters_generation (generation),
    key idx_k3net_clusters_deleted (deleted, generation)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin""",
    """create table if not exists k3net_clusters_meta (
    id tinyint unsigned not null primary key, generation bigint unsigned not null, forgotten bigint unsigned not null
) engine = InnoDB""",
)
_COLUMNS = "name, generation, deleted, record"
_PAGE = f"select {_COLUMNS}, '' from k3net_clusters where name > %s and deleted = 0 order by name limit %s"  # noqa: S608
_ONE = f"select {_COLUMNS}, sealed from k3net_clusters where name = %s"  # noqa: S608
_CHANGES = f"""select m.generation, m.forgotten, c.* from k3net_clusters_meta m left join (
    select {_COLUMNS}, sealed from k3net_clusters where generation > %s order by generation limit %s
) c on true where m.id = 1 order by c.generation"""  # noqa: S608
_META = "select generation from k3net_clusters_meta where id = 1 for update"
_COUNT = "select count(*) from k3net_clusters where deleted = 0"
_INSERT = "insert into k3net_clusters (generation, deleted, record, sealed, name) values (%s, %s, %s, %s, %s)"
_CHANGE = "update k3net_clusters set generation = %s, deleted = %s, record = %s, sealed = %s where name = %s"
_RENEW = (
    "update k3net_clusters set generation = %s, deleted = %s, record = %s, sealed = %s, receipts = null where name = %s"
)
_OLDEST_KEPT = "select generation from k3net_clusters where deleted = 1 order by generation desc limit 1 offset %s"
_RECEIPTS = "select receipts from k3net_clusters where name = %s"


@implementer(IClusterStore)
class MysqlClusters:
    """Each write holds the row of `k3net_clusters_meta`, so generations become visible in their order."""

    _server: Server

    def clusters(self, after: str, limit: int) -> Page:
        limit = bounded(limit, MOST_IN_PAGE)
        if not after.isascii():
            return Page(())
        rows = self._asked(lambda server: server.unit(lambda session: session.rows(_PAGE, (after, limit + 1))))
        found = tuple(_read(row) for row in rows[:limit])
        return Page(found, found[-1].name if len(rows) > limit else "")

    def cluster(self, name: str) -> Cluster | None:
        if not valid_name(name):
            return None
        rows = self._asked(lambda server: server.unit(lambda session: session.rows(_ONE, (name,))))
        found = _read(rows[0]) if rows else None
        if isinstance(found, CorruptRecord):
            raise found
        return None if found is None or found.deleted else found

    def cluster_changes(self, since: Since, limit: int) -> Changes:
        limit = bounded(limit, MOST_CHANGES)
        return self._asked(lambda server: server.unit(lambda session: _changes(session, since, limit)))

    def write_cluster(self, step: ClusterStep) -> ClusterOutcome:
        if not valid_name(step.name):
            return Impossible(step.name, "not a DNS-1123 name")
        return self._asked(lambda server: server.transaction(lambda session: _written(session, step)))

    def receipts(self, name: str) -> tuple[Receipt, ...]:
        if not valid_name(name):
            return ()
        rows = self._asked(lambda server: server.unit(lambda session: session.rows(_RECEIPTS, (name,))))
        return clusters.read_receipts(rows[0][0]) if rows else ()

    def add_receipts(self, name: str, receipts: Iterable[Receipt]) -> None:
        if not valid_name(name):
            return
        new = tuple(receipts)

        def add(session: Session) -> None:
            for [held] in session.rows(_RECEIPTS + " for update", (name,)):
                text = clusters.receipts_text(model.merged(clusters.read_receipts(held), new)).decode()
                session.change("update k3net_clusters set receipts = %s where name = %s", (text, name))

        self._asked(lambda server: server.transaction(add))

    def _asked(self, work: Callable[[Server], T]) -> T:
        return self._server.ask(work, _make)


def _make(session: Session) -> None:
    for table in _TABLES:
        session.change(table)
    try:
        session.change("insert into k3net_clusters_meta values (1, 0, 0)")
    except Fault as fault:
        if not fault.duplicate:
            raise


def _changes(session: Session, since: Since, limit: int) -> Changes:
    """Each select is of one moment."""
    after = since.generation
    for _ in range(2):
        rows = session.rows(_CHANGES, (after, limit + 1))
        newest, forgotten = rows[0][:2] if rows else (0, 0)
        lost = since.is_lost(newest, forgotten)
        if not (lost and after):
            break
        after = 0
    found = [row[2:] for row in rows if row[2] is not None]
    upto = found[limit - 1][1] if len(found) > limit else None
    return model.changes(since, map(_read, found[:limit]), newest=newest, lost=lost, upto=upto)


def _written(session: Session, step: ClusterStep) -> ClusterOutcome:
    [[generation]] = session.rows(_META)
    rows = session.rows(_ONE, (step.name,))
    [[count]] = session.rows(_COUNT)
    verdict = model.judge(step, _read(rows[0]) if rows else None, count)
    if not isinstance(verdict, Cluster):
        return verdict
    new = replace(verdict, generation=generation + 1)
    session.change("update k3net_clusters_meta set generation = %s where id = 1", (new.generation,))
    statement = _INSERT if not rows else _RENEW if isinstance(step, CreateCluster) else _CHANGE
    values = (new.generation, int(new.deleted), clusters.text_of(new).decode(), new.sealed, new.name)
    session.change(statement, values)
    if new.deleted:
        _forget(session)
    return Written(new)


def _forget(session: Session) -> None:
    rows = session.rows(_OLDEST_KEPT, (model.TOMBSTONES_KEPT,))
    if rows:
        session.change("delete from k3net_clusters where deleted = 1 and generation <= %s", rows[0])
        session.change("update k3net_clusters_meta set forgotten = %s where id = 1", rows[0])


def _read(row: "tuple[Any, ...]") -> Cluster | CorruptRecord:
    name, generation, deleted, record, sealed = row
    return clusters.read(name, record, generation, deleted=bool(deleted), sealed=sealed)
