"""The embedded store: one sqlite file that the daemons of a machine share."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from zope.interface import implementer

from k3net.errors import StoreUnavailable
from k3net.model.node import Node
from k3net.model.plan import Step
from k3net.store import records
from k3net.store.guard import judge, only_beats
from k3net.store.interface import Done, Found, IStore, Listing, Outcome, Outcomes
from k3net.store.sqlite_claims import SqliteClaims
from k3net.store.sqlite_clusters import SqliteClusters
from k3net.store.sqlite_snapshots import SqliteSnapshots

LAYOUT = 1

_TABLES = """
create table if not exists nodes (name text primary key, manifest text, version integer);
create table if not exists meta (key text primary key, value);
"""
_GUARDS = """
create temp trigger k3net_update before update on main.nodes
    when not k3net_managed(old.name, old.manifest)
    and not (new.name = old.name and k3net_only_beats(old.name, old.manifest, new.manifest))
begin select raise(abort, 'a Node that is not managed'); end;
create temp trigger k3net_delete before delete on main.nodes when not k3net_managed(old.name, old.manifest)
begin select raise(abort, 'a Node that is not managed'); end;
"""
_SETTINGS = """
pragma synchronous = normal;
pragma journal_size_limit = 16777216;
pragma temp_store = memory;
pragma recursive_triggers = on;
"""
_MEANINGS = {
    "database is locked": "locked by another process for too long",
    "database or disk is full": "the disk is full",
    "attempt to write a readonly database": "the file, its -wal or -shm, or its directory is read-only",
    "unable to open database file": "the file cannot be opened; it and its directory must be this user's to write",
    "file is not a database": "the file is not a sqlite database",
    "database disk image is malformed": "the file is damaged; restore it, or move it away to begin anew",
    "disk I/O error": "the disk does not read or write",
}


@implementer(IStore)
class SqliteStore(SqliteClusters, SqliteClaims, SqliteSnapshots):
    """Table `nodes` holds name, manifest (the JSON text) and version; `meta` the store's id, layout and last version.

    The file is opened by the first call, anew after any error, and when another file has taken its place.
    A write waits at most `busy_timeout` seconds for other processes.
    """

    def __init__(self, path: str, *, busy_timeout: float = 5.0):
        self._path = Path(path).absolute()
        self._busy_timeout = busy_timeout
        self._connection: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None

    def list(self) -> Listing:
        with self._opened() as connection:
            return _listing(connection)

    def get(self, name: str) -> Node | None:
        with self._opened() as connection:
            row = self._row(connection, name)
        return None if row is None else records.decode(name, *row)

    def apply(self, steps: Iterable[Step]) -> Outcomes:
        with self._opened() as connection:
            connection.execute("begin immediate")
            connection.execute("update meta set value = value + 1 where key = 'version'")
            version = int(_meta(connection)["version"])
            outcomes = [self._apply_one(connection, step, version) for step in steps]
            connection.execute("commit")
        return outcomes

    def _apply_one(self, connection: sqlite3.Connection, step: Step, version: int) -> Outcome:
        row = self._row(connection, step.name)
        verdict = judge(step, None if row is None else records.read(step.name, *row))
        if not isinstance(verdict, str):
            return verdict
        if row is None:
            connection.execute("insert into nodes values (?, ?, ?)", (step.name, verdict, version))
        else:
            connection.execute(
                "update nodes set manifest = ?, version = ? where name = ?", (verdict, version, step.name)
            )
        return Done(step.name, records.token(version, verdict.encode()))

    def identity(self) -> str:
        with self._opened() as connection:
            return _text(_meta(connection)["identity"])

    def look(self) -> Found:
        if not os.path.exists(self._path):
            return Found([], "")
        with self._looked_at() as (connection, tables):
            listing = _listing(connection) if "nodes" in tables else []
            return Found(listing, _text(_meta(connection)["identity"]) if "meta" in tables else "")

    def check(self) -> str:
        if not os.path.exists(self._path):  # not to make it: it would belong to whoever asks
            place = next(parent for parent in self._path.parents if os.path.exists(parent))
            usable = place.is_dir() and os.access(place, os.W_OK | os.X_OK, effective_ids=True)
            return "" if usable else f"sqlite store {self._path}: {place} is not this user's to write; change its owner"
        try:
            with self._looked_at() as (connection, tables):
                connection.execute("begin immediate")
                if "meta" in tables:
                    connection.execute("update meta set value = value + 1 where key = 'version'")
                else:
                    connection.execute("create table meta (key)")
                connection.execute("rollback")
            wrong = records.complaint(self.look().listing)
        except StoreUnavailable as error:
            return str(error)
        return wrong and f"sqlite store {self._path}: {wrong}"

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _row(self, connection: sqlite3.Connection, name: str) -> "tuple[Any, Any] | None":
        row: tuple[Any, Any] | None = connection.execute(
            "select manifest, version from nodes where name = cast(? as text)", (name.encode(errors="surrogatepass"),)
        ).fetchone()
        return row

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        with self._faults():
            yield self._connect()

    @contextmanager
    def _looked_at(self) -> "Iterator[tuple[sqlite3.Connection, set[str]]]":
        """A connection that makes no file and no table, and the tables that there are."""
        where, wait = f"{self._path.as_uri()}?mode=rw", self._busy_timeout
        with (
            self._faults(),
            closing(sqlite3.connect(where, uri=True, timeout=wait, isolation_level=None)) as connection,
        ):
            connection.text_factory = bytes
            rows = connection.execute("select name from sqlite_master where type = 'table'")
            tables = {_text(name) for (name,) in rows}
            if "meta" in tables:
                self._check_layout(connection)
            yield connection, tables

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Whatever fails closes the connection, and what sqlite says leaves as StoreUnavailable."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            self.close()
            reason = error.strerror if isinstance(error, OSError) else _MEANINGS.get(str(error))
            raise StoreUnavailable(f"sqlite store {self._path}: {reason or error}") from error
        except BaseException:
            self.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        if self._connection is not None:
            with suppress(FileNotFoundError):
                if os.path.samestat(self._path.stat(), self._file):  # type: ignore[arg-type]
                    return self._connection
            self.close()
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # never open and close the file itself: that would drop sqlite's locks on it
            os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
        self._file = self._path.stat()
        self._connection = sqlite3.connect(self._path, timeout=self._busy_timeout, isolation_level=None)
        self._prepare(self._connection)
        return self._connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.text_factory = bytes
        connection.executescript(_SETTINGS)
        if connection.execute("select 1 from sqlite_master where name = 'meta'").fetchone() is None:
            self._make(connection)
        self._check_layout(connection)
        connection.create_function("k3net_managed", 2, _managed)
        connection.create_function("k3net_only_beats", 3, _only_beats)
        connection.executescript(_GUARDS)

    def _check_layout(self, connection: sqlite3.Connection) -> None:
        layout = _meta(connection).get("layout")
        if layout != LAYOUT:
            raise StoreUnavailable(
                f"sqlite store {self._path}: its layout is {layout!r}, and this k3net knows {LAYOUT}; use a newer one"
            )

    def _make(self, connection: sqlite3.Connection) -> None:
        [[mode]] = connection.execute("pragma journal_mode = wal")  # reading and writing do not wait for each other
        if mode != b"wal":
            raise StoreUnavailable(f"sqlite store {self._path}: no WAL there; is it on a network file system?")
        connection.execute("begin immediate")
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        [[last]] = connection.execute("select coalesce(max(cast(version as integer)), 0) from nodes")
        connection.executemany(
            "insert into meta values (?, ?) on conflict (key) do nothing",
            [("layout", LAYOUT), ("identity", str(uuid4())), ("version", last)],
        )
        connection.execute("commit")


def opened(settings: Any) -> SqliteStore:
    """For `k3net.store.opener`."""
    return SqliteStore(settings.sqlite.path)


def _listing(connection: sqlite3.Connection) -> Listing:
    rows = connection.execute("select name, manifest, version from nodes").fetchall()
    return [records.read(_text(name), manifest, version) for name, manifest, version in rows]


def _meta(connection: sqlite3.Connection) -> "dict[str, Any]":
    return {_text(key): value for key, value in connection.execute("select key, value from meta")}


def _text(value: object) -> str:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


def _managed(name: object, manifest: object) -> bool:
    stored = records.read(_text(name), manifest, "")
    return isinstance(stored, Node) and stored.managed


def _only_beats(name: object, before: object, after: object) -> bool:
    old, new = (records.read(_text(name), manifest, "") for manifest in (before, after))
    return isinstance(old, Node) and isinstance(new, Node) and only_beats(new, old)
