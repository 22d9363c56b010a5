"""Hundreds of nodes that claim pod CIDRs in one store at the same time, from eight processes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from store.places import store_at

CLAIMER = Path(__file__).with_name("pod_cidr_claimers.py")
CLUSTER = ip_network("10.244.0.0/16")
WITHIN, ELSEWHERE = "10.244.128.0/20", "10.96.0.0/16"
PROCESSES = 8


class Crowd:
    """The nodes of eight processes."""

    def __init__(self, processes: "list[subprocess.Popen[str]]"):
        self._processes = processes

    def claim(self, count: int, service: str) -> dict[str, Any]:
        """All of `node0` and so on start at once; what each holds then."""
        names = [f"node{number}" for number in range(count)]
        for at, process in enumerate(self._processes):
            assert process.stdin is not None
            process.stdin.write(json.dumps({"names": names[at::PROCESSES], "service": service}) + "\n")
            process.stdin.flush()
        found: dict[str, Any] = {}
        for process in self._processes:
            found |= json.loads(line_of(process))
        assert sorted(found) == sorted(names)
        return found


def line_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@contextmanager
def crowd(place: str) -> Iterator[Crowd]:
    command = [sys.executable, str(CLAIMER), place]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes: list[subprocess.Popen[str]] = []
    try:
        processes += [subprocess.Popen(command, **pipes) for _ in range(PROCESSES)]  # type: ignore[call-overload]
        assert [line_of(process) for process in processes] == ["ready\n"] * PROCESSES
        yield Crowd(processes)
    finally:
        for process in processes:
            process.stdin.close()  # type: ignore[union-attr]
            process.kill() if sys.exc_info()[0] else process.wait(30)
            process.stdout.close()  # type: ignore[union-attr]


def stored(place: str) -> tuple[dict[str, str], dict[str, str]]:
    """Owners by subnet, and subnets by Node, as the store has them."""
    store = store_at(place)
    try:
        claims = store.claims()
        nodes = {node.name: node.pod_cidrs[0] for node in store.list() if node.pod_cidrs}
    finally:
        store.close()
    owners = {claim.subnet: claim.owner for claim in claims}
    assert len(owners) == len(claims)
    return owners, nodes


def check(place: str) -> None:
    with crowd(place) as nodes:
        first = nodes.claim(200, WITHIN)
        held = {name: told["cidrs"][0] for name, told in first.items()}
        owners, said = stored(place)
        assert said == held == {owner: subnet for subnet, owner in owners.items()}
        assert len(set(held.values())) == 200
        for text in held.values():
            net = ip_network(text)
            assert net.prefixlen == 24
            assert net.subnet_of(CLUSTER)
            assert not net.overlaps(ip_network(WITHIN))
            assert text != "10.244.0.0/24"

        again = nodes.claim(300, ELSEWHERE)
        assert {name: again[name]["cidrs"][0] for name in held} == held
        lucky = {name: told["cidrs"][0] for name, told in again.items() if told["cidrs"]}
        owners, said = stored(place)
        assert len(lucky) == len(set(lucky.values())) == 255
        assert said == lucky == {owner: subnet for subnet, owner in owners.items()}
        assert {told["trouble"] for name, told in again.items() if name not in lucky} == {
            (
                "no /24 of 10.244.0.0/16 is free: 255 for nodes, all taken; this node has none, until one is free or "
                "network.podCIDR.base is larger"
            )
        }
        assert not any(again[name]["trouble"] for name in lucky)


@pytest.mark.requires("etcd", "etcdctl")
def test_in_one_etcd() -> None:
    from etcd import Member

    with Member() as etcd:
        check(etcd.url)


@pytest.mark.requires("mariadbd", "mariadb-install-db")
def test_in_one_mariadb() -> None:
    from mariadb import MariaDb

    with MariaDb() as server:
        server.sql("create database k3_claims character set utf8mb4", database="mysql")
        check(server.place("k3_claims"))
