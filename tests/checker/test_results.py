"""Reports in, matrix out."""

import json
from typing import Any

import pytest
from checker.received import received
from hypothesis import given
from hypothesis import strategies as st

from k3net.checker.client import Client
from k3net.checker.durations import Durations
from k3net.checker.registry import CacheError, Registry
from k3net.checker.results import STALE, Results
from k3net.checker.results_read import Targets, read
from k3net.checker.wire import ConnectivityResult, Heartbeat
from k3net.model.matrix import Summary, mask_of


def members(count: int) -> "tuple[Registry, list[Client]]":
    """Agents on 10.0.0.0, 10.0.0.1, ... with pods on 10.1.0.0, ..."""
    registry = Registry(15.0)
    return registry, [joins(registry, i) for i in range(count)]


def joins(registry: Registry, i: int) -> Client:
    beat = Heartbeat(node_ip=f"10.0.0.{i}", pod_ip=f"10.1.0.{i}", pod_name=f"agent-{i}")
    return registry.beat(beat, 0.0, 0.0)[0]


def cluster(count: int = 3, **settings: Any) -> "tuple[Results, list[Client]]":
    registry, clients = members(count)
    return Results(registry, **settings), clients


def result(target: "int | str", ping: str = "reachable", port: str = "open", **more: Any) -> ConnectivityResult:
    address = target if isinstance(target, str) else f"10.0.0.{target}"
    ports = {"22": port} if port else {}
    return ConnectivityResult(
        target_ip=address, ping_status=ping, port_status=ports, **{"test_duration": "1.00ms", **more}
    )


def take(
    results: Results, client: Client, layer: str, address: str, told: "list[ConnectivityResult]", now: float
) -> None:
    results.take(client, layer, address, received(address, told).results, now)


def shown(results: Results, layer: str = "host") -> "dict[str, Any]":
    return {source: json.loads(cells) for source, cells in results.rows(layer)}


def test_a_cell_has_the_fields_of_the_contract_and_ours_beside_them() -> None:
    results, [a, *_] = cluster()
    take(results, a, "host", "10.0.0.0", [result(1, latency=520_000, loss=0.5, reason="slow", test_duration="")], 0.0)
    assert shown(results) == {
        "10.0.0.0": {
            "10.0.0.1": {
                "ping": "reachable",
                "port_status": "open",
                "test_duration": "0ns",
                "latency": "0.52ms",
                "loss": 0.5,
                "reason": "slow",
            }
        }
    }


def test_success_is_reachable_and_open_and_what_was_not_measured_is_no_test() -> None:
    results, [a, *_] = cluster(5)
    told = [
        result(1),
        result(2, "unreachable", "open"),
        result(3, "reachable", "closed"),
        result(4, "", ""),
        result(0, "", "open"),
    ]
    take(results, a, "host", "10.0.0.0", told, 0.0)
    assert results.summary("host") == Summary(tests=4, failed=2, seconds=pytest.approx(0.004))
    [(client, counts)] = results.counts("host")
    assert (client, counts.ok, counts.failed, counts.not_measured) == (a, 2, 2, 1)
    assert shown(results)["10.0.0.0"]["10.0.0.4"] == {"ping": "", "port_status": "", "test_duration": "1.00ms"}


def test_round_trips_are_those_of_successes_only() -> None:
    results, [a, *_] = cluster()
    told = [
        result(1, latency="0.30ms"),
        result(2, "unreachable", "closed", latency="900ms"),
        result("10.9.9.9", latency="2s"),
    ]
    take(results, a, "host", "10.0.0.0", told, 0.0)
    rtt = results.rtt["host"]
    assert (sum(rtt.buckets), rtt.buckets[2], rtt.buckets[-1]) == (2, 1, 1)
    assert rtt.seconds == pytest.approx(2.0003)


def test_packets_are_counted_and_a_lossy_pair_is_remembered() -> None:
    results, [a, b, _] = cluster()
    take(
        results, a, "host", "10.0.0.0", [result(1, sent=3, received=2, loss=1 / 3), result(2, sent=3, received=3)], 0.0
    )
    [(_, counts)] = results.counts("host")
    assert (counts.sent, counts.received) == (6, 5)
    row = results.row(a, "host")
    assert row is not None
    assert row.marks().loss == {}
    take(results, a, "host", "10.0.0.0", [result(1, sent=3, received=2, loss=1 / 3)], 1.0)
    assert row.marks().loss == {b.bit: (6, 2)}


