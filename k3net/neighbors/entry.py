"""One row of the neighbour table, whatever it was read from."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

STATES = ("none", "incomplete", "reachable", "stale", "delay", "probe", "failed", "noarp", "permanent", "dynamic")
"""Those of the Linux kernel (linux/neighbour.h), and `dynamic`: learnt, by a table that does not say more."""

UNKNOWN_STATES = frozenset({"none", "incomplete", "failed"})
"""In these no machine is known to have the address, even where a MAC of earlier times stands beside it."""

_MAC_LENGTHS = (6, 8, 20)
"""Ethernet, EUI-64, InfiniBand."""

_MAC = re.compile(r"[0-9A-Fa-f]{1,2}(?:([:-])[0-9A-Fa-f]{1,2})(?:\1[0-9A-Fa-f]{1,2})*")

Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Neighbor:
    """`mac` is lower case with colons, or "" when none is known; `host` is the name that the table gives, or ""."""

    address: Address
    mac: str
    interface: str
    state: str
    host: str = ""

    @property
    def known(self) -> bool:
        """Whether a machine answers here: a MAC of one, in a state that stands for it."""
        return bool(self.mac) and self.state not in UNKNOWN_STATES


@dataclass(frozen=True)
class Table:
    """`notes` say, a line each, what could not be read of it."""

    neighbors: tuple[Neighbor, ...]
    notes: tuple[str, ...] = ()


def mac_of(octets: bytes) -> str:
    """`52:54:00:0a:0b:0c`; "" for what is no MAC of one machine: all zeros, a group's, or of another length."""
    if len(octets) not in _MAC_LENGTHS or not any(octets) or (len(octets) == 6 and octets[0] & 1):
        return ""
    return octets.hex(":")


def parse_mac(text: str) -> str:
    """The same from text, as `52:54:0:a:b:c` (macOS drops zeros) or `52-54-00-0A-0B-0C` (Windows); ValueError."""
    form = _MAC.fullmatch(text)
    octets = bytes(int(octet, 16) for octet in text.split(form[1])) if form else b""
    if len(octets) not in _MAC_LENGTHS:
        raise ValueError(f"not a MAC: {text[:80]!r}")
    return mac_of(octets)
