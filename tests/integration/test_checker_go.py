"""The old Go programs and ours, as real processes: their client at our server, our agent at their server."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration import go_checker as go
from integration.daemon import TWISTD, clean_environment
from integration.process import Process
from integration.test_checker_server import Server, free_port, until

COUNT = 5


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server as `HTTP_PORT`, `CACHE_KEY_SECOND` and `checker.auth: none` make it for the Go client."""
    server = Server(tmp_path / "server", free_port(), [], tmp_path / "none")
    server.config["api"] = {"listen": f":{server.port}", "auth": "none"}
    server.config["checker"] = {"auth": "none", "server": None}
    server.file.write_text(yaml.safe_dump(server.config))
    server.start(CACHE_KEY_SECOND="2", HTTP_PORT=str(server.port), LOG_LEVEL="info", REPORT_INTERVAL="300")
    try:
        yield server
    finally:
        server.process.stop()


@pytest.fixture
def client(server: Server) -> Iterator[go.Client]:
    client = go.Client(server.port)
    yield client
    client.close()


def beat(i: int, pod: str = "") -> "dict[str, Any]":
    return {
        "namespace": "kube-system",
        "node_ip": f"10.0.0.{i}",
        "pod_ip": f"10.244.{i}.7",
        "pod_name": pod or f"k8s-network-checker-client-{i}",
        "timestamp": go.now(),
    }


def result(i: int, target: str, port: str, **other: Any) -> "dict[str, Any]":
    """As the Go client has it: the pod's address for hosts and pods, the time of three pings, durations in words."""
    return {
        "source_ip": f"10.244.{i}.7",
        "target_ip": target,
        "ping_status": "reachable",
        "port_status": {port: "open"},
        "latency": "670.33ms",
        "test_duration": "2.03s",
        "timestamp": go.now(),
        **other,
    }


def report(i: int, dead: int = -1, **other: Any) -> "Iterator[tuple[str, dict[str, Any]]]":
    gone = {"ping_status": "unreachable", "latency": "0s", "test_duration": "12.02s"}
    for layer, address, port in (("hosts", "10.0.0.{}", "22"), ("pods", "10.244.{}.7", "6100")):
        results = [
            result(i, address.format(j), port, **(gone | {"port_status": {port: "closed"}} if j == dead else other))
            for j in range(1, COUNT + 1)
            if j != i or layer == "hosts"  # it skips its pod and not its own host
        ]
        yield f"test-results/{layer}", {"source_ip": f"10.244.{i}.7", "results": results}


def test_what_go_prints_of_a_list_or_a_map_that_has_nothing_is_taken(client: go.Client) -> None:
    client("heartbeat", beat(1))
    client("heartbeat", beat(2))
    client("test-results/hosts", {"source_ip": "10.244.1.7", "results": None})
    gone = result(1, "10.0.0.2", "22", ping_status="unreachable", port_status=None)
    client("test-results/hosts", {"source_ip": "10.244.1.7", "results": [result(1, "10.0.0.1", "22"), gone]})
    client("test-results/service", {"source_ip": "10.244.1.7", "result": {**gone, "target_ip": "web.lab"}})
    rows = client("test-results/hosts")["results"]["10.244.1.7"]
    assert {target: (cell["ping"], cell["port_status"]) for target, cell in rows.items()} == {
        "10.0.0.1": ("reachable", "open"),
        "10.0.0.2": ("unreachable", ""),
    }
    assert client("test-results/service")["results"]["10.244.1.7"]["port_status"] == {}


def test_a_go_client_beats_reports_and_reads_every_answer(client: go.Client) -> None:
    assert client("health")["status"] == "healthy"
    assert client.read("hosts", dict[str, Any]) == {"host_ips": [], "count": 0}
    for i in range(1, COUNT + 1):
        assert client("heartbeat", beat(i))["status"] == "success"
    hosts, pods = ([form.format(i) for i in range(1, COUNT + 1)] for form in ("10.0.0.{}", "10.244.{}.7"))
    assert client("hosts") == {"host_ips": hosts, "count": COUNT}
    assert client("pods") == {"pod_ips": pods, "count": COUNT}
    assert client("clients/count") == {"active_client_count": COUNT}
    for i in range(1, COUNT + 1):
        for path, body in report(i):
            assert client(path, body)["status"] == "success"
        service = result(i, "web.default.svc.cluster.local", "80", test_duration="1m30s", latency="850ns")
        client("test-results/service", {"source_ip": f"10.244.{i}.7", "result": service})

    found: go.Everything = client.read("results", go.Everything)
    assert (found.active_client_count, found.host_ips, found.pod_ips) == (COUNT, hosts, pods)
    assert {source: len(row) for source, row in found.host_test_results.items()} == dict.fromkeys(pods, COUNT)
    assert {source: len(row) for source, row in found.pod_test_results.items()} == dict.fromkeys(pods, COUNT - 1)
    assert found.host_test_results[pods[0]][hosts[1]] == go.Cell("reachable", "open", "2.03s")
    for layer, of_all in (("hosts", found.host_test_results), ("pods", found.pod_test_results)):
        matrix = client.read(f"test-results/{layer}", dict[str, dict[str, dict[str, go.Cell]]])
        assert matrix == {"results": of_all}
    services = client.read("test-results/service", dict[str, dict[str, go.ConnectivityResult]])["results"]
    assert services == found.service_test_results
    assert (services[pods[0]].test_duration, services[pods[0]].latency) == ("1m30s", "850ns")
    told = client("report")
    assert (told["active_client_count"], told["service_test_summary"]["avg_test_duration"]) == (COUNT, "1m30s")
    assert told["host_test_summary"]["success_rate"] == 100
    until(lambda: client("report")["state"] == "healthy", "the results are read")


