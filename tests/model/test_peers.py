import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import NAMES, observations

from k3net.model.desired import node_from
from k3net.model.observation import SOURCES, Observation
from k3net.model.peers import Peer, PeerTable

NEWS = observations(names=("n1",))
LEASES = observations(names=("n1",), ttls=st.sampled_from((0.7, 0.7, 3.0, 0.0)))
PAUSES = st.sampled_from((0.1, 0.7, 1.0, 3.0, 200.0))
TURNS = st.lists(LEASES, min_size=1, max_size=2).flatmap(
    lambda claims: st.lists(st.tuples(st.sampled_from(claims), st.integers(0, 8)) | PAUSES, min_size=8, max_size=30)
)


def heard(peer, source="mdns", seen_at=0.0, ttl=90.0, **claim):
    return Observation(peer, source, seen_at, ttl, **claim)


def answers(table, now):
    return {peer.name: peer.desired(now).manifest for peer in table}


def table_of(observations):
    """A table that has heard of every peer before: a stranger's goodbye is no news."""
    table = PeerTable()
    for name in NAMES:
        assert table.observe(heard(name, "store", -10.0, 1.0))
    for o in observations:
        assert table.observe(o)
    return table


@given(st.lists(observations(), max_size=12), st.data(), st.integers(0, 200))
def test_any_order_and_any_repetition_of_observations_asks_for_the_same_nodes(said, data, tenths):
    again = data.draw(st.lists(st.sampled_from(said), max_size=6)) if said else []
    shuffled = data.draw(st.permutations(said + again))
    assert answers(table_of(shuffled), tenths / 10) == answers(table_of(said), tenths / 10)


@given(st.lists(NEWS, min_size=1, max_size=8), st.data())
def test_asking_in_between_changes_no_later_answer(said, data):
    asked, unasked = Peer("n1"), Peer("n1")
    now = 0.0
    for o in said:
        asked.observe(o)
        unasked.observe(o)
        now += data.draw(st.sampled_from((0.0, 0.1, 0.2, 0.7, 3.0)))
        asked.desired(now)
    assert asked.desired(now).manifest == unasked.desired(now).manifest


@given(TURNS)
def test_what_a_peer_remembers_is_what_it_would_work_out_afresh(turns):
    peer, now = Peer("n1"), 10.0
    for turn in turns:
        if isinstance(turn, float):
            now += turn
        else:
            o, late = turn
            peer.observe(replace(o, seen_at=now - late / 10))
        assert peer.desired(now) == node_from("n1", peer.observations, now)


@given(NEWS, st.lists(st.sampled_from((0.5, 3.0, 5.0)), max_size=12))
def test_a_claim_renewed_in_time_keeps_the_very_same_node(o, pauses):
    peer, now = Peer("n1"), 0.0
    peer.observe(replace(o, seen_at=now, ttl=5.0))
    first = peer.desired(now)
    for pause in pauses:
        now += pause
        assert peer.desired(now) is first
        peer.observe(replace(o, seen_at=now, ttl=5.0))
        assert peer.desired(now) is first


@pytest.mark.parametrize("delay", [0.1, 0.5, 30.0])
def test_news_that_arrives_after_the_lapse_revives_although_it_was_seen_before_it(delay):
    peer = Peer("n1")
    peer.observe(heard("n1", "liveness", 0.0))
    assert peer.desired(90.1).ready.status == "False"
    peer.observe(heard("n1", "liveness", 90.0))
    assert peer.desired(90.0 + delay).ready.status == "True"


@pytest.mark.parametrize(("seen_at", "ttl"), [(0.1, 0.2), (0.7, 0.1), (1.1, 2.2), (0.0, 90.0)])
def test_the_very_moment_of_the_lapse_is_the_same_for_a_fresh_and_a_remembered_answer(seen_at, ttl):
    for source in SOURCES:
        o = heard("n1", source, seen_at, ttl)
        peer = Peer("n1")
        peer.observe(o)
        peer.desired(seen_at)
        assert peer.desired(o.lapses_at) == node_from("n1", {source: o}, o.lapses_at)
        assert peer.desired(o.lapses_at).ready.status == "True"


