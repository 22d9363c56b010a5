"""Twelve hosts with pods, an agent in a pod of each, one server: the verdict names whatever is planted, and no more."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.checker_faults import FAULTS, MORE, PAIRS, expected, planted, read
from integration.lab import wait_for
from integration.overlay import CONTROL, ROUND, Fleet

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
PATIENCE = 40.0
K3NET = str(Path(sys.executable).with_name("k3net"))
CHOSEN = (("host down", "TCP 22 closed"), ("5/7 split", "agent killed"))
ALONE = (*FAULTS, *MORE) if SOAK else (*FAULTS, "firewall against one")

pytestmark = pytest.mark.requires("nft", "bridge", "setpriv")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with Fleet(tmp_path_factory.mktemp("fleet"), 12) as fleet:
        yield fleet


def wait_until_told(fleet: Fleet, names: "tuple[str, ...]") -> None:
    """Until the verdicts are those of the faults, and in a soak for two rounds more."""
    wanted = expected(names)

    def as_wanted() -> bool:
        found = read(fleet)
        assert found == wanted, f"{sorted(found)}, expected {sorted(wanted)}"
        return True

    wait_for(as_wanted, PATIENCE, " and ".join(names) or "health", every=0.2)
    if SOAK and "20 % loss" not in names:
        steady_until = time.monotonic() + 2 * ROUND
        while time.monotonic() < steady_until:
            as_wanted()
            time.sleep(0.2)


def readiness(agent: Any) -> Any:
    return agent.get("/readyz").json()


def test_all_is_well_at_first(fleet: Fleet) -> None:
    wait_until_told(fleet, ())

    def sums() -> "list[tuple[int, int]]":
        each = [fleet.ask("report")[f"{layer}_test_summary"] for layer in ("host", "pod", "service")]
        return [(one["total_tests"], one["failed_tests"]) for one in each]

    wait_for(lambda: sums() == [(132, 0), (132, 0), (12, 0)], PATIENCE, "every test of the first round")
    report = fleet.ask("report")
    assert (report["state"], report["coverage"]) == ("healthy", {"host": 1.0, "pod": 1.0})


@pytest.mark.parametrize("name", ALONE)
def test_the_verdict_names_the_fault(fleet: Fleet, name: str) -> None:
    with planted(fleet, [name]):
        wait_until_told(fleet, (name,))


@pytest.mark.parametrize("names", PAIRS if SOAK else CHOSEN, ids=" and ".join)
def test_the_verdicts_name_both_faults(fleet: Fleet, names: "tuple[str, ...]") -> None:
    with planted(fleet, names):
        wait_until_told(fleet, names)


@pytest.mark.parametrize("name", FAULTS if SOAK else ["host down"])
def test_a_server_that_was_killed_names_the_fault_again_when_it_is_back(fleet: Fleet, name: str) -> None:
    with planted(fleet, [name]):
        wait_until_told(fleet, (name,))
        fleet.server.kill()
        agent = fleet["n1"].agent
        wait_for(lambda: "checker-server" in str(lost(agent)), PATIENCE, "the agent misses the server")
        asked = verdict(fleet)
        assert (asked.returncode, asked.stdout) == (1, ""), asked.stderr
        fleet.start_server()
        wait_until_told(fleet, (name,))
        wait_for(lambda: not lost(agent), PATIENCE, "the agent has its server again")
        asked = verdict(fleet)
        assert (asked.returncode, name != "host down" or "n3 is down" in asked.stdout) == (0, True), asked


def lost(agent: Any) -> "list[Any]":
    return [each for each in readiness(agent)["dependencies"] if not each["ok"]]


def verdict(fleet: Fleet) -> "subprocess.CompletedProcess[str]":
    options = ("--addr", f"{CONTROL}:8080", "--token-file", str(fleet.token))
    return fleet.control.run(K3NET, "verdict", *options, check=False)


def test_an_agent_that_is_drained_raises_no_alarm(fleet: Fleet) -> None:
    wait_until_told(fleet, ())
    member = fleet["n11"]
    assert member.agent is not None
    assert member.agent.stop() == 0
    hosts = fleet.ask("hosts")
    assert (hosts["count"], "silent" in hosts) == (11, False)
    gone_since, found = time.monotonic(), set()
    while time.monotonic() - gone_since < 3 * ROUND:
        found |= read(fleet)
        time.sleep(0.2)
    assert found == set()
    assert readiness(fleet["n1"].agent)["alarms"] == []
    member.start()
    wait_for(lambda: fleet.ask("hosts")["count"] == 12, PATIENCE, "it is back")


def test_an_agent_that_may_not_ping_says_so_and_accuses_nobody(fleet: Fleet) -> None:
    member = fleet["n2"]
    assert member.agent is not None
    member.agent.stop()
    member.start("setpriv", "--bounding-set=-net_raw")

    def told_by_it() -> Any:
        return fleet.ask("test-results/hosts")["results"][member.node_ip]

    cells = wait_for(lambda: len(row := told_by_it()) == 11 and row, PATIENCE, "its row")
    assert {cell["reason"].partition(":")[0] for cell in cells.values()} == {"icmp"}
    assert all("not permitted" in cell["reason"] and "loss" not in cell for cell in cells.values())
    with planted(fleet, ["host down"]):
        wait_until_told(fleet, ("host down",))
    wait_until_told(fleet, ())
    assert "without a ping" in str(readiness(member.agent)["alarms"])
