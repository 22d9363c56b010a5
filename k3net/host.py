"""This machine: its interfaces, addresses and networks, its default gateways and its name."""

import contextlib
import fcntl
import re
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
    ip_address,
    ip_interface,
)
from itertools import takewhile

import netifaces

from k3net.model.observation import in_family_order, usable_address, valid_name

_SIOCGIFFLAGS, _SIOCGIFADDR = 0x8913, 0x8915
_UP, _LOOPBACK, _RUNNING, _MULTICAST = 0x1, 0x8, 0x40, 0x1000
_OF_CONTAINERS = re.compile(
    r"docker\d+|br-[0-9a-f]{12}|cni\d+|cbr\d+|flannel[-.].+|cali.+|cilium.+|lxc.+|virbr\d+.*|podman\d+|kube-.+|weave|nodelocaldns"
)
"""Bridges whose addresses are the same on every machine, or reach only this machine's own containers."""

_ENDS_OF_CONTAINERS = re.compile(r"veth[0-9a-f]{7,8}|vnet\d+|cali.+|lxc.+|eni[0-9a-f]{11}")
"""This machine's ends of the links to its containers and guests: one each, seldom with an address."""

_ROUTES = "/proc/thread-self/net/route"
_IPV6_ROUTES = "/proc/thread-self/net/ipv6_route"
_RTF_UP, _RTF_GATEWAY = 0x1, 0x2


@dataclass(frozen=True)
class Interface:
    """One network interface; `addresses` are in the system's order, with their prefix lengths."""

    name: str
    index: int
    up: bool
    multicast: bool
    loopback: bool
    addresses: tuple[IPv4Interface | IPv6Interface, ...]

    @property
    def of_containers(self) -> bool:
        return any(names.fullmatch(self.name) for names in (_OF_CONTAINERS, _ENDS_OF_CONTAINERS))


@dataclass(frozen=True)
class Host:
    """This machine's interfaces at one moment; `outward` names the one with the default route, or is ""."""

    interfaces: tuple[Interface, ...]
    outward: str = ""

    @cached_property
    def own_addresses(self) -> frozenset[str]:
        """Every address of this machine, those of containers' bridges and of loopback included."""
        return frozenset(str(a.ip) for i in self.interfaces for a in i.addresses)

    @cached_property
    def addresses(self) -> tuple[str, ...]:
        """By which others reach this machine: IPv4 first, the interface of the default route first in each family."""
        ranked = sorted(self._outside(), key=lambda i: i.name != self.outward)
        return in_family_order(str(a.ip) for i in ranked for a in i.addresses if usable_address(str(a.ip)))

    @cached_property
    def networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks this machine is on, link-local IPv6 and loopback left out."""
        nets = (a.network for i in self.interfaces if i.up and not i.loopback for a in i.addresses)
        return tuple(dict.fromkeys(n for n in nets if not (n.version == 6 and n.is_link_local)))

    def multicast_interfaces(self, chosen: Collection[str] = ()) -> tuple[Interface, ...]:
        """The interfaces to speak mDNS on: the chosen, else all that are up and can multicast."""
        if chosen:
            return tuple(i for i in self.interfaces if i.name in chosen and i.up and i.addresses)
        return tuple(i for i in self._outside() if i.multicast and i.addresses)

    def _outside(self) -> Iterator[Interface]:
        return (i for i in self.interfaces if i.up and not i.loopback and not i.of_containers)


def look() -> Host:
    """This machine as it is now; takes well under a millisecond, and several where there are dozens of interfaces."""
    aliases: dict[str, list[str]] = {}
    for label in netifaces.interfaces():
        aliases.setdefault(label.partition(":")[0], []).append(label)
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for index, name in sorted(socket.if_nameindex()):
            with contextlib.suppress(OSError, ValueError):  # gone since it was listed
                found.append(_interface(sock, index, name, sorted(aliases.get(name, ()))))
    outward = min(((int(row[6]), row[0]) for row in _default_routes() if row[7] == "00000000"), default=(0, ""))[1]
    return Host(tuple(found), outward)


def default_gateways() -> tuple[str, ...]:
    """The addresses of the default gateways, IPv4 first."""
    ipv4 = (IPv4Address(struct.pack("=I", int(row[2], 16))) for row in _default_routes() if row[7] == "00000000")
    return in_family_order(str(gateway) for gateway in (*ipv4, *_ipv6_gateways()) if int(gateway))


def node_name() -> str:
    """The host name as a Node name, lower-cased; "" when it cannot be one."""
    name = socket.gethostname().lower().rstrip(".")
    return name if valid_name(name) else ""


def _interface(sock: socket.socket, index: int, name: str, labels: list[str]) -> Interface:
    request = struct.pack("16sH14s", name.encode()[:15], 0, b"")
    flags = struct.unpack("16sH14s", fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, request))[1]
    addresses = []
    with contextlib.suppress(OSError):  # EADDRNOTAVAIL; asking netifaces costs as much as there are interfaces
        if _ENDS_OF_CONTAINERS.fullmatch(name):
            fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
        addresses = [address for label in labels for address in _addresses(label)]
    return Interface(
        name,
        index,
        up=bool(flags & _UP and flags & _RUNNING),
        multicast=bool(flags & _MULTICAST),
        loopback=bool(flags & _LOOPBACK),
        addresses=tuple(sorted(addresses, key=lambda address: address.version)),
    )


def _addresses(label: str) -> Iterator[IPv4Interface | IPv6Interface]:
    """What goes by this name: an interface, or an alias of one (`eth0:1`)."""
    families = netifaces.ifaddresses(label)
    for family in (netifaces.AF_INET, netifaces.AF_INET6):
        for entry in families.get(family, ()):  # type: ignore[call-overload, unused-ignore]
            address, mask = entry["addr"].partition("%")[0], entry.get("mask", "")
            with contextlib.suppress(ValueError):
                yield ip_interface(f"{address}/{_prefix_length(mask, address)}")


def _prefix_length(mask: str, address: str) -> int:
    bits = ip_address(address).max_prefixlen
    return f"{int(ip_address(mask.partition('/')[0])):0{bits}b}".count("1") if mask else bits


def _default_routes() -> list[list[str]]:
    """The rows of the IPv4 routing table for destination 0.0.0.0: the first ones, so the rest is not read."""
    try:
        with open(_ROUTES, encoding="ascii") as table:
            next(table, "")
            return list(takewhile(lambda row: row[1] == "00000000", (line.split() for line in table)))
    except OSError:
        return []


def _ipv6_gateways() -> list[IPv6Address]:
    try:
        with open(_IPV6_ROUTES, encoding="ascii") as table:
            rows = [row for row in (line.split() for line in table) if row[:2] == ["0" * 32, "00"]]
    except OSError:
        return []
    wanted = _RTF_UP | _RTF_GATEWAY
    return [IPv6Address(int(row[4], 16)) for row in rows if int(row[8], 16) & wanted == wanted]
