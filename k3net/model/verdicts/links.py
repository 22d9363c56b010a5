"""Pairs of nodes between which nothing passes, told from chance by several results that agree."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from k3net.model.verdicts.bits import bits
from k3net.model.verdicts.chance import NOISE, broken, mostly
from k3net.model.verdicts.matrix import Matrix

Pair = tuple[int, int]
Samples = Sequence[Sequence[Matrix]]

_CANDIDATES_PER_NODE = 20
_MOST_PASSING = 0.25  # of the tests of a direction that fails, when the other one is said to pass


@dataclass
class Links:
    """Pairs that fail in both directions (lower bit first), and (source, target) that fail in one; their tests.

    `half` of the pairs that are said to fail in both were tested in one direction only.
    """

    both: list[Pair] = field(default_factory=list)
    one_way: list[Pair] = field(default_factory=list)
    half: int = 0
    tests: dict[Pair, Pair] = field(default_factory=dict)  # (measured, failed) of each pair

    def cells(self, count: int) -> list[int]:
        """The cells of all these links, a mask a source."""
        cells = [0] * count
        for source, target in (*self.both, *((two, one) for one, two in self.both), *self.one_way):
            cells[source] |= 1 << target
        return cells

    def total(self, pairs: Sequence[Pair]) -> Pair:
        """The (tests, failures) of `pairs` together."""
        return _sum(self.tests[pair] for pair in pairs)


def find_links(rounds: Samples, along: Samples = (), skip: Collection[Pair] = ()) -> Links:
    """The links that are down in `rounds` (newest first, each some matrices of the same nodes).

    `along` are matrices that cannot pass where a link is down (the pods' for the hosts'): they may support it. Where
    so much fails that it is no matter of links, there are none. `skip` are pairs, lower bit first.
    """
    links = Links()
    if not any(matrix.failures for matrix in rounds[0]):
        return links
    cells = max(matrix.tests for matrix in rounds[0])
    rate = max(_noise(matrix) for matrix in rounds[0])
    candidates = _candidates(rounds)
    if sum(row.bit_count() for row in candidates) > _CANDIDATES_PER_NODE * len(candidates):
        return links
    for one, row in enumerate(candidates):
        for two in bits(row):
            if (one, two) not in skip:
                _judge(links, (one, two), rounds, along, (cells, rate))
    return links


def _noise(matrix: Matrix) -> float:
    """The share of failures that are too many to be those of a link for each node."""
    return max(NOISE, (matrix.failures - 2 * len(matrix.failed)) / matrix.tests if matrix.tests else 0.0)


def _candidates(rounds: Samples) -> list[int]:
    """Pairs (of a row and a higher bit) of which two results failed or more, one of them in the newest two rounds."""
    count = len(rounds[0][0].failed)
    once, twice, recent = [0] * count, [0] * count, [0] * count
    for age, matrices in enumerate(rounds):
        for matrix in matrices:
            for rows in (matrix.failed, matrix.failed_by_target):
                for node, mask in enumerate(rows):
                    twice[node] |= once[node] & mask
                    once[node] |= mask
                    if age < 2:
                        recent[node] |= mask
    return [mask & late & -(2 << node) for node, (mask, late) in enumerate(zip(twice, recent, strict=True))]


def _judge(links: Links, pair: Pair, rounds: Samples, along: Samples, usual: tuple[int, float]) -> None:
    """Add the pair to `links` if its newest results suffice, or with the older ones, or with those `along`."""
    back = (pair[1], pair[0])
    tests_out, failed_out, tests_in, failed_in = next(_depths(rounds, pair))
    if tests_out and tests_in and not failed_out + failed_in:
        return  # whatever was, it is over
    for tests_out, failed_out, tests_in, failed_in in _depths(rounds, pair):
        out, into = (tests_out, failed_out), (tests_in, failed_in)
        kind = _kind(out, into, (0, 0), (0, 0), usual)
        if kind:
            break
    else:
        *_, (tests_out, failed_out, tests_in, failed_in) = _depths(along, pair) if along else [(0, 0, 0, 0)]
        kind = _kind(out, into, (tests_out, failed_out), (tests_in, failed_in), usual) if along else ""
    if kind == "both":
        links.both.append(pair)
        links.half += not (out[0] and into[0])
        links.tests[pair] = (out[0] + into[0], out[1] + into[1])
    elif kind == "out":
        links.one_way.append(pair)
        links.tests[pair] = out
    elif kind == "into":
        links.one_way.append(back)
        links.tests[back] = into


def _depths(rounds: Samples, pair: Pair) -> Iterator[tuple[int, int, int, int]]:
    """Tests and failures from the first to the second, and back: of the newest round, of the newest two, and so on."""
    tests_out = failed_out = tests_in = failed_in = 0
    one, two = pair
    for matrices in rounds:
        for matrix in matrices:
            tests_out += matrix.measured[one] >> two & 1
            failed_out += matrix.failed[one] >> two & 1
            tests_in += matrix.measured[two] >> one & 1
            failed_in += matrix.failed[two] >> one & 1
        yield tests_out, failed_out, tests_in, failed_in


def _kind(out: Pair, into: Pair, out_along: Pair, into_along: Pair, usual: tuple[int, float]) -> str:
    """Which ways are shown to be down by (tests, failures) of each: "both", "out", "into" or "".

    `usual` is how many cells there are, and what share of them fails anyway.
    """
    cells, rate = usual

    def shown(own: Pair, along: Pair, chances: int) -> bool:
        tests, failed = own[0] + along[0], own[1] + along[1]
        return mostly(*own) and broken(tests, failed, chances, rate)

    def fails(way: Pair) -> bool:
        return 2 * way[1] >= way[0]

    def passes(way: Pair) -> bool:
        return way[0] > 0 and way[1] <= _MOST_PASSING * way[0]

    whole, whole_along = _sum((out, into)), _sum((out_along, into_along))
    if fails(out) and fails(into) and shown(whole, whole_along, (cells + 1) // 2):
        return "both"
    if passes(into) and shown(out, out_along, cells):
        return "out"
    return "into" if passes(out) and shown(into, into_along, cells) else ""


def _sum(ways: Iterable[Pair]) -> Pair:
    tests, failed = zip(*ways, strict=True)
    return sum(tests), sum(failed)
