"""An IP address as sockets take it; no name service is ever asked."""

import socket
from ipaddress import ip_address
from typing import Any

_MOST_LINKS = 1 << 31


def socket_address(address: str, port: int) -> "tuple[socket.AddressFamily, tuple[Any, ...]]":
    """The family, and what `connect` takes, the link of `fe80::1%eth0` too; ValueError or OSError when it is none."""
    if ip_address(address).version == 4:
        return socket.AF_INET, (address, port)
    plain, _, scope = address.partition("%")
    if not scope:
        return socket.AF_INET6, (address, port)
    index = int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    if index >= _MOST_LINKS:
        raise ValueError(f"no link has the number {scope[:20]}")
    return socket.AF_INET6, (plain, port, 0, index)
