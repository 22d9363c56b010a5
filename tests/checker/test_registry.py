"""Which agents live."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.checker.client import Client
from k3net.checker.registry import MOST_STRANGERS, SILENT_FOR, CacheError, Registry
from k3net.checker.wire import Heartbeat


def beat(i: int, pod: str = "", node: str = "", host: "int | None" = None) -> Heartbeat:
    return Heartbeat(
        node_ip=f"10.0.0.{i if host is None else host}",
        pod_ip=f"10.1.0.{i}",
        pod_name=pod or f"agent-{i}",
        namespace="lab",
        node_name=node,
    )


def heard(registry: Registry, said: Heartbeat, now: float = 0.0) -> Client:
    return registry.beat(said, now, 1e9 + now)[0]


def test_a_record_counts_the_heartbeats_and_knows_the_last() -> None:
    registry = Registry(15.0)
    client = heard(registry, beat(1))
    assert heard(registry, beat(1), 5.0) is client
    assert (client.version, client.last_heartbeat, len(registry)) == (2, 1e9 + 5, 1)


def test_there_are_as_many_clients_as_there_are() -> None:
    registry = Registry(15.0)
    for i in range(200):
        heard(registry, beat(i))
    assert len(registry) == len(registry.addresses("host")) == len(registry.addresses("pod")) == 200


def test_silence_for_the_expiry_ends_a_client_and_after_a_while_frees_its_bit() -> None:
    registry = Registry(15.0)
    first, second = heard(registry, beat(1)), heard(registry, beat(2), 1.0)
    heard(registry, beat(1), 10.0)
    assert registry.expire(15.9) == ([], [])
    assert registry.expire(16.0) == ([second], [])
    assert (registry.addresses("host"), list(registry), len(registry)) == (["10.0.0.1"], [first], 1)
    assert (registry.silent, registry.bits["host"]["10.0.0.2"]) == ([second], second.bit)
    heard(registry, beat(1), SILENT_FOR)
    assert registry.expire(SILENT_FOR + 1.0) == ([], [second])
    assert heard(registry, beat(3), SILENT_FOR + 2.0).bit == second.bit


@pytest.mark.parametrize("back", [beat(2), beat(3, "agent-2"), beat(3, host=2), beat(3, node="n2")])
def test_who_fell_silent_is_forgotten_when_its_place_is_taken(back: Heartbeat) -> None:
    registry = Registry(15.0)
    heard(registry, beat(1))
    silent = heard(registry, beat(2, node="n2"))
    heard(registry, beat(1), 14.0)
    assert registry.expire(15.0) == ([silent], [])
    client, replaced = registry.beat(back, 16.0, 0.0)
    assert (replaced, registry.silent, client.version, len(registry)) == ([silent], [], 1, 2)


def test_who_is_replaced_on_its_host_leaves_no_silence_behind() -> None:
    registry = Registry(15.0)
    old = heard(registry, beat(1, node="n1"))
    heard(registry, beat(2, node="n1", host=1), 10.0)
    assert registry.expire(15.0) == ([], [old])


def test_a_goodbye_is_no_silence() -> None:
    registry = Registry(15.0)
    client = heard(registry, beat(1))
    assert registry.goodbye(beat(2, "agent-1")) == []
    assert registry.goodbye(beat(1)) == [client]
    assert (len(registry), registry.silent, registry.bits["host"], registry.goodbye(beat(1))) == (0, [], {}, [])


def test_a_restarted_client_replaces_the_old_one_at_once() -> None:
    registry = Registry(15.0)
    old = heard(registry, beat(1, "agent-old"))
    bit = old.bit
    new = heard(registry, beat(1, "agent-new"), 1.0)
    assert (len(registry), new.version, new.pod_name, new.bit) == (1, 1, "agent-new", bit)
    assert heard(registry, beat(1, "agent-new"), 2.0).version == 2


def test_a_pod_that_moved_is_no_longer_where_it_was() -> None:
    registry = Registry(15.0)
    old = heard(registry, beat(1, "agent"))
    new, replaced = registry.beat(beat(2, "agent"), 1.0, 1.0)
    assert replaced == [old]
    assert (registry.addresses("pod"), new.version) == (["10.1.0.2"], 1)


def test_two_agents_that_both_go_on_saying_one_name_are_two() -> None:
    registry = Registry(15.0)
    places = [beat(i, "agent", f"n{i}") for i in range(3)]
    for now in range(0, 30, 5):
        for said in places:
            registry.expire(float(now))
            registry.beat(said, float(now), 0.0)
    assert registry.addresses("host") == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    assert {client.name: client.version for client in registry} == {"n0": 5, "n1": 5, "n2": 6}
    [(name, clients)] = registry.pods.shared()
    assert (name, {client.node_ip for client in clients}) == (("lab", "agent"), set(registry.addresses("host")))
    assert [client.node_ip for client in registry.goodbye(places[1])] == ["10.0.0.1"]
    assert len(registry) == 2


def test_a_pod_that_moves_again_and_again_is_one() -> None:
    registry = Registry(15.0)
    for now, host in enumerate((1, 2, 1, 2)):
        registry.beat(beat(host, "agent"), 20.0 * now, 0.0)
        assert registry.addresses("host") == [f"10.0.0.{host}"]


def test_two_agents_on_one_host_are_one_host_and_two_pods() -> None:
    registry = Registry(15.0)
    first, second = heard(registry, beat(1, node="n1")), heard(registry, beat(2, node="n1", host=1), 1.0)
    assert (registry.addresses("host"), registry.addresses("pod")) == (["10.0.0.1"], ["10.1.0.1", "10.1.0.2"])
    assert (first.name, second.name) == ("n1", "n1/agent-2")
    assert registry.bits["host"] == {"10.0.0.1": first.bit}
    heard(registry, beat(2, node="n1", host=1), 14.0)
    registry.expire(15.0)
    assert registry.bits["host"] == {"10.0.0.1": second.bit}


def test_no_two_agents_have_the_same_name_whatever_they_call_themselves() -> None:
    registry = Registry(15.0)
    for i in range(4):
        heard(registry, Heartbeat(f"10.0.0.{i}", "10.1.0.1", "agent", namespace=f"lab-{i}", node_name="n1"))
    assert sorted(client.name for client in registry) == [
        "n1",
        "n1/10.0.0.2/10.1.0.1",
        "n1/10.0.0.3/10.1.0.1",
        "n1/agent",
    ]


def test_a_node_without_a_name_is_called_by_its_address_until_it_has_one() -> None:
    registry = Registry(15.0)
    assert heard(registry, beat(1)).name == "10.0.0.1"
    assert heard(registry, beat(1, node="edge"), 1.0).name == "edge"


def test_who_reports_is_found_by_either_address() -> None:
    registry = Registry(15.0)
    client = heard(registry, beat(1))
    for layer in ("host", "pod"):
        for address in ("10.0.0.1", "10.1.0.1"):
            assert registry.source(address, layer, 0.0) is client


def test_a_source_without_a_heartbeat_is_no_client_and_becomes_one() -> None:
    registry = Registry(15.0)
    stranger = registry.source("10.1.0.1", "pod", 0.0)
    assert (stranger.stranger, len(registry), registry.addresses("pod")) == (True, 0, [])
    assert heard(registry, beat(1), 1.0) is stranger
    assert (stranger.stranger, len(registry), stranger.name) == (False, 1, "10.0.0.1")
    assert registry.expire(16.0) == ([stranger], [])


def test_a_source_that_stays_without_a_heartbeat_is_forgotten() -> None:
    registry = Registry(15.0)
    stranger = registry.source("10.1.0.1", "pod", 0.0)
    assert registry.expire(15.0) == ([], [stranger])
    assert registry.source("10.1.0.1", "pod", 16.0) is not stranger


def test_there_is_an_end_to_clients_and_strangers() -> None:
    registry = Registry(15.0, most=2)
    heard(registry, beat(1))
    heard(registry, beat(2))
    with pytest.raises(CacheError, match="more than 2 clients"):
        heard(registry, beat(3))
    heard(registry, beat(2), 1.0)
    for i in range(MOST_STRANGERS):
        registry.source(f"192.0.{i >> 8}.{i & 255}", "pod", 0.0)
    with pytest.raises(CacheError, match="too many sources"):
        registry.source("198.51.100.1", "pod", 0.0)


STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from("abc"), st.floats(0, 6), st.booleans()), max_size=30
)


@given(STEPS)
def test_the_tables_agree_whatever_is_heard(steps: list) -> None:
    registry, now = Registry(10.0), 0.0
    for host, pod, name, pause, strange in steps:
        now += pause
        registry.expire(now)
        if strange:
            registry.source(f"10.1.0.{pod}", "pod", now)
        else:
            said = Heartbeat(node_ip=f"10.0.0.{host}", pod_ip=f"10.1.0.{pod}", pod_name=name, node_name=f"n{host}")
            registry.beat(said, now, now)
    clients = list(registry)
    assert len(clients) == len(registry) == len({client.name for client in clients})
    assert all(now - client.heard < 10.0 and registry.by_bit[client.bit] is client for client in clients)
    for layer in ("host", "pod"):
        assert registry.addresses(layer) == sorted({client.address(layer) for client in clients})
        for address, bit in registry.bits[layer].items():
            owner = registry.by_bit[bit]
            assert owner is not None
            assert owner.address(layer) == address
    silent = registry.silent
    assert all(client.silent and now - client.heard >= 10.0 for client in silent)
    assert len({client.name for client in [*clients, *silent]}) == len(clients) + len(silent)
    registry.expire(now + SILENT_FOR + 0.001)
    registry.expire(now + SILENT_FOR + 0.001)
    assert (len(registry), registry.addresses("host"), registry.bits["pod"]) == (0, [], {})
