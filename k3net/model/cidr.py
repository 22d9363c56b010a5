"""Pod CIDRs: texts read strictly, a node's subnet by the hash of its name, and the next one that is free."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import NamedTuple

from k3net.errors import NoSubnetLeft

Net = IPv4Network | IPv6Network

_LONGEST = 200
_PERSON = b"k3net pod 19"  # of the first that were tried, the one that spreads five usual kinds of names within 5 %


@lru_cache(4096)  # a claim's is asked for again at each look at the claims
def network(text: str) -> Net:
    """A network in CIDR form; ValueError when it is none, or has host bits set."""
    shown = repr(text[:60])
    form = text.partition("/")[2]
    if not (len(text) <= _LONGEST and form.isascii() and form.isdecimal() and "%" not in text):
        raise ValueError(f"expected a network such as 10.244.0.0/16, not {shown}")
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"expected a network such as 10.244.0.0/16, not {shown}") from None
    if str(found.network_address) != str(_address(text)):
        raise ValueError(f"host bits are set in {shown}; the network is {found}")
    return found


def networks(text: str) -> tuple[Net, ...]:
    """One network, or one of each family with a comma between them; () for "". ValueError as `network`."""
    found = tuple(network(part.strip()) for part in text[:_LONGEST].split(",")) if text.strip() else ()
    if len({net.version for net in found}) < len(found):
        raise ValueError(f"expected one network of each family at most, not {text[:60]!r}")
    return found


class Sizes(NamedTuple):
    """The prefix length of one node's share in each family."""

    ipv4: int = 24
    ipv6: int = 64

    @classmethod
    def read(cls, text: str) -> "Sizes":
        """Of `/24`, or `/24,/64` for both families; ValueError when it is neither."""
        parts = [part.strip().removeprefix("/") for part in text[:_LONGEST].split(",")]
        if not 1 <= len(parts) <= 2 or not all(part.isascii() and part.isdecimal() and len(part) < 4 for part in parts):
            raise ValueError(f"expected a prefix length such as /24, or /24,/64 for two families, not {text[:40]!r}")
        sizes = cls(*map(int, parts))
        if not (1 <= sizes.ipv4 <= 30 and 1 <= sizes.ipv6 <= 126):
            raise ValueError(f"expected room for addresses (at most /30, IPv6 /126), not {text[:40]!r}")
        return sizes

    def of(self, net: Net) -> int:
        return self.ipv4 if net.version == 4 else self.ipv6


def overlap(first: Iterable[Net], second: Iterable[Net]) -> "tuple[Net, Net] | None":
    """The first two that have an address in common."""
    others = list(second)
    pairs = ((a, b) for a in first for b in others if a.version == b.version)
    return next(((a, b) for a, b in pairs if a.overlaps(b)), None)


def within(inner: Net, outer: Net) -> bool:
    """Whether all of `inner` lies in `outer`."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


class Pool:
    """A cluster CIDR cut into subnets of the per-node size, numbered from 0; the first one is left free.

    ValueError when it cannot be cut into two at least.
    """

    def __init__(self, cluster: Net, size: int):
        if cluster.prefixlen >= size:
            raise ValueError(f"{cluster} cannot be cut into subnets of /{size} for several nodes")
        self.cluster = cluster
        self.size = size
        self.count: int = 1 << (size - cluster.prefixlen)
        self._step: int = 1 << (cluster.max_prefixlen - size)

    def subnet(self, number: int) -> Net:
        first = self.cluster.network_address + number * self._step
        return type(self.cluster)((int(first), self.size))

    def hashed(self, name: str) -> int:
        """The number of the subnet that this name begins to look at: any but 0, all equally likely."""
        digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16, person=_PERSON).digest()
        return 1 + int.from_bytes(digest, "big") % (self.count - 1)

    def next_free(self, name: str, taken: Iterable[Net]) -> Net:
        """The hashed subnet, or the next after it that nothing in `taken` overlaps; NoSubnetLeft when there is none."""
        ranges = self._merged(taken)
        begin = self.hashed(name)
        for start, end in ((begin, self.count), (1, begin)):
            number = _free_from(start, ranges)
            if number < end:
                return self.subnet(number)
        raise NoSubnetLeft(f"no /{self.size} of {self.cluster} is free: {self.count - 1} for nodes, all taken")

    def _merged(self, taken: Iterable[Net]) -> list[tuple[int, int]]:
        """The numbers that are taken, as sorted ranges (first, last) that do not touch."""
        base = int(self.cluster.network_address)
        numbers = sorted(
            (max(0, (int(net.network_address) - base) // self._step), (int(net.broadcast_address) - base) // self._step)
            for net in taken
            if net.version == self.cluster.version and net.overlaps(self.cluster)
        )
        merged: list[tuple[int, int]] = []
        for first, last in numbers:
            if merged and first <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], last))
            else:
                merged.append((first, last))
        return merged


def _free_from(number: int, ranges: Sequence[tuple[int, int]]) -> int:
    """The first number from this one on that is in none of the ranges."""
    at = bisect_right(ranges, (number, float("inf"))) - 1
    return ranges[at][1] + 1 if at >= 0 and ranges[at][1] >= number else number


def _address(text: str) -> IPv4Address | IPv6Address:
    return ip_network(text.partition("/")[0]).network_address
