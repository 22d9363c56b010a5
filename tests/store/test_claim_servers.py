"""Claims on subnets, in the stores that are servers."""

from dataclasses import replace

import pytest
from etcd import end_idle, make_etcd
from mariadb import end_shared, make_mysql, shared_server
from store.claim_contract import SUBNET, make_claim_tests

from k3net.model.claims import Claim
from k3net.store.etcd_claims import ROOT
from k3net.store.mysql import MysqlStore


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    end_idle()
    end_shared()


@pytest.mark.requires("etcd", "etcdctl")
class EtcdClaimTests(make_claim_tests(make_etcd)):
    def put(self, subnet, text):
        self.store._wire._client.put((ROOT + subnet).decode(), text)

    def test_what_is_no_claim_is_left_out_or_held_by_nobody(self):
        self.store.claims()
        for text in (b"", b"[]", b'{"owner":5}', b"\xff", b"[" * 100_000):
            self.put(SUBNET.encode(), text)
            [held] = self.store.claims()
            self.assertEqual((held.subnet, held.owner), (SUBNET, ""))
            self.assertEqual(self.store.claim(Claim(SUBNET, "n1")), held)
        for subnet in (b"", b"x", b"10.244.7.1/24", b"10.244.7.0", b"2001:DB8::/64"):
            self.put(subnet, b'{"owner":"n1"}')
        self.assertEqual(self.store.claims(), [held])
        self.assertEqual(self.store.claim(Claim(SUBNET, "n1"), instead_of=held.version).owner, "n1")


@pytest.mark.requires("mariadbd", "mariadb-install-db")
class MysqlClaimTests(make_claim_tests(make_mysql)):
    def test_no_right_to_delete_is_needed(self):
        server = shared_server()
        database = self.store._login.database
        user = server.user_with("select, insert, update, create", f"{database}.*")
        store = MysqlStore(replace(self.store._login, user=user))
        self.addCleanup(store.close)
        claim = store.claim(Claim(SUBNET, "n1"))
        store.release(claim)
        self.assertEqual(self.store.claims(), [])
        self.assertEqual(store.claim(Claim(SUBNET, "n2")).owner, "n2")
