"""The verdicts of planted faults are those that were planted, through noise."""

import os
from random import Random

import pytest
from planted import KINDS, World, named, planted, some_kinds

from k3net.model.verdict import ROUNDS, verdicts

SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
CASES = 2000 if SOAK else 400


def found(rounds):
    return verdicts(rounds[0].pictures, rounds[0].services, earlier=rounds[1:])


def misses(cases, seed, count, kinds=some_kinds, noise=0.01, read=found):
    """The cases of which the verdicts are not exactly the planted ones, with what was wrong."""
    wrong = []
    for case in range(cases):
        random = Random(f"{seed} {case}")
        chosen = kinds(random)
        rounds, wanted = planted(chosen, random, count=count, noise=noise)
        told = [named(each) for each in read(rounds)]
        if sorted(told) != sorted(wanted):
            wrong.append((case, chosen, wanted - set(told), set(told) - wanted))
    return wrong


def test_of_50_nodes_with_1_percent_noise_the_verdict_is_exact_in_99_percent_of_the_cases():
    wrong = misses(CASES, Random().random() if SOAK else "fifty", 50)
    assert len(wrong) <= 0.01 * CASES, wrong


@pytest.mark.parametrize("kind", KINDS)
def test_without_noise_each_fault_is_named_also_among_12_nodes(kind):
    assert misses(3, "twelve", 12, kinds=lambda random: [kind], noise=0) == []


def test_noise_alone_makes_no_verdict():
    wrong = misses(CASES // 4, "noise", 50, kinds=lambda random: [])
    assert len(wrong) <= 0.01 * CASES // 4, wrong


@pytest.mark.parametrize(
    "kind", ["host down", "host partition", "pod all", "host inbound", "host port", "service dead"]
)
def test_a_large_fault_is_named_in_the_first_round(kind):
    def first(rounds):
        return verdicts(rounds[0].pictures, rounds[0].services)

    assert misses(5, "first", 50, kinds=lambda random: [kind], read=first) == []


def test_a_dead_link_is_named_in_the_first_round_where_there_is_no_noise():
    def first(rounds):
        return verdicts(rounds[0].pictures, rounds[0].services)

    assert misses(5, "link", 50, kinds=lambda random: ["host link"], noise=0, read=first) == []


def test_a_larger_fleet_has_the_same_verdicts():
    assert misses(4, "large", 300) == []


def test_two_readings_are_the_same():
    for case in range(20):
        rounds, _ = planted(some_kinds(Random(case)), Random(case))
        assert found(rounds) == found(rounds)
        again, _ = planted(some_kinds(Random(case)), Random(case))
        assert found(again) == found(rounds)


def test_a_quiet_world_is_healthy():
    world = World(("a", "b", "c"), Random(0))
    assert found([world.round(0) for _ in range(ROUNDS)]) == ()
