import json
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import KINDS, World, named, planted, some_kinds

from k3net.model.mesh import Mesh
from k3net.model.verdict import ROUNDS, Picture, Round, ServicePicture, Verdict, state, verdicts
from k3net.model.verdicts.bits import bits, transposed
from k3net.model.verdicts.chance import beyond, broken
from k3net.model.verdicts.words import listed, percent

NODES = ("a", "b", "c", "d", "e", "f")
FEW = settings(max_examples=max(10, settings().max_examples // 5))
LAYERS = ("host", "host/icmp", "host/tcp", "pod", "pod/icmp", "pod/tcp")


def read(rounds):
    return verdicts(rounds[0].pictures, rounds[0].services, earlier=rounds[1:])


def texts(*kinds, count=12):
    return [each.text for each in read(planted(kinds, Random(1), count=count, noise=0)[0])]


@st.composite
def any_rounds(draw):
    """Rounds of up to six nodes in which anything may have been measured and anything failed."""
    nodes = NODES[: draw(st.integers(0, 6))]
    masks = st.integers(0, (1 << len(nodes)) - 1)

    def measured_and_failed():
        measured = draw(masks)
        return measured, draw(masks) & measured

    def picture():
        rows = [measured_and_failed() for _ in nodes]
        places = st.integers(0, len(nodes) - 1)
        counts = st.integers(0, 30).flatmap(lambda lost: st.tuples(st.integers(lost, 30), st.just(lost)))
        loss = draw(st.dictionaries(st.tuples(places, places), counts, max_size=6)) if nodes else {}
        return Picture(nodes, tuple(each for each, _ in rows), tuple(each for _, each in rows), loss)

    def one_round():
        services = draw(st.frozensets(st.sampled_from(("web", "dns"))))
        seen = {name: ServicePicture(nodes, measured_and_failed(), measured_and_failed()) for name in sorted(services)}
        return Round({name: picture() for name in sorted(draw(st.frozensets(st.sampled_from(LAYERS))))}, seen)

    return [one_round() for _ in range(draw(st.integers(1, 3)))]


@settings(FEW, max_examples=settings().max_examples // 2)
@given(any_rounds())
def test_whatever_was_measured_a_verdict_names_nodes_of_the_picture_and_is_json(rounds):
    nodes = {node for picture in rounds[0].pictures.values() for node in picture.nodes}
    nodes |= {node for service in rounds[0].services.values() for node in service.nodes}
    for verdict in read(rounds):
        together = (
            *verdict.nodes,
            *(end for link in verdict.links for end in link),
            *(n for s in verdict.sets for n in s),
        )
        assert nodes >= {*together}
        assert json.loads(json.dumps(verdict.as_json()))["kind"] == verdict.kind
        assert verdict.text
        assert "\n" not in verdict.text
        assert 0 <= verdict.share <= 1


def moved(each, order, renamed):
    """The same round with its nodes in another order and under other names."""

    def mask(value):
        return sum(1 << at for at, old in enumerate(order) if value >> old & 1)

    def rows(values):
        return tuple(mask(values[old]) for old in order)

    nodes = tuple(renamed[old] for old in order)
    place = {old: at for at, old in enumerate(order)}
    pictures = {
        name: Picture(
            nodes,
            rows(picture.measured),
            rows(picture.failed),
            {(place[source], place[target]): counts for (source, target), counts in picture.loss.items()},
        )
        for name, picture in each.pictures.items()
    }
    services = {
        name: ServicePicture(
            nodes, (mask(s.resolved[0]), mask(s.resolved[1])), (mask(s.connected[0]), mask(s.connected[1]))
        )
        for name, s in each.services.items()
    }
    return Round(pictures, services)


def canonical(verdict, names):
    """What of a verdict is left when nodes have other names: which, without their order."""
    kind, layer, protocol, nodes, links, sets = named(verdict)
    pairs = [tuple(names[end] for end in link) for link in links]
    return (
        kind,
        layer,
        protocol,
        frozenset(names[node] for node in nodes),
        frozenset(pair if kind == "one-way" else frozenset(pair) for pair in pairs),
        frozenset(frozenset(names[node] for node in each) for each in sets),
    )


@FEW
@given(st.integers(0, 10**9))
def test_neither_the_order_nor_the_names_of_the_nodes_matter(seed):
    random = Random(seed)
    rounds, _ = planted(some_kinds(random), random, count=15)
    nodes = rounds[0].pictures["host/icmp"].nodes
    order = random.sample(range(15), 15)
    renamed = [f"x{number}" for number in random.sample(range(15), 15)]
    back = dict(zip(renamed, nodes, strict=True))
    told = [canonical(each, dict(zip(nodes, nodes, strict=True))) for each in read(rounds)]
    again = [canonical(each, back) for each in read([moved(each, order, renamed) for each in rounds])]
    assert {*told} == {*again}
    assert len(told) == len(again)


@pytest.mark.parametrize(
    ("pictures", "text"),
    [
        ({}, "there is no node"),
        ({"host": Picture((), (), ())}, "there is no node"),
        ({"host": Picture(("a",), (0,), (0,))}, "there is one node"),
        ({"host": Picture(("a", "b"), (0, 0), (0, 0))}, "no host was measured"),
        ({"host": Picture(("a", "b", "c"), (6, 5, 0), (0, 0, 0))}, "no results from c"),
    ],
)
def test_too_little_data_is_unknown_and_never_healthy(pictures, text):
    [verdict] = verdicts(pictures)
    assert verdict.kind == "unknown"
    assert text in verdict.text
    assert state([verdict]) == "unknown"


def test_a_layer_without_results_is_unknown_beside_one_that_has_them():
    fine = Picture(("a", "b"), (2, 1), (0, 0))
    told = verdicts({"host": fine, "pod": Picture(("a", "b"), (0, 0), (0, 0))})
    assert [(each.kind, each.layer) for each in told] == [("unknown", "pod")]
    assert verdicts({"host": fine}) == ()


def test_the_state_is_that_of_the_worst():
    unknown, broken_link = Verdict("unknown", "", "?"), Verdict("link", "host", "!")
    assert state([]) == "healthy"
    assert state([unknown]) == "unknown"
    assert state([unknown, broken_link]) == "broken"


@pytest.mark.parametrize(
    ("kinds", "text"),
    [
        (["host down"], "n007 is down or cut off: nobody reaches it, and it reaches nobody or tells nothing"),
        (
            ["host down", "host down"],
            "n007 and n011 are down or cut off: nobody reaches them, and they reach nobody or",
        ),
        (
            ["host outbound"],
            "n007 reaches nobody while others reach it: what goes out is dropped, or the agent there is at",
        ),
        (["host link"], "n007 and n011 do not reach each other while others reach them"),
        (["pod all"], "no pod reaches any other: the hosts reach each other, so look at the CNI or its encapsulation"),
        (["pod down"], "the pods of n007 are down or cut off"),
        (["host port"], "TCP port 22 of n007 does not open, though it answers ping"),
        (["pod port"], "TCP port 6100 of the agent on n007 does not open"),
        (
            ["service dead"],
            "nobody reaches the service web, though its name resolves: the pods reach each other, so look at",
        ),
        (["dns dead"], "the name web resolves on no node: DNS is down, or there is no such service"),
        (["dns node"], "no name resolves on n007, but elsewhere"),
        (
            ["pod partition"],
            "the pods are split into 2 sets that do not reach each other: 6 are n000, n005, n006, n007 and",
        ),
    ],
)
def test_the_sentence_says_what_is_broken_and_where_to_look(kinds, text):
    [told] = texts(*kinds)
    assert told.startswith(text)


def test_a_host_whose_pods_are_reached_is_not_said_to_be_down_without_that():
    down, _ = planted(["host down"], Random(1), count=12, noise=0)
    fine, _ = planted([], Random(1), count=12, noise=0)
    rounds = [
        Round({**each.pictures, **{name: well.pictures[name] for name in ("pod/icmp", "pod/tcp")}}, each.services)
        for each, well in zip(down, fine, strict=True)
    ]
    [verdict] = read(rounds)
    assert "the pods there are reached, so it is a firewall" in verdict.text


def test_a_fault_of_pods_is_seen_past_hosts_that_drop_all_tests():
    closed, _ = planted(["host icmp all"], Random(1), count=12, noise=0)
    pods, _ = planted(["pod down"], Random(2), count=12, noise=0)
    rounds = []
    for first, second in zip(closed, pods, strict=True):
        both = {f"host/{protocol}": first.pictures["host/icmp"] for protocol in ("icmp", "tcp")}
        rounds.append(Round({**second.pictures, **both}, second.services))
    assert [(each.kind, each.layer) for each in read(rounds)] == [("all", "host"), ("down", "pod")]


def test_failures_without_a_pattern_are_said_to_have_none():
    random = Random(3)
    world = World(tuple(f"n{number}" for number in range(30)), random)
    told = read([world.round(0.3) for _ in range(ROUNDS)])
    assert {each.kind for each in told if each.layer == "pod"} <= {"scattered", "partial", "service", "dns"}
    assert any(each.kind == "scattered" and "without a pattern" in each.text for each in told)


@pytest.mark.parametrize("kind", ["host down", "host silent", "pod inbound", "host outbound", "pod all", "dns dead"])
def test_a_sparse_mesh_tells_the_same(kind):
    mesh = Mesh(full_mesh_limit=10)
    for case in range(5):
        random = Random(case)
        names = [f"n{number:03}" for number in range(100)]
        measured = [
            [sum(1 << int(target[1:]) for target in mesh.targets(own, names, 100 - age)) for own in names]
            for age in range(ROUNDS)
        ]
        rounds, wanted = planted([kind], random, count=100, measured=measured)
        assert {named(each) for each in read(rounds)} == wanted


def test_a_link_that_was_tested_in_one_direction_only_is_said_to_be():
    picture = Picture(("a", "b", "c"), (0b110, 0b100, 0b011), (0b010, 0, 0))
    rounds = [Round({"host/icmp": picture, "host/tcp": picture})] * 2
    [verdict] = read(rounds)
    assert (verdict.kind, verdict.links) == ("link", (("a", "b"),))
    assert "tested in one direction only" in verdict.text


def test_a_round_of_other_nodes_is_no_evidence():
    link = Picture(("a", "b", "c"), (0b110, 0b101, 0b011), (0b010, 0, 0))
    others = Picture(("a", "b", "d"), (0b110, 0b101, 0b011), (0b010, 0, 0))
    alone = verdicts({"host": link})
    assert verdicts({"host": link}, earlier=[Round({"host": others})] * 3) == alone == ()
    assert [each.kind for each in verdicts({"host": link}, earlier=[Round({"host": link})] * 3)] == ["one-way"]


SLOW = ("service node", "dns node")  # one result a round: withdrawn as slowly as they are told


@pytest.mark.parametrize("kind", [each for each in KINDS if each not in SLOW])
def test_a_fault_that_is_over_leaves_no_word_of_it(kind):
    for seed in range(3):
        broken_ones = planted([kind], Random(seed), count=12, noise=0)[0]
        healthy = planted([], Random(seed), count=12, noise=0)[0]
        assert read([healthy[0], *broken_ones[:3]]) == (), seed


@pytest.mark.parametrize("kind", ["host port", "host icmp", "pod port", "host inbound"])
def test_a_fault_that_is_over_for_nearly_all_is_no_fault_of_their_links(kind):
    broken_ones = planted([kind], Random(1), count=12, noise=0)[0]
    healthy = planted([], Random(1), count=12, noise=0)[0][0]
    newest = Round(
        {
            name: Picture(of.nodes, of.measured, (*broken_ones[0].pictures[name].failed[:2], *of.failed[2:]))
            for name, of in healthy.pictures.items()
        },
        healthy.services,
    )
    found = read([newest, *broken_ones[:3]])
    assert sum(len(verdict.links) for verdict in found) <= 2, found


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Picture(("a", "a"), (0, 0), (0, 0)), "twice"),
        (lambda: Picture(("a", "b"), (0,), (0, 0)), "2 nodes, but masks of 1 and 2"),
        (lambda: Picture(("a",), (2,), (0,)), "beyond the 1 nodes"),
        (lambda: Picture(("a",), (0,), (1,)), "not measured"),
        (lambda: Picture(("a", "b"), (2, 1), (0, 0), {(0, 1): (3, 4)}), "loses 4 of 3 packets"),
        (lambda: Picture(("a", "b"), (2, 1), (0, 0), {(0, 2): (3, 1)}), "from 0 to 2"),
        (lambda: ServicePicture(("a",), (2, 0), (0, 0)), "does not fit"),
        (lambda: verdicts({"hosts": Picture(("a",), (0,), (0,))}), "no layer 'hosts'"),
        (
            lambda: verdicts({"host": Picture(("a",), (0,), (0,)), "pod": Picture(("b",), (0,), (0,))}),
            "'pod' has other",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@FEW
@given(st.integers(0, 600).flatmap(lambda n: st.tuples(st.just(n), st.randoms())))
def test_a_matrix_is_turned(drawn):
    count, random = drawn
    rows = [random.getrandbits(count) & random.getrandbits(count) for _ in range(count)]
    columns = transposed(rows)
    assert transposed(columns) == rows
    for source in random.sample(range(count), min(count, 3)):
        assert [*bits(rows[source])] == [at for at in range(count) if columns[at] >> source & 1]


def test_chance_is_told_from_a_fault():
    assert broken(4, 4, 1225)
    assert not broken(2, 2, 1225)
    assert broken(100, 80, 10**6)
    assert not broken(100, 70, 1)
    assert not broken(0, 0, 1)
    assert beyond(90, 18, 0.005, 1225)
    assert not beyond(90, 3, 0.005, 1225)
    assert not beyond(90, 0, 0.005, 1)
    assert beyond(5, 5, 0.01, 1)


def test_long_lists_are_cut_and_shares_are_never_rounded_to_all_or_nothing():
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a and b"
    assert listed(list("abcdefg")) == "a, b, c, d and 3 more"
    assert [percent(share) for share in (0, 0.004, 0.2, 0.996, 1)] == ["0 %", "0.4 %", "20 %", "99.6 %", "100 %"]
    assert [percent(share) for share in (1e-6, 0.9999999)] == ["0.1 %", "99.9 %"]
    assert len(KINDS) == len({*KINDS})


def test_the_packets_of_the_pods_count_for_the_link_of_their_hosts():
    measured = tuple((1 << 12) - 1 & ~(1 << own) for own in range(12))
    names = tuple(f"n{number}" for number in range(12))

    def picture(**loss):
        return Picture(names, measured, (0,) * 12, loss.get("loss", {}))

    few = {(0, 1): (12, 2)}
    assert verdicts({"host": picture(loss=few)}) == ()
    [verdict] = verdicts({"host": picture(loss=few), "pod": picture(loss={(0, 1): (12, 2)})})
    assert (verdict.kind, verdict.layer, verdict.links, verdict.tests) == ("loss", "host", (("n0", "n1"),), 24)
    [verdict] = verdicts({"host": picture(), "pod": picture(loss={(0, 1): (12, 4)})})
    assert (verdict.kind, verdict.layer) == ("loss", "pod")


def test_a_node_of_which_half_the_tests_fail_is_partial():
    random = Random(5)
    world = World(tuple(f"n{number:02}" for number in range(20)), random)
    for other in range(1, 13):
        world.fail("host", 0, 1 << other)
        world.fail("host", other, 1)
    [verdict] = read([world.round(0) for _ in range(ROUNDS)])
    assert (verdict.kind, verdict.layer, verdict.nodes) == ("partial", "host", ("n00",))
    assert "63 % of the tests from and to n00 fail" in verdict.text


def test_a_fault_of_the_pods_is_seen_where_the_host_alone_is_closed_and_another_is_down():
    down, _ = planted(["host down"], Random(1), count=12, noise=0)

    def closed(picture):
        """Nobody reaches n002."""
        failed = [mask | 1 << 2 for mask in picture.failed]
        failed = [mask & measured for mask, measured in zip(failed, picture.measured, strict=True)]
        return Picture(picture.nodes, picture.measured, tuple(failed), picture.loss)

    rounds = [
        Round({name: p if name == "pod/icmp" else closed(p) for name, p in each.pictures.items()}, each.services)
        for each in down
    ]
    told = [(each.kind, each.layer, each.nodes) for each in read(rounds)]
    assert told == [
        ("down", "host", ("n007",)),
        ("inbound", "host", ("n002",)),
        ("port", "pod", ("n002",)),
    ]
