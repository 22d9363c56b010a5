"""Pictures of who reaches whom: a bit mask a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Picture:
    """One layer, or one protocol of it: bit `i` of a mask is the node `nodes[i]`, `measured[s]` is that of source `s`.

    `measured` are the targets with a recent result, ok or failed; `failed` those of them that failed. A pair that
    could not be measured is in neither. A node's own bit is ignored. `loss` gives (packets sent, packets lost) of a
    (source, target) over the last rounds; pairs that lost nothing may be left out. ValueError when it does not fit.
    """

    nodes: tuple[str, ...]
    measured: tuple[int, ...]
    failed: tuple[int, ...]
    loss: Mapping[tuple[int, int], tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.nodes)
        if len(set(self.nodes)) != count:
            raise ValueError("a node stands twice in a picture")
        if len(self.measured) != count or len(self.failed) != count:
            raise ValueError(f"{count} nodes, but masks of {len(self.measured)} and {len(self.failed)} sources")
        for measured, failed in zip(self.measured, self.failed, strict=True):
            if measured < 0 or measured >> count:
                raise ValueError(f"a mask names a target beyond the {count} nodes")
            if failed & ~measured:
                raise ValueError("a target failed that was not measured")
        for (source, target), (sent, lost) in self.loss.items():
            if not (0 <= source < count and 0 <= target < count and 0 <= lost <= sent):
                raise ValueError(f"no pair of {count} nodes loses {lost} of {sent} packets from {source} to {target}")


@dataclass(frozen=True, slots=True)
class ServicePicture:
    """One service as each node sees it: masks of sources, bit `i` is `nodes[i]`.

    `resolved` and `connected` are (measured, failed): whether its name resolves, whether its TCP port opens. Where the
    name does not resolve, the connection is not measured. ValueError when it does not fit together.
    """

    nodes: tuple[str, ...]
    resolved: tuple[int, int]
    connected: tuple[int, int]

    def __post_init__(self) -> None:
        for measured, failed in (self.resolved, self.connected):
            if measured < 0 or measured >> len(self.nodes) or failed & ~measured:
                raise ValueError(f"a mask of a service does not fit {len(self.nodes)} nodes")


@dataclass(frozen=True, slots=True)
class Round:
    """What was measured in one round, as `verdicts` takes it: pictures by layer, services by name."""

    pictures: Mapping[str, Picture]
    services: Mapping[str, ServicePicture] = field(default_factory=dict)
