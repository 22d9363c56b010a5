"""One protocol that fails where the other one passes: a port that is closed, ICMP that is filtered."""

from collections.abc import Sequence
from dataclasses import dataclass

from k3net.model.verdicts.chance import BROKEN, broken
from k3net.model.verdicts.matrix import PROTOCOLS, Layer, Matrix

_LEAST = 3  # targets, to speak of all


@dataclass
class Ports:
    """Of one protocol: whether no target lets it in, else those (a mask) that do not, and sources it does not leave."""

    everything: bool = False
    targets: int = 0
    sources: int = 0
    tests: int = 0
    failed: int = 0

    def cells(self, count: int) -> list[int]:
        """The cells that fail because of it, a mask a source."""
        everybody = (1 << count) - 1
        return [everybody if self.everything or self.sources >> source & 1 else self.targets for source in range(count)]


def find_ports(layer: Layer) -> dict[str, Ports]:
    """What is closed, by protocol; nothing of a layer that was not measured by both protocols."""
    if len(layer.by_protocol) < len(PROTOCOLS):
        return {}
    found = {}
    for protocol, other in (PROTOCOLS, PROTOCOLS[::-1]):
        passing = layer.by_protocol[other]
        cells = [tests & ~failed for tests, failed in zip(passing.measured, passing.failed, strict=True)]
        own = layer.by_protocol[protocol]
        ports = _closed(
            Matrix(
                [mask & kept for mask, kept in zip(own.measured, cells, strict=True)],
                [mask & kept for mask, kept in zip(own.failed, cells, strict=True)],
            )
        )
        if ports.everything or ports.targets or ports.sources:
            found[protocol] = ports
    return found


def _closed(matrix: Matrix) -> Ports:
    if not matrix.failures:
        return Ports()
    tested = sum(1 for mask in matrix.measured_by_target if mask)
    if tested >= _LEAST and broken(matrix.tests, matrix.failures, 1):
        return Ports(everything=True, tests=matrix.tests, failed=matrix.failures)
    ports = Ports()
    ports.targets = _broken_rows(matrix.measured_by_target, matrix.failed_by_target)
    rest = matrix.without([ports.targets] * len(matrix.measured))
    ports.sources = _broken_rows(rest.measured, rest.failed)
    ports.tests, ports.failed = matrix.within(ports.cells(len(matrix.measured)))
    return ports


def _broken_rows(measured: Sequence[int], failed: Sequence[int]) -> int:
    found = 0
    for node, (tests, failures) in enumerate(zip(measured, failed, strict=True)):
        count = failures.bit_count()
        if count >= BROKEN * tests.bit_count() and broken(tests.bit_count(), count, len(measured)):
            found |= 1 << node
    return found
