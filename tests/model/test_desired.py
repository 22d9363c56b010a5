from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import observations

from k3net.model.desired import lapses_next, node_from, readiness, whereabouts
from k3net.model.observation import SOURCES, Observation


def said(*observations):
    return {o.source: o for o in observations}


def claim(source, seen_at=0.0, ttl=90.0, **changed):
    return Observation("n1", source, seen_at, ttl, **changed)


def answer(*observations, now):
    found = readiness(said(*observations), now)
    return found.status, found.reason, found.message


GOODBYE = claim("mdns", 10.0, 0.0)


@pytest.mark.parametrize("source", SOURCES)
def test_a_claim_makes_a_peer_ready_until_it_lapses(source):
    heard = claim(source, reason="Heard", message="as heard")
    assert answer(heard, now=90.0) == ("True", "Heard", "as heard")
    assert answer(heard, now=90.5) == ("False", "PeerExpired", "peer ttl exceeded")


def test_the_goodbye_says_its_own_reason_or_peer_goodbye():
    assert answer(GOODBYE, now=10.0) == ("False", "PeerGoodbye", "peer said goodbye")
    left = claim("consul", 10.0, 0.0, reason="ConsulDeregistered", message="gone from the catalog")
    assert answer(left, now=10.0) == ("False", "ConsulDeregistered", "gone from the catalog")


def test_a_goodbye_beats_the_connects_before_it():
    for meta in ({}, {"node": "n1"}):
        assert answer(GOODBYE, claim("liveness", 9.0, meta=meta), now=11.0)[0] == "False"
        assert answer(GOODBYE, claim("liveness", 10.0, meta=meta), now=11.0)[0] == "False"


def test_a_goodbye_beats_the_word_of_the_store():
    assert answer(GOODBYE, claim("store", 11.0), now=12.0)[0] == "False"


def test_after_a_goodbye_only_a_connect_that_proved_its_name_revives():
    assert answer(GOODBYE, claim("liveness", 11.0), now=12.0)[0] == "False"
    assert answer(GOODBYE, claim("liveness", 11.0, meta={"node": "n1"}), now=12.0)[0] == "True"


def test_a_peer_that_announces_itself_again_is_back():
    assert answer(claim("mdns", 11.0), now=12.0)[0] == "True"
    assert answer(GOODBYE, claim("consul", 11.0), now=12.0)[0] == "True"


@pytest.mark.parametrize("source", SOURCES[:-1])
def test_a_denial_beats_every_claim(source):
    denial = claim(source, ready=False, reason="Critical", message="disk is full")
    others = [claim(other, 1.0) for other in SOURCES if other != source]
    assert answer(denial, *others, now=2.0) == ("False", "Critical", "disk is full")


def test_a_denial_that_lapsed_says_nothing():
    assert answer(claim("consul", ttl=5.0, ready=False), claim("mdns"), now=6.0)[0] == "True"


def test_a_denial_without_a_reason_is_not_ready():
    assert answer(claim("consul", ready=False), now=1.0) == ("False", "NotReady", "")


def test_the_stores_word_counts_only_alone():
    assert answer(claim("store", ready=False), claim("mdns"), now=1.0)[0] == "True"
    assert answer(claim("store"), claim("consul", ready=False), now=1.0)[0] == "False"
    assert answer(claim("store"), now=1.0)[0] == "True"


@pytest.mark.parametrize(("reason", "shown"), [("ConsulCritical", "ConsulCritical"), ("", "NotReady")])
def test_an_adopted_node_that_was_not_ready_stays_so_with_its_reason(reason, shown):
    told = claim("store", ready=False, reason=reason, message="disk is full")
    for now in (0.0, 90.0, 91.0, 1e6):
        assert answer(told, now=now) == ("False", shown, "disk is full")


def test_an_adopted_node_that_nobody_hears_lapses():
    assert answer(claim("store", reason="PeerAlive"), now=91.0) == ("False", "PeerExpired", "peer ttl exceeded")


