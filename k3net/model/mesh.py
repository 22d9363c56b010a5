"""Who tests whom: everybody everybody, or in a large fleet a ring of neighbours and a set that rotates."""

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from math import ceil

_STEPS = 8  # between a power of two and the next: the counts at which the length of a cycle may change


@dataclass(frozen=True)
class Mesh:
    """How many a node tests: all others among up to `full_mesh_limit` nodes; above it the `neighbours` that follow it
    in hash space, and up to `rotating` more, others each round. ValueError for less than no neighbours, or none to
    rotate."""

    full_mesh_limit: int = 200
    neighbours: int = 10
    rotating: int = 10

    def __post_init__(self) -> None:
        if self.neighbours < 0 or self.rotating < 1:
            raise ValueError(f"a mesh of {self.neighbours} neighbours and {self.rotating} that rotate")

    def is_full(self, count: int) -> bool:
        """Whether every one of `count` nodes tests all others in each round."""
        return count <= self.full_mesh_limit or count <= self.neighbours + 1

    def rounds_to_meet(self, count: int) -> int:
        """In how many rounds in a row each of `count` nodes tests each other one at least once, if none come or go.

        It is the same for counts that differ little, so that a cycle outlasts a node that joins or leaves.
        """
        if self.is_full(count):
            return 1
        step = max(1, (1 << count.bit_length() - 1) // _STEPS)
        return ceil((ceil(count / step) * step - 1 - self.neighbours) / self.rotating)

    def targets(self, own: str, nodes: Collection[str], round_number: int) -> list[str]:
        """Whom the node `own` tests in this round, sorted; never itself, and all others when the mesh is full.

        In one round every node is the target of as many others, if all have the same `nodes` and round number. A node
        that joins or leaves changes one neighbour of `neighbours` nodes, and of the rotating sets two targets at most.
        """
        others = {*nodes} - {own}
        count = len(others) + 1
        if self.is_full(count):
            return sorted(others)
        here = _place(own)
        places = sorted(map(_place, others))
        first = next((at for at, place in enumerate(places) if place > here), 0)
        ring = [name for _, name in (*places[first:], *places[:first])]
        rest = ring[self.neighbours :]
        rounds = self.rounds_to_meet(count)
        turn = round_number % rounds
        begin, end = (len(rest) * each // rounds for each in (turn, turn + 1))
        return sorted((*ring[: self.neighbours], *rest[begin:end]))


def targets(
    own: str, nodes: Collection[str], round_number: int, full_mesh_limit: int = 200, neighbours: int = 10
) -> list[str]:
    """`Mesh.targets` of a mesh whose rotating set is as large as that of the neighbours, and never empty."""
    return Mesh(full_mesh_limit, neighbours, max(1, neighbours)).targets(own, nodes, round_number)


def _place(name: str) -> tuple[bytes, str]:
    return blake2b(name.encode(), digest_size=8).digest(), name


@dataclass
class Coverage:
    """When a node last tested each of the others; as many entries as there are targets. Times are monotonic seconds."""

    targets: frozenset[str] = frozenset()
    since: dict[str, float] = field(default_factory=dict)
    _tested: "OrderedDict[str, float]" = field(default_factory=OrderedDict)  # the longest ago first

    def expect(self, targets: Iterable[str], now: float) -> None:
        """These are all the others from now on; what is known of those that left is forgotten."""
        self.targets = frozenset(targets)
        self.since = {target: self.since.get(target, now) for target in self.targets}
        for gone in self._tested.keys() - self.targets:
            del self._tested[gone]

    def tested(self, targets: Iterable[str], now: float) -> None:
        """They gave a result just now; `now` never goes back."""
        for target in targets:
            if target in self.targets:
                self._tested[target] = now
                self._tested.move_to_end(target)

    def share(self, now: float, within: float) -> float:
        """The share of the others that were tested in the last `within` seconds; 0 without any."""
        stale = 0
        for at in self._tested.values():
            if now - at <= within:
                break
            stale += 1
        return (len(self._tested) - stale) / len(self.targets) if self.targets else 0.0

    def oldest(self, now: float) -> "float | None":
        """Seconds since the pair that waits longest was tested, or became known; None without others."""
        waiting = [self.since[target] for target in self.targets - self._tested.keys()]
        first = next(iter(self._tested.values()), None)
        begun = min(waiting if first is None else (*waiting, first), default=None)
        return None if begun is None else now - begun
