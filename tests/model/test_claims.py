from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.errors import NoSubnetLeft
from k3net.model.cidr import Pool
from k3net.model.claims import Abandoned, Claim, choose, in_the_way, may_write

POOL = Pool(ip_network("10.244.0.0/24"), 28)
SUBNETS = [POOL.subnet(number) for number in range(POOL.count)]
HASHED = POOL.next_free("n1", [])


def chosen(claims=(), fixed=(), others=(), stored=()):
    return choose(POOL, "n1", claims, fixed=fixed, others=others, stored=stored)


def test_without_anybody_else_it_is_the_hashed_subnet():
    assert chosen() == HASHED


def test_what_the_node_holds_it_keeps_also_when_another_node_says_it():
    held = next(net for net in SUBNETS[1:] if net != HASHED)
    claims = [Claim(str(held), "n1"), Claim(str(HASHED), "n2")]
    assert chosen(claims) == held
    assert chosen(claims, others=[held]) == held
    assert chosen(claims, stored=[SUBNETS[3]]) == held


def test_it_gives_way_to_what_nobody_moves():
    assert chosen([Claim(str(HASHED), "n1")], fixed=[HASHED]) != HASHED
    assert chosen([Claim(str(HASHED), "n1")], fixed=[HASHED.supernet()]) != HASHED


def test_what_its_node_says_it_takes_before_the_hash_if_nobody_else_has_it():
    said = next(net for net in SUBNETS[1:] if net != HASHED)
    assert chosen(stored=[said]) == said
    assert chosen([Claim(str(said), "n2")], stored=[said]) == HASHED
    assert chosen(others=[said], stored=[said]) == HASHED


@pytest.mark.parametrize(
    "text", ["10.244.0.0/28", "10.244.0.0/24", "10.244.0.16/29", "10.245.0.16/28", "2001:db8::/64"]
)
def test_what_is_no_subnet_of_the_pool_is_not_kept(text):
    assert chosen([Claim(text, "n1")], stored=[ip_network(text)]) == HASHED


def test_when_all_is_taken_that_is_said():
    claims = [Claim(str(net), f"x{at}") for at, net in enumerate(SUBNETS[1:])]
    with pytest.raises(NoSubnetLeft):
        chosen(claims)
    assert chosen(claims[1:]) == SUBNETS[1]


NETS = st.sampled_from([*SUBNETS, *(net.supernet() for net in SUBNETS), ip_network("10.244.0.200/29")])


@given(st.lists(st.tuples(NETS, st.sampled_from(["n1", "n2", "n3", ""])), max_size=20), st.lists(NETS, max_size=4))
def test_what_is_chosen_is_in_nobodys_way(claims, fixed):
    held = [Claim(str(net), owner) for net, owner in claims]
    try:
        net = chosen(held, fixed=fixed)
    except NoSubnetLeft:
        others = [*fixed, *(net for net, owner in claims if owner != "n1")]
        assert all(any(net.overlaps(other) for other in others) for net in SUBNETS[1:])
        return
    assert net in SUBNETS[1:]
    assert not in_the_way([net], "n1", held)
    assert not any(net.overlaps(other) for other in fixed)


def test_a_claim_is_written_over_only_by_its_owner_or_instead_of_itself():
    held = Claim("10.244.0.16/28", "n1", version="7")
    for wanted, instead_of, may in (
        (Claim(held.subnet, "n1"), "", False),
        (Claim(held.subnet, "n1", exact=True), "", True),
        (Claim(held.subnet, "n2"), "", False),
        (Claim(held.subnet, "n2", exact=True), "", False),
        (Claim(held.subnet, "n2"), "6", False),
        (Claim(held.subnet, "n2"), "7", True),
    ):
        assert may_write(wanted, held, instead_of) is may
        assert may_write(wanted, None, instead_of)
    assert not may_write(Claim(held.subnet, "n2"), Claim(held.subnet, "n1", version=""), "")


def test_a_claim_is_abandoned_when_its_owner_has_long_had_no_node():
    abandoned = Abandoned(150.0)
    lone, kept = Claim("10.244.0.16/28", "gone", version="1"), Claim("10.244.0.32/28", "here", version="2")
    assert abandoned.look([lone, kept], {"here": object()}, 0.0) == []
    assert abandoned.look([lone, kept], {"here": object()}, 149.0) == []
    assert abandoned.look([lone, kept], {"here": object()}, 150.0) == [lone]
    assert abandoned.look([lone, kept], {"here": object(), "gone": object()}, 160.0) == []
    assert abandoned.look([lone, kept], {"here": object()}, 300.0) == []


def test_a_claim_made_anew_is_not_abandoned():
    abandoned = Abandoned(150.0)
    abandoned.look([Claim("10.244.0.16/28", "gone", version="1")], {}, 0.0)
    assert abandoned.look([Claim("10.244.0.16/28", "gone", version="2")], {}, 200.0) == []


def test_the_longest_abandoned_comes_first():
    abandoned = Abandoned(10.0)
    first, second = Claim("10.244.0.32/28", "a", version="1"), Claim("10.244.0.16/28", "b", version="2")
    abandoned.look([first], {}, 0.0)
    abandoned.look([second, first], {}, 5.0)
    assert abandoned.look([second, first], {}, 20.0) == [first, second]