def test_loss_is_what_was_told_or_else_what_is_between_sent_and_received() -> None:
    results, [a, *_] = cluster(4)
    told = [result(1, sent=4, received=3), result(2, sent=4, received=4), result(3, "unreachable", sent=3, received=0)]
    take(results, a, "host", "10.0.0.0", [*told, result("10.9.9.9", loss=0.1)], 0.0)
    assert {target: cell.get("loss") for target, cell in shown(results)["10.0.0.0"].items()} == {
        "10.0.0.1": 0.25,
        "10.0.0.2": None,
        "10.0.0.3": 1.0,
        "10.9.9.9": 0.1,
    }


def test_the_same_targets_are_others_once_an_agent_came_or_went() -> None:
    registry, [a, b] = members(2)
    results = Results(registry)

    def targets_at(now: float) -> int:
        take(results, a, "host", "10.0.0.0", [result(1), result(2)], now)
        row = results.row(a, "host")
        assert row is not None
        assert results.summary("host").tests == 2
        return row.targets

    assert targets_at(0.0) == 1 << b.bit
    c = joins(registry, 2)
    assert targets_at(1.0) == 1 << b.bit | 1 << c.bit
    results.drop(registry.goodbye(Heartbeat(node_ip="10.0.0.1", pod_ip="10.1.0.1", pod_name="agent-1")))
    assert targets_at(2.0) == 1 << c.bit
    again = joins(registry, 1)
    assert targets_at(3.0) == 1 << again.bit | 1 << c.bit


def test_durations_are_as_good_as_ever_when_too_many_were_remembered() -> None:
    results, [a, *_] = cluster()
    for start in range(0, 200_000, 10_000):
        told = [result(f"x{i}", test_duration=f"{start + i}ns", latency="3ns") for i in range(10_000)]
        take(results, a, "host", "10.0.0.0", told, 0.0)
    assert results.summary("host").seconds == pytest.approx(sum(range(190_000, 200_000)) / 1e9)
    assert results.rtt["host"].seconds == pytest.approx(200_000 * 3e-9)
    assert len(results._durations.seconds) <= 1 << 16


def test_a_target_tested_in_turn_keeps_its_cell_until_it_is_tested_again() -> None:
    results, [a, *_] = cluster()
    take(results, a, "host", "10.0.0.0", [result(1, "unreachable", "closed"), result("10.9.9.9")], 0.0)
    take(results, a, "host", "10.0.0.0", [result(2)], 60.0)
    assert {target: cell["ping"] for target, cell in shown(results)["10.0.0.0"].items()} == {
        "10.0.0.1": "unreachable",
        "10.0.0.2": "reachable",
    }
    take(results, a, "host", "10.0.0.0", [result(1)], 120.0)
    assert results.summary("host") == Summary(tests=2, failed=0, seconds=pytest.approx(0.002))
    results.lapse(60.0 + STALE + 1)
    assert results.summary("host").tests == 1


def test_who_is_gone_takes_its_results_along_and_those_about_it() -> None:
    results, [a, b, c] = cluster()
    for source, others in ((a, (1, 2)), (b, (0, 2)), (c, (0, 1))):
        take(results, source, "host", source.node_ip, [result(target, "unreachable") for target in others], 0.0)
    results.take_service(c, c.pod_ip, result("web"))
    results.drop([c])
    assert results.summary("host") == Summary(tests=2, failed=2, seconds=pytest.approx(0.002))
    assert set(shown(results)) == {"10.0.0.0", "10.0.0.1"}
    assert results.services() == {}
    assert len(results.counts("host")) == 2
    results.drop([a, b])
    assert (results.bytes, results.summary("host")) == (0, Summary())


def test_coverage_is_the_share_of_ordered_pairs_that_have_a_result() -> None:
    results, [a, b, _] = cluster()
    take(results, a, "host", a.node_ip, [result(0), result(1), result(2)], 7.0)
    take(results, b, "host", b.node_ip, [result(0)], 9.0)
    assert results.coverage("host") == (pytest.approx(3 / 6), 7.0)
    assert results.coverage("pod") == (0.0, None)


