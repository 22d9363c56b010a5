"""ICMP echo on the wire (RFC 792, RFC 4443 section 4): pure, no sockets."""

import struct
from typing import NamedTuple

_HEADER = struct.Struct("!BBHHH")
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_UNREACHABLE = {4: 3, 6: 1}
_TIME_EXCEEDED = {4: 11, 6: 3}
_PARAMETER_PROBLEM = {4: 12, 6: 4}
_PROHIBITED = {4: (9, 10, 13), 6: (1, 5, 6)}
_SHORTEST_IPV4 = 20


class Echo(NamedTuple):
    """An echo request or reply; `payload` may have been cut short by who quotes it."""

    identifier: int
    sequence: int
    payload: bytes


def request(version: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """An echo request with its checksum; for IPv6 the kernel fills that in (RFC 3542 section 3.1)."""
    header = _HEADER.pack(_REQUEST[version], 0, 0, identifier, sequence)
    if version == 6:
        return header + payload
    return _HEADER.pack(_REQUEST[version], 0, checksum(header + payload), identifier, sequence) + payload


def reply(version: int, packet: bytes) -> Echo | None:
    """An echo reply; None when the packet is something else."""
    return _echo(packet, _REPLY[version])


def quoted(version: int, packet: bytes) -> Echo | None:
    """The echo request that an ICMP error quotes; None when it quotes something else."""
    return _echo(packet, _REQUEST[version])


def _echo(packet: bytes, wanted: int) -> Echo | None:
    if len(packet) < _HEADER.size:
        return None
    kind, code, _, identifier, sequence = _HEADER.unpack_from(packet)
    return Echo(identifier, sequence, packet[_HEADER.size :]) if (kind, code) == (wanted, 0) else None


def without_ipv4_header(packet: bytes) -> bytes:
    """What a raw IPv4 socket received, from its ICMP header on; b"" when it is cut short (RFC 791 section 3.1)."""
    length = (packet[0] & 15) * 4 if packet else 0
    return packet[length:] if length >= _SHORTEST_IPV4 else b""


def trouble(version: int, kind: int, code: int) -> str:
    """What an ICMP error of this type and code says of the target; "" when it ends nothing."""
    if kind == _UNREACHABLE[version]:
        return "prohibited" if code in _PROHIBITED[version] else "unreachable"
    if kind == _TIME_EXCEEDED[version]:
        return "time exceeded"
    return "unreachable" if kind == _PARAMETER_PROBLEM[version] else ""


def checksum(data: bytes) -> int:
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
