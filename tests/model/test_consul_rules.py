"""What Consul's word does to a Node, beside the words of the others (spec/2-consul.md)."""

import itertools

import pytest

from k3net.model.desired import node_from
from k3net.model.observation import Observation
from k3net.model.peers import Peer
from k3net.model.plan import plan
from k3net.reconciler.adoption import adopted

NOW = 100.0
PASSING = {"reason": "ConsulHealthCheck", "message": "passing in Consul"}


def consul(seen_at=NOW, ttl=45.0, **claim):
    meta = {"discovery": "consul", "hostname": "rack-7", **claim.pop("meta", {})}
    return Observation("n1", "consul", seen_at, ttl, ("10.0.0.1",), 7946, **{**PASSING, "meta": meta, **claim})


def gone(seen_at=NOW):
    return consul(seen_at, 0.0, ready=False, reason="ConsulDeregistered", message="is no longer registered in Consul")


def mdns(seen_at=NOW, ttl=90.0, **claim):
    return Observation("n1", "mdns", seen_at, ttl, ("10.0.0.2",), 7946, reason="LANDiscovery", **claim)


def probed(seen_at=NOW, ttl=90.0):
    return Observation("n1", "liveness", seen_at, ttl, reason="PeerAlive", meta={"node": "n1"})


def own(seen_at=NOW, ttl=90.0, **claim):
    return Observation("n1", "own", seen_at, ttl, ("10.0.0.1",), 7946, **claim)


def node(*observations, now=NOW):
    return node_from("n1", {o.source: o for o in observations}, now)


def ready(*observations, now=NOW):
    condition = node(*observations, now=now).ready
    return condition.status, condition.reason


def test_a_node_that_consul_created_says_so():
    found = node(consul())
    assert (found.uid, found.labels["discovery"]) == ("consul-node-n1", "consul")
    assert found.addresses == (("Hostname", "rack-7"), ("InternalIP", "10.0.0.1"))
    assert node(mdns()).uid == "node-n1"
    assert "discovery" not in node(mdns(), probed()).labels


def test_one_peer_seen_by_both_is_one_node_with_the_addresses_of_both():
    found = node(consul(), mdns())
    assert (found.uid, found.labels["discovery"]) == ("node-n1", "consul")
    assert found.internal_ips == ("10.0.0.2", "10.0.0.1")
    assert found.ready.reason == "ConsulHealthCheck"


def test_the_own_node_is_consul_s_where_consul_is_all_there_is():
    word = own(reason="ConsulRegistered", meta={"discovery": "consul"})
    assert node(word, consul()).uid == node(word).uid == "consul-node-n1"
    assert ready(word, consul()) == ("True", "ConsulRegistered")
    assert node(own(), consul()).uid == "node-n1"


def test_critical_is_not_ready_whatever_else_is_seen():
    critical = consul(ready=False, message="critical in Consul: disk")
    for others in itertools.chain.from_iterable(itertools.combinations((own(), mdns(), probed()), n) for n in range(4)):
        assert ready(critical, *others) == ("False", "ConsulHealthCheck")


def test_gone_from_consul_is_not_ready_also_while_the_machine_answers():
    assert ready(gone()) == ("False", "ConsulDeregistered")
    assert ready(gone(), probed(NOW - 1)) == ("False", "ConsulDeregistered")
    assert ready(gone(), probed(NOW + 1), now=NOW + 2) == ("False", "ConsulDeregistered")


def test_registered_again_is_ready_again():
    assert ready(consul(NOW + 1), probed(), now=NOW + 1) == ("True", "ConsulHealthCheck")


@pytest.mark.parametrize("last_heard", [NOW, NOW - 200])
def test_gone_from_consul_takes_no_evidence_from_a_peer_of_the_lan(last_heard):
    assert ready(gone(), mdns(last_heard), probed(NOW + 1), now=NOW + 2)[0] == "True"


def test_gone_from_the_lan_takes_no_evidence_from_a_peer_in_consul():
    assert ready(consul(), mdns(ttl=0.0)) == ("True", "ConsulHealthCheck")


def test_gone_from_both_is_not_ready():
    assert ready(gone(NOW - 1), mdns(ttl=0.0), probed(NOW + 1), now=NOW + 2)[0] == "False"


def test_a_claim_that_is_held_to_lasts_longer_and_is_no_newer():
    peer = Peer("n1")
    peer.observe(consul(0.0, 45.0))
    peer.observe(consul(0.0, 3600.0, meta={"held": "true"}))
    assert peer.desired(1800.0).ready.status == "True"
    assert (peer.desired(1800.0).live, peer.last_seen) == (False, 0.0)
    peer.observe(consul(0.0, 45.0))
    assert peer.desired(1800.0).ready.status == "True"
    peer.observe(consul(1801.0, 0.0, ready=False))
    assert peer.desired(1801.0).ready.status == "False"


def test_what_is_only_held_to_is_not_reported_again():
    fresh, held = node(consul()), node(consul(meta={"held": "true"}))
    [created] = plan({"n1": fresh}, {}, 1000.0)
    stored = {"n1": created.node}
    assert list(plan({"n1": held}, stored, 2000.0)) == []
    assert len(list(plan({"n1": fresh}, stored, 2000.0))) == 1


def test_a_node_that_is_adopted_remembers_that_it_is_consul_s():
    [created] = plan({"n1": node(consul())}, {}, 1000.0)
    assert adopted(created.node, NOW, 90.0).meta == {"discovery": "consul"}
    [created] = plan({"n1": node(mdns())}, {}, 1000.0)
    assert adopted(created.node, NOW, 90.0).meta == {}
