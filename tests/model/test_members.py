from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.model.members import Writers, is_member, writer_of, writes_itself
from k3net.model.observation import Observation
from k3net.model.peers import Peer

NAMES = [f"node-{n}" for n in range(1000)]
MEMBERS = [f"k3net-{n}" for n in range(10)]
SOME = st.lists(st.sampled_from(MEMBERS + NAMES[:20]), min_size=1, max_size=8)


def peer(source="liveness", ttl=90.0, **meta):
    made = Peer("n1")
    made.observe(Observation("n1", source, 0.0, ttl, meta=meta))
    return made


@given(st.sampled_from(NAMES), SOME, st.randoms())
def test_every_daemon_names_the_same_writer_in_whatever_order_it_met_the_members(name, members, random):
    again = members + members[:2]
    random.shuffle(again)
    assert writer_of(name, again) == writer_of(name, members)
    assert writer_of(name, members) in members


def test_the_writer_is_the_same_in_every_process_and_release():
    assert [writer_of(f"n{n}", ["a", "b", "c"]) for n in range(8)] == ["c", "b", "c", "c", "b", "c", "c", "c"]


@given(SOME)
def test_a_member_writes_its_own_node(members):
    assert all(writer_of(member, members) == member for member in members)


def test_over_many_nodes_each_member_writes_within_15_percent_of_its_share():
    share = Counter(writer_of(f"n{n}.example", MEMBERS) for n in range(20_000))
    assert all(2000 * 0.85 <= share[member] <= 2000 * 1.15 for member in MEMBERS)


def test_over_a_thousand_nodes_chance_leaves_no_member_with_half_its_share_or_half_again():
    share = Counter(writer_of(name, MEMBERS) for name in NAMES)
    assert all(70 <= share[member] <= 130 for member in MEMBERS)


def test_one_who_leaves_hands_over_only_its_own_share():
    before = {name: writer_of(name, MEMBERS) for name in NAMES}
    after = {name: writer_of(name, MEMBERS[1:]) for name in NAMES}
    assert {before[name] for name in NAMES if before[name] != after[name]} == {MEMBERS[0]}


def test_one_who_joins_takes_over_only_what_it_writes():
    before = {name: writer_of(name, MEMBERS) for name in NAMES}
    after = {name: writer_of(name, [*MEMBERS, "k3net-new"]) for name in NAMES}
    assert {after[name] for name in NAMES if before[name] != after[name]} == {"k3net-new"}


def test_without_members_there_is_no_writer():
    with pytest.raises(ValueError, match="empty"):
        writer_of("n1", [])


@given(st.lists(st.frozensets(st.sampled_from(MEMBERS[:5] + NAMES[:5]), min_size=1), min_size=1, max_size=6))
def test_remembered_writers_are_the_writers_through_every_change_of_members(fleets):
    writers = Writers(fleets[0])
    asked = NAMES[:20]
    for fleet in fleets:
        before = {name: writers.of(name) for name in asked}
        moved = writers.change(fleet)
        after = {name: writer_of(name, fleet) for name in asked}
        assert {name: writers.of(name) for name in asked} == after
        assert sorted(moved) == sorted(name for name in asked if before[name] != after[name])


def test_a_name_that_is_forgotten_moves_no_more():
    writers = Writers(MEMBERS[:1])
    assert writers.of("n1") == MEMBERS[0]
    writers.forget("n1")
    writers.forget("n1")
    assert writers.change(frozenset(MEMBERS[1:2])) == []
    assert writers.of("n1") == MEMBERS[1]


@pytest.mark.parametrize(
    ("made", "now", "member"),
    [
        (peer(store="s1", instance="theirs"), 10.0, True),
        (peer(store="s1", instance="theirs"), 90.0, True),
        (peer(store="s1", instance="theirs"), 90.1, False),
        (peer(store="s2", instance="theirs"), 10.0, False),
        (peer(store="s1", instance="ours"), 10.0, False),
        (peer(store="s1"), 10.0, False),
        (peer(instance="theirs"), 10.0, False),
        (peer(source="mdns", store="s1", instance="theirs"), 10.0, False),
        (peer(source="store", store="s1", instance="theirs"), 10.0, False),
        (peer(ttl=0.0, store="s1", instance="theirs"), 0.0, False),
    ],
)
def test_a_member_answers_for_itself_with_our_store_and_another_instance(made, now, member):
    assert is_member(made, "s1", "ours", now) is member


def test_a_member_that_keeps_no_node_of_its_own_is_written_by_others():
    assert writes_itself(peer(selfUp="true"), 10.0)
    assert not writes_itself(peer(selfUp="false"), 10.0)
    assert not writes_itself(peer(), 10.0)
    assert not writes_itself(peer(selfUp="true"), 91.0)
    assert not writes_itself(peer(source="mdns", selfUp="true"), 10.0)


def test_one_who_said_goodbye_is_no_member_until_it_answers_again():
    made = peer(store="s", instance="i")
    assert is_member(made, "s", "other", 1.0)
    made.observe(Observation("n1", "mdns", 2.0, 0.0))
    assert not is_member(made, "s", "other", 3.0)
    made.observe(Observation("n1", "liveness", 4.0, 90.0, meta={"store": "s", "instance": "i"}))
    assert is_member(made, "s", "other", 5.0)
