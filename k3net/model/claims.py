"""Claims on subnets: who holds which, and what a node does to hold one that nobody else has."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from k3net.model.cidr import Net, Pool, network, overlap, within


@dataclass(frozen=True)
class Claim:
    """The Node `owner` holds `subnet`; `exact` when that was given to it and is no choice of its own.

    `version` is the store's: another at each writing, never twice. An `owner` that cannot be read is "".
    """

    subnet: str
    owner: str
    exact: bool = False
    version: str = ""

    @property
    def net(self) -> Net:
        return network(self.subnet)


def may_write(wanted: Claim, held: "Claim | None", instead_of: str) -> bool:
    """The rule of every store: the subnet is free, or its claim is the very one to be replaced, or `wanted`'s own."""
    if held is None or (instead_of != "" and held.version == instead_of):
        return True
    return held.owner == wanted.owner and held.exact != wanted.exact


def choose(
    pool: Pool,
    node: str,
    claims: Iterable[Claim],
    *,
    fixed: Iterable[Net],
    others: Iterable[Net],
    stored: Iterable[Net],
) -> Net:
    """The subnet to claim: the one that the node holds, else the one its Node says, else the hashed, or the next free.

    `fixed` are CIDRs that nobody moves: those of Services and of the Nodes of others; `others` are what all other Nodes
    say, and who holds a claim does not give way to them. NoSubnetLeft when there is none.
    """
    claims = list(claims)
    held = [*fixed, *(claim.net for claim in claims if claim.owner != node)]
    for claim in sorted((c for c in claims if c.owner == node), key=lambda claim: claim.subnet):
        if _is_of(claim.net, pool) and not overlap([claim.net], held):
            return claim.net
    held += others
    for net in stored:
        if _is_of(net, pool) and not overlap([net], held):
            return net
    return pool.next_free(node, held)


def in_the_way(nets: Iterable[Net], node: str, claims: Iterable[Claim]) -> list[Claim]:
    """The claims of others that these networks overlap."""
    wanted = list(nets)
    return [claim for claim in claims if claim.owner != node and overlap(wanted, [claim.net])]


class Abandoned:
    """Claims whose owners have no Node, and since when (monotonic) that was seen here."""

    def __init__(self, patience: float):
        self._patience = patience
        self._since: dict[tuple[str, str], float] = {}

    def look(self, claims: Iterable[Claim], nodes: Mapping[str, object], now: float) -> list[Claim]:
        """Those that have been so for `patience` seconds, the claim itself unchanged; the longest first."""
        orphans = {(c.subnet, c.version): c for c in claims if c.owner not in nodes}
        self._since = {key: self._since.get(key, now) for key in orphans}
        ripe = [key for key, since in self._since.items() if now - since >= self._patience]
        return [orphans[key] for key in sorted(ripe, key=lambda key: self._since[key])]


def _is_of(net: Net, pool: Pool) -> bool:
    return net.prefixlen == pool.size and within(net, pool.cluster) and net != pool.subnet(0)
