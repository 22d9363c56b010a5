"""What to write: the steps that make the store say what is observed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from k3net.model.node import Node


@dataclass(frozen=True)
class Create:
    """Store this Node, only if there is none of its name."""

    node: Node

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True)
class Update:
    """Store this Node, only if the stored one is managed and still the one that `planned_against` names."""

    node: Node
    planned_against: str

    @property
    def name(self) -> str:
        return self.node.name


@dataclass(frozen=True)
class Heartbeat:
    """Bring forward the heartbeat of a Node that another manages, only if the stored one is still that of
    `planned_against`; a `node` that differs in anything else is refused by every store (spec/2-consul.md)."""

    node: Node
    planned_against: str

    @property
    def name(self) -> str:
        return self.node.name


Step = Create | Update | Heartbeat


def plan(
    desired: Mapping[str, Node], stored: Mapping[str, Node], now: float, *, report_every: float = 60.0
) -> Iterator[Step]:
    """Yield the steps that make `stored` say what is desired; Nodes that others manage get none.

    `now` is wall-clock seconds. A Node that says the same is written again only while its machine is seen, when its
    heartbeat is `report_every` old, or lies further in the future than that (another machine's clock). Of a Node that
    another manages the heartbeat is brought forward, if Consul vouches for the machine and it is `report_every` old.
    """
    for name, want in desired.items():
        have = stored.get(name)
        if have is None:
            yield Create(want.stamped(now))
        elif have.managed:
            new = want.carrying(have)
            if new.manifest != have.manifest or _due(want, have, now, report_every):
                yield Update(new.stamped(now), planned_against=have.version)
        elif want.beats and _due(want, have, now, report_every):
            beating = have.beating(now)
            if beating is not None:
                yield Heartbeat(beating, planned_against=have.version)


def _due(want: Node, have: Node, now: float, report_every: float) -> bool:
    """Whether to report that a machine is still there; one that stays silent is not reported again and again."""
    beat = have.ready.last_heartbeat
    return want.live and (beat is None or not -report_every < now - beat < report_every)