def test_the_service_is_well_when_its_name_resolves_and_its_port_opens() -> None:
    results, [a, *_] = cluster()
    told = [result("web", "unreachable", "open"), result("web", "unreachable", "closed", resolved=False)]
    for one in told:
        results.take_service(a, a.pod_ip, one)
    assert [finding.ok for finding in results.findings(a)] == [False, True]
    assert results.services()["10.1.0.0"]["test_duration"] == "1.00ms"
    results.take_service(a, a.pod_ip, result("other"))
    assert [finding.service for finding in results.findings(a)] == ["other"]


def test_a_go_client_whose_name_does_not_resolve_says_so_without_a_port_and_its_answer_has_all_fields() -> None:
    results, [a, b, _] = cluster()
    results.take_service(a, a.pod_ip, result("web", "unreachable", "", latency=0))
    results.take_service(b, b.pod_ip, result("10.96.0.7", "unreachable", "closed"))
    assert [(finding.resolved, finding.ok) for finding in results.service_findings()] == [(False, False), (True, False)]
    assert results.services()["10.1.0.0"] == {
        "source_ip": "10.1.0.0",
        "target_ip": "web",
        "ping_status": "unreachable",
        "port_status": {},
        "latency": "0ns",
        "test_duration": "1.00ms",
    }


def test_there_is_an_end_to_results() -> None:
    results, [a, b, _] = cluster(most_bytes=250)
    take(results, a, "host", a.node_ip, [result(1), result(2)], 0.0)
    with pytest.raises(CacheError, match="no room"):
        take(results, b, "host", b.node_ip, [result(0), result(2)], 0.0)
    take(results, a, "host", a.node_ip, [result(0), result(1), result(2)], 1.0)
    assert 0 < results.bytes <= 250


def test_a_duration_that_is_none_changes_nothing() -> None:
    results, [a, *_] = cluster()
    take(results, a, "host", a.node_ip, [result(1)], 0.0)
    before = shown(results), results.summary("host"), results.bytes
    with pytest.raises(ValueError, match="expected a duration"):
        take(results, a, "host", a.node_ip, [result(2, test_duration="soon")], 1.0)
    assert (shown(results), results.summary("host"), results.bytes) == before


TOLD = st.builds(
    result,
    st.one_of(st.integers(0, 4), st.just("10.9.9.9")),
    st.sampled_from(["reachable", "unreachable", ""]),
    st.sampled_from(["open", "closed", ""]),
    sent=st.integers(0, 3),
    received=st.integers(0, 3),
    loss=st.sampled_from([None, 0.0, 0.4]),
    latency=st.sampled_from(["", "1.00ms", 3_000_000]),
    test_duration=st.sampled_from(["", "2.00ms", 4_000_000]),
)


@given(st.lists(TOLD, max_size=8, unique_by=lambda one: one.target_ip))
def test_many_at_a_time_is_the_same_as_one_by_one(told: "list[ConnectivityResult]") -> None:
    registry, _ = members(4)
    bits = registry.bits["host"]
    pairs = received("10.0.0.0", told).results
    cells, found, counts, rtt = read(pairs, registry, "host", Targets(), Durations())
    ports = {one.target_ip: next(iter(one.port_status.values()), "") for one in told}
    measured = [one for one in told if one.ping_status or ports[one.target_ip]]
    failed = [one for one in measured if one.ping_status == "unreachable" or ports[one.target_ip] == "closed"]
    assert {target: (cell.ping, cell.port_status) for target, cell in cells.items()} == {
        one.target_ip: (one.ping_status, ports[one.target_ip]) for one in told
    }
    assert (counts.ok, counts.failed, counts.not_measured) == (
        len(measured) - len(failed),
        len(failed),
        len(told) - len(measured),
    )
    known = [one for one in told if one.target_ip in bits]

    def mask(wanted: "list[ConnectivityResult]") -> int:
        return mask_of([bits[one.target_ip] for one in wanted], 4)

    assert found.reported == mask(known)
    assert found.icmp == (
        mask([one for one in known if one.ping_status]),
        mask([one for one in known if one.ping_status == "unreachable"]),
    )
    assert found.tcp == (
        mask([one for one in known if ports[one.target_ip]]),
        mask([one for one in known if ports[one.target_ip] == "closed"]),
    )
    strangers = [one for one in measured if one.target_ip not in bits]
    assert found.strangers == (len(strangers), len([one for one in failed if one in strangers]))
    assert found.seconds == pytest.approx(
        sum({"": 0.0, "2.00ms": 0.002}.get(one.test_duration, 0.004) for one in measured)
    )
    assert sum(rtt.buckets) == sum(one.ping_status == "reachable" and one.latency != "" for one in told)
