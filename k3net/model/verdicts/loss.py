"""Links and nodes that lose packets, by the counts of packets sent and lost."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from statistics import median_low

from k3net.model.verdicts.chance import LOSSY, beyond
from k3net.model.verdicts.matrix import Matrix

_USUAL = 0.005
_LEAST = 3  # links of a node, to speak of the node
_DEAD = 0.95
Pair = tuple[int, int]


@dataclass
class Loss:
    """Whether all links lose packets, the nodes (a mask) whose links mostly do, and other links with their counts."""

    everything: bool = False
    nodes: int = 0
    links: dict[Pair, Pair] = field(default_factory=dict)  # (sent, lost), the lower bit first
    sent: int = 0
    lost: int = 0


def supported(counts: Mapping[Pair, Pair], along: Mapping[Pair, Pair]) -> Mapping[Pair, Pair]:
    """The (sent, lost) of pairs that lose packets, with those of another layer `along`, which cross the same link."""
    together = dict(counts)
    for pair in counts.keys() & along.keys():
        (sent, lost), (more, gone) = counts[pair], along[pair]
        if lost >= LOSSY * sent:
            together[pair] = (sent + more, lost + gone)
    return together


def find_loss(counts: Mapping[Pair, Pair], path: Matrix, skip: Collection[Pair] = (), known: int = 0) -> Loss:
    """What loses packets, of (sent, lost) by (source, target); both directions of a link are one.

    The pairs that are not measured in `path` or stand in `skip` (lower bit first), and those of the nodes in `known`,
    are passed over.
    """
    pairs: dict[Pair, Pair] = {}
    for (source, target), (sent, lost) in counts.items():
        pair = (source, target) if source < target else (target, source)
        hidden = (known >> source | known >> target) & 1 or pair in skip
        if source != target and not hidden and path.measured[source] >> target & 1:
            before = pairs.get(pair, (0, 0))
            pairs[pair] = (before[0] + sent, before[1] + lost)
    lossy = {pair: lost / sent for pair, (sent, lost) in pairs.items() if lost}
    if not lossy:
        return Loss()
    degrees = _degrees(path)
    measured = sum(degrees) // 2
    usual = _middle(list(lossy.values()), measured)
    if usual >= LOSSY and measured >= _LEAST:
        return Loss(True, sent=sum(s for s, _ in pairs.values()), lost=sum(n for _, n in pairs.values()))
    found = Loss()
    rate = max(_USUAL, usual)
    shares: defaultdict[int, list[float]] = defaultdict(list)
    for pair, share in lossy.items():
        for node in pair:
            shares[node].append(share)
    for node, its in shares.items():
        if degrees[node] >= _LEAST and _middle(its, degrees[node]) >= max(LOSSY, 2 * rate):
            found.nodes |= 1 << node
    for pair, share in lossy.items():
        sent, lost = pairs[pair]
        if found.nodes >> pair[0] & 1 or found.nodes >> pair[1] & 1:
            found.sent, found.lost = found.sent + sent, found.lost + lost
        elif max(LOSSY, 2 * rate) <= share < _DEAD and beyond(sent, lost, rate, measured):
            found.links[pair] = (sent, lost)
    return found


def _degrees(path: Matrix) -> list[int]:
    """How many links of each node were measured, in one direction or both."""
    rows = zip(path.measured, path.measured_by_target, strict=True)
    return [(measured | measured_by).bit_count() for measured, measured_by in rows]


def _middle(shares: list[float], of: int) -> float:
    """The lower median of `of` links of which those not given lose nothing."""
    zeros = max(0, of - len(shares))
    return 0.0 if 2 * zeros >= of else median_low([0.0] * zeros + shares)
