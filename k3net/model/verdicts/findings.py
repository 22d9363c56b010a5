"""What the rounds of one layer come to, the large shapes first; each explains its failures away for the next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from k3net.model.verdicts.links import Links, Pair, find_links
from k3net.model.verdicts.loss import Loss, find_loss
from k3net.model.verdicts.matrix import PROTOCOLS, Layer, Matrix, layer_of
from k3net.model.verdicts.ports import Ports, find_ports
from k3net.model.verdicts.shape import Shape, shape_of


@dataclass(frozen=True)
class Findings:
    """Of one layer. `path` is its newest matrix without what is known from below, `rest` that without shape and links.

    `protocol_links` are links that only one protocol does not pass. `cells`, a mask a source, and `loss` are what the
    layer above need not tell again.
    """

    path: Matrix
    rest: Matrix
    shape: Shape
    links: Links
    ports: Mapping[str, Ports]
    protocol_links: Mapping[str, Links]
    loss: Loss
    cells: Sequence[int]


def find(
    rounds: Sequence[Layer],
    *,
    other: Sequence[Layer] = (),
    counts: Mapping[Pair, Pair],
    beneath: "Findings | None" = None,
) -> Findings:
    """The findings of a layer's `rounds`, newest first, with the (sent, lost) `counts` of its pairs.

    `beneath` are the findings of the layer below; without them `other` are the rounds of the layer above.
    """
    if beneath:
        rounds = [layer.without(beneath.cells) for layer in rounds]
    rounds = [rounds[0], *map(_past, rounds[1:])]
    path = rounds[0].path
    size = len(path.measured)
    shape = shape_of(path)
    if any(shape.explained):
        rounds = [layer.without(shape.explained) for layer in rounds]
    ports = find_ports(rounds[0])
    closed = {protocol: found.cells(size) for protocol, found in ports.items()}
    samples = [_samples(layer, closed) for layer in rounds]
    along = [] if beneath else _along(other, shape)
    links = find_links([list(each.values()) for each in samples], along)
    dead = {*links.both, *((min(pair), max(pair)) for pair in links.one_way)}
    protocol_links = {}
    if len(rounds[0].by_protocol) == len(PROTOCOLS):
        for protocol in PROTOCOLS:
            protocol_links[protocol] = find_links([[each[protocol]] for each in samples], skip=dead)
    cells = links.cells(size)
    known = beneath.loss if beneath else Loss()
    rest = rounds[0].path.without(cells)
    return Findings(
        path=path,
        rest=rest,
        shape=shape,
        links=links,
        ports=ports,
        protocol_links=protocol_links,
        loss=Loss() if known.everything else find_loss(counts, rest, dead | set(known.links), known.nodes),
        cells=[large | small for large, small in zip(shape.explained, cells, strict=True)],
    )


def _past(layer: Layer) -> Layer:
    """An older round without what was larger than a link then: the newest one tells of it, or it is over."""
    layer = layer.without(shape_of(layer.path).explained)
    size = len(layer.path.measured)
    return layer_of(_samples(layer, {protocol: found.cells(size) for protocol, found in find_ports(layer).items()}))


def _along(other: Sequence[Layer], shape: Shape) -> list[list[Matrix]]:
    """The matrices of the other layer without what is larger than a link, its own or of `shape`."""
    if not other:
        return []
    cells = [own | its for own, its in zip(shape.explained, shape_of(other[0].path).explained, strict=True)]
    return [list(layer.without(cells).by_protocol.values()) for layer in other]


def _samples(layer: Layer, closed: Mapping[str, Sequence[int]]) -> dict[str, Matrix]:
    """The matrices of a layer without the ports that are closed."""
    return {
        protocol: matrix.without(closed[protocol]) if protocol in closed else matrix
        for protocol, matrix in layer.by_protocol.items()
    }


def inherited(findings: Findings, above: Layer) -> Findings:
    """The findings without what does not keep the layer `above` from passing, as a firewall on a host does not."""
    tests, failed = above.path.within(findings.cells)
    if 2 * failed > tests:
        shape = findings.shape.without(_standing(findings.shape, above.path))
    else:
        shape = Shape.of(len(findings.cells))
    links = findings.links.cells(len(findings.cells))
    cells = [large | small for large, small in zip(shape.explained, links, strict=True)]
    return replace(findings, cells=cells)


def _standing(shape: Shape, above: Matrix) -> int:
    """The nodes of the shape that are reached above, or reach others there, as if they were not in it."""
    standing = 0
    for node in range(len(shape.explained)):
        if shape.nodes >> node & 1:
            tests = above.measured[node].bit_count() + above.measured_by_target[node].bit_count()
            failed = above.failed[node].bit_count() + above.failed_by_target[node].bit_count()
            wanted = 4 if shape.down >> node & 1 else 8  # a way that is closed fails half of the tests
            standing |= (wanted * failed <= tests and tests > 0) << node
    return standing
