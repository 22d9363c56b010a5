"""Several daemons on one store: they know each other, share the writing, and one that dies is written off once."""

import http.client
import json
import sqlite3
import time
from base64 import b64encode
from contextlib import closing
from typing import Any

from clusters.api_server import kubeconfig
from integration.lab import Host, Lab, wait_for

PEER_TTL, REPORT_EVERY = 4, 2
CONFIG = {
    "liveness": {"peer_ttl": f"{PEER_TTL}s", "probe_interval": "1s", "probe_timeout": "300ms"},
    "reconcile": {"report_every": f"{REPORT_EVERY}s"},
    "node": {"heartbeat": "2s"},
}
KUBECONFIG = kubeconfig("https://127.0.0.1:1")


def daemons(lab: Lab, count: int, **sections: Any) -> tuple[list[Host], list]:
    """So many daemons in namespaces of their own, on one sqlite file."""
    database = lab.folder / "shared.db"
    config = {**CONFIG, **sections, "storage": {"type": "sqlite", "sqlite": {"path": str(database)}}}
    hosts = [lab.host(f"d{i}", ipv4=f"10.77.0.{10 + i}/24") for i in range(count)]
    return hosts, [host.k3net(config, node_name=host.name) for host in hosts]


def trace(lab: Lab) -> None:
    """From now on the store keeps every write of a Node, with its Ready status."""
    with closing(sqlite3.connect(lab.folder / "shared.db")) as connection, connection:
        connection.execute("create table writes (name text, manifest text)")
        connection.execute(
            "create trigger trace after update on nodes begin insert into writes values (new.name, new.manifest); end"
        )


def writes(lab: Lab) -> list[tuple[str, str]]:
    """(name, Ready status) of each write since `trace`."""
    with closing(sqlite3.connect(lab.folder / "shared.db")) as connection:
        rows = connection.execute("select name, manifest from writes").fetchall()
    return [(name, json.loads(manifest)["status"]["conditions"][0]["status"]) for name, manifest in rows]


def steps_done(daemon) -> int:
    lines = daemon.get("/metrics").body.decode().splitlines()
    done = [line for line in lines if line.startswith('k3net_store_steps_total{outcome="done"')]
    return sum(int(float(line.split()[1])) for line in done)


def all_see_all(fleet, names: set[str]) -> bool:
    return all({n for n, _ in ready(d).items()} >= names and set(ready(d).values()) == {"True"} for d in fleet)


def ready(daemon) -> dict[str, str]:
    return {name: node["status"]["conditions"][0]["status"] for name, node in daemon.nodes().items()}


def clusters_api(host: Host, method: str, path: str, body: Any = None) -> Any:
    """The JSON of a good answer of the clusters' API of this host."""

    def talk() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
        try:
            headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
            connection.request(method, f"/api/v1/{path}", None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            assert response.status in (200, 201), answer
            return answer
        finally:
            connection.close()

    return host.inside(talk)


def members(daemon) -> set[str]:
    return {peer["name"] for peer in daemon.api("/api/v1/peers")["items"] if peer["member"]}


def test_two_daemons_on_one_file_see_each_other(lab):
    _, fleet = daemons(lab, 2)
    wait_for(lambda: all_see_all(fleet, {"d0", "d1"}), 10, "both Ready on both")
    wait_for(lambda: all(members(d) == {"d0", "d1"} for d in fleet), 5, "members")


def test_instances_that_mdns_found_tell_each_other_of_clusters_and_another_service_s_nothing(lab):
    for name, text in (("token", "t"), ("key", b64encode(bytes(32)).decode())):
        (lab.folder / name).write_text(text)
        (lab.folder / name).chmod(0o600)
    files = {"token_files": [str(lab.folder / "token")], "internal_token_files": [str(lab.folder / "token")]}
    clusters = {**files, "internal_listen": ":8081", "key_files": [str(lab.folder / "key")]}
    hosts, fleet = daemons(lab, 2, clusters=clusters)
    other = lab.host("other", ipv4="10.77.0.20/24")
    fleet.append(other.k3net({**CONFIG, "clusters": clusters}, node_name="other"))
    wait_for(lambda: all_see_all(fleet, {"d0", "d1", "other"}), 20, "each has asked the others who they are")
    found = wait_for(lambda: clusters_api(hosts[0], "GET", "instances")["items"], 10, "an instance")
    assert [one["address"] for one in found] == ["10.77.0.11:8081"]
    clusters_api(hosts[0], "POST", "clusters", {"name": "edge", "kube_config": json.dumps(KUBECONFIG)})
    wait_for(
        lambda: (
            [one["state"] for one in clusters_api(hosts[0], "GET", "clusters/edge/delivery")["items"]] == ["delivered"]
        ),
        5,
        "the other instance is told",
    )
    assert "Received cluster reload request for: edge" in fleet[1].output()
    assert "Received" not in fleet[2].output()
    assert clusters_api(other, "GET", "instances")["items"] == []


def test_the_death_of_one_of_five_is_written_once_and_no_daemon_writes_another_s_node(lab):
    _, fleet = daemons(lab, 5)
    names = {f"d{i}" for i in range(5)}
    wait_for(lambda: all_see_all(fleet, names), 15, "all Ready on all")
    wait_for(lambda: all(members(d) == names for d in fleet), 10, "members")
    trace(lab)
    before = [steps_done(d) for d in fleet]
    time.sleep(4 * REPORT_EVERY)
    beats = [steps_done(d) - b for d, b in zip(fleet, before, strict=True)]
    assert all(2 <= beat <= 5 for beat in beats), f"steady state: each daemon writes its own Node only, not {beats}"

    dead = fleet.pop(2)
    dead.kill()
    killed = time.monotonic()
    wait_for(lambda: ("d2", "False") in writes(lab), PEER_TTL + 3, "NotReady in the store")
    assert time.monotonic() - killed > PEER_TTL - 1.2, "not before peer_ttl after the last answer"
    wait_for(lambda: all(ready(d)["d2"] == "False" for d in fleet), 3, "NotReady on all")
    time.sleep(2 * PEER_TTL + REPORT_EVERY)
    assert [w for w in writes(lab) if w[0] == "d2" and w[1] == "False"] == [("d2", "False")]


def test_a_daemon_that_returns_is_ready_again_and_writes_its_own_node(lab):
    hosts, fleet = daemons(lab, 2)
    wait_for(lambda: all_see_all(fleet, {"d0", "d1"}), 10, "both Ready")
    fleet[1].stop()
    wait_for(lambda: ready(fleet[0])["d1"] == "False", 4, "NotReady after the goodbye")
    config = {**CONFIG, "storage": {"type": "sqlite", "sqlite": {"path": str(lab.folder / "shared.db")}}}
    again = hosts[1].k3net(config, node_name="d1")
    wait_for(lambda: all_see_all([fleet[0], again], {"d0", "d1"}), 10, "Ready again")
