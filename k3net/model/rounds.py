"""From rows of marks to the rounds that verdicts are read from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress

from k3net.model.matrix import Marks
from k3net.model.verdict import ROUNDS, Picture, Round, ServicePicture

_PROTOCOLS = ("icmp", "tcp")
_Squeeze = Callable[[int], int]


@dataclass(frozen=True, slots=True)
class ServiceFinding:
    """One source's test of a service: each True, False, or None when it was not measured."""

    service: str
    resolved: bool | None
    connected: bool | None
    seconds: float = 0.0

    @property
    def ok(self) -> "bool | None":
        """The name resolves and the port opens (ClusterIPs often answer no ICMP)."""
        return False if self.resolved is False else self.connected


def rounds(
    nodes: Sequence["str | None"],
    layers: Mapping[str, Sequence["Marks | None"]],
    services: Sequence[Sequence[ServiceFinding]] = (),
) -> "tuple[Round, ...]":
    """The last round and those before it, newest first, as `verdicts` takes them.

    Bit `i`, and place `i` in each list, are the node `nodes[i]`; None is a bit that nobody has. `layers` are the marks
    of each source, None where it has none; `services` its findings, the last first.
    """
    names = tuple(name for name in nodes if name is not None)
    squeeze = _squeeze(nodes)
    kept = {
        layer: [marks for name, marks in zip(nodes, rows, strict=True) if name is not None]
        for layer, rows in layers.items()
    }
    told = [findings for name, findings in zip(nodes, services, strict=False) if name is not None]
    found = []
    for age in range(ROUNDS):
        pictures = {
            f"{layer}/{protocol}": picture
            for layer, rows in kept.items()
            for at, protocol in enumerate(_PROTOCOLS)
            if (picture := _picture(names, rows, at, age, squeeze, nodes)) is not None
        }
        seen = _services(names, [findings[age] if age < len(findings) else None for findings in told])
        if not (pictures or seen):
            if age:
                break
            pictures = {"host": _nothing(names)} if names else {}
        found.append(Round(pictures, seen))
    return tuple(found)


def _squeeze(nodes: Sequence["str | None"]) -> _Squeeze:
    """A function that takes the bits nobody has out of a mask."""
    size = len(nodes)
    taken = [name is not None for name in nodes]
    if all(taken):
        whole = (1 << size) - 1
        return lambda mask: mask & whole
    highest_first = taken[::-1]
    whole = (1 << size) - 1
    return lambda mask: int("".join(compress(f"{mask & whole:0{size}b}", highest_first)) or "0", 2)


def _picture(
    names: tuple[str, ...],
    rows: Sequence["Marks | None"],
    protocol: int,
    age: int,
    squeeze: _Squeeze,
    nodes: Sequence["str | None"],
) -> "Picture | None":
    if not any(row is not None and row.measured[protocol][age] for row in rows):
        return None
    loss = {}
    if age == protocol == 0:
        place = {bit: at for at, bit in enumerate(bit for bit, name in enumerate(nodes) if name is not None)}
        loss = {
            (source, place[bit]): told
            for source, row in enumerate(rows)
            if row is not None
            for bit, told in row.loss.items()
            if bit in place
        }
    return Picture(
        names,
        tuple(0 if row is None else squeeze(row.measured[protocol][age]) for row in rows),
        tuple(0 if row is None else squeeze(row.failed[protocol][age]) for row in rows),
        loss,
    )


def _nothing(names: tuple[str, ...]) -> Picture:
    """There are these nodes, and no test of them."""
    none = (0,) * len(names)
    return Picture(names, none, none)


def _services(names: tuple[str, ...], findings: Sequence["ServiceFinding | None"]) -> "dict[str, ServicePicture]":
    masks: dict[str, list[int]] = {}
    for bit, finding in enumerate(findings):
        if finding is None:
            continue
        of = masks.setdefault(finding.service, [0, 0, 0, 0])
        connected = None if finding.resolved is False else finding.connected
        for at, word in ((0, finding.resolved), (2, connected)):
            if word is not None:
                of[at] |= 1 << bit
                of[at + 1] |= 0 if word else 1 << bit
    return {name: ServicePicture(names, (of[0], of[1]), (of[2], of[3])) for name, of in masks.items()}
