from collections import Counter
from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.errors import NoSubnetLeft
from k3net.model.cidr import Net, Pool, Sizes, network, networks, overlap, within

CLUSTER = ip_network("10.244.0.0/16")
NAMES = st.text(min_size=1, max_size=60)


@st.composite
def pools(draw):
    if draw(st.booleans()):
        length, bits = draw(st.integers(8, 28)), 32
    else:
        length, bits = draw(st.integers(16, 120)), 128
    size = draw(st.integers(length + 1, min(bits - 2, length + 12)))
    address = draw(st.integers(0, 2**bits - 1)) >> (bits - length) << (bits - length)
    return Pool((IPv4Network if bits == 32 else IPv6Network)((address, length)), size)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.244.1.7/24", "host bits are set in '10.244.1.7/24'; the network is 10.244.1.0/24"),
        ("2001:db8::1/64", "host bits are set in '2001:db8::1/64'; the network is 2001:db8::/64"),
        *(
            (text, "expected a network such as 10.244.0.0/16")
            for text in (
                *("10.244.0.0", "10.244.0.0/", "10.244.0.0/33", "10.244.0/16", "010.1.0.0/16", "x/24", "/24", "-1/8"),
                *("10.244.0.0/255.255.0.0", "10.244.0.0/0.0.255.255", "10.244.0.0/-1", "10.244.0.0/１６", "::/129"),
                *("fe80::%eth0/64", "10.244.0.0/16/16", " 10.244.0.0/16", "10.244.0.0/16 ", "1" * 100_000 + "/8"),
                f"10.244.0.0/{'0' * 1000}16",
            )
        ),
    ],
)
def test_what_is_no_network_is_refused_with_a_reason(text, reason):
    with pytest.raises(ValueError, match=r"expected|host bits") as caught:
        network(text)
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 200


def test_networks_are_one_of_each_family_at_most():
    assert networks("") == ()
    assert networks("10.42.0.0/16, 2001:DB8::/56") == (ip_network("10.42.0.0/16"), ip_network("2001:db8::/56"))
    for text in ("10.0.0.0/8,11.0.0.0/8", "::/64,1::/64", "10.0.0.0/8,::/64,11.0.0.0/8"):
        with pytest.raises(ValueError, match="one network of each family"):
            networks(text)


def test_sizes_are_read_for_one_family_or_both():
    assert (Sizes.read("/24"), Sizes.read("26"), Sizes.read("/24, /80")) == ((24, 64), (26, 64), (24, 80))
    for text in ("", "/", "/31", "/0", "/24,/128", "/24,/64,/1", "x", "-1", "/٢"):
        with pytest.raises(ValueError, match="expected"):
            Sizes.read(text)


@given(NAMES, pools())
def test_a_name_has_the_same_subnet_everywhere_and_never_the_first(name, pool):
    number = pool.hashed(name)
    assert number == pool.hashed(name)
    assert 1 <= number < pool.count
    subnet = pool.next_free(name, [])
    assert subnet == pool.subnet(number)
    assert within(subnet, pool.cluster)
    assert subnet.prefixlen == pool.size


def test_the_hash_stays_what_it_is_from_release_to_release():
    pool = Pool(CLUSTER, 24)
    assert [str(pool.next_free(name, [])) for name in ("node1", "edge-1", "k3s-agent-7")] == [
        "10.244.154.0/24",
        "10.244.103.0/24",
        "10.244.248.0/24",
    ]


@given(NAMES, pools(), st.data())
def test_the_next_free_subnet_is_the_first_after_the_hashed_one_that_nothing_overlaps(name, pool, data):
    every = [pool.subnet(number) for number in range(min(pool.count, 4096))]
    taken = data.draw(st.lists(st.sampled_from(every), max_size=40))
    wider = data.draw(st.lists(st.sampled_from(every), max_size=3))
    taken += [net.supernet(new_prefix=max(pool.cluster.prefixlen + 1, pool.size - 2)) for net in wider]
    begin = pool.hashed(name)
    order = [*range(begin, pool.count), *range(1, begin)]
    free = [n for n in order if not any(pool.subnet(n).overlaps(net) for net in taken)]
    if free:
        assert pool.next_free(name, taken) == pool.subnet(free[0])
    else:
        with pytest.raises(NoSubnetLeft):
            pool.next_free(name, taken)


def test_255_names_fill_256_subnets_and_the_next_is_told_why():
    pool = Pool(CLUSTER, 24)
    taken: list[Net] = []
    for number in range(255):
        taken.append(pool.next_free(f"node{number}", taken))
    assert len(set(taken)) == 255
    assert pool.subnet(0) not in taken
    with pytest.raises(NoSubnetLeft, match=r"no /24 of 10\.244\.0\.0/16 is free: 255 for nodes, all taken"):
        pool.next_free("node255", taken)


def test_a_pool_too_large_to_walk_through_is_searched_at_once():
    pool = Pool(ip_network("2001:db8::/32"), 64)
    taken = [pool.next_free("n1", [])]
    for _ in range(1000):
        taken.append(pool.next_free("n1", taken))
    assert len(set(taken)) == 1001
    with pytest.raises(NoSubnetLeft):
        pool.next_free("n1", [ip_network("2001:db8::/32")])


def test_what_lies_elsewhere_takes_nothing():
    pool = Pool(CLUSTER, 24)
    others = [ip_network(text) for text in ("10.0.0.0/9", "10.245.0.0/16", "::/0", "0.0.0.0/32")]
    assert pool.next_free("n1", others) == pool.next_free("n1", [])


def test_a_cluster_of_one_subnet_is_no_pool():
    for size in (15, 16):
        with pytest.raises(ValueError, match=f"10.244.0.0/16 cannot be cut into subnets of /{size}"):
            Pool(CLUSTER, size)


def test_overlaps_are_found_within_a_family():
    nets = networks("10.244.1.0/24,2001:db8::/64")
    assert overlap(nets, networks("2001:db8::/56")) == (nets[1], ip_network("2001:db8::/56"))
    assert overlap(nets, networks("10.244.2.0/24")) is None


def test_names_spread_evenly():
    counts = Counter(Pool(CLUSTER, 24).hashed(f"node-{number}") for number in range(51_000))
    assert len(counts) == 255
    assert 120 < min(counts.values()) <= max(counts.values()) < 290
