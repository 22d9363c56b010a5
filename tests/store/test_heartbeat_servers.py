"""Heartbeats of other's Nodes, in the stores that are servers."""

import pytest
from etcd import end_idle, make_etcd
from mariadb import end_shared, make_mysql, make_mysql_go
from store.heartbeat_contract import make_heartbeat_tests


@pytest.fixture(scope="module", autouse=True)
def _servers():
    yield
    end_idle()
    end_shared()


@pytest.mark.requires("etcd", "etcdctl")
class EtcdHeartbeatTests(make_heartbeat_tests(make_etcd)):
    pass


@pytest.mark.requires("mariadbd", "mariadb-install-db")
class MysqlHeartbeatTests(make_heartbeat_tests(make_mysql)):
    def test_a_step_that_went_round_the_judge_changes_nothing_else(self):
        """The statement itself can set nothing but that one time."""
        from store.heartbeat_contract import NEW

        from k3net.store import mysql_rows

        statement, values = mysql_rows.beat(self.have.beating(NEW))
        self.assertEqual(values, ["$.conditions[1].lastHeartbeatTime", "2027-01-15T08:00:00Z"])
        self.assertIn("set status = json_replace(status, %s, %s), resource_version = %s, updated_at =", statement)


@pytest.mark.requires("mariadbd", "mariadb-install-db")
class MysqlGoHeartbeatTests(make_heartbeat_tests(make_mysql_go)):
    pass
