"""Snapshots in a MySQL or MariaDB database: a table of their own, made when it is first asked for."""

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import uuid4

from zope.interface import implementer

from k3net.store.mysql_faults import Fault, Overtaken
from k3net.store.mysql_server import Server, Session
from k3net.store.snapshots import (
    MOST_KEPT,
    PART,
    ISnapshotStore,
    Snapshot,
    check_fit,
    giving_way,
    newest_first,
    parts_of,
)

T = TypeVar("T")

_TABLE = """create table if not exists k3net_snapshots (
    slot tinyint unsigned not null,
    part smallint unsigned not null,
    parts smallint unsigned not null,
    name varchar(253) not null,
    saved_at double not null,
    version char(32) not null,
    body mediumblob not null,
    primary key (slot, part)
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin"""
_SLOTS = "select slot, name, saved_at, version from k3net_snapshots where part = 0"
_HEAD = (
    "update k3net_snapshots set parts = %s, name = %s, saved_at = %s, version = %s, body = %s"
    " where slot = %s and part = 0 and version = %s"
)
_INSERT = (
    "insert into k3net_snapshots (slot, part, parts, name, saved_at, version, body) values (%s, %s, %s, %s, %s, %s, %s)"
)
_PART = "update k3net_snapshots set body = %s where slot = %s and part = %s"
_BLANK = "update k3net_snapshots set body = '' where slot = %s and part >= %s and body <> ''"
_BODY = """select h.parts, p.part, p.body from k3net_snapshots h
    join k3net_snapshots p on p.slot = h.slot and p.part < h.parts where h.part = 0 and h.name = %s"""
_Slots = dict[int, tuple[Snapshot, str]]


@implementer(ISnapshotStore)
class MysqlSnapshots:
    """A slot holds one snapshot, in rows of at most PART bytes; its row 0 says whose and how many they are.

    Rows are written over and never deleted, and one without a name is free: nobody here needs the right to delete.
    """

    _server: Server

    def save_snapshot(self, name: str, body: bytes, now: float) -> None:
        check_fit(name, body)
        self._asked_of_snapshots(lambda session: _save(session, name, body, now))

    def snapshots(self) -> "list[Snapshot]":
        slots = self._asked_of_snapshots(_slots)
        return newest_first(snapshot for snapshot, _ in slots.values() if snapshot.name)

    def snapshot(self, name: str) -> "bytes | None":
        rows = self._asked_of_snapshots(lambda session: session.rows(_BODY, (name,))) if name else []
        found = {part: body for _, part, body in rows}
        if not rows or len(found) != rows[0][0]:
            return None
        return b"".join(bytes(found[part]) for part in sorted(found))

    def _asked_of_snapshots(self, work: Callable[[Session], T]) -> T:
        return self._server.ask(lambda server: server.transaction(work), _make)


def _make(session: Session) -> None:
    session.change(_TABLE)


def _slots(session: Session) -> _Slots:
    return {slot: (Snapshot(name, at), version) for slot, name, at, version in session.rows(_SLOTS)}


def _save(session: Session, name: str, body: bytes, now: float) -> None:
    """Whoever came between is found by the version of the slot's first row."""
    room = int(session.rows("select @@max_allowed_packet")[0][0]) // 2 - 10_000  # each byte may have to be escaped
    parts = parts_of(body, max(1, min(PART, room)))
    slots = _slots(session)
    old = giving_way([snapshot for snapshot, _ in slots.values() if snapshot.name], name, now)
    for slot, (snapshot, version) in sorted(slots.items()):
        if snapshot in old:
            free = Snapshot("", 0.0)
            slots[slot] = free, _take(session, slot, version, [b""], free)
    slot = _slot_for(name, slots)
    if slot in slots:
        _take(session, slot, slots[slot][1], parts, Snapshot(name, now))
    else:
        _insert(session, (slot, 0, len(parts), name, now, uuid4().hex, parts[0]))
        _fill(session, slot, parts)


def _slot_for(name: str, slots: _Slots) -> int:
    """Its own, else a free one; there is one, after some gave way."""
    own = [slot for slot, (snapshot, _) in slots.items() if snapshot.name == name]
    free = [slot for slot in range(MOST_KEPT) if slot not in slots or not slots[slot][0].name]
    return (own or free)[0]


def _take(session: Session, slot: int, version: str, parts: Sequence[bytes], snapshot: Snapshot) -> str:
    """The version there now; Overtaken when it was another before."""
    new = uuid4().hex
    if not session.change(_HEAD, (len(parts), snapshot.name, snapshot.at, new, parts[0], slot, version)):
        raise Overtaken
    _fill(session, slot, parts)
    return new


def _fill(session: Session, slot: int, parts: Sequence[bytes]) -> None:
    """The rows after the first, which is locked by now."""
    for number, part in enumerate(parts[1:], start=1):
        if not session.change(_PART, (part, slot, number)):
            _insert(session, (slot, number, 0, "", 0.0, "", part))
    session.change(_BLANK, (slot, len(parts)))


def _insert(session: Session, values: "tuple[object, ...]") -> None:
    try:
        session.change(_INSERT, values)
    except Fault as fault:
        if fault.duplicate:
            raise Overtaken from None
        raise
