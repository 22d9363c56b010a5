"""The shared store in a database: the table of the Go programs, on MySQL 8 or MariaDB."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from zope.interface import implementer

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.model.node import Node
from k3net.model.plan import Create, Heartbeat, Step
from k3net.store import mysql_rows, mysql_tables, records
from k3net.store.guard import judge
from k3net.store.interface import Conflict, Done, Found, IStore, Listing, Outcome, Outcomes, Refused
from k3net.store.mysql_claims import MysqlClaims
from k3net.store.mysql_clusters import MysqlClusters
from k3net.store.mysql_faults import Fault, Overtaken
from k3net.store.mysql_rows import SELECT, Row
from k3net.store.mysql_server import Login, Server, Session
from k3net.store.mysql_snapshots import MysqlSnapshots

_MOST_STEPS = 200
"""In a transaction."""
_LONGEST_UID = 255


@implementer(IStore)
class MysqlStore(MysqlClusters, MysqlClaims, MysqlSnapshots):
    """A row of table `k8s_core_v1_node` holds a Node, and the only row of `k3net_meta` the store's id.

    Each write is one statement whose condition is what was read: the digest of the whole row, which is the second part
    of a version, and the label that makes it ours. A row that others hold locked for more than a second is a Conflict.
    `timeouts` are those of `Server`.
    """

    def __init__(self, login: Login, **timeouts: float):
        self._login = login
        self._timeouts = timeouts
        self._server = Server(login, mysql_tables.prepare, **timeouts)

    def list(self) -> Listing:
        with self._server.call():
            return _listing(self._server)

    def get(self, name: str) -> Node | None:
        with self._server.call():
            found = self._server.unit(lambda session: _named(session, [name]))
        record = mysql_rows.read(name, found.get(name, ()))
        if isinstance(record, CorruptRecord):
            raise record
        return record

    def apply(self, steps: Iterable[Step]) -> Outcomes:
        with self._server.call():
            return [outcome for batch in _batches(steps) for outcome in self._taken(batch)]

    def _taken(self, batch: Sequence[Step]) -> Outcomes:
        try:
            return self._server.transaction(lambda session: _Batch(session).take(batch))
        except Fault as fault:
            if not (fault.locked or fault.deadlock):
                raise
        if len(batch) == 1:
            return [Conflict(batch[0].name)]
        return [outcome for step in batch for outcome in self._taken([step])]

    def identity(self) -> str:
        with self._server.call():
            return self._server.unit(mysql_tables.identity)

    def look(self) -> Found:
        server = Server(self._login, lambda session: None, **self._timeouts)
        try:
            with server.call():
                listing = _listing(server) if server.unit(mysql_tables.is_there) else []
                return Found(listing, server.unit(mysql_tables.known_identity))
        finally:
            server.close()

    def check(self) -> str:
        server = Server(self._login, mysql_tables.examine, **self._timeouts)
        try:
            with server.call():
                there = server.unit(mysql_tables.is_there)
                wrong = records.complaint(_listing(server) if there else [])
        except StoreUnavailable as error:
            return str(error)
        finally:
            server.close()
        return wrong and f"{server.place}: {wrong}"

    def close(self) -> None:
        self._server.close()


def opened(settings: Any) -> MysqlStore:
    """For `k3net.store.opener`."""
    s = settings.mysql
    return MysqlStore(Login(s.host, s.port, s.user, s.password, s.database, s.ca, s.cert, s.key))


class _Batch:
    """Steps taken in one transaction, none of them for a name that another is for."""

    def __init__(self, session: Session):
        self._session = session
        self._outcomes: dict[str, Outcome] = {}
        self._room = int(session.rows("select @@max_allowed_packet")[0][0]) // 2  # each byte may have to be escaped

    def take(self, steps: Sequence[Step]) -> Outcomes:
        stored = _named(self._session, [step.name for step in steps])
        new: list[tuple[int, dict[str, Any]]] = []
        for step in sorted(steps, key=lambda step: step.name):  # all lock rows in the same order
            rows = stored.get(step.name, [])
            record = mysql_rows.read(step.name, rows)
            verdict = judge(step, record)
            if isinstance(verdict, str) and isinstance(step, Heartbeat):
                self._beat(rows[0], step.node)
            elif isinstance(verdict, str):
                size = len(verdict.encode())
                try:
                    if size + 10_000 > self._room:
                        raise ValueError(f"{size} bytes, more than max_allowed_packet lets through")
                    values = mysql_rows.columns(step.node)
                    values["uid"] = _fitting(values["uid"])
                except ValueError as error:
                    self._outcomes[step.name] = Refused(step.name, str(error))
                    continue
                if isinstance(step, Create):
                    new.append((size, values))
                elif isinstance(record, Node):
                    self._change(rows[0], mysql_rows.changes(record, values))
            else:
                self._outcomes[step.name] = verdict
        for chunk in _chunks(new, self._room):
            self._create(chunk)
        self._name_versions([step.name for step in steps if step.name not in self._outcomes])
        return [self._outcomes[step.name] for step in steps]

    def _change(self, row: Row, values: dict[str, Any]) -> None:
        """Only if the row is still, in every column, the one that was read."""
        values = values | {"resource_version": mysql_rows.next_version(row.resource_version)}
        try:
            if not self._session.change(mysql_rows.update(values), [*values.values(), row.id, row.digest]):
                self._outcomes[row.name] = Conflict(row.name)
        except Fault as fault:
            self._refuse(row.name, fault)

    def _beat(self, row: Row, node: Node) -> None:
        """Set one time in a row that is another's, if it is still the one that was read."""
        statement, values = mysql_rows.beat(node)
        values += [mysql_rows.next_version(row.resource_version), row.id, row.digest]
        try:
            if not self._session.change(statement, values):
                self._outcomes[row.name] = Conflict(row.name)
        except Fault as fault:
            self._refuse(row.name, fault)

    def _create(self, new: Sequence[dict[str, Any]]) -> None:
        try:
            self._insert(new)
        except Fault as fault:
            if not (fault.duplicate or fault.unfit):
                raise
            for values in new:
                self._create_one(values)

    def _create_one(self, values: dict[str, Any]) -> None:
        name = values["name"]
        try:
            self._insert([values])
        except Fault as fault:
            if fault.duplicate:
                self._create_with_taken_uid(name, values)
            else:
                self._refuse(name, fault)

    def _create_with_taken_uid(self, name: str, values: dict[str, Any]) -> None:
        """Whose row has it: a Node of this name, one that was deleted and was ours, or another's."""
        uid = values["uid"]
        found = [Row(*row) for row in self._session.rows(f"{SELECT} where {_column('uid', [uid])} = %s", (uid,))]
        held = [row for row in found if mysql_rows.name_of(row.name) == name]
        if not found or any(not row.deleted for row in held):
            self._outcomes[name] = Conflict(name)
            return
        dead = mysql_rows.read(name, held)
        if isinstance(dead, Node) and dead.managed:
            content = {key: value for key, value in values.items() if key not in ("name", "namespace", "uid")}
            self._change(held[0], content | {"deleted_at": None})
            return
        try:
            self._insert([values | {"uid": _own_uid(uid)}])
        except Fault as fault:
            self._refuse(name, fault)

    def _insert(self, new: Sequence[dict[str, Any]]) -> None:
        values = [row[column] for row in new for column in mysql_rows.INSERTED]
        self._session.change(mysql_rows.insert(len(new)), values)

    def _refuse(self, name: str, fault: Fault) -> None:
        if not fault.unfit:
            raise fault
        self._outcomes[name] = Refused(name, fault.said)

    def _name_versions(self, names: Sequence[str]) -> None:
        """What the server made of the rows; a name that has two by now was written by another at the same time."""
        found: dict[str, list[str]] = {}
        for name, resource_version, digest in _rows_of(
            self._session, mysql_rows.SELECT_VERSIONS, names, " lock in share mode"
        ):
            found.setdefault(mysql_rows.name_of(name), []).append(mysql_rows.token(resource_version, digest))
        for name in names:
            if len(found.get(name, [])) != 1:
                raise Overtaken
            self._outcomes[name] = Done(name, found[name][0])


