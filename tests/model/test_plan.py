import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import JSON, OBJECTS, managed_manifests

from k3net.model import rfc3339
from k3net.model.desired import node_from
from k3net.model.node import Node
from k3net.model.observation import Observation
from k3net.model.plan import Create, Update, plan

NOW = 1795198547.25
OWNED_LABELS = ("kubernetes.io/hostname", "k3.network/managed", "k3.network/discovered")
OWNED_ANNOTATIONS = ("k3.network/lastSeen", "k3.network/port", "k3.network/pid")
OWNED_IN_READY = ("status", "reason", "message", "lastHeartbeatTime", "lastTransitionTime")


def wanted(name="n1", ttl=90.0, last_seen=NOW, **claim):
    claim = {"addresses": ("192.0.2.1",), "port": 7946, "meta": {"pid": "4711"}, "reason": "LANDiscovery", **claim}
    return replace(node_from(name, {"mdns": Observation(name, "mdns", 0.0, ttl, **claim)}, 1.0), last_seen=last_seen)


UP, DOWN, GONE = wanted(), wanted(ttl=0.5), wanted(ttl=0.0)
MOVED = wanted(addresses=("2001:db8::1", "192.0.2.7"), port=22)
WANTS = st.sampled_from((UP, DOWN, GONE, MOVED))


class Shelf(dict):
    """A store reduced to a dict: compare-and-set by name, JSON in and out."""

    def put(self, manifest):
        self.count = getattr(self, "count", 0) + 1
        text = json.dumps(manifest)
        node = Node.from_manifest(json.loads(text), str(self.count))
        self[node.name] = node

    def take(self, steps):
        for step in steps:
            if isinstance(step, Create):
                assert step.name not in self
            else:
                assert step.planned_against == self[step.name].version
            self.put(step.node.manifest)


def shelf_of(manifest):
    shelf = Shelf()
    shelf.put(manifest)
    return shelf


def not_ours(manifest):
    """A manifest without what contract 1 gives to k3net."""
    rest = copy.deepcopy(manifest)
    for key in ("apiVersion", "kind"):
        del rest[key]
    metadata = rest["metadata"]
    for key, owned in (("labels", OWNED_LABELS), ("annotations", OWNED_ANNOTATIONS)):
        metadata[key] = {k: v for k, v in (metadata.get(key) or {}).items() if k not in owned}
    rest["spec"] = rest.get("spec") or {}
    status = rest["status"] = rest.get("status") or {}
    status.pop("phase", None)
    status.pop("addresses", None)
    conditions = status.pop("conditions", None) or []
    ready = next((c for c in conditions if c.get("type") == "Ready"), {"type": "Ready"})
    for key in OWNED_IN_READY:
        ready.pop(key, None)
    status["ready"] = ready
    status["others"] = [c for c in conditions if c.get("type") != "Ready"]
    return rest


def test_a_node_that_is_not_stored_is_created_with_its_times():
    [step] = plan({"n1": UP}, {}, NOW)
    assert isinstance(step, Create)
    assert step.name == "n1"
    assert step.node.ready.last_heartbeat == step.node.ready.last_transition == int(NOW)
    assert step.node.seen == NOW


@given(st.none() | st.sampled_from(("True", "TRUE", "false", "", " true", "1")), OBJECTS, WANTS, st.floats(0, 4e9))
def test_a_node_that_others_manage_gets_no_step(label, extra, want, now):
    labels = {} if label is None else {"k3.network/managed": label}
    manifest = {**extra, "kind": "Node", "metadata": {"name": "n1", "labels": labels}, "spec": None, "status": None}
    assert list(plan({"n1": want}, shelf_of(manifest), now)) == []
    bare = Node.from_manifest({"metadata": {"name": "n1"}})
    assert list(plan({"n1": want}, {"n1": bare}, now)) == []


@given(st.lists(st.sampled_from(("n1", "n2", "n3")), unique=True), WANTS)
def test_stored_nodes_that_nobody_observes_get_no_step(names, want):
    stored = {name: wanted(name).stamped(NOW) for name in names}
    assert {step.name for step in plan({"n1": want}, stored, NOW + 3600)} <= {"n1"}


@given(managed_manifests(), WANTS, st.floats(0, 59))
def test_what_was_planned_and_done_is_not_planned_again(manifest, want, later):
    shelf = shelf_of(manifest)
    shelf.take(plan({"n1": want}, shelf, NOW))
    assert list(plan({"n1": want}, shelf, int(NOW) + later)) == []


