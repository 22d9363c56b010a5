"""Services that nobody reaches, and names that do not resolve."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from k3net.model.verdicts.bits import bits
from k3net.model.verdicts.chance import broken
from k3net.model.verdicts.picture import ServicePicture

Services = Mapping[str, ServicePicture]
Counts = tuple[int, int]


@dataclass
class Failing:
    """Of resolution or of connection: services that fail for everybody, and nodes (masks) for which others fail."""

    everywhere: dict[str, Counts] = field(default_factory=dict)  # (tests, failures)
    nodes: dict[str, int] = field(default_factory=dict)
    counts: dict[str, Counts] = field(default_factory=dict)  # of those nodes, as in `everywhere`


def failing_names(rounds: Sequence[Services], able: int, sets: Sequence[int]) -> Failing:
    """Names that do not resolve; a node for which none of the other names does stands under ""."""
    found = Failing(_everywhere("resolved", rounds[0], able, sets))
    others = [name for name in sorted(rounds[0]) if name not in found.everywhere]
    _on_nodes(found, "", "resolved", others, rounds, able, sets)
    return found


def failing_connections(rounds: Sequence[Services], able: int, sets: Sequence[int]) -> Failing:
    """Services whose port does not open, though the name resolves."""
    found = Failing(_everywhere("connected", rounds[0], able, sets))
    for name in sorted(rounds[0]):
        if name not in found.everywhere:
            _on_nodes(found, name, "connected", [name], rounds, able, sets)
    return found


def _everywhere(what: str, services: Services, able: int, sets: Sequence[int]) -> dict[str, Counts]:
    found = {}
    for name in sorted(services):
        measured, failed = getattr(services[name], what)
        eligible = able & _served(measured, failed, sets)
        counts = ((measured & eligible).bit_count(), (failed & eligible).bit_count())
        if broken(*counts, 1):
            found[name] = counts
    return found


def _served(measured: int, failed: int, sets: Sequence[int]) -> int:
    """The nodes of the sets (of a partition) where it works; all when it works in none."""
    passing = 0
    for each in sets:
        tests, failures = (measured & each).bit_count(), (failed & each).bit_count()
        if tests and 2 * failures < tests:
            passing |= each
    return passing or ~0


def _on_nodes(
    found: Failing,
    key: str,
    what: str,
    names: Sequence[str],
    rounds: Sequence[Services],
    able: int,
    sets: Sequence[int],
) -> None:
    """Add the nodes for which the services `names` fail together, by the newest rounds that suffice."""
    seen = [[getattr(services[name], what) for name in names if name in services] for services in rounds[:1]]
    for services in rounds[1:]:
        over = _everywhere(what, services, able, sets)  # it is not now, and was nothing of the node's
        seen.append([getattr(services[name], what) for name in names if name in services and name not in over])
    for measured, failed in seen[0]:
        able &= _served(measured, failed, sets)
    suspects = 0
    for _, failed in (each for samples in seen[:2] for each in samples):
        suspects |= failed
    for node in bits(suspects & able):
        tests = failures = 0
        for samples in seen:
            tests += sum(measured >> node & 1 for measured, _ in samples)
            failures += sum(failed >> node & 1 for _, failed in samples)
            if broken(tests, failures, max(1, able.bit_count())):
                found.nodes[key] = found.nodes.get(key, 0) | 1 << node
                before = found.counts.get(key, (0, 0))
                found.counts[key] = (before[0] + tests, before[1] + failures)
                break
