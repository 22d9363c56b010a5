"""Findings as verdicts."""

from collections.abc import Sequence

from k3net.model.verdicts.bits import bits
from k3net.model.verdicts.chance import LOSSY, NOISE, beyond
from k3net.model.verdicts.findings import Findings
from k3net.model.verdicts.links import Links, Pair
from k3net.model.verdicts.matrix import PROTOCOLS, Layer
from k3net.model.verdicts.ports import Ports
from k3net.model.verdicts.shape import Shape
from k3net.model.verdicts.verdict import Kind, Verdict
from k3net.model.verdicts.words import Words

_FINE = 0.25


class Telling:
    """Tells the findings of one layer; `other` is the newest round of the other one, which sets the causes apart."""

    def __init__(self, layer: str, nodes: Sequence[str], port: int, other: "Layer | None"):
        self._layer = layer
        self._nodes = nodes
        self._words = Words(layer, port)
        self._other = other

    def tell(self, found: Findings) -> list[Verdict]:
        """The verdicts, what concerns most first."""
        told = [*self._shape(found), *self._links("", found.links), *self._scattered(found)]
        for protocol in PROTOCOLS[::-1]:
            if protocol in found.ports:
                told += self._ports(protocol, found.ports[protocol])
            if protocol in found.protocol_links:
                told += self._links(protocol, found.protocol_links[protocol])
        return [*told, *self._loss(found)]

    def _passes(self, cells: Sequence[int]) -> "bool | None":
        """Whether the other layer passes in these cells; None when it was not measured."""
        if self._other is None:
            return None
        tests, failed = self._other.path.within(cells)
        return failed <= _FINE * tests if tests else None

    def _names(self, mask: int) -> tuple[str, ...]:
        return tuple(sorted(self._nodes[node] for node in bits(mask)))

    def _pairs(self, links: Sequence[Pair], *, ordered: bool = False) -> tuple[tuple[str, str], ...]:
        named = [(self._nodes[one], self._nodes[two]) for one, two in links]
        return tuple(sorted(pair if ordered or pair[0] < pair[1] else pair[::-1] for pair in named))

    def _verdict(self, kind: Kind, text: str, counts: Pair, **fields: object) -> Verdict:
        tests, failed = counts
        share = round(failed / tests, 4) if tests else 1.0
        return Verdict(kind, self._layer, text, share=share, tests=tests, **fields)  # type: ignore[arg-type]

    def _shape(self, found: Findings) -> list[Verdict]:
        shape, path, words = found.shape, found.path, self._words
        if shape.everything:
            text = words.everything(self._passes(shape.explained))
            return [self._verdict("all", text, path.within(shape.explained))]
        told = []
        if shape.sets:
            cells = shape.between_sets()
            sets = tuple(sorted((self._names(each) for each in shape.sets), key=lambda names: (-len(names), names)))
            text = words.partition(sets, self._passes(cells))
            told.append(self._verdict("partition", text, path.within(cells), sets=sets))
        for kind, concerned in (
            ("down", Shape.of(len(self._nodes), down=shape.down)),
            ("inbound", Shape.of(len(self._nodes), inbound=shape.inbound)),
            ("outbound", Shape.of(len(self._nodes), outbound=shape.outbound)),
            ("partial", Shape.of(len(self._nodes), partial=shape.partial)),
        ):
            if not concerned.nodes:
                continue
            names, counts = self._names(concerned.nodes), path.within(concerned.explained)
            if kind == "partial":
                text = words.partial(names, counts[1] / counts[0])
            else:
                text = getattr(words, kind)(names, self._passes(concerned.explained))
            told.append(self._verdict(kind, text, counts, nodes=names))  # type: ignore[arg-type]
        return told

    def _links(self, protocol: str, links: Links) -> list[Verdict]:
        told = []
        if links.both:
            pairs = self._pairs(links.both)
            beneath = self._passes(Links(links.both).cells(len(self._nodes)))
            text = self._words.links(pairs, protocol, links.half, beneath)
            told.append(self._verdict("link", text, links.total(links.both), links=pairs, protocol=protocol))
        if links.one_way:
            pairs = self._pairs(links.one_way, ordered=True)
            text = self._words.one_way(pairs, protocol)
            told.append(self._verdict("one-way", text, links.total(links.one_way), links=pairs, protocol=protocol))
        return told

    def _scattered(self, found: Findings) -> list[Verdict]:
        tests, failed = found.rest.tests, found.rest.failures
        if failed < LOSSY * tests or not beyond(tests, failed, NOISE, 1):
            return []
        return [self._verdict("scattered", self._words.scattered(failed / tests), (tests, failed))]

    def _ports(self, protocol: str, ports: Ports) -> list[Verdict]:
        told = []
        counts = (ports.tests, ports.failed)
        if ports.everything or ports.targets:
            names = self._names(ports.targets)
            kind: Kind = "port" if protocol == "tcp" else "icmp"
            text = self._words.port(names) if protocol == "tcp" else self._words.icmp(names)
            told.append(self._verdict(kind, text, counts, nodes=names, protocol=protocol))
        if ports.sources:
            names = self._names(ports.sources)
            text = self._words.protocol_out(names, protocol)
            told.append(self._verdict("outbound", text, counts, nodes=names, protocol=protocol))
        return told

    def _loss(self, found: Findings) -> list[Verdict]:
        loss, told = found.loss, []
        if loss.everything:
            text = self._words.loss(loss.lost / loss.sent)
            told.append(self._verdict("loss", text, (loss.sent, loss.lost)))
        if loss.nodes:
            names = self._names(loss.nodes)
            text = self._words.loss(loss.lost / loss.sent, names)
            told.append(self._verdict("loss", text, (loss.sent, loss.lost), nodes=names))
        if loss.links:
            pairs = self._pairs(list(loss.links))
            sent, lost = (sum(each) for each in zip(*loss.links.values(), strict=True))
            text = self._words.loss(lost / sent, links=pairs)
            told.append(self._verdict("loss", text, (sent, lost), links=pairs))
        return told
