from ipaddress import ip_network
from itertools import combinations

from contracts import manifest_of
from hypothesis import given
from hypothesis import strategies as st

from k3net.model.conflicts import Conflicts, conflicts
from k3net.model.node import Node
from k3net.model.plan import Update, plan

NOW = 1_800_000_000.0


def node(name, *cidrs, conditions=()):
    manifest = manifest_of(name)
    manifest["spec"] = {"podCIDR": cidrs[0], "podCIDRs": list(cidrs)} if cidrs else {}
    manifest["status"]["conditions"] += conditions
    return Node(name, manifest, "1")


def told(said):
    return {name: [str(conflict) for conflict in those] for name, those in conflicts(said).items()}


def test_two_nodes_with_one_cidr_are_in_conflict_both():
    assert told({"n1": ("10.244.7.0/24",), "n2": ("10.244.7.0/24",), "n3": ("10.244.8.0/24",)}) == {
        "n1": ["10.244.7.0/24 is also node n2's"],
        "n2": ["10.244.7.0/24 is also node n1's"],
    }


def test_one_within_another_is_a_conflict_too():
    assert told({"n1": ("10.244.0.0/20",), "n2": ("10.244.7.0/24", "2001:db8::/64"), "n3": ("2001:db8::/48",)}) == {
        "n1": ["10.244.0.0/20 overlaps 10.244.7.0/24 of node n2"],
        "n2": ["10.244.7.0/24 overlaps 10.244.0.0/20 of node n1", "2001:db8::/64 overlaps 2001:db8::/48 of node n3"],
        "n3": ["2001:db8::/48 overlaps 2001:db8::/64 of node n2"],
    }


def test_a_nodes_own_cidrs_and_what_is_no_network_are_none():
    assert (
        told({"n1": ("10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16"), "n2": ("x", "", "10.0.0.0/99"), "n3": ("::/0",)}) == {}
    )


def test_host_bits_of_another_program_do_not_hide_a_conflict():
    assert set(told({"n1": ("10.244.7.9/24",), "n2": ("10.244.7.0/24",)})) == {"n1", "n2"}


def test_of_very_many_a_few_are_told():
    found = conflicts({f"n{number}": ("10.244.7.0/24",) for number in range(3000)})
    assert len(found) == 3000
    assert max(map(len, found.values())) <= 8


CIDRS = st.builds(
    lambda address, length: str(ip_network((address >> (32 - length) << (32 - length), length))),
    st.integers(0, 2**32 - 1).map(lambda number: number & 0xFF),
    st.integers(24, 32),
)


@given(st.dictionaries(st.sampled_from("abcdefgh"), st.lists(CIDRS, min_size=1, max_size=3).map(tuple)))
def test_just_those_that_overlap_are_found(said):
    expected = set()
    for one, other in combinations(said, 2):
        if any(ip_network(a).overlaps(ip_network(b)) for a in said[one] for b in said[other]):
            expected |= {one, other}
    found = conflicts(said)
    assert set(found) == expected
    for name, those in found.items():
        for conflict in those:
            assert conflict.other.node != name
            assert conflict.net.overlaps(conflict.other.net)


def test_what_changed_is_told_once():
    known = Conflicts()
    assert not known.pending
    known.note("n1", node("n1", "10.244.7.0/24"))
    known.note("n2", node("n2", "10.244.7.0/24"))
    known.note("n3", node("n3"))
    assert known.changed() == {"n1", "n2"}
    assert known.changed() == frozenset()
    known.note("n2", node("n2", "10.244.7.0/24"))
    assert not known.pending
    known.note("n4", node("n4", "10.244.9.0/24"))
    assert known.changed() == frozenset()
    known.note("n1", None)
    assert known.changed() == {"n1", "n2"}
    assert len(known) == 0
    known.note("n1", None)
    assert not known.pending


def step(want, have, known):
    [found] = plan({want.name: known.marked(want, have)}, {have.name: have}, NOW)
    assert isinstance(found, Update)
    return found.node


def test_the_condition_comes_and_is_taken_back_and_nothing_is_said_of_those_without():
    known = Conflicts()
    for name in ("n1", "n2"):
        known.note(name, node(name, "10.244.7.0/24"))
    known.changed()
    kept = {"type": "DiskPressure", "status": "False"}
    have = node("n1", "10.244.7.0/24", conditions=[kept])
    want = node("n1", "10.244.7.0/24")
    written = step(want, have, known)
    assert written.manifest["status"]["conditions"][1:] == [
        kept,
        {
            "type": "PodCIDRConflict",
            "status": "True",
            "reason": "PodCIDROverlap",
            "message": "10.244.7.0/24 is also node n2's",
            "lastHeartbeatTime": "2027-01-15T08:00:00Z",
            "lastTransitionTime": "2027-01-15T08:00:00Z",
        },
    ]
    known.note("n2", node("n2", "10.244.8.0/24"))
    known.changed()
    again = step(want, written, known)
    assert [(c.type, c.status, c.reason) for c in again.conditions[1:]] == [
        ("DiskPressure", "False", ""),
        ("PodCIDRConflict", "False", "PodCIDRUnique"),
    ]
    assert known.marked(want, again).carrying(again).manifest == again.manifest
    assert known.marked(want, have) is want
