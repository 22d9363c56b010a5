"""A verdict: one cause, what it concerns, and a sentence for an operator."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal[
    "down", "inbound", "outbound", "partial", "link", "one-way", "partition", "all", "scattered",
    "port", "icmp", "loss", "service", "dns", "unknown",
]  # fmt: skip
State = Literal["healthy", "broken", "unknown"]

UNKNOWN: Kind = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The cause of some of the failures (docs/verdicts.md lists the kinds).

    `layer` is host, pod or service; `protocol` icmp or tcp where only one of them is concerned. What it concerns is
    in `nodes`, `links` (two names; in a one-way link the source first) or `sets` (of a partition); all are empty where
    it concerns everything. `service` is a service's name. `share` of the `tests` that it explains failed.
    """

    kind: Kind
    layer: str
    text: str
    protocol: str = ""
    nodes: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    sets: tuple[tuple[str, ...], ...] = ()
    service: str = ""
    share: float = 1.0
    tests: int = 0

    def as_json(self) -> dict[str, Any]:
        """The fields by their names; tuples become lists in JSON."""
        return asdict(self)


def state(found: Iterable[Verdict]) -> State:
    """What the verdicts come to: broken, else unknown when too little was measured, else healthy."""
    kinds = {verdict.kind for verdict in found}
    if kinds - {UNKNOWN}:
        return "broken"
    return "unknown" if kinds else "healthy"
