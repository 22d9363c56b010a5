import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON, OBJECTS, managed_manifests

from k3net.errors import CorruptRecord
from k3net.model.desired import node_from
from k3net.model.node import Condition, Node
from k3net.model.observation import Observation

NOW = 1795198547.25
WANT = node_from(
    "n1",
    {"mdns": Observation("n1", "mdns", 0.0, 90.0, ("192.0.2.1",), 7946, pod_cidrs=("10.42.0.0/24",))},
    0.0,
)
FULL = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {
        "name": "n1",
        "uid": "node-n1",
        "labels": {"k3.network/managed": "true", "zone": "a"},
        "annotations": {"k3.network/port": "7946", "k3.network/lastSeen": "2026-11-20T18:15:47.25Z"},
        "creationTimestamp": "2026-11-20T18:15:47Z",
    },
    "spec": {"podCIDR": "10.42.0.0/24", "podCIDRs": ["10.42.0.0/24", "fd00:42::/64"]},
    "status": {
        "phase": "Running",
        "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "192.0.2.1"}],
        "conditions": [
            {"type": "DiskPressure", "status": "False"},
            {
                "type": "Ready",
                "status": "True",
                "reason": "PeerAlive",
                "message": "tcp probe ok",
                "lastHeartbeatTime": "2026-11-20T18:15:47Z",
                "lastTransitionTime": "2026-11-20T18:00:00Z",
            },
        ],
    },
}
HUGE = 10**5000


def paths(value, at=()):
    """Every place in a JSON value."""
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from paths(part, (*at, key))


def mangled(at, put):
    """FULL with something else in one place."""
    if not at:
        return put
    manifest = copy.deepcopy(FULL)
    part = manifest
    for key in at[:-1]:
        part = part[key]
    part[at[-1]] = put
    return manifest


ODD_LISTS = ([None], [[]], [{}], [{"type": None}], [{"type": ["Ready"]}], [{"type": "Ready", "status": {}}])
ODD = JSON | st.sampled_from((*ODD_LISTS, {"": []}, HUGE, [HUGE], -HUGE, "\ud800"))


def everything_that_is_read(node):
    assert isinstance(node.name, str)
    assert isinstance(node.uid, str)
    assert all(isinstance(text, str) for part in (node.labels, node.annotations) for text in part.values())
    assert all(isinstance(text, str) for pair in node.addresses for text in pair)
    assert all(isinstance(text, str) for text in (*node.internal_ips, *node.pod_cidrs))
    for c in (*node.conditions, node.ready):
        assert all(isinstance(text, str) for text in (c.type, c.status, c.reason, c.message))
        assert all(t is None or isinstance(t, float) for t in (c.last_transition, c.last_heartbeat))
    assert 0 <= node.port <= 65535
    assert node.seen is None or isinstance(node.seen, float)
    assert node.managed in (True, False)


def survives(manifest):
    try:
        node = Node.from_manifest(manifest, "7")
    except CorruptRecord:
        return None
    before = copy.deepcopy(manifest)
    everything_that_is_read(node)
    everything_that_is_read(node.stamped(NOW))
    everything_that_is_read(replace(WANT, name=node.name, last_seen=NOW).carrying(node).stamped(NOW))
    assert manifest == before
    return node


@given(JSON | OBJECTS)
def test_any_json_is_a_node_or_a_corrupt_record(value):
    survives(value)


@given(st.sampled_from(list(paths(FULL))), ODD)
def test_a_record_that_is_odd_in_one_place_is_a_node_or_a_corrupt_record(at, put):
    survives(mangled(at, put))


@given(st.lists(st.tuples(st.sampled_from(list(paths(FULL))[1:]), ODD), max_size=6))
def test_a_record_that_is_odd_in_many_places_is_a_node_or_a_corrupt_record(places):
    manifest = copy.deepcopy(FULL)
    for at, put in places:
        part = manifest
        for key in at[:-1]:
            fits = isinstance(part, dict) or (isinstance(part, list) and isinstance(key, int) and key < len(part))
            part = part[key] if fits and (isinstance(part, list) or key in part) else None
        if isinstance(part, dict):
            part[at[-1]] = put
    survives(manifest)


@given(managed_manifests())
def test_what_other_programs_write_is_read(manifest):
    node = survives(manifest)
    assert node is not None
    assert node.managed