def test_the_same_connect_repeated_after_a_goodbye_revives():
    peer = Peer("n1")
    peer.observe(heard("n1", "liveness", 9.0, meta={"node": "n1"}))
    peer.observe(heard("n1", "mdns", 10.0, ttl=0.0))
    assert peer.desired(11.0).ready.status == "False"
    peer.observe(heard("n1", "liveness", 12.0, meta={"node": "n1"}))
    assert peer.desired(12.0).ready.status == "True"


def test_older_news_changes_nothing():
    peer = Peer("n1")
    peer.observe(heard("n1", "mdns", 5.0, port=22))
    peer.observe(heard("n1", "mdns", 4.0, ttl=0.0))
    assert peer.observations["mdns"].port == 22
    assert peer.last_seen == 5.0


def test_news_is_counted_and_renewals_are_not():
    peer = Peer("n1")
    counts = []
    for o in (
        heard("n1", seen_at=0.0),
        heard("n1", seen_at=10.0),
        heard("n1", "liveness", 11.0),
        heard("n1", seen_at=20.0, port=7),
        heard("n1", seen_at=15.0, port=9),
        heard("n1", seen_at=200.0, port=7),
    ):
        peer.observe(o)
        counts.append(peer.changes)
    assert counts == [1, 1, 2, 3, 3, 4]


def test_a_peer_is_verified_by_more_than_a_multicast():
    peer = Peer("n1")
    peer.observe(heard("n1", "mdns"))
    assert not peer.verified
    peer.observe(heard("n1", "liveness"))
    assert peer.verified


def names(table):
    return {peer.name for peer in table}


def test_hearsay_never_evicts_a_verified_peer():
    table = PeerTable(limit=3, newcomers=3)
    for n in range(3):
        assert table.observe(heard(f"v{n}", "liveness"))
    assert not table.observe(heard("stranger"))
    assert names(table) == {"v0", "v1", "v2"}
    assert table.refused == 1


def test_hearsay_never_evicts_even_a_verified_peer_that_is_silent():
    table = PeerTable(limit=1, newcomers=1)
    table.observe(heard("v0", "liveness"))
    assert not table.observe(heard("stranger", seen_at=1e6))
    assert "v0" in table


def test_at_most_so_many_are_known_by_hearsay_alone():
    table = PeerTable(limit=100, newcomers=5)
    taken = [table.observe(heard(f"s{n}")) for n in range(20)]
    assert taken == [True] * 5 + [False] * 15
    assert len(table) == 5
    assert table.refused == 15
    assert table.get("s7") is None


def test_a_verified_newcomer_has_no_such_bound():
    table = PeerTable(limit=100, newcomers=5)
    for n in range(50):
        assert table.observe(heard(f"v{n}", "consul"))
    assert len(table) == 50
    assert all(table.observe(heard(f"s{n}")) for n in range(5))


def test_one_who_is_verified_makes_room_for_another_newcomer():
    table = PeerTable(limit=100, newcomers=1)
    assert table.observe(heard("s1"))
    assert not table.observe(heard("s2"))
    assert table.observe(heard("s1", "liveness"))
    assert table.observe(heard("s2"))


def test_a_verified_newcomer_takes_the_place_of_hearsay():
    table = PeerTable(limit=3, newcomers=3)
    for n in range(3):
        table.observe(heard(f"s{n}"))
    assert table.observe(heard("v0", "liveness"))
    assert "v0" in table
    assert len(table) == 3


def test_a_verified_newcomer_takes_the_place_of_the_peer_that_is_silent_longest():
    table = PeerTable(limit=3)
    for n, seen_at in enumerate((50.0, 10.0, 1000.0)):
        table.observe(heard(f"v{n}", "liveness", seen_at))
    assert table.observe(heard("v9", "liveness", 1000.0))
    assert names(table) == {"v0", "v2", "v9"}