def test_the_most_telling_source_gives_the_reason():
    heard = [claim(source, reason=source) for source in SOURCES]
    order = []
    while heard:
        order.append(answer(*heard, now=1.0)[1])
        heard = [o for o in heard if o.source != order[-1]]
    assert order == ["own", "consul", "liveness", "mdns", "checker", "store"]


def test_the_readiness_says_by_which_observations():
    heard, told = claim("mdns"), claim("store")
    assert readiness(said(heard, told), 1.0).because == (heard,)
    assert readiness(said(heard, told), 91.0).status == "False"


@given(st.lists(observations(names=("n1",)), min_size=1, max_size=6), st.integers(0, 200), st.randoms())
def test_the_order_in_which_sources_spoke_does_not_matter(heard, tenths, random):
    held = {o.source: o for o in heard}
    shuffled = list(held.items())
    random.shuffle(shuffled)
    assert node_from("n1", held, tenths / 10) == node_from("n1", dict(shuffled), tenths / 10)


def test_of_two_goodbyes_at_one_instant_the_more_telling_gives_the_reason():
    left = [claim("mdns", 5.0, 0.0, reason="First"), claim("own", 5.0, 0.0, reason="Second")]
    assert {answer(*order, now=6.0)[1] for order in permutations(left)} == {"Second"}


@given(st.lists(observations(names=("n1",)), max_size=6), st.integers(0, 200), st.integers(0, 200))
def test_the_answer_holds_until_the_next_lapse(heard, tenths, more):
    held = {o.source: o for o in heard}
    now = tenths / 10
    until = lapses_next(held, now)
    assert until >= now
    for later in (until, now + (until - now) * more / 200):
        if later <= until and later != float("inf"):
            assert node_from("n1", held, later) == node_from("n1", held, now)


@given(st.lists(observations(names=("n1",)), max_size=6), st.integers(0, 200))
def test_a_node_is_ready_only_while_somebody_says_so(heard, tenths):
    held = {o.source: o for o in heard}
    now = tenths / 10
    if not any(o.ready and not o.lapsed(now) for o in held.values()):
        assert node_from("n1", held, now).ready.status == "False"


def test_addresses_come_hostname_first_then_ipv4_then_ipv6_each_once():
    heard = claim("mdns", addresses=("2001:db8::1", "192.0.2.2", "192.0.2.1"), meta={"hostname": "n1.lan"})
    member = claim("consul", addresses=("2001:db8:0::1", "192.0.2.1", "192.0.2.3"))
    assert node_from("n1", said(heard, member), 1.0).addresses == (
        ("Hostname", "n1.lan"),
        ("InternalIP", "192.0.2.2"),
        ("InternalIP", "192.0.2.1"),
        ("InternalIP", "192.0.2.3"),
        ("InternalIP", "2001:db8::1"),
    )


def test_addresses_of_a_claim_that_lapsed_give_way_to_one_that_holds():
    old = claim("mdns", ttl=5.0, addresses=("192.0.2.1",), port=1)
    new = claim("consul", addresses=("192.0.2.2",), port=2)
    assert whereabouts(said(old, new), 1.0) == (("192.0.2.1", "192.0.2.2"), 1)
    assert whereabouts(said(old, new), 6.0) == (("192.0.2.2",), 2)


def test_where_a_silent_peer_was_last_is_still_told():
    old = claim("mdns", ttl=5.0, addresses=("192.0.2.1",), port=7946)
    node = node_from("n1", said(old), 1e6)
    assert node.internal_ips == ("192.0.2.1",)
    assert node.port == 7946


def test_a_port_that_nobody_told_is_not_written():
    assert "k3.network/port" not in node_from("n1", said(claim("mdns")), 1.0).annotations


def test_pod_cidrs_of_the_own_node_are_its_spec():
    own = claim("own", pod_cidrs=("10.42.1.0/24", "fd00:42:1::/64"))
    node = node_from("n1", said(own), 1.0)
    assert node.manifest["spec"] == {"podCIDR": "10.42.1.0/24", "podCIDRs": ["10.42.1.0/24", "fd00:42:1::/64"]}
