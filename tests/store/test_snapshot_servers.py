"""Snapshots, in the stores that are servers."""

from dataclasses import replace

import pytest
from etcd import connected, end_idle, make_etcd
from mariadb import end_shared, make_mysql, shared_server
from store.snapshot_contract import NOW, make_snapshot_tests, noise

from k3net.store.etcd_snapshots import HEAD, PARTS
from k3net.store.mysql import MysqlStore
from k3net.store.snapshots import MOST_KEPT, PART, Snapshot


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    end_idle()
    end_shared()


@pytest.mark.requires("etcd", "etcdctl")
class EtcdSnapshotTests(make_snapshot_tests(make_etcd)):
    def setUp(self):
        super().setUp()
        self.client = connected(self.store._wire._endpoints[0].text)
        self.addCleanup(self.client.close)

    def keys(self, prefix):
        return [meta.key for _, meta in self.client.get_prefix(prefix.decode(), keys_only=True)]

    def test_no_value_is_larger_than_etcd_takes_and_the_parts_before_go(self):
        for turn in range(3):
            self.store.save_snapshot("a", noise(2 * PART + 1), NOW + turn)
        self.assertEqual(len(self.keys(PARTS)), 3)
        self.assertEqual(max(len(value) for value, _ in self.client.get_prefix(PARTS.decode())), PART)

    def test_one_of_which_a_part_is_missing_is_none(self):
        self.store.save_snapshot("a", noise(2 * PART + 1), NOW)
        self.client.delete(self.keys(PARTS)[1])
        self.assertEqual((self.store.snapshot("a"), self.store.snapshots()), (None, [Snapshot("a", NOW)]))
        self.store.save_snapshot("a", b"whole", NOW + 1)
        self.assertEqual((self.store.snapshot("a"), len(self.keys(PARTS))), (b"whole", 1))

    def test_parts_without_a_head_are_never_read_and_go_after_a_while(self):
        self.client.put(PARTS + b"a/%d-0/0000" % NOW, b"half")
        self.client.put(PARTS + b"a/x", b"what is this")
        self.assertEqual((self.store.snapshots(), self.store.snapshot("a")), ([], None))
        self.store.save_snapshot("b", b"b", NOW + 60)
        self.assertEqual(self.keys(PARTS + b"a/"), [PARTS + b"a/%d-0/0000" % NOW, PARTS + b"a/x"])
        self.store.save_snapshot("b", b"b", NOW + 130)
        self.assertEqual(self.keys(PARTS + b"a/"), [PARTS + b"a/x"])

    def test_a_head_that_is_none_is_left_out_and_written_over(self):
        for text in (b"", b"[]", b'{"at":"x"}', b'{"at":1e999,"save":"x","parts":1}', b"\xff", b"[" * 100_000):
            self.client.put(HEAD + b"a", text)
            self.client.put(HEAD + b"\xff/", text)
            self.assertEqual((self.store.snapshots(), self.store.snapshot("a")), ([], None))
        self.store.save_snapshot("a", b"a", NOW)
        self.assertEqual((self.store.snapshots(), self.store.snapshot("a")), ([Snapshot("a", NOW)], b"a"))


@pytest.mark.requires("mariadbd", "mariadb-install-db")
class MysqlSnapshotTests(make_snapshot_tests(make_mysql)):
    def test_no_right_to_delete_is_needed_and_rows_do_not_grow_in_number(self):
        server = shared_server()
        database = self.store._login.database
        user = server.user_with("select, insert, update, create", f"{database}.*")
        store = MysqlStore(replace(self.store._login, user=user))
        self.addCleanup(store.close)
        for at in range(3 * MOST_KEPT):
            store.save_snapshot(f"n{at}", noise(PART + 1), NOW + at)
        rows = self.store._server.unit(lambda session: session.rows("select count(*) from k3net_snapshots"))
        self.assertEqual(rows[0][0], 2 * MOST_KEPT)
        self.assertTrue(self.store.snapshot(f"n{3 * MOST_KEPT - 1}") == noise(PART + 1))

    def test_a_check_asks_for_the_right_to_make_the_table(self):
        server = shared_server()
        database = self.store._login.database
        self.store.identity(), self.store.claims(), self.store.list()
        user = server.user_with("select, insert, update", f"{database}.*")
        store = MysqlStore(replace(self.store._login, user=user))
        self.addCleanup(store.close)
        self.assertIn("create command denied", store.check().lower())
        self.store.save_snapshot("a", b"a", NOW)
        self.assertEqual(store.check(), "")
        store.save_snapshot("a", b"b", NOW)
        self.assertEqual(self.store.snapshot("a"), b"b")
