import math

import pytest
from contracts import manifest_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import managed_manifests, observations

from k3net.model import rfc3339
from k3net.model.desired import readiness
from k3net.model.explain import explain
from k3net.model.node import LAST_SEEN, MANAGED, Node
from k3net.model.observation import Observation
from k3net.model.peers import Peer
from k3net.model.plan import plan
from k3net.reconciler.adoption import adopted, vouched

WALL = 1_800_000_000.0
READY = "status.conditions[Ready]"
PORT = "metadata.annotations[k3.network/port]"
PID = "metadata.annotations[k3.network/pid]"
SEEN = "metadata.annotations[k3.network/lastSeen]"
UID = "metadata.uid"
CREATED = "metadata.creationTimestamp"
IP = "status.addresses[InternalIP]"


def claim(source, seen_at=0.0, ttl=90.0, **changed):
    return Observation("n1", source, seen_at, ttl, **changed)


def said(*heard):
    return {o.source: o for o in heard}


def wanted(held, now):
    """The Node that the observations ask for, with the time of the newest sighting."""
    peer = Peer("n1")
    peer.observations.update(held)
    seen = None if peer.last_seen is None else WALL - (now - peer.last_seen)
    want = peer.desired(now)
    return Node(want.name, want.manifest, last_seen=seen, live=want.live)


def written(held, stored, now):
    """What a pass leaves in the store."""
    if not held:
        return stored
    steps = list(plan({"n1": wanted(held, now)}, {} if stored is None else {"n1": stored}, WALL))
    return steps[0].node if steps else stored


def rows(*heard, stored=None, now=1.0):
    """By field; of the addresses the last."""
    held = said(*heard)
    return {row.field: row for row in explain(written(held, stored, now), held, stored, now, observer="d1")}


def of(row):
    return row.value, row.source, row.observer, row.age_seconds


def managed(**annotations):
    manifest = manifest_of("n1", **{f"k3.network/{key}": value for key, value in annotations.items()})
    manifest["status"]["addresses"] = [
        {"type": "InternalIP", "address": "192.0.2.9"},
        {"type": "ExternalIP", "address": "203.0.113.9"},
    ]
    return Node.from_manifest(manifest, "1")


OWN = claim(
    *("own", 0.5, 90.0),
    addresses=("192.0.2.1", "2001:db8::1"),
    port=7946,
    reason="LANDiscovery",
    message="discovered via mDNS",
    pod_cidrs=("10.42.1.0/24", "fd00:42:1::/64"),
    meta={"pid": "7", "hostname": "n1.lan"},
)
HEARD = claim("mdns", 0.2, addresses=("192.0.2.1",), port=7946, reason="LANDiscovery", message="heard")
REACHED = claim("liveness", 0.7, reason="PeerAlive", message="tcp probe ok", meta={"node": "n1"})
LEFT = claim("mdns", 10.0, 0.0, port=7946, reason="PeerGoodbye", message="said goodbye")


def test_the_own_node_gives_every_field_itself():
    found = rows(OWN)
    assert of(found[PORT]) == ("7946", "own", "d1", 0.5)
    assert of(found[PID]) == ("7", "own", "d1", 0.5)
    assert of(found[IP]) == ("2001:db8::1", "own", "d1", 0.5)
    assert of(found["status.addresses[Hostname]"]) == ("n1.lan", "own", "d1", 0.5)
    assert of(found["spec.podCIDRs"]) == ("10.42.1.0/24, fd00:42:1::/64", "own", "d1", 0.5)
    assert of(found[READY]) == ("True (LANDiscovery: discovered via mDNS)", "own", "d1", 0.5)
    assert found[PORT].rule == "the claim of own holds"


def test_the_fields_stand_in_the_order_of_the_record():
    fields = [row.field for row in explain(written(said(OWN), None, 1.0), said(OWN), None, 1.0, observer="d1")]
    assert fields == [
        *(UID, CREATED),
        *(f"metadata.labels[{label}]" for label in ("kubernetes.io/hostname", MANAGED, "k3.network/discovered")),
        *(SEEN, PORT, PID, "spec.podCIDRs", "status.phase"),
        *("status.addresses[Hostname]", IP, IP, READY),
    ]


