"""Pod CIDRs that more than one Node says."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from typing import NamedTuple

from k3net.model.cidr import Net
from k3net.model.node import POD_CIDR_CONFLICT, Node

_MOST_OTHERS = 8
_LAST = 8


class Said(NamedTuple):
    node: str
    net: Net


class Conflict(NamedTuple):
    """Of a Node's `net` that overlaps `other`, one of another Node."""

    net: Net
    other: Said

    def __str__(self) -> str:
        same = self.net == self.other.net
        whose = f"node {self.other.node}"
        return f"{self.net} is also {whose}'s" if same else f"{self.net} overlaps {self.other.net} of {whose}"


def conflicts(said: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[Conflict, ...]]:
    """The Nodes whose CIDRs overlap those of others, by name; of many others a few are told."""
    found: dict[str, list[Conflict]] = {}
    above: list[Said] = []
    for item in sorted(_read(said), key=_by_place):
        while above and not _holds(above[-1].net, item.net):
            above.pop()
        for other in above[-_LAST:]:
            if other.node != item.node:
                _note(found, item, other)
                _note(found, other, item)
        above.append(item)
    return {name: tuple(those) for name, those in found.items()}


class Conflicts:
    """The conflicts among the Nodes that are known; worked out anew when a CIDR has changed."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, ...]] = {}
        self._of: dict[str, tuple[Conflict, ...]] = {}
        self.pending = False

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[tuple[str, Conflict]]:
        """Each Node in conflict with the first other that it is in conflict with, by name."""
        return ((name, those[0]) for name, those in sorted(self._of.items()))

    def note(self, name: str, node: "Node | None") -> None:
        """This is what is stored of the Node now; None for nothing."""
        said = () if node is None else node.pod_cidrs
        if said != self._said.get(name, ()):
            self.pending = True
            if said:
                self._said[name] = said
            else:
                del self._said[name]

    def changed(self) -> frozenset[str]:
        """The Nodes that are in other conflicts than when this was last asked."""
        if not self.pending:
            return frozenset()
        before, self._of, self.pending = self._of, conflicts(self._said), False
        return frozenset(n for n in before.keys() | self._of.keys() if before.get(n) != self._of.get(n))

    def marked(self, want: Node, have: "Node | None") -> Node:
        """`want` with the condition PodCIDRConflict: that it is in one, or is not any more."""
        those = self._of.get(want.name)
        if those:
            told = {"status": "True", "reason": "PodCIDROverlap", "message": "; ".join(map(str, those))}
        elif have is not None and have.says(POD_CIDR_CONFLICT):
            told = {"status": "False", "reason": "PodCIDRUnique", "message": "no other node has it"}
        else:
            return want
        status = want.manifest["status"]
        conditions = [*status["conditions"], {"type": POD_CIDR_CONFLICT, **told}]
        return replace(want, manifest={**want.manifest, "status": {**status, "conditions": conditions}})


def _read(said: Mapping[str, tuple[str, ...]]) -> Iterator[Said]:
    for name, texts in said.items():
        for text in texts:
            try:
                yield Said(name, ip_network(text, strict=False))
            except ValueError:
                continue  # another program's word, and no network


def _by_place(item: Said) -> tuple[int, int, int, str]:
    """A network comes before all that lie in it."""
    return item.net.version, int(item.net.network_address), item.net.prefixlen, item.node


def _holds(outer: Net, inner: Net) -> bool:
    return outer.version == inner.version and int(inner.network_address) <= int(outer.broadcast_address)


def _note(found: dict[str, list[Conflict]], mine: Said, other: Said) -> None:
    those = found.setdefault(mine.node, [])
    if len(those) < _MOST_OTHERS:
        those.append(Conflict(mine.net, other))
