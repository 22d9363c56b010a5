"""Clusters in the stores that need no server, and what they hold of a kubeconfig."""

import shutil
import sqlite3
import tempfile
from typing import Any

import pytest
from store.cluster_contract import cluster, make_cluster_tests
from store.cluster_following import make_following_test
from store.makers import make_memory, make_sqlite, opened
from store.turns import Blocking
from zope.interface import implementer

from k3net.errors import CorruptRecord
from k3net.model.cluster import CreateCluster, Impossible, Since, Stale, UpdateCluster
from k3net.store.clusters import IClusterStore
from k3net.store.sqlite import SqliteStore

MemoryClusterTests = make_cluster_tests(make_memory)
SqliteClusterTests = make_cluster_tests(make_sqlite)


@implementer(IClusterStore)
class BlockingClusters(Blocking):
    """A ThreadedStore's verbs for clusters as a driver's again."""

    def clusters(self, after: str, limit: int) -> Any:
        return self._wait("clusters", after, limit)

    def cluster(self, name: str) -> Any:
        return self._wait("cluster", name)

    def cluster_changes(self, since: Any, limit: int) -> Any:
        return self._wait("cluster_changes", since, limit)

    def write_cluster(self, step: Any) -> Any:
        return self._wait("write_cluster", step)

    def receipts(self, name: str) -> Any:
        return self._wait("receipts", name)

    def add_receipts(self, name: str, receipts: Any) -> Any:
        return self._wait("add_receipts", name, receipts)


def make_threaded(case: Any) -> "tuple[Any, ...]":
    from store.controllers import SqliteController

    directory = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, directory)
    path = f"{directory}/k3net.db"
    return opened(case, lambda: BlockingClusters(lambda: SqliteStore(path)), SqliteController(path))


ThreadedClusterTests = make_cluster_tests(make_threaded)

test_who_follows_a_memory_ends_with_what_is_stored = make_following_test(make_memory, 300)
test_who_follows_a_sqlite_file_ends_with_what_is_stored = make_following_test(make_sqlite, 40)


def test_a_file_of_an_older_k3net_gets_the_tables(tmp_path: Any) -> None:
    path = str(tmp_path / "k3net.db")
    store = SqliteStore(path)
    store.identity()
    store.close()
    connection = sqlite3.connect(path)
    assert not connection.execute("select 1 from sqlite_master where name = 'clusters'").fetchall()
    connection.close()
    store.write_cluster(CreateCluster(cluster("c1")))
    assert store.cluster("c1").uid == "uid-c1"


def test_a_record_that_is_none_is_listed_as_such_and_left_alone(tmp_path: Any) -> None:
    store = SqliteStore(str(tmp_path / "k3net.db"))
    made = store.write_cluster(CreateCluster(cluster("c1"))).cluster
    store.write_cluster(CreateCluster(cluster("c2")))
    connection = sqlite3.connect(tmp_path / "k3net.db")
    connection.execute("update clusters set record = ?, receipts = ? where name = 'c1'", (b"{}", b"nonsense"))
    connection.commit()
    [corrupt, sound] = store.clusters("", 10).clusters
    assert isinstance(corrupt, CorruptRecord)
    assert sound.name == "c2"
    [told] = store.cluster_changes(Since(), 10).corrupt
    assert (told.name, told.reason) == ("c1", corrupt.reason)
    with pytest.raises(CorruptRecord, match="no cluster"):
        store.cluster("c1")
    for step in (UpdateCluster(made), CreateCluster(cluster("c1"))):
        assert isinstance(store.write_cluster(step), Impossible)
    assert store.receipts("c1") == ()
    assert not isinstance(store.write_cluster(CreateCluster(cluster("c3"))), Stale | Impossible)