def test_a_probe_makes_ready_what_was_heard_and_each_keeps_its_part():
    found = rows(HEARD, REACHED)
    assert of(found[IP]) == ("192.0.2.1", "mdns", "d1", 0.8)
    assert of(found[READY]) == ("True (PeerAlive: tcp probe ok)", "liveness", "d1", 0.3)
    assert found[READY].rule == "a claim holds and none that holds denies it: mdns, liveness"
    assert of(found[SEEN]) == (rfc3339.format_nanos(WALL - (1.0 - 0.7)), "liveness", "d1", 0.3)


def test_a_member_that_vouches_is_the_observer():
    peer = Peer("n1")
    found = rows(HEARD, vouched(peer, "d2", 95.0, 90.0), now=100.0)
    assert of(found[READY]) == ("True (PeerAlive: reached by d2)", "liveness", "d2", 5.0)
    assert found[SEEN].observer == "d2"
    assert found[PORT].observer == "d1"


def test_only_a_probe_can_be_another_s_sight():
    assert rows(claim("consul", message="reached by d2"))[READY].observer == "d1"


def test_a_lapse_names_every_claim_and_is_as_old_as_the_last_to_end():
    found = rows(REACHED, HEARD, now=100.0)
    assert of(found[READY]) == ("False (PeerExpired: peer ttl exceeded)", "liveness", "d1", 99.3)
    assert found[READY].rule == "every claim has lapsed: liveness (ttl 90 s), mdns (ttl 90 s)"
    assert found[PORT].rule == "the last that is known: mdns has lapsed, and no other claim tells"


def test_a_goodbye_is_the_rule_and_where_it_was_stays_known():
    found = rows(LEFT, REACHED, now=11.0)
    assert of(found[READY]) == ("False (PeerGoodbye: said goodbye)", "mdns", "d1", 1.0)
    assert found[READY].rule == "it said goodbye, and nothing has proved since then that it is there"
    assert found[PORT].rule == "the last that is known: mdns said goodbye, and no other claim tells"


def test_a_connect_after_a_goodbye_is_the_rule():
    back = claim("liveness", 11.0, reason="PeerAlive", meta={"node": "n1"})
    found = rows(LEFT, back, now=12.0)
    assert of(found[READY]) == ("True (PeerAlive)", "liveness", "d1", 1.0)
    assert found[READY].rule == "it said goodbye, but a connect since then proved that it is there"


def test_a_denial_is_the_rule_while_it_holds():
    critical = claim("consul", 0.9, ready=False, reason="ConsulCheckCritical", message="disk full")
    found = rows(HEARD, critical, REACHED)
    assert of(found[READY]) == ("False (ConsulCheckCritical: disk full)", "consul", "d1", 0.1)
    assert found[READY].rule == "a claim that holds denies it"


def test_what_is_adopted_is_the_store_s_word():
    stored = managed(port="7946", lastSeen="2026-11-20T18:00:00Z")
    found = rows(adopted(stored, 0.0, 90.0), stored=stored)
    assert of(found[READY]) == ("True", "store", "store", 1.0)
    assert found[READY].rule == "the stored word holds until it lapses, or a source of this daemon speaks"
    assert of(found[IP]) == ("192.0.2.9", "store", "store", 1.0)
    assert of(found[SEEN]) == ("2026-11-20T18:00:00Z", "store", "store", None)


@pytest.mark.parametrize("now", [1.0, 1000.0])
def test_what_is_adopted_as_not_ready_stays_so(now):
    told = claim("store", ready=False, reason="PeerExpired", message="peer ttl exceeded")
    found = rows(told, stored=managed(), now=now)
    assert of(found[READY]) == ("False (PeerExpired: peer ttl exceeded)", "store", "store", now)
    assert found[READY].rule == "stored as not ready, and no claim of this daemon's own holds"


def test_what_is_adopted_as_ready_and_never_seen_lapses():
    found = rows(claim("store"), stored=managed(), now=91.0)
    assert found[READY].value == "False (PeerExpired: peer ttl exceeded)"
    assert found[READY].rule == "every claim has lapsed: store (ttl 90 s)"