@given(managed_manifests(), WANTS)
def test_a_write_leaves_everything_that_k3net_does_not_own(manifest, want):
    shelf = shelf_of(manifest)
    before = copy.deepcopy(shelf["n1"].manifest)
    shelf.take(plan({"n1": want}, shelf, NOW))
    after = shelf["n1"].manifest
    expected = not_ours(before)
    if not expected["metadata"].get("creationTimestamp"):
        expected["metadata"]["creationTimestamp"] = after["metadata"]["creationTimestamp"]
    expected["metadata"]["uid"] = expected["metadata"].get("uid") or "node-n1"
    assert not_ours(after) == expected


@given(managed_manifests(), WANTS, JSON)
def test_planning_changes_nothing_that_it_was_given(manifest, want, junk):
    manifest["junk"] = junk
    stored = {"n1": Node.from_manifest(copy.deepcopy(manifest), "1")}
    before = copy.deepcopy(want.manifest)
    list(plan({"n1": want}, stored, NOW))
    assert stored["n1"].manifest == manifest
    assert want.manifest == before


@given(managed_manifests(), st.lists(st.tuples(WANTS, st.integers(0, 200)), max_size=12))
def test_the_transition_time_moves_only_with_the_status(manifest, turns):
    shelf, now = shelf_of(manifest), NOW
    shelf.take(plan({"n1": UP}, shelf, now))
    for want, pause in turns:
        now += pause
        before = shelf["n1"].ready
        shelf.take(plan({"n1": want}, shelf, now))
        after = shelf["n1"].ready
        if after.status == before.status:
            assert after.last_transition == before.last_transition
        else:
            assert after.last_transition == after.last_heartbeat == int(now)


@given(st.lists(st.tuples(WANTS, st.floats(-300, 300)), max_size=12))
def test_last_seen_never_goes_back_whoever_writes(turns):
    shelf, now = Shelf(), NOW
    for want, ago in turns:
        now += 61
        before = shelf["n1"].seen if shelf else 0.0
        shelf.take(plan({"n1": replace(want, last_seen=now - ago)}, shelf, now))
        assert shelf["n1"].seen >= before


def test_a_heartbeat_is_brought_forward_every_report_every_and_not_between():
    shelf, writes = Shelf(), []
    for second in range(301):
        now = int(NOW) + second
        steps = list(plan({"n1": replace(UP, last_seen=now)}, shelf, now, report_every=60.0))
        writes += [second] * len(steps)
        shelf.take(steps)
    assert writes == [0, 60, 120, 180, 240, 300]
    assert shelf["n1"].ready.last_heartbeat == int(NOW) + 300
    assert shelf["n1"].ready.last_transition == int(NOW)
    assert shelf["n1"].seen == int(NOW) + 300


def test_a_change_does_not_wait_for_the_report():
    shelf = Shelf()
    shelf.take(plan({"n1": UP}, shelf, NOW))
    [step] = plan({"n1": MOVED}, shelf, NOW + 1)
    assert isinstance(step, Update)
    assert step.node.internal_ips == ("192.0.2.7", "2001:db8::1")


def test_a_node_that_stays_silent_is_not_reported_again_and_again():
    shelf = Shelf()
    shelf.take(plan({"n1": DOWN}, shelf, NOW))
    assert list(plan({"n1": DOWN}, shelf, NOW + 3600)) == []


@pytest.mark.parametrize(
    ("beat", "due"),
    [(None, True), (-3600, True), (-60, True), (-59, False), (0, False), (59, False), (60, True), (10**8, True)],
)
def test_a_heartbeat_far_in_the_past_or_future_is_due(beat, due):
    have = UP.stamped(NOW)
    text = None if beat is None else rfc3339.format_seconds(int(NOW) + beat)
    have.manifest["status"]["conditions"][0]["lastHeartbeatTime"] = text
    assert len(list(plan({"n1": UP}, {"n1": have}, int(NOW), report_every=60.0))) == due


def test_another_machines_clock_in_the_far_future_stops_no_report():
    shelf = Shelf()
    shelf.take(plan({"n1": UP}, shelf, NOW + 10**8))
    shelf.take(plan({"n1": UP}, shelf, NOW))
    assert shelf["n1"].ready.last_heartbeat == int(NOW)
    assert list(plan({"n1": UP}, shelf, NOW + 59)) == []
    assert len(list(plan({"n1": UP}, shelf, NOW + 61))) == 1


def test_an_update_names_the_version_it_was_planned_against():
    shelf = Shelf()
    shelf.take(plan({"n1": UP}, shelf, NOW))
    [step] = plan({"n1": DOWN}, shelf, NOW)
    assert step.planned_against == shelf["n1"].version == "1"
