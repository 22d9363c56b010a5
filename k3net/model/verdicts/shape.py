"""The large shapes of failure in one matrix: nothing passes, a partition, a node that is cut off."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from k3net.model.verdicts.bits import bits
from k3net.model.verdicts.chance import BROKEN, broken
from k3net.model.verdicts.matrix import Matrix

_MOST_SETS = 16
_MOST_GROWTHS = 256
_ALL = 0.95  # of the tests, when noise lets two or a few nodes seem to reach each other
_LEAST = 3  # nodes; the failures between two are a link


@dataclass
class Shape:
    """`explained` are the cells that fail because of it, a mask a source; all others are masks of nodes."""

    explained: list[int]
    everything: bool = False
    sets: list[int] = field(default_factory=list)
    down: int = 0
    inbound: int = 0
    outbound: int = 0
    partial: int = 0

    @classmethod
    def of(cls, count: int, sets: Sequence[int] = (), **nodes: int) -> "Shape":
        """The shape of `count` nodes of which those `nodes`, by kind, and these sets are cut off."""
        shape = cls([0] * count, False, list(sets), **nodes)
        everybody = (1 << count) - 1
        closed = shape.down | shape.inbound | shape.partial
        for node, others in enumerate(shape.between_sets()):
            shape.explained[node] = everybody if shape.cut_off >> node & 1 else closed | others
        return shape

    @property
    def cut_off(self) -> int:
        """The nodes whose own tests say nothing of others."""
        return self.down | self.outbound | self.partial

    @property
    def nodes(self) -> int:
        """All nodes that are concerned by themselves."""
        return self.cut_off | self.inbound

    def between_sets(self) -> list[int]:
        """The cells between the sets, a mask a source."""
        everybody = 0
        for each in self.sets:
            everybody |= each
        cells = [0] * len(self.explained)
        for each in self.sets:
            for node in bits(each):
                cells[node] = everybody & ~each
        return cells

    def without(self, standing: int) -> "Shape":
        """The same, had the nodes `standing` not been concerned."""
        if self.everything:
            return self
        kinds = ("down", "inbound", "outbound", "partial")
        return Shape.of(len(self.explained), self.sets, **{kind: getattr(self, kind) & ~standing for kind in kinds})


def shape_of(matrix: Matrix) -> Shape:
    """What of the matrix's failures is larger than a link."""
    count = len(matrix.measured)
    if not matrix.failures:
        return Shape.of(count)
    good, bad = _edges(matrix)
    touched = sum(1 << node for node in range(count) if good[node] | bad[node])
    sets = _sets(matrix, good, bad, touched)
    if _nothing_passes(matrix, touched.bit_count(), sets):
        return Shape([(1 << count) - 1] * count, everything=True)
    groups = _groups(matrix, sets)
    inside = 0
    for each in groups:
        inside |= each
    homes = [0] * len(groups)
    kinds: dict[str, int] = {}
    for node in bits(touched):
        home = _home(matrix, node, groups)
        judged = groups[home] if home is not None else inside or touched & ~(1 << node)
        kind = _kind(matrix, node, judged)
        if kind:
            kinds[kind] = kinds.get(kind, 0) | 1 << node
        if home is not None and kind != "down" and not inside >> node & 1:
            homes[home] |= 1 << node
    parted = [group | more for group, more in zip(groups, homes, strict=True)] if len(groups) > 1 else []
    return Shape.of(count, parted, **kinds)