def test_a_stored_word_that_lapsed_with_others_is_one_of_them():
    told = claim("store", ready=False, reason="PeerExpired", message="peer ttl exceeded")
    found = rows(told, HEARD, stored=managed(), now=100.0)
    assert found[READY].rule == "every claim has lapsed: store (ttl 90 s), mdns (ttl 90 s)"
    assert found[READY].source == "mdns"


def test_a_machine_whose_addresses_nobody_tells_has_its_name_alone():
    found = rows(REACHED)
    assert of(found["status.addresses[Hostname]"]) == ("n1", "", "", None)
    assert IP not in found


def test_a_node_of_others_is_explained_by_its_record_alone():
    theirs = Node.from_manifest(manifest_of("n1", managed="True"), "1")
    found = rows(OWN, stored=theirs)
    assert {(row.source, row.observer, row.rule) for row in found.values()} == {
        ("store", "store", "as stored: the Node is another's")
    }
    assert found[f"metadata.labels[{MANAGED}]"].value == "True"
    assert (found[PORT].value, found[READY].value) == ("", "True")


def test_a_node_that_is_only_stored_is_as_it_stands():
    found = rows(stored=managed(port="22"), now=1e6)
    assert of(found[READY]) == ("True", "store", "store", None)
    assert of(found[PORT]) == ("22", "store", "store", None)
    assert {row.rule for row in found.values()} == {"as stored: nobody here has seen the machine"}


def test_what_no_source_tells_is_kept():
    found = rows(claim("liveness", reason="PeerAlive"), stored=managed(port="22", pid="9"))
    for field, value in ((PORT, "22"), (PID, "9"), (IP, "192.0.2.9")):
        assert of(found[field]) == (value, "store", "store", None)
        assert found[field].rule == "kept as stored: no source tells"
    assert found[READY].source == "liveness"


def test_a_pid_that_is_told_empty_is_not_told():
    found = rows(claim("own", meta={"pid": ""}), claim("mdns", meta={"pid": "7"}), stored=managed(pid="9"))
    assert of(found[PID]) == ("9", "store", "store", None)


def test_addresses_of_other_types_are_kept_beside_those_that_a_source_tells():
    found = rows(HEARD, stored=managed())
    assert of(found["status.addresses[ExternalIP]"]) == ("203.0.113.9", "store", "store", None)
    assert found[IP].source == "mdns"
    assert found["status.addresses[Hostname]"].rule == "the Node's name: no source tells"


def test_a_sighting_older_than_the_stored_one_does_not_count():
    later = rfc3339.format_nanos(WALL + 60)
    found = rows(HEARD, stored=managed(lastSeen=later))
    assert of(found[SEEN]) == (later, "store", "store", None)
    assert found[SEEN].rule == "kept as stored: no sighting here is newer, and it never goes back"


def test_what_is_given_once_is_kept_from_then_on():
    bare = Node.from_manifest({"metadata": {"name": "n1", "labels": {MANAGED: "true"}}})
    for new in (rows(HEARD), rows(HEARD, stored=bare)):
        assert of(new[UID]) == ("node-n1", "", "", None)
        assert new[CREATED].rule == "set by the first write of k3net"
    made = {"uid": "theirs", "creationTimestamp": "2020-01-01T00:00:00Z"}
    kept = rows(HEARD, stored=Node("n1", {"metadata": {**bare.manifest["metadata"], **made}}))
    assert of(kept[UID]) == ("theirs", "store", "store", None)
    assert of(kept[CREATED]) == ("2020-01-01T00:00:00Z", "store", "store", None)


HELD = st.lists(observations(names=("n1",)), max_size=6).map(lambda heard: said(*heard))
STORED = st.none() | st.tuples(managed_manifests(), st.booleans()).map(
    lambda drawn: Node.from_manifest(drawn[0] if drawn[1] else without_label(drawn[0]), "1")
)
NOW = st.integers(0, 200).map(lambda tenths: tenths / 10)


