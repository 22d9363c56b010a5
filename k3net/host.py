"""This machine: its interfaces, addresses and networks, its default gateways and its name."""

import contextlib
import fcntl
import re
import socket
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address, ip_interface

import netifaces

from k3net.model.observation import in_family_order, usable_address, valid_name

_SIOCGIFFLAGS = 0x8913
_UP, _LOOPBACK, _RUNNING, _MULTICAST = 0x1, 0x8, 0x40, 0x1000
_OF_CONTAINERS = re.compile(
    r"docker\d+|br-[0-9a-f]{12}|cni\d+|cbr\d+|flannel[-.].+|cali.+|cilium.+|lxc.+|virbr\d+.*|podman\d+|kube-.+|weave|nodelocaldns"
)
"""Bridges whose addresses are the same on every machine, or reach only this machine's own containers."""


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
        return _OF_CONTAINERS.fullmatch(self.name) is not None


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
    """This machine as it is now; takes well under a millisecond."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for index, name in sorted(socket.if_nameindex()):
            with contextlib.suppress(OSError, ValueError):  # gone since it was listed
                found.append(_interface(sock, index, name))
    return Host(tuple(found), _outward())


def default_gateways() -> tuple[str, ...]:
    """The addresses of the default gateways, IPv4 first; takes some milliseconds."""
    found = netifaces.gateways()
    return in_family_order(
        gateway[0]
        for family in (netifaces.AF_INET, netifaces.AF_INET6)
        for gateway in found.get(family, ())  # type: ignore[call-overload, unused-ignore]
        if gateway[2]  # type: ignore[misc, unused-ignore]
    )


def node_name() -> str:
    """The host name as a Node name, lower-cased; "" when it cannot be one."""
    name = socket.gethostname().lower().rstrip(".")
    return name if valid_name(name) else ""


def _interface(sock: socket.socket, index: int, name: str) -> Interface:
    request = struct.pack("16sH14s", name.encode()[:15], 0, b"")
    flags = struct.unpack("16sH14s", fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, request))[1]
    addresses = []
    families = netifaces.ifaddresses(name)
    for family in (netifaces.AF_INET, netifaces.AF_INET6):
        for entry in families.get(family, ()):  # type: ignore[call-overload, unused-ignore]
            address, mask = entry["addr"].partition("%")[0], entry.get("mask", "")
            with contextlib.suppress(ValueError):
                addresses.append(ip_interface(f"{address}/{_prefix_length(mask, address)}"))
    return Interface(
        name,
        index,
        up=bool(flags & _UP and flags & _RUNNING),
        multicast=bool(flags & _MULTICAST),
        loopback=bool(flags & _LOOPBACK),
        addresses=tuple(addresses),
    )


def _prefix_length(mask: str, address: str) -> int:
    bits = ip_address(address).max_prefixlen
    return f"{int(ip_address(mask.partition('/')[0])):0{bits}b}".count("1") if mask else bits


def _outward() -> str:
    """The interface of the IPv4 default route, read where it costs microseconds."""
    try:
        with open("/proc/net/route", encoding="ascii") as table:
            rows = [line.split() for line in table][1:]
    except OSError:
        return ""
    ways = [(int(row[6]), row[0]) for row in rows if row[1] == "00000000" and row[7] == "00000000"]
    return min(ways)[1] if ways else ""