def test_a_verified_newcomer_is_refused_among_verified_peers_that_live():
    table = PeerTable(limit=3)
    for n in range(3):
        table.observe(heard(f"v{n}", "liveness"))
    assert not table.observe(heard("v9", "liveness", 1.0))
    assert names(table) == {"v0", "v1", "v2"}
    assert table.refused == 1


def test_a_goodbye_by_multicast_makes_no_stranger_known():
    table = PeerTable()
    assert not table.observe(heard("s1", ttl=0.0))
    assert len(table) == 0
    table.observe(heard("s1"))
    assert table.observe(heard("s1", seen_at=1.0, ttl=0.0))
    assert table.get("s1").desired(1.0).ready.status == "False"


def test_known_peers_are_heard_when_the_table_is_full():
    table = PeerTable(limit=1, newcomers=1)
    table.observe(heard("s1"))
    assert table.observe(heard("s1", seen_at=5.0, port=22))
    assert table.get("s1").observations["mdns"].port == 22
    assert table.refused == 0


def test_hearsay_that_lapsed_is_forgotten_and_nobody_else():
    table = PeerTable(limit=10, newcomers=2)
    table.observe(heard("old", seen_at=0.0))
    table.observe(heard("new", seen_at=50.0))
    table.observe(heard("silent", "liveness", 0.0))
    assert table.forget_hearsay(90.0) == []
    assert table.forget_hearsay(91.0) == ["old"]
    assert names(table) == {"new", "silent"}
    assert table.observe(heard("next", seen_at=91.0))


def test_one_who_is_forgotten_is_a_stranger_again():
    table = PeerTable(limit=10, newcomers=1)
    table.observe(heard("s1"))
    table.forget("s1")
    table.forget("s1")
    assert "s1" not in table
    assert table.observe(heard("s2"))


@given(
    st.lists(
        st.tuples(st.sampled_from([f"p{n}" for n in range(12)]), st.sampled_from(SOURCES), st.sampled_from((0.0, 5.0))),
        max_size=60,
    ),
    st.booleans(),
)
def test_the_bounds_hold_whatever_is_said(said, forgetting):
    table = PeerTable(limit=6, newcomers=3)
    refused = 0
    for now, (name, source, ttl) in enumerate(said):
        verified = {peer.name for peer in table if peer.verified}
        living = {peer.name for peer in table if peer.verified and not peer.lapsed(now)}
        known = name in table
        taken = table.observe(heard(name, source, float(now), ttl))
        refused += not taken and not (source == "mdns" and ttl == 0 and not known)
        assert taken == (name in table)
        assert len(table) <= 6
        assert sum(not peer.verified for peer in table) <= 3
        assert living <= names(table)
        assert source != "mdns" or verified <= names(table)
        if forgetting:
            table.forget_hearsay(now)
    assert table.refused == refused


def test_a_hundred_thousand_names_by_hearsay_keep_memory_flat():
    table = PeerTable()

    def flood(first):
        for n in range(first, first + 50_000):
            table.observe(heard(f"s{n}", addresses=("192.0.2.1",), port=22))

    flood(0)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        flood(50_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(table) == 2000
    assert table.refused == 98_000
    assert after - before < 64 * 1024


def test_an_older_newcomer_that_nothing_answered_for_makes_room_for_the_next():
    table = PeerTable(limit=10, newcomers=2, patience=5.0)
    assert table.observe(heard("s1", seen_at=0.0))
    assert table.observe(heard("s2", seen_at=1.0))
    assert not table.observe(heard("s3", seen_at=4.0))
    assert table.observe(heard("s4", seen_at=5.0))
    assert names(table) == {"s2", "s4"}


def test_the_stores_word_is_no_sighting():
    table = PeerTable()
    table.observe(heard("n1", "store", 7.0))
    assert table.get("n1").last_seen is None
    table.observe(heard("n1", "mdns", 3.0))
    assert table.get("n1").last_seen == 3.0