def without_label(manifest):
    metadata = manifest["metadata"]
    labels = {key: value for key, value in metadata["labels"].items() if key != MANAGED}
    return {**manifest, "metadata": {**metadata, "labels": labels}}


@given(HELD, STORED, NOW)
def test_what_is_explained_is_what_the_node_has(held, stored, now):
    node = written(held, stored, now)
    if node is None:
        return
    found = explain(node, held, stored, now, observer="d1")
    values = {row.field: row.value for row in found}
    ready = node.ready
    assert values[PORT] == node.annotations.get("k3.network/port", "")
    assert values[PID] == node.annotations.get("k3.network/pid", "")
    assert values[READY].startswith(ready.status)
    assert ready.reason in values[READY]
    assert ready.message in values[READY]
    addresses = [(row.field, row.value) for row in found if row.field.startswith("status.addresses")]
    assert addresses == [(f"status.addresses[{kind}]", address) for kind, address in node.addresses]
    assert values.get("spec.podCIDRs", "") == ", ".join(node.pod_cidrs)
    assert all(row.rule for row in found)


def told_by(o, field):
    """Everything that the observation says for a field."""
    texts = {
        PORT: {str(o.port or "")},
        PID: {o.meta.get("pid", "")},
        IP: set(o.addresses),
        "status.addresses[Hostname]": {o.meta.get("hostname", "")},
        "spec.podCIDRs": {", ".join(o.pod_cidrs or ())},
    }
    return texts.get(field, set())


@given(HELD, STORED, NOW)
def test_a_source_that_is_named_has_said_it_and_a_record_that_is_named_has_it(held, stored, now):
    node = written(held, stored, now)
    if node is None:
        return
    had = {row.field: row.value for row in explain(stored, {}, stored, now, observer="d1")} if stored else {}
    own_words = {"uid", "creationTimestamp", "labels", "phase"}
    for row in explain(node, held, stored, now, observer="d1"):
        if row.source and row.age_seconds is None:
            assert (row.source, row.observer) == ("store", "store")
            assert row.value == had[row.field] or row.field.startswith("status.addresses")
            if row.field.startswith("status.addresses"):
                assert row.value in [address for _, address in stored.addresses]
        elif row.source:
            o = held[row.source]
            assert row.observer == ("store" if row.source == "store" else "d1")
            assert row.age_seconds == round(now - o.seen_at, 3)
            assert row.field in (READY, SEEN) or row.value in told_by(o, row.field)
        else:
            assert row.age_seconds is None
            word = row.field.partition(".")[2].partition("[")[0]
            assert word in own_words or row.value == "" or row.field == "status.addresses[Hostname]"


@given(HELD.filter(bool), NOW)
def test_a_claim_that_ended_tells_where_a_peer_is_only_while_no_other_does(held, now):
    speaking = [o for o in held.values() if not o.lapsed(now) and o.source not in ("liveness", "store")]
    for row in explain(written(held, None, now), held, None, now, observer="d1"):
        if speaking and row.field in (PORT, PID, IP, "spec.podCIDRs") and row.source:
            assert held[row.source] in speaking


@given(HELD.filter(bool), NOW)
def test_who_makes_a_node_ready_is_ready_now_and_who_unmakes_it_is_not(held, now):
    [row] = [r for r in explain(written(held, None, now), held, None, now, observer="d1") if r.field == READY]
    o = held[row.source]
    assert o in readiness(held, now).because
    assert row.value.startswith("True") == (o.ready and not o.lapsed(now))


@given(HELD.filter(bool), NOW)
def test_the_last_sighting_is_the_newest_of_this_daemon(held, now):
    [row] = [r for r in explain(written(held, None, now), held, None, now, observer="d1") if r.field == SEEN]
    newest = max((o.seen_at for o in held.values() if o.source != "store"), default=math.nan)
    if math.isnan(newest):
        assert (row.value, row.source) == ("", "")
    else:
        assert held[row.source].seen_at == newest
        assert abs(rfc3339.parse(row.value) - (WALL - (now - newest))) < 1e-3
    assert row.field == f"metadata.annotations[{LAST_SEEN}]"
