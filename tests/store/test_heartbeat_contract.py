"""Heartbeats of other's Nodes, in the stores that need no server."""

import sqlite3

import pytest
from store.heartbeat_contract import NEW, foreign, make_heartbeat_tests
from store.makers import make_memory, make_sqlite, make_threaded_sqlite

from k3net.store.sqlite import SqliteStore

MemoryHeartbeatTests = make_heartbeat_tests(make_memory)
SqliteHeartbeatTests = make_heartbeat_tests(make_sqlite)
ThreadedHeartbeatTests = make_heartbeat_tests(make_threaded_sqlite)


def test_the_file_s_own_guard_lets_nothing_else_through(tmp_path):
    """The trigger stands behind the judge: a bug of ours that went round it would not get far."""
    from store.controllers import SqliteController, text_of

    store = SqliteStore(str(tmp_path / "k3net.db"))
    store.identity()
    SqliteController(str(tmp_path / "k3net.db")).put(foreign())
    beating = store.get("n1").beating(NEW).manifest
    connection = store._connection
    for manifest in ({**beating, "spec": {}}, {**beating, "x": 1}, foreign()):
        with pytest.raises(sqlite3.IntegrityError, match="not managed"):
            connection.execute("update nodes set manifest = ? where name = 'n1'", (text_of(manifest).decode(),))
    with pytest.raises(sqlite3.IntegrityError, match="not managed"):
        connection.execute("delete from nodes where name = 'n1'")
    connection.execute("update nodes set manifest = ? where name = 'n1'", (text_of(beating).decode(),))