def _nothing_passes(matrix: Matrix, touched: int, sets: Sequence[int]) -> bool:
    """Whether what passes is no more than noise: at most a few nodes of the `touched` that seem to make up sets."""
    if touched < _LEAST or not broken(matrix.tests, matrix.failures, 1):
        return False
    largest = max((each.bit_count() for each in sets), default=0)
    most = max(touched // 10, 2 if touched >= 2 * _LEAST else 0)
    return not sets or (largest <= most and matrix.failures >= _ALL * matrix.tests)


def _edges(matrix: Matrix) -> tuple[list[int], list[int]]:
    """Neighbours by links that pass in every direction measured (a node is its own), and by those that fail in one."""
    good, bad = [], []
    rows = zip(matrix.measured, matrix.measured_by_target, matrix.failed, matrix.failed_by_target, strict=True)
    for measured, measured_by, failed, failed_by in rows:
        bad.append(failed | failed_by)
        good.append((measured | measured_by) & ~(failed | failed_by))
    return good, bad


def _sets(matrix: Matrix, good: Sequence[int], bad: Sequence[int], free: int) -> list[int]:
    """Sets of two or more nodes each of which has more good links than bad ones into its set."""
    found: list[int] = []
    for _ in range(2 * _MOST_SETS):
        seed = max(bits(free), key=lambda node: (good[node] & free).bit_count(), default=None)
        if seed is None or not good[seed] & free or len(found) == _MOST_SETS:
            break
        members = _grown(good, bad, free, (good[seed] & free) | 1 << seed)
        if _is_set(matrix, members):
            found.append(members)
        free &= ~(members | 1 << seed)
    return found


def _is_set(matrix: Matrix, members: int) -> bool:
    """Whether these are two or more; of two, both must have tested it, or else one false result made them a set."""
    if members.bit_count() == 2:
        one, two = bits(members)
        return bool(matrix.measured[one] >> two & matrix.measured[two] >> one & 1)
    return members.bit_count() > 2


def _grown(good: Sequence[int], bad: Sequence[int], free: int, members: int) -> int:
    """The set that `members` grow and shrink to, until it stays as it is or comes back to what it was."""
    been: set[int] = set()
    while members not in been and len(been) < _MOST_GROWTHS:
        been.add(members)
        near = members
        for node in bits(members):
            near |= good[node]
        grown = 0
        for node in bits(near & free):
            passing = (good[node] & members).bit_count() + (members >> node & 1)
            if passing > (bad[node] & members).bit_count():
                grown |= 1 << node
        members = grown
    return members


def _groups(matrix: Matrix, sets: Sequence[int]) -> list[int]:
    """The sets between which nothing passes, the largest first; those between which nothing was tested are one.

    A set between which and a larger one something passes is none: its nodes are judged one by one.
    """
    groups: list[int] = []
    for each in sorted(sets, key=lambda mask: (-mask.bit_count(), mask & -mask)):
        counts = [_between(matrix, each, group) for group in groups]
        if all(not tests or broken(tests, failed, len(matrix.measured)) for tests, failed in counts):
            beside = [group for group, (tests, _) in zip(groups, counts, strict=True) if not tests]
            groups = [group for group in groups if group not in beside]
            groups.append(sum(beside) + each)
    return sorted(groups, key=lambda group: (-group.bit_count(), group & -group))


def _between(matrix: Matrix, one: int, other: int) -> tuple[int, int]:
    tests = failed = 0
    for sources, targets in ((one, other), (other, one)):
        for source in bits(sources):
            tests += (matrix.measured[source] & targets).bit_count()
            failed += (matrix.failed[source] & targets).bit_count()
    return tests, failed


def _counts(matrix: Matrix, node: int, others: int) -> tuple[int, int, int, int]:
    """Of `node` and `others`: tests out, failures out, tests in, failures in."""
    return (
        (matrix.measured[node] & others).bit_count(),
        (matrix.failed[node] & others).bit_count(),
        (matrix.measured_by_target[node] & others).bit_count(),
        (matrix.failed_by_target[node] & others).bit_count(),
    )


def _home(matrix: Matrix, node: int, groups: Sequence[int]) -> "int | None":
    """The group of the node, else that which it reaches, or that reaches it, mostly."""
    for at, group in enumerate(groups):
        if group >> node & 1:
            return at

    def passing(at: int) -> int:
        tests_out, failed_out, tests_in, failed_in = _counts(matrix, node, groups[at])
        return max(tests_out - 2 * failed_out, tests_in - 2 * failed_in)

    best = max(range(len(groups)), key=passing, default=None)
    return best if best is not None and passing(best) > 0 else None


def _kind(matrix: Matrix, node: int, others: int) -> str:
    """The field of Shape to which the node belongs; empty when there is too little against it."""
    tests_out, failed_out, tests_in, failed_in = _counts(matrix, node, others)
    tests, failed, chances = tests_out + tests_in, failed_out + failed_in, len(matrix.measured)
    no_way_in = tests_in > 0 and failed_in >= BROKEN * tests_in
    no_way_out = tests_out > 0 and failed_out >= BROKEN * tests_out
    if no_way_in and (no_way_out or not tests_out):
        return "down" if broken(tests, failed, chances) else ""
    if no_way_in and 2 * failed_out <= tests_out and broken(tests_in, failed_in, chances):
        return "inbound"
    if no_way_out and 2 * failed_in <= tests_in and broken(tests_out, failed_out, chances):
        return "outbound"
    return "partial" if tests >= 2 * _LEAST and 2 * failed >= tests else ""
