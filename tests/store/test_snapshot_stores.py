"""Snapshots, in the stores that need no server."""

import shutil
import sqlite3
import tempfile
from contextlib import closing
from typing import Any

from store.controllers import SqliteController
from store.makers import make_memory, make_sqlite, opened
from store.snapshot_contract import NOW, make_snapshot_tests
from store.turns import Blocking
from zope.interface import implementer

from k3net.store.snapshots import ISnapshotStore
from k3net.store.sqlite import SqliteStore

MemorySnapshotTests = make_snapshot_tests(make_memory)


class SqliteSnapshotTests(make_snapshot_tests(make_sqlite)):  # type: ignore[misc]
    def test_to_look_for_one_makes_no_table_and_an_older_k3net_reads_the_file(self):
        self.store.snapshots()
        self.store.snapshot("a")
        with closing(sqlite3.connect(self.store._path)) as file:
            self.assertEqual(file.execute("select name from sqlite_master where name = 'snapshots'").fetchall(), [])
            self.store.save_snapshot("a", b"a", NOW)
            [[layout]] = file.execute("select value from meta where key = 'layout'")
        self.assertEqual(layout, 1)

    def test_rows_that_others_put_there_are_left_out(self):
        self.store.save_snapshot("a", b"a", NOW)
        with closing(sqlite3.connect(self.store._path)) as file, file:
            file.execute("insert into snapshots values (x'ff00', 'soon', 5), ('b', 1.5, 5)")
        self.assertEqual([one.name for one in self.store.snapshots()], ["a", "b"])
        self.assertIsNone(self.store.snapshot("b"))


@implementer(ISnapshotStore)
class BlockingSnapshots(Blocking):
    """A ThreadedStore's verbs for snapshots as a driver's again."""

    def save_snapshot(self, name: str, body: bytes, now: float) -> Any:
        return self._wait("save_snapshot", name, body, now)

    def snapshots(self) -> Any:
        return self._wait("snapshots")

    def snapshot(self, name: str) -> Any:
        return self._wait("snapshot", name)


def make_threaded(case: Any) -> tuple[Any, ...]:
    directory = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, directory)
    path = f"{directory}/k3net.db"
    return opened(case, lambda: BlockingSnapshots(lambda: SqliteStore(path)), SqliteController(path))


ThreadedSnapshotTests = make_snapshot_tests(make_threaded)
