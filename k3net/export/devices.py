"""From rows of the neighbour table to devices: which are shown, in which order, and what is said of each; pure."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

from k3net.errors import K3netError
from k3net.export.request import Network
from k3net.neighbors.entry import Address, Neighbor


class NoNetwork(K3netError):
    """This machine is on no network of the families that were asked for."""


@dataclass(frozen=True)
class Device:
    """A neighbour as it is exported; `named_by` is table, hosts, dns or mac."""

    neighbor: Neighbor
    name: str
    named_by: str
    vendor: str = ""
    duplicate: bool = False

    @property
    def ip(self) -> str:
        return str(self.neighbor.address)

    def as_json(self) -> dict[str, Any]:
        """Its keys as they are exported, in that order (spec/6-export.md)."""
        row = self.neighbor
        return {
            "ip": self.ip,
            "name": self.name,
            "mac": row.mac,
            "state": row.state,
            "interface": row.interface,
            "family": f"ipv{row.address.version}",
            "vendor": self.vendor,
            "nameSource": self.named_by,
            "duplicate": self.duplicate,
        }


def own_networks(addresses: Iterable[IPv4Interface | IPv6Interface], families: Collection[int]) -> tuple[Network, ...]:
    """The networks of these addresses, fe80::/64 among them; NoNetwork when there is none."""
    networks = dict.fromkeys(a.network for a in addresses if a.version in families)
    found = tuple(n for n in networks if n.prefixlen < n.max_prefixlen)
    if not found:
        wanted = " or ".join(f"IPv{family}" for family in families)
        raise NoNetwork(f"no interface has an {wanted} network; name one with --cidr")
    return found


def selected(rows: Iterable[Neighbor], networks: Sequence[Network]) -> list[Neighbor]:
    """The known ones inside a network, by address as numbers, IPv4 first.

    An IPv4 network's own and broadcast address (RFC 919) are nobody's, unless it has no room for others (RFC 3021).
    """
    ranges = [_range(network) for network in networks]
    kept = [
        row
        for row in rows
        if row.known
        and not row.address.is_multicast
        and any(v == row.address.version and low <= int(row.address) <= high for v, low, high in ranges)
    ]
    return sorted(kept, key=lambda row: (row.address.version, int(row.address), row.interface, row.mac))


def _range(network: Network) -> tuple[int, int, int]:
    low, high = int(network.network_address), int(network.broadcast_address)
    spared = int(network.version == 4 and network.prefixlen < 31)
    return network.version, low + spared, high - spared


def devices(
    rows: Sequence[Neighbor],
    names: Mapping[Address, tuple[str, str]],
    vendor: Callable[[str], str],
) -> list[Device]:
    """A device for each row; `names` has for an address its name and by what it was named."""
    macs: dict[tuple[Address, str], set[str]] = {}
    for row in rows:
        macs.setdefault(_place(row), set()).add(row.mac)
    return [
        Device(row, *_named(row, names), vendor=vendor(row.mac), duplicate=len(macs[_place(row)]) > 1) for row in rows
    ]


def _place(row: Neighbor) -> tuple[Address, str]:
    """Link-local addresses are of one link each: the same on two interfaces is no duplicate (RFC 4007 section 4)."""
    return row.address, row.interface if row.address.is_link_local and row.address.version == 6 else ""


def _named(row: Neighbor, names: Mapping[Address, tuple[str, str]]) -> tuple[str, str]:
    if row.host:
        return row.host, "table"
    return names.get(row.address) or (row.mac, "mac")