def _listing(server: Server) -> Listing:
    rows = server.unit(lambda session: session.rows(f"{SELECT} where deleted_at is null"))
    read = (mysql_rows.read(name, found) for name, found in mysql_rows.by_name(map(Row._make, rows)).items())
    return [record for record in read if record is not None]


def _named(session: Session, names: Sequence[str]) -> "dict[str, list[Row]]":
    """The rows of these names that are not deleted, by exact name."""
    rows = _rows_of(session, SELECT, names)
    return mysql_rows.by_name(map(Row._make, rows))


def _rows_of(session: Session, select: str, names: Sequence[str], lock: str = "") -> "list[tuple[Any, ...]]":
    """Those of these names, or of names that the column's collation takes for one of them."""
    texts = [name for name in names if mysql_rows.is_text(name)]
    if not texts:
        return []
    marks = ", ".join(["%s"] * len(texts))
    return session.rows(f"{select} where {_column('name', texts)} in ({marks}) and deleted_at is null{lock}", texts)


def _column(name: str, values: Iterable[str]) -> str:
    """How to compare a column with values that its character set may lack; then without its index."""
    return name if all(map(str.isascii, values)) else f"convert({name} using utf8mb4)"


def _batches(steps: Iterable[Step]) -> "Iterator[list[Step]]":
    batch: dict[str, Step] = {}
    for step in steps:
        if len(batch) == _MOST_STEPS or step.name in batch:
            yield list(batch.values())
            batch = {}
        batch[step.name] = step
    if batch:
        yield list(batch.values())


def _chunks(new: "Iterable[tuple[int, dict[str, Any]]]", room: int) -> "Iterator[list[dict[str, Any]]]":
    """The values whose sizes together leave room in one statement."""
    chunk: list[dict[str, Any]] = []
    total = 0
    for size, values in new:
        if chunk and total + size > room - 100_000:
            yield chunk
            chunk, total = [], 0
        chunk.append(values)
        total += size
    if chunk:
        yield chunk


def _fitting(uid: "str | None") -> "str | None":
    return uid if uid is None or len(uid) <= _LONGEST_UID else _own_uid(uid)


def _own_uid(uid: str) -> str:
    return f"{uid[: _LONGEST_UID - 9]}.{uuid4().hex[:8]}"
