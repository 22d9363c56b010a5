"""Two daemons and one store: `k3net nodes` shows on each what the store's own tools show, a controller's Node too."""

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from integration.etcd_host import PREFIX, EtcdHost
from integration.lab import Host, Lab, wait_for
from integration.test_members import members
from mariadb import GO_TABLE, PASSWORD, MariaDb

CONFIG = {
    "liveness": {"peer_ttl": "5s", "probe_interval": "500ms", "probe_timeout": "300ms"},
    "node": {"heartbeat": "1s"},
}
STORE = "10.77.0.2"
NAMES = {"alpha", "beta"}
CONTROLLED = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "cp-1", "uid": "node-cp-1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]},
}
"""What a controller reported before any daemon came."""

Labels = dict[str, dict[str, str]]
"""Of each Node, by its name."""


def shown_on(host: Host) -> Labels:
    """By `k3net nodes` there."""
    said = json.loads(host.run(sys.executable, "-m", "k3net.cli", "nodes", "-o", "json").stdout)
    return {node["metadata"]["name"]: node["metadata"]["labels"] for node in said["items"]}


def share(lab: Lab, storage: dict[str, Any], stored: Callable[[], Labels]) -> None:
    """Two daemons with this store become members of one another, and all three say the same, also of one that stops."""
    hosts = [lab.host(name, ipv4=f"10.77.0.{10 + i}/24") for i, name in enumerate(sorted(NAMES))]
    daemons = [host.k3net({**CONFIG, "storage": storage}, node_name=host.name) for host in hosts]
    for daemon in daemons:
        wait_for(lambda daemon=daemon: members(daemon) == NAMES, 15, "members")
        wait_for(lambda daemon=daemon: daemon.nodes().keys() == NAMES | {"cp-1"}, 5, "all Nodes in the API")
    wait_for(lambda: stored().keys() == NAMES | {"cp-1"}, 10, "all Nodes in the store")
    labels = stored()
    assert labels["cp-1"] == CONTROLLED["metadata"]["labels"]
    for name in NAMES:
        assert labels[name] == {
            "kubernetes.io/hostname": name,
            "k3.network/managed": "true",
            "k3.network/discovered": "true",
        }
    assert [shown_on(host) for host in hosts] == [labels, labels]
    daemons[1].stop()
    wait_for(lambda: daemons[0].ready("beta") == ("False", "PeerGoodbye"), 2, "a stop is seen at once")


@pytest.mark.requires("etcd", "etcdctl")
def test_two_daemons_on_one_etcd_show_what_etcdctl_shows(lab):
    host = lab.host("store", ipv4=f"{STORE}/24")
    etcd = EtcdHost(host, STORE)
    ctl = ("etcdctl", "--endpoints=http://127.0.0.1:2379")
    text = json.dumps(CONTROLLED)
    host.run(*ctl, "put", f"{PREFIX}cp-1", text, ETCDCTL_API="3")

    def stored() -> Labels:
        lines = host.run(*ctl, "get", "--prefix", PREFIX, ETCDCTL_API="3").stdout.splitlines()
        found = dict(zip(lines[::2], map(json.loads, lines[1::2]), strict=True))
        assert found.keys() == {f"{PREFIX}{node['metadata']['name']}" for node in found.values()}
        assert text in lines, "a controller's Node is as it was, byte for byte"
        return {node["metadata"]["name"]: node["metadata"]["labels"] for node in found.values()}

    share(lab, {"type": "etcd", "etcd": {"endpoints": [etcd.url]}}, stored)


@pytest.mark.requires("mariadbd", "mariadb-install-db")
def test_two_daemons_on_one_mariadb_show_what_sql_shows(lab):
    host = lab.host("store", ipv4=f"{STORE}/24")
    server = host.inside(lambda: MariaDb(f"--bind-address={STORE}", "--skip-name-resolve"))
    try:
        host.inside(server.start)
        labels, status = json.dumps(CONTROLLED["metadata"]["labels"]), json.dumps(CONTROLLED["status"])
        server.sql(
            GO_TABLE.partition(";")[0],
            "insert into k8s_core_v1_node (name, namespace, uid, resource_version, labels, spec, status, phase)"
            f" values ('cp-1', '', 'node-cp-1', '1', '{labels}', '{{}}', '{status}', 'Running')",
        )
        before = server.sql("select * from k8s_core_v1_node")

        def stored() -> Labels:
            assert server.sql("select * from k8s_core_v1_node where name = 'cp-1'") == before
            rows = server.sql("select name, labels from k8s_core_v1_node")
            return {name: json.loads(labels) for name, labels in rows}

        login = {"host": STORE, "port": server.port, "user": "k3net", "password": PASSWORD, "database": "k3"}
        share(lab, {"type": "mysql", "mysql": login}, stored)
    finally:
        server.end()
