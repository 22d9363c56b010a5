"""rtnetlink's messages, byte by byte; against a real kernel they are in tests/integration/test_export.py."""

import struct
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from k3net.neighbors.entry import Neighbor
from k3net.neighbors.netlink import change, messages, request

MAC = bytes.fromhex("525400000001")
NEW, DELETED = 28, 29


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def message(kind: int = NEW, *, family: int = 2, state: int = 2, flags: int = 0, attributes: bytes = b"") -> bytes:
    body = struct.pack("=B3xiHBB", family, 7, state, flags, 1) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, 0, 1, 0) + body


def only(data: bytes):
    [found] = messages(data)
    return change(found, {7: "e0"})


def test_a_row_is_read():
    row = only(message(attributes=attribute(1, bytes([10, 0, 0, 9])) + attribute(2, MAC) + attribute(99, b"later")))
    assert row.neighbor == Neighbor(ip_address("10.0.0.9"), "52:54:00:00:00:01", "e0", "reachable")
    assert row.key == (7, ip_address("10.0.0.9"))
    assert not row.gone


def test_an_ipv6_row_that_goes_is_read():
    row = only(message(DELETED, family=10, state=4, attributes=attribute(1, ip_address("fe80::1").packed)))
    assert row.gone
    assert row.neighbor == Neighbor(ip_address("fe80::1"), "", "e0", "stale")


def test_what_is_no_neighbour_is_passed_over():
    address = attribute(1, bytes([10, 0, 0, 9]))
    assert only(message(flags=0x08, attributes=address)) is None  # a proxy entry
    assert only(message(family=7, attributes=address)) is None  # a bridge's own table
    assert only(message(attributes=attribute(1, b"\x0a"))) is None
    assert only(message(kind=16, attributes=address)) is None
    assert only(message()) is None


def test_a_group_and_a_tunnel_have_no_mac():
    for link in (bytes.fromhex("01005e000016"), bytes.fromhex("ffffffffffff"), bytes(6), bytes([10, 0, 0, 1]), b""):
        row = only(message(attributes=attribute(1, bytes([10, 0, 0, 9])) + attribute(2, link)))
        assert not row.neighbor.known


def test_a_request_is_a_dump_of_one_family():
    assert request(4, 5) == struct.pack("=IHHII", 28, 30, 0x301, 5, 0) + struct.pack("=B3xiHBB", 2, 0, 0, 0, 0)


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(data):
    for found in messages(data):
        change(found, {})
    for cut in range(0, len(data), 7):
        for found in messages(message(attributes=data)[: 28 + cut]):
            change(found, {})
