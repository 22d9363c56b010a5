"""Verdicts of 1,000 nodes that all test one another, with 1 % of the results false and some faults among them."""

import sys
import time
from pathlib import Path
from random import Random

from figure import RUNS, Figure, progress, stay_on_first_core, tell

from k3net.model.mesh import Mesh
from k3net.model.verdict import verdicts

sys.path.append(str(Path(__file__).parents[1] / "tests/model"))
from planted import KINDS, named, planted, some_kinds

NODES = 1000
CASES = 300
WORST = (
    ("host down", "pod down"),
    ("host partition", "host link"),
    ("pod all", "host one-way"),
    ("host port all", "pod link"),
)


def matrix_of_1000() -> list[float]:
    """Milliseconds, the slowest of the faults, each with four rounds of two layers by two protocols."""
    slowest = [0.0] * RUNS
    for kinds in ((), *WORST):
        rounds, wanted = planted(kinds, Random(repr(kinds)), count=NODES)
        for run in range(RUNS):
            begun = time.perf_counter()
            found = verdicts(rounds[0].pictures, rounds[0].services, earlier=rounds[1:])
            slowest[run] = max(slowest[run], 1000 * (time.perf_counter() - begun))
        missed = wanted - {named(each) for each in found}
        if missed:
            progress(f" {kinds} was not named")
    return slowest


def exact() -> float:
    """The percentage of random faults, alone and in pairs, whose verdicts are exactly those planted, on 50 nodes."""
    right = 0
    for case in range(CASES):
        random = Random(case)
        rounds, wanted = planted(some_kinds(random), random)
        found = [named(each) for each in verdicts(rounds[0].pictures, rounds[0].services, earlier=rounds[1:])]
        right += sorted(found) == sorted(wanted)
    return 100 * right / CASES


def mesh_of_5000() -> list[float]:
    """Milliseconds to choose the targets of one node among 5,000."""
    mesh, nodes = Mesh(), [f"node-{number}" for number in range(5000)]
    values = []
    for run in range(RUNS):
        begun = time.perf_counter()
        mesh.targets(nodes[run], nodes, run)
        values.append(1000 * (time.perf_counter() - begun))
    return values


if __name__ == "__main__":
    stay_on_first_core()
    tell(
        [
            Figure("slowest verdicts, 1,000 x 1,000, two layers, four rounds", "ms", matrix_of_1000(), at_most=1000),
            Figure(f"exact verdicts, {len(KINDS)} kinds of faults and pairs, 1 % noise", "%", [exact()], at_least=99),
            Figure("targets of a node among 5,000", "ms", mesh_of_5000()),
        ]
    )