@pytest.mark.parametrize(
    "manifest",
    [
        None, 5, "n1", [], [FULL], {}, {"metadata": None}, {"metadata": []}, {"metadata": {}},
        {"metadata": {"name": ""}}, {"metadata": {"name": 7}},
        {"metadata": {"name": ["n1"]}}, {**FULL, "kind": "Pod"}, {**FULL, "kind": None},
        {**FULL, "kind": ["Node"]}, {**FULL, "spec": []},
        {**FULL, "spec": 5}, {**FULL, "status": "Ready"}, {**FULL, "status": False},
        mangled(("metadata", "labels"), ["a"]), mangled(("metadata", "labels"), ""),
        mangled(("metadata", "labels", "zone"), 5),
        mangled(("metadata", "labels", "zone"), None), mangled(("metadata", "annotations"), 0),
        mangled(("metadata", "annotations", "a"), {}),
        mangled(("status", "addresses"), {}), mangled(("status", "addresses"), ["192.0.2.1"]),
        mangled(("status", "conditions"), "Ready"),
        mangled(("status", "conditions"), [None]),
    ],
)  # fmt: skip
def test_a_record_of_the_wrong_shape_is_corrupt(manifest):
    with pytest.raises(CorruptRecord):
        Node.from_manifest(manifest)


def test_a_record_under_the_name_of_another_is_corrupt_and_says_under_which_it_was_found():
    with pytest.raises(CorruptRecord) as caught:
        Node.from_manifest(FULL, "7", "n2")
    assert caught.value.name == "n2"
    with pytest.raises(CorruptRecord) as caught:
        Node.from_manifest("not a Node", "7", "n2")
    assert caught.value.name == "n2"


def test_a_full_record_is_read_as_it_stands():
    node = Node.from_manifest(FULL, "7", "n1")
    assert (node.name, node.uid, node.version, node.managed, node.port) == ("n1", "node-n1", "7", True, 7946)
    assert node.addresses == (("Hostname", "n1"), ("InternalIP", "192.0.2.1"))
    assert node.internal_ips == ("192.0.2.1",)
    assert node.pod_cidrs == ("10.42.0.0/24", "fd00:42::/64")
    assert node.seen == NOW
    assert node.ready == Condition("Ready", "True", "PeerAlive", "tcp probe ok", 1795197600.0, 1795198547.0)
    assert node.conditions[0] == Condition("DiskPressure", "False")
    assert node.manifest is FULL


@pytest.mark.parametrize("status", [None, {}, {"conditions": None}, {"conditions": []}, {"conditions": [{}]}])
def test_a_node_without_a_ready_condition_is_unknown(status):
    node = Node.from_manifest({"metadata": {"name": "n1"}, "status": status})
    assert node.ready == Condition("Ready", "Unknown")


def test_what_is_null_or_no_text_is_read_as_if_it_were_missing():
    node = Node.from_manifest(
        {
            "metadata": {"name": "n1", "uid": None},
            "spec": {"podCIDR": None, "podCIDRs": None},
            "status": {
                "addresses": [{"type": "InternalIP", "address": None}, {"type": "InternalIP", "address": 5}],
                "conditions": [{"type": "Ready", "status": None, "reason": None, "message": 5}],
            },
        }
    )
    assert node.uid == ""
    assert node.pod_cidrs == ()
    assert node.ready == Condition("Ready", "Unknown")
    assert "None" not in node.internal_ips


@pytest.mark.parametrize(
    ("spec", "cidrs"),
    [
        ({}, ()),
        ({"podCIDR": "10.42.0.0/24"}, ("10.42.0.0/24",)),
        ({"podCIDR": "a", "podCIDRs": ["b", "c"]}, ("b", "c")),
        ({"podCIDR": "a", "podCIDRs": []}, ("a",)),
        ({"podCIDRs": 5}, ()),
        ({"podCIDRs": "10.42.0.0/24"}, ()),
        ({"podCIDRs": {"10.42.0.0/24": 1}}, ()),
        ({"podCIDRs": ["a", 5, None, "b"]}, ("a", "b")),
        ({"podCIDR": 5}, ()),
    ],
)
def test_pod_cidrs_are_the_texts_among_them(spec, cidrs):
    assert Node.from_manifest({"metadata": {"name": "n1"}, "spec": spec}).pod_cidrs == cidrs


@pytest.mark.parametrize(
    ("text", "port"),
    [("7946", 7946), ("1", 1), ("65535", 65535)]
    + [(text, 0) for text in ("65536", "99999", "", "-1", "+80", " 80", "80\n", "8_0", "８0", "²", "9" * 5000)],
)
def test_a_port_is_a_decimal_up_to_65535_or_unknown(text, port):
    node = Node.from_manifest(mangled(("metadata", "annotations", "k3.network/port"), text))
    assert node.port == port


@pytest.mark.parametrize("label", ["True", "TRUE", "false", "", " true", "true ", "true\n", "1", "yes", None])
def test_only_the_label_true_makes_a_node_managed(label):
    labels = {} if label is None else {"k3.network/managed": label}
    assert not Node.from_manifest({"metadata": {"name": "n1", "labels": labels}}).managed


