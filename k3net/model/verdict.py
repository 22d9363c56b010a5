"""The smallest explanation of who does not reach whom."""

from collections.abc import Mapping, Sequence

from k3net.model.verdicts import words
from k3net.model.verdicts.bits import bits
from k3net.model.verdicts.findings import Findings, find, inherited
from k3net.model.verdicts.loss import supported
from k3net.model.verdicts.matrix import PROTOCOLS, Layer, read_layer
from k3net.model.verdicts.picture import Picture, Round, ServicePicture
from k3net.model.verdicts.services import failing_connections, failing_names
from k3net.model.verdicts.shape import Shape
from k3net.model.verdicts.telling import Telling
from k3net.model.verdicts.verdict import Kind, Verdict, state

__all__ = ["LAYERS", "ROUNDS", "Picture", "Round", "ServicePicture", "Verdict", "state", "verdicts"]

LAYERS = ("host", "pod")
ROUNDS = 4
"""How many rounds are looked at, the newest included."""

_NONE: Mapping[str, ServicePicture] = {}
_PORTS: Mapping[str, int] = {"host": 22, "pod": 6100}
_NAMES = {f"{layer}{part}" for layer in LAYERS for part in ("", *(f"/{protocol}" for protocol in PROTOCOLS))}


def verdicts(
    pictures: Mapping[str, Picture],
    services: Mapping[str, ServicePicture] = _NONE,
    *,
    earlier: Sequence[Round] = (),
    ports: Mapping[str, int] = _PORTS,
) -> tuple[Verdict, ...]:
    """What is broken: of hosts, then of pods, then of services; empty means healthy, nothing measured `unknown`.

    `pictures` are those of the layers `host` and `pod`, each whole (`host`) or by protocol (`host/icmp`, `host/tcp`,
    which are preferred); all have the same nodes in the same order. `earlier` are the up to three rounds before, newest
    first: a lone pair or source is believed only when several results agree. A round of other nodes ends them. `ports`
    are the TCP ports by layer. ValueError for an unknown layer or nodes that differ.
    """
    nodes = _nodes_of(pictures, services)
    rounds = [Round(pictures, services)]
    for each in earlier[: ROUNDS - 1]:
        if _nodes_of(each.pictures, each.services) != nodes:
            break
        rounds.append(each)
    layers = {name: _layers(rounds, name) for name in LAYERS}
    found: dict[str, Findings] = {}
    told: list[Verdict] = []
    for name, other in (LAYERS, LAYERS[::-1]):
        if layers[name]:
            beneath = inherited(found["host"], layers[name][0]) if "host" in found else None
            counts = _losses(pictures, name)
            if name == "host":
                counts = supported(counts, _losses(pictures, "pod"))
            found[name] = find(layers[name], other=layers[other], counts=counts, beneath=beneath)
            newest = layers[other][0] if layers[other] else None
            told += Telling(name, nodes, ports.get(name, 0), newest).tell(found[name])
    shapes = {name: findings.shape for name, findings in found.items()}
    pods_reach = "pod" in found and not any(verdict.layer == "pod" for verdict in told)
    told += _of_services(nodes, [each.services for each in rounds], list(shapes.values()), pods_reach)
    return (*told, *_unknown(nodes, layers, shapes))


def _nodes_of(pictures: Mapping[str, Picture], services: Mapping[str, ServicePicture]) -> tuple[str, ...]:
    if unknown := set(pictures) - _NAMES:
        raise ValueError(f"there is no layer {min(unknown)!r}")
    everything: dict[str, Picture | ServicePicture] = {**pictures, **{f"service {k}": v for k, v in services.items()}}
    nodes = next((picture.nodes for picture in everything.values()), ())
    for name, picture in everything.items():
        if picture.nodes != nodes:
            raise ValueError(f"the picture {name!r} has other nodes than the first")
    return nodes


def _layers(rounds: Sequence[Round], name: str) -> list[Layer]:
    """The rounds of a layer, newest first, as long as each was measured by the protocols of the newest."""
    found: list[Layer] = []
    for each in rounds:
        layer = read_layer(each.pictures, name)
        if layer is None or (found and set(layer.by_protocol) != set(found[0].by_protocol)):
            break
        found.append(layer)
    return found


def _losses(pictures: Mapping[str, Picture], name: str) -> Mapping[tuple[int, int], tuple[int, int]]:
    for each in (f"{name}/icmp", name):
        if each in pictures:
            return pictures[each].loss
    return {}


def _of_services(
    nodes: Sequence[str], rounds: Sequence[Mapping[str, ServicePicture]], shapes: Sequence[Shape], pods_reach: bool
) -> list[Verdict]:
    """What of the services' failures is not the hosts' or the pods'."""
    if any(shape.everything for shape in shapes):
        return []
    able, sets = (1 << len(nodes)) - 1, list[int]()
    for shape in shapes:
        able &= ~shape.cut_off
        sets = sets or shape.sets

    def names(mask: int) -> tuple[str, ...]:
        return tuple(sorted(nodes[node] for node in bits(mask)))

    def told(kind: Kind, text: str, counts: tuple[int, int], service: str, mask: int = 0) -> Verdict:
        tests, failed = counts
        share = round(failed / tests, 4)
        return Verdict(kind, "service", text, nodes=names(mask), service=service, share=share, tests=tests)

    found = []
    names_failing = failing_names(rounds, able, sets)
    if names_failing.everywhere:
        failing = sorted(names_failing.everywhere)
        tests, failed = (sum(each) for each in zip(*names_failing.everywhere.values(), strict=True))
        text = words.dns(failing, (), len(failing) == len(rounds[0]))
        found.append(told("dns", text, (tests, failed), failing[0] if len(failing) == 1 else ""))
    for key, mask in names_failing.nodes.items():
        found.append(told("dns", words.dns((), names(mask), False), names_failing.counts[key], "", mask))
    refused = failing_connections(rounds, able, sets)
    for name, counts in refused.everywhere.items():
        found.append(told("service", words.service(name, (), pods_reach), counts, name))
    for name, mask in refused.nodes.items():
        text = words.service(name, names(mask), pods_reach)
        found.append(told("service", text, refused.counts[name], name, mask))
    return found


def _unknown(nodes: Sequence[str], layers: Mapping[str, Sequence[Layer]], shapes: Mapping[str, Shape]) -> list[Verdict]:
    """What was not measured, so that nobody takes it for healthy."""
    if len(nodes) < 2 or not shapes:
        count = "there is no node" if not nodes else "there is one node" if len(nodes) == 1 else "nothing was measured"
        return [Verdict("unknown", "", f"too little data: {count}", share=0.0)]
    found = []
    heard = explained = 0
    for name, rounds in layers.items():
        if not rounds:
            continue
        if not rounds[0].path.tests:
            found.append(Verdict("unknown", name, f"too little data: no {name} was measured", share=0.0))
            continue
        heard |= sum(1 << node for node, mask in enumerate(rounds[0].path.measured) if mask)
        explained |= shapes[name].down
    silent = tuple(sorted(nodes[node] for node in range(len(nodes)) if not (heard | explained) >> node & 1))
    if silent and heard:
        text = f"too little data: no results from {words.listed(silent)}"
        found.append(Verdict("unknown", "", text, nodes=silent, share=0.0))
    return found
