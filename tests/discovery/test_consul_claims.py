"""From an answer of Consul to claims: names, addresses, checks."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.discovery.consul_api import Check, ConsulNode, Entry, Service
from k3net.discovery.consul_claims import claims, is_ready, node_name, verdict
from k3net.model.observation import Observation


def entry(service_id="k3-node-host1", node="rack-7", address="", node_address="10.0.0.7", checks=(), **service):
    return Entry(ConsulNode(node, node_address), Service(service_id, "k3-node", address, **service), tuple(checks))


def check(status, name="disk", id="disk", notes=""):  # noqa: A002 - Consul's word
    return Check(id=id, name=name, status=status, notes=notes)


@pytest.mark.parametrize(
    ("given_entry", "name"),
    [
        (entry(meta={"node": "n7"}), "n7"),
        (entry(meta={"node": " "}), "host1"),
        (entry("k3-node-host1"), "host1"),
        (entry("k3-node-host1.example.org"), "host1.example.org"),
        (entry("k3-node"), "rack-7"),
        (entry("other", node="Rack-7"), "rack-7"),
        (entry("k3-nodehost1"), "rack-7"),
        (entry(meta={"node": "No_Name"}), ""),
        (entry("k3-node-Bad_Name"), ""),
        (entry("other", node="_"), ""),
    ],
)
def test_the_node_s_name_is_in_the_meta_else_in_the_id_else_consul_s(given_entry, name):
    assert node_name(given_entry, "k3-node") == name


@pytest.mark.parametrize(
    ("service_address", "node_address", "addresses"),
    [
        ("10.1.0.1", "10.0.0.7", ("10.1.0.1",)),
        ("", "10.0.0.7", ("10.0.0.7",)),
        ("2001:DB8::1", "10.0.0.7", ("2001:db8::1",)),
        ("host.example.org", "10.0.0.7", ()),
        ("127.0.0.1", "10.0.0.7", ()),
        ("", "", ()),
    ],
)
def test_the_address_is_the_service_s_else_the_node_s_and_never_a_name(service_address, node_address, addresses):
    found, _ = claims([entry(address=service_address, node_address=node_address)], "k3-node")
    assert found["host1"].addresses == addresses
    assert found["host1"].hostname == "rack-7"


def test_only_critical_is_not_ready():
    assert is_ready(None)
    assert is_ready([check("passing"), check("warning")])
    assert not is_ready([check("passing"), check("critical")])


def test_the_verdict_names_the_checks_and_not_what_changes_each_time():
    assert verdict([]) == "registered in Consul, without checks"
    assert verdict([check("passing")]) == "passing in Consul"
    assert verdict([check("warning", "load"), check("passing")]) == "warning in Consul: load"
    both = [check("critical", "disk", "b"), check("warning", "load"), check("critical", "ping", "a")]
    assert verdict(both) == verdict(both[::-1]) == "critical in Consul: ping, disk"
    maintenance = check("critical", "x", "_node_maintenance", notes="new\ndisk")
    assert verdict([maintenance]) == "critical in Consul: node maintenance (new disk)"
    assert len(verdict([check("critical", "x" * 500)])) == 255


def test_of_two_instances_with_one_name_a_ready_one_counts_and_the_other_is_told():
    bad = entry("k3-node-a", checks=[check("critical")], modified=9, meta={"node": "n"})
    old, new = (entry(f"k3-node-{i}", modified=i, meta={"node": "n"}) for i in (1, 2))
    for order in ([bad, old, new], [new, old, bad], [old, new, bad]):
        found, _ = claims(order, "k3-node")
        assert (found["n"].service_id, found["n"].others) == ("k3-node-2", ("k3-node-1 on rack-7",))
    assert claims([bad, old, new], "k3-node", "k3-node-a")[0]["n"].service_id == "k3-node-a"


TEXTS = st.text(max_size=300)
ENTRIES = st.lists(
    st.builds(
        Entry,
        st.builds(ConsulNode, TEXTS, TEXTS),
        st.builds(
            Service,
            TEXTS,
            TEXTS,
            TEXTS,
            st.integers(-(2**40), 2**40),
            st.none(),
            st.none() | st.dictionaries(st.sampled_from(["node", "pid", "x"]), TEXTS | st.just("n1")),
        ),
        st.none() | st.lists(st.builds(Check, TEXTS, TEXTS, TEXTS, TEXTS), max_size=3).map(tuple),
    ),
    max_size=4,
)


@given(ENTRIES)
def test_whatever_consul_says_becomes_observations_or_is_left_out(entries):
    found, unnamed = claims(entries, "k3-node")
    assert len(found) + unnamed <= len(entries)
    for name, claim in found.items():
        meta = {"hostname": claim.hostname, **({"pid": claim.pid} if claim.pid else {})}
        Observation(name, "consul", 0.0, 1.0, claim.addresses, claim.port, message=claim.message, meta=meta)


def test_an_answer_of_a_later_consul_with_nulls_and_more_is_read():
    text = json.dumps(
        [
            {
                "Node": {"Node": "r", "Address": "10.0.0.1", "Meta": None, "Locality": {}},
                "Service": {"ID": "k3-node-a", "Service": "k3-node", "Tags": None, "Meta": None, "Port": 1, "New": [1]},
                "Checks": None,
            }
        ]
    )
    [read] = msgspec.json.decode(text, type=tuple[Entry, ...])
    assert claims([read], "k3-node")[0]["a"].addresses == ("10.0.0.1",)
