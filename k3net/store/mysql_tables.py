"""The tables: made where they are absent, used as they are where they are fit."""

from contextlib import suppress
from uuid import uuid4

from k3net.store.mysql_faults import Fault, Unfit
from k3net.store.mysql_rows import NEEDED, TABLE
from k3net.store.mysql_server import Session

META = "k3net_meta"
CLAIMS = "k3net_pod_cidrs"
"""Made by k3net.store.mysql_claims."""
SNAPSHOTS = "k3net_snapshots"
"""Made by k3net.store.mysql_snapshots."""

_NODES = f"""
create table if not exists {TABLE} (
    id bigint unsigned not null auto_increment primary key,
    name varchar(255) not null,
    namespace varchar(255),
    uid varchar(255),
    resource_version varchar(255),
    labels json,
    annotations json,
    created_at datetime(3),
    updated_at datetime(3),
    deleted_at datetime(3),
    phase varchar(50),
    spec json,
    status json,
    unique key idx_{TABLE}_uid (uid),
    key idx_{TABLE}_name (name),
    key idx_{TABLE}_namespace (namespace),
    key idx_{TABLE}_resource_version (resource_version),
    key idx_{TABLE}_created_at (created_at),
    key idx_{TABLE}_deleted_at (deleted_at),
    key idx_{TABLE}_phase (phase)
) engine = InnoDB default character set utf8mb4 collate """
_META = f"""
create table if not exists {META} (id tinyint unsigned not null primary key, identity varchar(36) not null)
engine = InnoDB default character set utf8mb4 collate utf8mb4_bin"""
_EXACT = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin", "utf8mb4_bin")
"""Collations that tell n1 from N1, and the first two also from "n1 ": of MariaDB, of MySQL 8.0.17, of all."""


def prepare(session: Session) -> None:
    """Make the Nodes' table unless it is there; Unfit when it is there and cannot be used."""
    if not is_there(session):
        known = {row[0] for row in session.rows(_COLLATIONS, _EXACT)}
        session.change(_NODES + next(name for name in _EXACT if name in known))


def examine(session: Session) -> None:
    """Ask for every right that k3net needs, and leave nothing behind; Fault or Unfit says what is missing."""
    present = is_there(session)
    for table in (META, CLAIMS, SNAPSHOTS) if present else (TABLE, META, CLAIMS, SNAPSHOTS):
        if not session.rows(_IS_TABLE, (table,)):
            for statement in _ASKING:
                _ask(session, statement.format(table=table))
    if present:
        session.change("begin")
        try:
            session.change("insert into k8s_core_v1_node (name, uid, deleted_at) values ('', uuid(), now(3))")
            session.change("update k8s_core_v1_node set resource_version = '1' where id = last_insert_id()")
        finally:
            with suppress(Fault):
                session.change("rollback")


def _ask(session: Session, statement: str) -> None:
    """What cannot be done, for the table is absent; rights are asked for before that is found."""
    try:
        session.change(statement)
    except Fault as fault:
        if fault.denied or fault.lost:
            raise


def identity(session: Session) -> str:
    """The store's id, in the only row of its own table; made by the first who asks."""
    try:
        found = session.rows(_IDENTITY)
    except Fault as fault:
        if not fault.no_table:
            raise
        session.change(_META)
        found = []
    if not found:
        try:
            session.change("insert into k3net_meta (id, identity) values (1, %s)", (str(uuid4()),))
        except Fault as fault:
            if not fault.duplicate:
                raise
        found = session.rows(_IDENTITY)
    return str(found[0][0])


def known_identity(session: Session) -> str:
    """The store's id, "" while nobody made one."""
    found = session.rows(_IDENTITY) if session.rows(_IS_TABLE, (META,)) else []
    return str(found[0][0]) if found else ""


_ASKING = (
    "create table {table} like information_schema.k3net",
    "select 1 from {table} limit 0",
    "insert into {table} () values ()",
    "update {table} set id = id",
)
_IDENTITY = "select identity from k3net_meta where id = 1"
_COLLATIONS = "select collation_name from information_schema.collations where collation_name in (%s, %s, %s)"
_IS_TABLE = "select 1 from information_schema.tables where table_schema = database() and table_name = %s"
_COLUMNS = (
    "select lower(column_name) from information_schema.columns where table_schema = database() and table_name = %s"
)
_TRANSACTIONS = (
    "select t.engine, e.transactions from information_schema.tables t"
    " left join information_schema.engines e on e.engine = t.engine"
    " where t.table_schema = database() and t.table_name = %s"
)


def is_there(session: Session) -> bool:
    """Whether there is a table of Nodes; Unfit when it cannot be used."""
    found = {row[0] for row in session.rows(_COLUMNS, (TABLE,))}
    if not found:
        return False
    missing = [column for column in NEEDED if column not in found]
    if missing:
        raise Unfit(f"table {TABLE} has no column {', '.join(missing)}; it was made by another program")
    for engine, transactions in session.rows(_TRANSACTIONS, (TABLE,)):
        if transactions != "YES":
            raise Unfit(f"table {TABLE} has engine {engine}, without transactions; alter table {TABLE} engine = InnoDB")
    return True
