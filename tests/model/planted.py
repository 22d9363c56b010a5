"""Matrices with planted faults and noise, and the verdicts that name the faults."""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from random import Random

from k3net.model.verdict import ROUNDS, Picture, Round, ServicePicture, Verdict

LAYERS = ("host", "pod")
PROTOCOLS = ("icmp", "tcp")
SERVICE = "web"
PACKETS = 45
Named = tuple[str, str, str, tuple[str, ...], tuple[tuple[str, str], ...], tuple[tuple[str, ...], ...]]

NODE_KINDS = ("down", "silent", "inbound", "outbound")
KINDS = (
    *(f"{layer} {kind}" for layer in LAYERS for kind in ("down", "inbound", "outbound", "link", "partition", "all")),
    *(f"{layer} {kind}" for layer in LAYERS for kind in ("port", "port all", "icmp", "icmp all")),
    *("host silent", "host one-way", "host three sets", "host loss", "host loss node", "host loss all"),
    *("service dead", "service node", "dns dead", "dns node"),
)


@dataclass
class World:
    """What truly fails: masks a source by (layer, protocol), lossy pairs, and nodes for which services fail."""

    nodes: tuple[str, ...]
    random: Random
    everybody: int = field(init=False)
    failing: dict[tuple[str, str], list[int]] = field(init=False)
    silent: int = 0
    lossy: dict[tuple[int, int], float] = field(default_factory=dict)
    unresolved: int = 0
    unconnected: int = 0

    def __post_init__(self) -> None:
        self.everybody = (1 << len(self.nodes)) - 1
        self.failing = {(layer, protocol): [0] * len(self.nodes) for layer in LAYERS for protocol in PROTOCOLS}

    def fail(self, layer: str, source: int, targets: int, protocols: Collection[str] = PROTOCOLS) -> None:
        """What the hosts do not pass, their pods do not either; a port or ICMP is each layer's own."""
        above = LAYERS if layer == "host" and len(protocols) > 1 else (layer,)
        for each in above:
            for protocol in protocols:
                self.failing[each, protocol][source] |= targets

    def fail_into(self, layer: str, target: int, protocols: Collection[str] = PROTOCOLS) -> None:
        for source in range(len(self.nodes)):
            self.fail(layer, source, 1 << target, protocols)

    def round(self, noise: float, measured: "list[int] | None" = None) -> Round:
        """One round of results, of which the share `noise` is false."""
        count = len(self.nodes)
        rows = measured or [self.everybody & ~(1 << node) for node in range(count)]
        rows = [0 if self.silent >> node & 1 else row for node, row in enumerate(rows)]
        loss = self.losses(rows)
        pictures = {}
        for (layer, protocol), failing in self.failing.items():
            noisy = self.noise(noise)
            failed = [(mask ^ false) & row for mask, false, row in zip(failing, noisy, rows, strict=True)]
            pictures[f"{layer}/{protocol}"] = Picture(self.nodes, tuple(rows), tuple(failed), loss)
        sources = self.everybody & ~self.silent
        false = self.noise(noise, rows=2)
        unresolved = (self.unresolved ^ false[0]) & sources
        connecting = sources & ~unresolved
        unconnected = (self.unconnected ^ false[1]) & connecting
        service = ServicePicture(self.nodes, (sources, unresolved), (connecting, unconnected))
        return Round(pictures, {SERVICE: service})

    def noise(self, share: float, rows: "int | None" = None) -> list[int]:
        """Masks with each bit set by that chance."""
        count = len(self.nodes)
        masks = [0] * (rows or count)
        at = self.skip(share)
        while at < count * len(masks):
            masks[at // count] |= 1 << at % count
            at += 1 + self.skip(share)
        return masks

    def skip(self, share: float) -> int:
        return int(math.log(1 - self.random.random()) / math.log(1 - share)) if share else 1 << 62

    def losses(self, rows: list[int]) -> dict[tuple[int, int], tuple[int, int]]:
        """One packet lost here and there, and those of the lossy pairs."""
        count = len(rows)
        counts = {}
        for source, mask in enumerate(self.noise(0.05)):
            for target in range(count):
                if mask & rows[source] & 1 << target:
                    counts[source, target] = (PACKETS, 1)
        for (source, target), share in self.lossy.items():
            if rows[source] >> target & 1:
                counts[source, target] = (PACKETS, sum(self.random.random() < share for _ in range(PACKETS)))
        return counts


def plant(world: World, kind: str, nodes: Iterator[int]) -> Named:
    """Let a fault of `kind` befall the next of `nodes`, and give what `named` makes of its verdict."""
    layer, _, what = kind.partition(" ")
    if what in NODE_KINDS:
        return cut_off(world, layer, what, next(nodes))
    if what in ("link", "one-way"):
        return cut(world, layer, what, next(nodes), next(nodes))
    if what in ("partition", "three sets"):
        return parted(world, layer, 2 if what == "partition" else 3)
    if what.startswith("loss"):
        return losing(world, what, nodes)
    if layer in LAYERS:
        return closed(world, layer, what, nodes)
    mask = world.everybody if what == "dead" else 1 << next(nodes)
    if layer == "dns":
        world.unresolved |= mask
    else:
        world.unconnected |= mask
    return name(layer, "service", nodes=[] if what == "dead" else [world.nodes[mask.bit_length() - 1]])


def cut_off(world: World, layer: str, what: str, node: int) -> Named:
    if what != "outbound":
        world.fail_into(layer, node)
    if what != "inbound":
        world.fail(layer, node, world.everybody)
    world.silent |= (what == "silent") << node
    return name("down" if what == "silent" else what, layer, nodes=[world.nodes[node]])


def cut(world: World, layer: str, what: str, one: int, two: int) -> Named:
    world.fail(layer, one, 1 << two)
    pair = (world.nodes[one], world.nodes[two])
    if what == "link":
        world.fail(layer, two, 1 << one)
        pair = (min(pair), max(pair))
    return name(what, layer, links=[pair])


def closed(world: World, layer: str, what: str, nodes: Iterator[int]) -> Named:
    """All, or a port or ICMP of the next node or of all."""
    if what == "all":
        for source in range(len(world.nodes)):
            world.fail(layer, source, world.everybody)
        return name("all", layer)
    kind, _, everywhere = what.partition(" ")
    protocol = "tcp" if kind == "port" else "icmp"
    concerned = [*range(len(world.nodes))] if everywhere else [next(nodes)]
    for node in concerned:
        world.fail_into(layer, node, (protocol,))
    return name(kind, layer, protocol, nodes=[] if everywhere else [world.nodes[concerned[0]]])


def parted(world: World, layer: str, parts: int) -> Named:
    order = list(range(len(world.nodes)))
    world.random.shuffle(order)
    cuts = sorted(world.random.sample(range(3, len(order) - 2, 3), parts - 1))
    sets = [order[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    for each in sets:
        others = sum(1 << node for node in order if node not in each)
        for node in each:
            world.fail(layer, node, others)
    named = sorted((tuple(sorted(world.nodes[node] for node in each)) for each in sets), key=lambda s: (-len(s), s))
    return name("partition", layer, sets=named)


def losing(world: World, what: str, nodes: Iterator[int]) -> Named:
    everybody = range(len(world.nodes))
    if what == "loss":
        one, two = sorted((next(nodes), next(nodes)))
        pairs = [(one, two), (two, one)]
        named = name("loss", "host", links=[(min(pair), max(pair)) for pair in [(world.nodes[one], world.nodes[two])]])
    elif what == "loss node":
        node = next(nodes)
        pairs = [pair for other in everybody if other != node for pair in ((node, other), (other, node))]
        named = name("loss", "host", nodes=[world.nodes[node]])
    else:
        pairs = [(one, two) for one in everybody for two in everybody if one != two]
        named = name("loss", "host")
    world.lossy.update(dict.fromkeys(pairs, 0.2))
    return named


def name(kind, layer, protocol="", nodes=(), links=(), sets=()) -> Named:
    return (kind, layer, protocol, tuple(nodes), tuple(links), tuple(sets))


def named(verdict: Verdict) -> Named:
    """What of a verdict is compared."""
    return name(verdict.kind, verdict.layer, verdict.protocol, verdict.nodes, verdict.links, verdict.sets)


def together(faults: Collection[Named]) -> set[Named]:
    """Faults of a kind that concern nodes, or links, are one verdict."""
    merged: dict[tuple[object, ...], Named] = {}
    for each in faults:
        key = (*each[:3], bool(each[3]), bool(each[4]))
        have = merged.get(key, name(*each[:3]))
        nodes, links = tuple(sorted({*have[3], *each[3]})), tuple(sorted({*have[4], *each[4]}))
        merged[key] = (*each[:3], nodes, links, each[5])
    hosts, pods = (
        {node for each in merged.values() if each[0] == "down" and each[1] in layers for node in each[3]}
        for layers in (("host",), LAYERS)
    )
    return {without(each, hosts if each[1] == "host" else pods) for each in merged.values()}


def without(fault: Named, down: Collection[str]) -> Named:
    """A node that is down is in no set of a partition."""
    sets = (tuple(node for node in each if node not in down) for each in fault[5])
    return (*fault[:5], tuple(sorted(sets, key=lambda names: (-len(names), names))))


def hides(one: str, other: str) -> bool:
    """Whether one of the two faults leaves nothing to be seen of the other."""
    if one > other:
        one, other = other, one
    kinds = {one, other}
    wide = {each for each in kinds if each.endswith((" all", " dead", " partition", " three sets"))}
    if "host all" in kinds or (one == other and wide):
        return True
    layer, above = one.split()[0], other.split()[0]
    if "pod all" in kinds and (layer, above) != ("host", "pod"):
        return True
    if all(each.endswith((" partition", " three sets")) for each in kinds):
        return True
    if all(each.startswith(("service", "dns")) for each in kinds) and wide:
        return True
    if wide and layer == above and {one.split()[1], other.split()[1]} <= {"port", "icmp"}:
        return True
    lossy = any("loss" in each for each in kinds)
    return lossy and ("host icmp all" in kinds or (bool(wide) and all("loss" in each for each in kinds)))


def planted(
    kinds: Collection[str],
    random: Random,
    *,
    count: int = 50,
    noise: float = 0.01,
    measured: "list[list[int]] | None" = None,
) -> tuple[list[Round], set[Named]]:
    """Rounds of `count` nodes with faults of these kinds, and the verdicts that name them.

    `measured` are the targets of each source, by round; all when it is None.
    """
    nodes = tuple(f"n{number:03}" for number in range(count))
    world = World(nodes, random)
    free = list(range(count))
    random.shuffle(free)
    faults = []
    for kind in sorted(kinds, key=lambda each: not each.endswith(("partition", "three sets"))):
        faults.append(plant(world, kind, iter(free)))
        if faults[-1][5]:  # further faults stay within one set
            free = [node for node in free if nodes[node] in faults[-1][5][0]]
        touched = {each for fault in faults for each in (*fault[3], *(end for link in fault[4] for end in link))}
        free = [node for node in free if nodes[node] not in touched]
    return [world.round(noise, measured[age] if measured else None) for age in range(ROUNDS)], together(faults)


def some_kinds(random: Random) -> list[str]:
    """One kind of fault, or two that can be told apart."""
    while True:
        kinds = [random.choice(KINDS) for _ in range(random.choice((1, 2)))]
        if len(kinds) == 1 or not hides(*kinds):
            return kinds
