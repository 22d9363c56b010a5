"""Two real servers behind one name: each answers for all, and one that comes back knows what the other does."""

import contextlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from integration.daemon import TWISTD, clean_environment
from integration.process import Process

FLEET, BOUND = "fleet-token", "bound-token"


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


def until(what: Callable[[], Any], why: str, within: float = 15.0) -> Any:
    end = time.monotonic() + within
    while not (found := what()):
        assert time.monotonic() < end, f"not within {within} s: {why}"
        time.sleep(0.05)
    return found


class Server:
    """A daemon that is a checker's server on every address, and so asks for a token."""

    def __init__(self, folder: Path, port: int, members: list[str], tokens: Path):
        folder.mkdir()
        self.folder, self.port = folder, port
        self.file = folder / "k3net.yaml"
        self.config = {
            "node": {"name": folder.name, "register_self": False},
            "listen": f"127.0.0.1:{free_port()}",
            "api": {"listen": f":{port}", "token_files": [str(tokens)]},
            "mdns": {"enabled": False},
            "storage": {"type": "memory"},
            "checker": {"server": {"members": members, "token_files": [str(tokens)]}},
        }
        self.file.write_text(yaml.safe_dump(self.config))
        self.started = 0

    def start(self, **environ: str) -> None:
        self.started += 1
        self.process = Process(
            [TWISTD, "-n", "k3net", "--config", str(self.file)],
            log=self.folder / f"log{self.started}",
            env=clean_environment(environ),
            cwd=self.folder,
        )
        until(self.healthy, f"{self.folder.name} is up")

    def healthy(self) -> bool:
        assert self.process.running, self.process.output()
        with contextlib.suppress(OSError):
            return bool(self.ask("health")[0] == 200)
        return False

    def ask(self, path: str, body: Any = None, token: str = FLEET) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            raw = None if body is None else json.dumps(body)
            connection.request("GET" if body is None else "POST", f"/api/v1/{path}", raw, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def said(self, path: str) -> Any:
        status, answer = self.ask(path)
        assert status == 200, answer
        return answer


def beat(i: int) -> dict[str, str]:
    return {"node_ip": f"10.0.0.{i}", "pod_ip": f"10.1.0.{i}", "pod_name": f"agent-{i}", "node_name": f"n{i}"}


def report(i: int, others: range) -> dict[str, Any]:
    return {
        "source_ip": f"10.0.0.{i}",
        "results": [
            {"target_ip": f"10.0.0.{j}", "ping_status": "reachable", "port_status": {"22": "open"}}
            for j in others
            if j != i
        ],
    }


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[Server]]:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"{FLEET}\n{BOUND} 10.0.0.9 10.1.0.9\n")
    ports = [free_port(), free_port()]
    members = [f"http://localhost:{port}" for port in ports]
    servers = [Server(tmp_path / name, port, members, tokens) for name, port in zip("ab", ports, strict=True)]
    try:
        for server in servers:
            server.start()
        yield servers
    finally:
        for server in servers:
            if server.process.running:
                server.process.stop()
            print(server.process.output()[-3000:], file=sys.stderr)


def test_each_of_two_servers_answers_for_all_and_a_restarted_one_learns_it_again(servers: list[Server]) -> None:
    a, b = servers

    def round_of_agents(at: list[Server]) -> None:
        for i in range(4):
            assert at[i % len(at)].ask("heartbeat", beat(i))[0] == 200
        for i in range(4):
            assert at[(i + 1) % len(at)].ask("test-results/hosts", report(i, range(4)))[0] == 200

    def knows_all(server: Server) -> bool:
        found = server.said("results")
        return found["active_client_count"] == 4 and len(found["host_test_results"]) == 4

    round_of_agents([a, b])
    for server in servers:
        until(lambda s=server: knows_all(s), "both know all")  # type: ignore[misc]
    assert a.said("results") == b.said("results")
    assert [verdict["kind"] for verdict in b.said("verdicts")["items"]] == []
    versions = {client["version"] for client in a.said("clients")["items"]}
    assert versions <= {1, 2}, "what is passed on is not passed on again"

    assert b.process.stop() == 0
    round_of_agents([a])
    b.start()
    until(lambda: round_of_agents([a]) or knows_all(b), "the one that came back knows all")
    report_of_b = b.said("report")
    assert report_of_b["host_test_summary"]["total_tests"] == 12


def test_a_server_asks_for_tokens_and_follows_the_go_servers_variables(servers: list[Server]) -> None:
    a, _ = servers
    assert a.ask("heartbeat", beat(1), token="wrong")[0] == 401
    assert a.ask("heartbeat", beat(9), token=BOUND)[0] == 200
    assert a.ask("heartbeat", beat(1), token=BOUND)[0] == 403
    assert a.process.stop() == 0
    a.port = free_port()
    a.start(HTTP_PORT=str(a.port), CACHE_KEY_SECOND="1", LOG_LEVEL="info", REPORT_INTERVAL="1")
    assert a.ask("heartbeat", beat(1))[1]["expiry_seconds"] == 1
    until(lambda: a.said("clients/count") == {"active_client_count": 0}, "it has expired")
    until(lambda: "checker report: " in a.process.output(), "a report in the log")


def test_a_server_for_old_agents_says_at_every_start_that_its_door_is_open(tmp_path: Path) -> None:
    server = Server(tmp_path / "old", free_port(), [], tmp_path / "none")
    server.config["api"] = {"listen": f":{server.port}", "auth": "none"}
    server.config["checker"] = {"auth": "none", "server": None}
    server.file.write_text(yaml.safe_dump(server.config))
    server.start()
    try:
        assert server.ask("heartbeat", beat(1), token="")[0] == 200
        assert f"checker.auth is none: everybody who reaches :{server.port} may report" in server.process.output()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("GET", "/readyz")
        assert any("checker.auth is none" in alarm for alarm in json.loads(connection.getresponse().read())["alarms"])
        connection.close()
    finally:
        assert server.process.stop() == 0