def test_durations_may_be_words_or_nanoseconds(client: go.Client) -> None:
    client("heartbeat", beat(1))
    client("heartbeat", beat(2))
    for raw, printed in (
        (520_000, "0.52ms"), (12_000, "12.00µs"), (850, "850ns"), (2_030_000_000, "2.03s"), (90_000_000_000, "1m30s"),
        ("12.00µs", "12.00µs"), ("1m30s", "1m30s"), (0, "0ns"),
    ):  # fmt: skip
        body = {"source_ip": "10.244.1.7", "results": [result(1, "10.0.0.2", "22", test_duration=raw, latency=raw)]}
        client("test-results/hosts", body)
        assert client("test-results/hosts")["results"]["10.244.1.7"]["10.0.0.2"]["test_duration"] == printed
    for raw in ("soon", "-3s", -1, 1.5, None):
        body = {"source_ip": "10.244.1.7", "results": [result(1, "10.0.0.2", "22", test_duration=raw)]}
        refused = client("test-results/hosts", body, status=400)
        assert (refused["code"], refused.keys() >= {"message", "details"}) == ("INVALID_REQUEST", True)


def test_a_go_fleet_is_judged_and_followed_as_ours_is(client: go.Client) -> None:
    def round_of_all(*silent: int, dead: int = -1) -> None:
        for i in range(1, COUNT + 1):
            if i not in silent:
                client("heartbeat", beat(i))
                for path, body in report(i, dead):
                    client(path, body)

    def kinds() -> "list[tuple[str, str, list[str]]]":
        return [(each["kind"], each["layer"], each["nodes"]) for each in client("verdicts")["items"]]

    round_of_all()
    until(lambda: round_of_all() or client("verdicts")["state"] == "healthy", "all is well")
    until(lambda: round_of_all(3, dead=3) or ("down", "host", ["10.0.0.3"]) in kinds(), "the third is down")
    until(lambda: round_of_all(3) or client("clients/count") == {"active_client_count": COUNT - 1}, "it is gone")
    client("heartbeat", beat(3, pod="restarted"))
    until(lambda: round_of_all() or kinds() == [], "it is back")
    for missing in ("pod_name", "node_ip", "pod_ip"):
        refused = client("heartbeat", beat(1) | {missing: ""}, status=400)
        assert refused["code"] == "INVALID_REQUEST"
        assert missing in refused["details"]


@pytest.mark.requires("root")
def test_our_agent_speaks_so_that_a_strict_go_server_takes_all_of_it(tmp_path: Path) -> None:
    own, peer, closed = "127.0.0.1", "127.0.0.2", "127.0.0.3"
    with closing(socket.create_server((peer, 0))) as listener, go.Server([own, peer, closed], [own, peer]) as server:
        config = tmp_path / "k3net.yaml"
        base = {"node": {"name": "edge-1", "register_self": False}, "mdns": {"enabled": False}}
        base |= {"listen": f"127.0.0.1:{free_port()}", "api": {"listen": f"127.0.0.1:{free_port()}"}}
        agent = {"round": "1s", "test_port": listener.getsockname()[1]}
        config.write_text(yaml.safe_dump({**base, "storage": {"type": "memory"}, "checker": {"agent": agent}}))
        environ = {
            "NODE_IP": own, "POD_IP": own, "POD_NAME": "agent-1", "NAMESPACE": "lab", "SERVER_URL": server.url,
            "HEARTBEAT_INTERVAL": "1", "CLIENT_PORT": str(free_port()), "LOG_LEVEL": "info",
        }  # fmt: skip
        process = Process(
            [TWISTD, "-n", "k3net", "--config", str(config)],
            log=tmp_path / "log",
            env=clean_environment(environ),
            cwd=tmp_path,
        )
        try:
            paths = ("heartbeat", "test-results/hosts", "test-results/pods")
            until(lambda: all(len(server.told.get(path, [])) > 1 for path in paths), "two rounds")
        finally:
            assert process.stop() == 0
        assert server.refused == []
        said = server.told["heartbeat"][0]
        assert (said.node_ip, said.pod_ip, said.pod_name, said.namespace) == (own, own, "agent-1", "lab")
        hosts = server.told["test-results/hosts"][0]
        port = str(listener.getsockname()[1])
        assert hosts.source_ip == own
        cells = {each.target_ip: (each.ping_status, each.port_status) for each in hosts.results}
        assert cells == {peer: ("reachable", {port: "open"}), closed: ("reachable", {port: "closed"})}
        assert all(each.latency for each in hosts.results)
