"""Clusters in the stores that are servers."""

from dataclasses import replace
from threading import Thread

import pytest
from etcd import end_idle, make_etcd
from mariadb import end_shared, make_mysql
from store.cluster_contract import cluster, make_cluster_tests
from store.cluster_following import make_following_test

from k3net.model.cluster import CreateCluster, Receipt, Since, UpdateCluster, Written


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    end_idle()
    end_shared()


def with_races(make):
    """The contract, and what happens when several write at the same moment."""

    class Tests(make_cluster_tests(make)):
        def test_of_writers_at_the_same_time_one_wins_each_round_and_each_change_is_told_once(self):
            _, _, another = make(self)
            stores = [another() for _ in range(5)]
            made = stores[0].write_cluster(CreateCluster(cluster("c1"))).cluster
            won: list[tuple[int, int]] = []

            def write(who: int) -> None:
                for at in range(10):
                    held = stores[who].cluster("c1")
                    outcome = stores[who].write_cluster(UpdateCluster(replace(held, description=f"{who} {at}")))
                    if isinstance(outcome, Written):
                        won.append((held.generation, outcome.cluster.generation))
                    stores[who].add_receipts("c1", [Receipt(f"i{who}", held.generation, "delivered", at)])

            threads = [Thread(target=write, args=[who]) for who in range(4)]
            for thread in threads:
                thread.start()
            seen, since = [], Since(made.generation)
            while any(thread.is_alive() for thread in threads) or (won and seen[-1:] != [max(won)[1]]):
                changes = stores[4].cluster_changes(since, 100)
                seen += [one.generation for one in changes.clusters]
                since = changes.then
            for thread in threads:
                thread.join()
            self.assertEqual(seen, sorted(set(seen)))
            self.assertEqual(len({before for before, _ in won}), len(won))
            self.assertEqual(len({after for _, after in won}), len(won))
            last = max(after for _, after in won)
            self.assertEqual(stores[1].cluster("c1").generation, last)
            self.assertEqual([r.instance for r in stores[2].receipts("c1")], ["i0", "i1", "i2", "i3"])

    return Tests


@pytest.mark.requires("etcd", "etcdctl")
class EtcdClusterTests(with_races(make_etcd)):
    pass


@pytest.mark.requires("mariadbd", "mariadb-install-db")
class MysqlClusterTests(with_races(make_mysql)):
    pass


test_who_follows_etcd_ends_with_what_is_stored = pytest.mark.requires("etcd", "etcdctl")(
    make_following_test(make_etcd, 20)
)
test_who_follows_mysql_ends_with_what_is_stored = pytest.mark.requires("mariadbd", "mariadb-install-db")(
    make_following_test(make_mysql, 15)
)
