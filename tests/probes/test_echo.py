"""ICMP echo packets: what is made can be read, and what strangers send is read without harm."""

from hypothesis import given
from hypothesis import strategies as st

from k3net.probes import echo

VERSIONS = st.sampled_from([4, 6])
U16 = st.integers(0, 65535)


@given(VERSIONS, U16, U16, st.binary(max_size=100))
def test_a_request_is_quoted_as_it_was_sent(version, identifier, sequence, payload):
    packet = echo.request(version, identifier, sequence, payload)
    assert echo.quoted(version, packet) == (identifier, sequence, payload)
    assert echo.reply(version, packet) is None


@given(U16, U16, st.binary(max_size=100))
def test_an_ipv4_request_carries_its_checksum(identifier, sequence, payload):
    assert echo.checksum(echo.request(4, identifier, sequence, payload)) == 0


def test_the_checksum_is_that_of_the_rfc():
    assert echo.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2  # RFC 1071 section 3


@given(VERSIONS, st.binary(max_size=80))
def test_any_bytes_are_an_echo_or_nothing(version, data):
    for read in (echo.reply, echo.quoted):
        found = read(version, data)
        assert found is None or found.payload == data[8:]
    assert len(echo.without_ipv4_header(data)) <= len(data)


@given(st.binary(min_size=20, max_size=60).filter(lambda data: len(data) % 4 == 0), st.binary(max_size=60))
def test_what_follows_an_ipv4_header_is_found(header, rest):
    header = bytes([0x40 | len(header) // 4]) + header[1:]
    assert echo.without_ipv4_header(header + rest) == rest


def test_what_a_router_says_is_told_apart():
    assert [echo.trouble(4, 3, code) for code in (0, 1, 3, 9, 10, 13)] == ["unreachable"] * 3 + ["prohibited"] * 3
    assert [echo.trouble(6, 1, code) for code in (0, 3, 1, 5, 6)] == ["unreachable"] * 2 + ["prohibited"] * 3
    assert [echo.trouble(4, 11, 0), echo.trouble(6, 3, 0)] == ["time exceeded"] * 2
    assert [echo.trouble(4, 5, 0), echo.trouble(6, 2, 0)] == ["", ""], "a redirect and a packet too big end nothing"