def test_a_nest_of_ten_thousand_lists_is_carried_unread():
    nest = []
    for _ in range(10_000):
        nest = [nest]
    for at in (("status", "conditions", 1, "reason"), ("metadata", "uid"), ("spec", "podCIDR"), ("spec", "extra")):
        part = copy.deepcopy(FULL)
        top = part
        for key in at[:-1]:
            part = part[key]
        part[at[-1]] = nest
        node = Node.from_manifest(top)
        everything_that_is_read(node)
        everything_that_is_read(WANT.carrying(node).stamped(NOW))


def test_a_created_node_has_the_contracts_field_names():
    heard = Observation(
        "n1",
        "mdns",
        0.0,
        90.0,
        ("2001:db8::1", "192.0.2.9", "192.0.2.1", "192.0.2.9"),
        7946,
        reason="LANDiscovery",
        message="discovered via mDNS",
        meta={"pid": "4711", "node": "n1"},
    )
    reached = Observation("n1", "liveness", 1.0, 90.0, ("192.0.2.9",), 7946, reason="PeerAlive", message="tcp probe ok")
    made = replace(node_from("n1", {"mdns": heard, "liveness": reached}, 2.0), last_seen=NOW).stamped(NOW + 1)
    assert made.version == ""
    assert json.loads(json.dumps(made.manifest)) == {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": "n1",
            "uid": "node-n1",
            "creationTimestamp": "2026-11-20T18:15:48Z",
            "labels": {
                "kubernetes.io/hostname": "n1",
                "k3.network/managed": "true",
                "k3.network/discovered": "true",
            },
            "annotations": {
                "k3.network/lastSeen": "2026-11-20T18:15:47.25Z",
                "k3.network/port": "7946",
                "k3.network/pid": "4711",
            },
        },
        "spec": {},
        "status": {
            "phase": "Running",
            "addresses": [
                {"type": "Hostname", "address": "n1"},
                {"type": "InternalIP", "address": "192.0.2.9"},
                {"type": "InternalIP", "address": "192.0.2.1"},
                {"type": "InternalIP", "address": "2001:db8::1"},
            ],
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True",
                    "reason": "PeerAlive",
                    "message": "tcp probe ok",
                    "lastHeartbeatTime": "2026-11-20T18:15:48Z",
                    "lastTransitionTime": "2026-11-20T18:15:48Z",
                }
            ],
        },
    }


def test_addresses_that_nobody_tells_any_more_stay():
    have = Node.from_manifest(copy.deepcopy(FULL))
    silent = node_from("n1", {"mdns": Observation("n1", "mdns", 0.0, 0.0)}, 1.0)
    assert silent.carrying(have).addresses == have.addresses
    assert silent.carrying(have).port == have.port
    assert silent.carrying(have).pod_cidrs == have.pod_cidrs


def test_pod_cidrs_go_when_the_node_is_said_to_have_none_and_the_rest_of_its_spec_stays():
    have = Node.from_manifest({**copy.deepcopy(FULL), "spec": {"podCIDR": "10.42.0.0/24", "taints": [], "x": None}})
    without = node_from("n1", {"own": Observation("n1", "own", 0.0, 90.0, pod_cidrs=())}, 1.0)
    assert without.manifest["spec"] == {}
    assert without.carrying(have).manifest["spec"] == {"taints": [], "x": None}
    untold = node_from("n1", {"own": Observation("n1", "own", 0.0, 90.0)}, 1.0)
    assert untold.carrying(have).manifest["spec"] == have.manifest["spec"]


def test_a_changed_address_replaces_the_old_one():
    have = Node.from_manifest(copy.deepcopy(FULL))
    moved = node_from("n1", {"mdns": Observation("n1", "mdns", 0.0, 90.0, ("192.0.2.77",), 22)}, 1.0)
    assert moved.carrying(have).internal_ips == ("192.0.2.77",)
    assert moved.carrying(have).port == 22


def test_a_stamp_sets_a_missing_time_and_leaves_one_that_stands():
    stamped = Node.from_manifest(copy.deepcopy(FULL)).stamped(NOW + 600)
    assert stamped.ready.last_heartbeat == int(NOW) + 600
    assert stamped.ready.last_transition == 1795197600.0
    assert stamped.manifest["metadata"]["creationTimestamp"] == FULL["metadata"]["creationTimestamp"]
    assert stamped.manifest["status"]["conditions"][0] == {"type": "DiskPressure", "status": "False"}


@given(st.lists(st.none() | st.floats(0, 4e9), max_size=8))
def test_last_seen_never_goes_back(times):
    node, seen = WANT, None
    for at in times:
        node = replace(WANT, last_seen=at).carrying(node).stamped(NOW)
        assert seen is None or node.seen >= seen
        assert at is None or node.seen >= at - 1e-9
        seen = node.seen
