"""`kill -9` of the daemon again and again, on each store: it can be read, and what was acknowledged is in it."""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from etcd import Member
from integration.daemon import clean_environment, command
from integration.lab import wait_for
from integration.process import Process
from mariadb import PASSWORD, MariaDb
from store.places import store_at

from k3net.model.node import Node

KILLS = 50 if os.environ.get("REQUIRE_SERVERS") else 12
NAMES = 8
"""So that a Node is made, found again after a kill, and written by one run after another."""
LONGEST = 0.3
"""Seconds until a kill: about what it takes to open the store, list it and write for the first time."""
CONFIG = {
    "listen": "127.0.0.1:0",
    "api": {"listen": "127.0.0.1:0"},
    "mdns": {"enabled": False},
    "node": {"heartbeat": "50ms"},
    "liveness": {"peer_ttl": "150ms", "probe_interval": "100ms", "probe_timeout": "50ms"},
    "reconcile": {"interval": "20ms", "report_every": "20ms", "brake": False},
}
STARTED = "k3net 0."
WRITTEN = re.compile(r"node (\S+) is (Ready|NotReady) \(")
"""What the daemon says when the store has answered that it is written."""


@contextmanager
def sqlite(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    path = str(folder / "k3net.db")
    yield path, {"type": "sqlite", "sqlite": {"path": path}}


@contextmanager
def etcd(_folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with Member() as member:
        yield member.url, {"type": "etcd", "etcd": {"endpoints": [member.url]}}


@contextmanager
def mariadb(_folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with MariaDb() as server:
        login = {"host": "127.0.0.1", "port": server.port, "user": "k3net", "password": PASSWORD, "database": "k3"}
        yield server.place(), {"type": "mysql", "mysql": login}


STORES = {"sqlite": sqlite, "etcd": etcd, "mariadb": mariadb}


class Killed:
    """One store, and all that was ever seen to be in it."""

    def __init__(self, folder: Path, place: str, storage: dict[str, Any]):
        self._folder = folder
        self._config = {**CONFIG, "storage": storage}
        self._store = store_at(place)
        self._seen: dict[str, Node] = {}
        self.lives_that_wrote = 0

    def live(self, number: int, name: str) -> None:
        """Start a daemon as node `name`, and kill it while it begins, or soon after its first write, in turn."""
        with self._daemon(number, name) as process:
            if number % 2:
                self._wait(process, lambda: WRITTEN.search(process.output()))
            time.sleep(random.uniform(0.0, LONGEST))

    def converge(self, number: int, name: str) -> None:
        """The same, but the last one is let live until all is as it is to be."""
        with self._daemon(number, name) as process:
            self._wait(process, lambda: self._has_converged(name))

    @contextmanager
    def _daemon(self, number: int, name: str) -> Iterator[Process]:
        """From the beginning of its parts until it is killed, and its store found to be well."""
        argv = command(self._folder / "k3net.yaml", self._config, {"node_name": name})
        process = Process(argv, log=self._folder / f"life{number}", env=clean_environment({}), cwd=self._folder)
        try:
            self._wait(process, lambda: STARTED in process.output())
            yield process
            self._look()
        finally:
            process.kill()
        self._judge(WRITTEN.findall(process.output()))

    def _wait(self, process: Process, predicate: Callable[[], Any]) -> None:
        wait_for(lambda: not process.running or predicate(), 20, process.log.name, every=0.02)
        assert process.running, process.output()

    def _has_converged(self, name: str) -> bool:
        nodes = self._listed()
        return {each.name for each in nodes.values() if each.ready.status == "True"} == {name}

    def _listed(self) -> dict[str, Node]:
        """All of it, and nothing of it corrupt."""
        listing = self._store.list()
        assert all(isinstance(record, Node) for record in listing), listing
        return {node.name: node for node in listing}

    def _look(self) -> None:
        self._seen |= self._listed()

    def _judge(self, written: list[tuple[str, str]]) -> None:
        """Nothing that was seen or acknowledged is gone, and nothing is older than it was."""
        found = self._listed()
        for name, before in self._seen.items():
            assert name in found, f"{name} is gone"
            assert number_of(found[name]) >= number_of(before), f"{name} is older"
        for name, word in dict(written).items():
            assert found[name].ready.status == {"Ready": "True", "NotReady": "False"}[word], f"{name} is not {word}"
        self.lives_that_wrote += bool(written)
        self._look()

    def close(self) -> None:
        assert self._store.check() == ""
        self._store.close()


def number_of(node: Node) -> int:
    """The store's own number in the version, which grows with every write."""
    return int(node.version.partition("-")[0])


def kill_often(kind: str, folder: Path) -> None:
    folder.mkdir()
    with STORES[kind](folder) as (place, storage), closing(Killed(folder, place, storage)) as killed:
        for number in range(KILLS):
            killed.live(number, f"n{number % NAMES}")
        killed.converge(KILLS, "n0")
        print(f"{kind}: {killed.lives_that_wrote} of {KILLS + 1} lives wrote")
        assert killed.lives_that_wrote >= KILLS // 2


@pytest.mark.requires("etcd", "etcdctl", "mariadbd", "mariadb-install-db")
def test_a_daemon_killed_at_any_moment_has_lost_nothing_that_its_store_acknowledged(tmp_path):
    with ThreadPoolExecutor(len(STORES)) as beside_one_another:
        ends = {kind: beside_one_another.submit(kill_often, kind, tmp_path / kind) for kind in STORES}
    for end in ends.values():
        end.result()
