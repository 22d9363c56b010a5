"""A real server with a store that outlives it: after SIGTERM and after SIGKILL it knows what it knew."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from etcd import Member
from integration.test_checker_server import Server, beat, free_port, report, until

from k3net.store.etcd import EtcdStore
from k3net.store.sqlite import SqliteStore

AGENTS = 5
DOWN = 3
Open = Callable[[], Any]


@pytest.fixture
def sqlite_storage(tmp_path: Path) -> "tuple[dict[str, Any], Open]":
    path = str(tmp_path / "k3net.db")
    return {"type": "sqlite", "sqlite": {"path": path}}, lambda: SqliteStore(path)


@pytest.fixture
def etcd_storage() -> "Iterator[tuple[dict[str, Any], Open]]":
    with Member() as member:
        yield {"type": "etcd", "etcd": {"endpoints": [member.url]}}, lambda: EtcdStore([member.url])


@pytest.fixture(params=["sqlite", pytest.param("etcd", marks=pytest.mark.requires("etcd", "etcdctl"))])
def storage(request: pytest.FixtureRequest) -> "tuple[dict[str, Any], Open]":
    found: tuple[dict[str, Any], Open] = request.getfixturevalue(f"{request.param}_storage")
    return found


@pytest.fixture
def make_server(tmp_path: Path) -> "Iterator[Callable[[str, dict[str, Any]], Server]]":
    tokens = tmp_path / "tokens"
    tokens.write_text("fleet-token\n")
    servers: list[Server] = []

    def make(name: str, storage: "dict[str, Any]") -> Server:
        server = Server(tmp_path / name, free_port(), [], tokens)
        server.config["storage"] = storage
        server.file.write_text(yaml.safe_dump(server.config))
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        if server.process.running:
            server.process.stop()


def agents_speak(server: Server) -> None:
    for i in range(AGENTS):
        assert server.ask("heartbeat", beat(i))[0] == 200
    for i in range(AGENTS):
        found = report(i, range(AGENTS))
        for result in found["results"]:
            if result["target_ip"] == f"10.0.0.{DOWN}":
                result |= {"ping_status": "unreachable", "port_status": {"22": "closed"}}
        if i != DOWN:
            assert server.ask("test-results/hosts", found)[0] == 200


def shown(server: Server) -> Any:
    kept = ("active_client_count", "host_ips", "host_test_summary", "state", "coverage", "verdicts")
    report = server.said("report")
    return {
        "results": server.said("results"),
        "clients": server.said("clients"),
        "verdicts": server.said("verdicts"),
        "report": {key: report[key] for key in kept},
    }


def test_what_the_server_knew_is_there_before_any_agent_speaks(
    storage: "tuple[dict[str, Any], Open]", make_server: "Callable[[str, dict[str, Any]], Server]"
) -> None:
    settings, open_store = storage
    server = make_server("a", settings)
    agents_speak(server)
    found = [{"kind": "down", "nodes": [f"n{DOWN}"]}]
    until(lambda: [{key: v[key] for key in found[0]} for v in server.said("verdicts")["items"]] == found, "a verdict")
    before = shown(server)
    assert before["results"]["active_client_count"] == AGENTS

    assert server.process.stop() == 0
    server.start()
    assert shown(server) == before, "after SIGTERM"

    agents_speak(server)
    with closing(open_store()) as store:
        [saved] = store.snapshots()
        until(lambda: store.snapshots()[0].at > saved.at, "it is saved by itself", within=20)
    before = shown(server)
    server.process.kill()
    server.start()
    assert shown(server) == before, "after SIGKILL"
    assert {client["version"] for client in before["clients"]["items"]} == {2}

    other = make_server("b", settings)
    assert shown(other) == before, "a server of another name"
    assert other.process.stop() == 0
    with closing(open_store()) as store:
        assert {snapshot.name for snapshot in store.snapshots()} <= {"a", "b"}
        assert {node.name for node in store.list()} == {f"n{i}" for i in range(AGENTS)}
        assert store.check() == ""


def test_a_snapshot_that_is_none_is_one_warning(
    sqlite_storage: "tuple[dict[str, Any], Open]", make_server: "Callable[[str, dict[str, Any]], Server]"
) -> None:
    settings, _ = sqlite_storage
    server = make_server("a", settings)
    agents_speak(server)
    assert server.process.stop() == 0
    with closing(sqlite3.connect(settings["sqlite"]["path"])) as file, file:
        file.execute("update snapshots set body = x'00ff'")
    server.start()
    assert server.said("clients/count") == {"active_client_count": 0}
    assert server.process.output().count("the snapshot of 'a' is none") == 1
    agents_speak(server)
    assert server.said("clients/count") == {"active_client_count": AGENTS}


@pytest.mark.requires("etcd", "etcdctl")
def test_a_store_that_is_away_delays_neither_agents_nor_answers(
    make_server: "Callable[[str, dict[str, Any]], Server]",
) -> None:
    server = make_server("a", {"type": "etcd", "etcd": {"endpoints": [f"http://127.0.0.1:{free_port()}"]}})
    agents_speak(server)
    assert server.said("clients/count") == {"active_client_count": AGENTS}
    assert server.process.stop() == 0
