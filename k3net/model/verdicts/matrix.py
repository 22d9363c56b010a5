"""Matrices of results, and the layers they make up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from k3net.model.verdicts.bits import transposed
from k3net.model.verdicts.picture import Picture

PROTOCOLS = ("icmp", "tcp")


class Matrix:
    """Which cells (source, target) were measured, and which of them failed; masks a source, none of itself."""

    def __init__(self, measured: Sequence[int], failed: Sequence[int]):
        self.measured = measured
        self.failed = failed

    @classmethod
    def of(cls, picture: Picture) -> "Matrix":
        """The matrix of a picture."""
        return cls(
            [mask & ~(1 << own) for own, mask in enumerate(picture.measured)],
            [mask & ~(1 << own) for own, mask in enumerate(picture.failed)],
        )

    @cached_property
    def measured_by_target(self) -> list[int]:
        """Masks of sources."""
        return transposed(self.measured)

    @cached_property
    def failed_by_target(self) -> list[int]:
        """Masks of sources."""
        return transposed(self.failed)

    @cached_property
    def tests(self) -> int:
        return sum(mask.bit_count() for mask in self.measured)

    @cached_property
    def failures(self) -> int:
        return sum(mask.bit_count() for mask in self.failed)

    def without(self, cells: Sequence[int]) -> "Matrix":
        """As if the `cells` had not been measured."""
        return Matrix(
            [mask & ~gone for mask, gone in zip(self.measured, cells, strict=True)],
            [mask & ~gone for mask, gone in zip(self.failed, cells, strict=True)],
        )

    def within(self, cells: Sequence[int]) -> tuple[int, int]:
        """How many of the `cells` were measured, and how many failed."""
        tests = sum((mask & wanted).bit_count() for mask, wanted in zip(self.measured, cells, strict=True))
        return tests, sum((mask & wanted).bit_count() for mask, wanted in zip(self.failed, cells, strict=True))


@dataclass(frozen=True)
class Layer:
    """One layer of one round: `path` fails where no protocol passes; `by_protocol` are its parts, "" for a whole."""

    path: Matrix
    by_protocol: Mapping[str, Matrix]

    def without(self, cells: Sequence[int]) -> "Layer":
        return layer_of({name: matrix.without(cells) for name, matrix in self.by_protocol.items()})


def layer_of(by_protocol: Mapping[str, Matrix]) -> Layer:
    """The layer of one whole matrix, or of one for each protocol; at least one."""
    matrices = list(by_protocol.values())
    if len(matrices) == 1:
        return Layer(matrices[0], by_protocol)
    measured, failed = [], []
    for rows in zip(*(zip(each.measured, each.failed, strict=True) for each in matrices), strict=True):
        tested = passed = 0
        for tests, failures in rows:
            tested |= tests
            passed |= tests & ~failures
        measured.append(tested)
        failed.append(tested & ~passed)
    return Layer(Matrix(measured, failed), by_protocol)


def read_layer(pictures: Mapping[str, Picture], name: str) -> "Layer | None":
    """The layer `name` of a round's pictures, by protocol if it can be had; None when there is no picture of it."""
    parts = {each: Matrix.of(pictures[f"{name}/{each}"]) for each in PROTOCOLS if f"{name}/{each}" in pictures}
    if not parts and name in pictures:
        parts = {"": Matrix.of(pictures[name])}
    return layer_of(parts) if parts else None
