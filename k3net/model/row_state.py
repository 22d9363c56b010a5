"""All that a row of the matrix knows, as a value: to keep it, and to go on from it where bits mean other targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

_MOST_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class RowState:
    """`measured` and `failed` are masks by protocol and age, `parts` (found at, targets, seconds, tests) by report.

    `strangers` are (tests, failures) of targets without a bit; `loss` gives (sent, lost) by age, the last one last.
    """

    at: float
    measured: Sequence[Sequence[int]]
    failed: Sequence[Sequence[int]]
    parts: "Sequence[tuple[float, int, float, int]]"
    strangers: tuple[int, int]
    strangers_seconds: float
    loss: "Mapping[int, Sequence[tuple[int, int]]]"

    def moved(self, move: Callable[[int], int]) -> "RowState":
        """Each target at its new bit; those without one are left out, and their share of what parts sum up."""
        parts = []
        for at, targets, seconds, tests in self.parts:
            left = move(targets)
            if left:
                share = left.bit_count() / targets.bit_count()
                parts.append((at, left, seconds * share, round(tests * share)))
        return replace(
            self,
            measured=tuple(tuple(map(move, masks)) for masks in self.measured),
            failed=tuple(tuple(map(move, masks)) for masks in self.failed),
            parts=tuple(parts),
            loss={new.bit_length() - 1: results for bit, results in self.loss.items() if (new := move(1 << bit))},
        )


def mover(places: "Mapping[int, int]") -> Callable[[int], int]:
    """What gives a mask its new bits: `places` has the new one of each old one that is kept."""
    size = max(places, default=-1) + 1
    kept = sum(1 << bit for bit in places)
    if all(old == new for old, new in places.items()):
        return lambda mask: mask & kept
    origin = {new: old for old, new in places.items()}
    order = [origin.get(bit, size) for bit in range(max(origin) + 1)]
    pick = itemgetter(*reversed(order), size)
    remembered: dict[int, int] = {0: 0}

    def move(mask: int) -> int:
        if mask not in remembered:
            if len(remembered) >= _MOST_REMEMBERED:
                remembered.clear()
            digits = f"{mask & kept:0{size}b}"[::-1] + "0"
            remembered[mask] = int("".join(pick(digits))[:-1], 2)
        return remembered[mask]

    return move
