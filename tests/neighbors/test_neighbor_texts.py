"""What programs of several systems print of their neighbour tables; tests/data/neighbors has what they print."""

from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k3net.neighbors.arp_text import parse_arp_unix, parse_arp_windows
from k3net.neighbors.entry import Neighbor, Table, parse_mac
from k3net.neighbors.ip_text import parse_ip_neigh
from k3net.neighbors.lines import UnreadableTable

DATA = Path(__file__).parents[1] / "data/neighbors"


def known(parse, name: str) -> list[tuple[str, str, str, str, str]]:
    table = parse((DATA / name).read_bytes().decode())
    assert table.notes == ()
    return [(str(n.address), n.mac, n.interface, n.state, n.host) for n in table.neighbors if n.known]


@pytest.mark.parametrize("name", ["ip-neigh-linux.txt", "ip-neigh-statistics.txt"])
def test_ip_neigh_is_read_with_every_state(name):
    rows = [row[:4] for row in known(parse_ip_neigh, name) if not row[1].startswith("33:33")]
    macs = "52:54:00:00:00:"
    states = {10: "permanent", 11: "noarp", 12: "reachable", 13: "stale", 14: "probe", 15: "probe"}
    several = {
        ("10.8.0.50", "52:54:00:00:01:01", "e0", "stale"),
        ("10.8.0.50", "52:54:00:00:01:02", "e1", "stale"),
        ("fd88::60", "52:54:00:00:01:03", "e0", "reachable"),
    }
    numbered = {
        (f"{net}{n}", f"{macs}{n}", "e0", state) for net in ("10.8.0.", "fd88::") for n, state in states.items()
    }
    assert set(rows) == numbered | several
    assert len(rows) == len(set(rows))


def test_arp_of_linux_is_read():
    rows = known(parse_arp_unix, "arp-linux.txt")
    assert ("10.8.0.10", "52:54:00:00:00:10", "e0", "permanent", "") in rows
    assert ("10.8.0.50", "52:54:00:00:01:02", "e1", "dynamic", "") in rows
    assert not {row[0] for row in rows} & {"10.8.0.16", "10.8.0.17", "10.8.0.99"}
    assert known(parse_arp_unix, "arp-busybox.txt") == [
        ("192.168.1.1", "50:c7:bf:12:34:56", "wlan0", "dynamic", "_gateway"),
        ("192.168.1.20", "b8:27:eb:0a:0b:0c", "wlan0", "permanent", ""),
    ]


def test_arp_of_macos_is_read_with_its_short_macs():
    assert known(parse_arp_unix, "arp-macos.txt") == [
        ("192.168.178.1", "dc:39:6f:12:34:56", "en0", "dynamic", "fritz.box"),
        ("192.168.178.22", "00:17:9e:0a:b2:c3", "en0", "dynamic", ""),
        ("192.168.178.23", "02:0f:b5:72:99:70", "en0", "permanent", ""),
    ]


def test_arp_of_freebsd_is_read():
    assert known(parse_arp_unix, "arp-freebsd.txt") == [
        ("10.0.2.2", "52:55:0a:00:02:02", "em0", "dynamic", "gate.example.org"),
        ("10.0.2.15", "08:00:27:ec:5a:1d", "em0", "permanent", ""),
    ]


def test_arp_of_windows_is_read_in_any_language():
    assert known(parse_arp_windows, "arp-windows-english.txt") == [
        ("192.168.7.1", "4c:01:43:ee:a2:12", "192.168.7.122", "dynamic", ""),
        ("192.168.7.65", "38:f9:d3:2b:63:57", "192.168.7.122", "permanent", ""),
        ("169.254.1.2", "00:17:9e:a1:b2:c4", "169.254.12.7", "dynamic", ""),
    ]
    assert known(parse_arp_windows, "arp-windows-german.txt") == [
        ("192.168.178.1", "dc:39:6f:12:34:56", "192.168.178.20", "dynamic", ""),
        ("192.168.178.22", "00:17:9e:a1:b2:c3", "192.168.178.20", "permanent", ""),
    ]
    assert known(parse_arp_windows, "arp-windows-chinese.txt") == [
        ("192.168.0.1", "8c:a6:df:7e:81:fa", "192.168.0.125", "dynamic", ""),
        ("192.168.0.101", "74:04:2b:d3:db:1e", "192.168.0.125", "permanent", ""),
    ]


def test_an_empty_table_is_no_error():
    for parse in (parse_ip_neigh, parse_arp_unix, parse_arp_windows):
        assert parse("\n \r\n") == Table(())


@pytest.mark.parametrize("parse", [parse_ip_neigh, parse_arp_unix, parse_arp_windows])
def test_a_table_in_no_known_form_is_an_error_and_not_an_empty_list(parse):
    with pytest.raises(UnreadableTable, match="no table that is understood: 'who knows'"):
        parse("\nwho knows\n10.0.0.1 is at home\n")


def test_a_line_that_is_not_understood_is_said_and_the_others_are_read():
    table = parse_ip_neigh("garbage\x1b[2J\n10.0.0.1 dev e0 lladdr 52:54:00:00:00:01 STALE\n10.0.0.300 dev e0 STALE\n")
    assert table == Table(
        (Neighbor(ip_address("10.0.0.1"), "52:54:00:00:00:01", "e0", "stale"),),
        ("2 lines of ip neigh not understood, the first is 'garbage\\x1b[2J'",),
    )


def test_a_mac_of_no_single_machine_is_none():
    assert parse_mac("1:0:5e:0:0:fb") == parse_mac("ff-ff-ff-ff-ff-ff") == parse_mac("0:0:0:0:0:0") == ""
    for text in ("", "52:54", "52:54:00:00:00", "52:54-00:00:00:01", "g:0:0:0:0:0", "525400000001", "10.0.0.1"):
        with pytest.raises(ValueError, match="not a MAC"):
            parse_mac(text)


@given(st.text(max_size=300))
def test_any_text_is_a_table_or_one_clear_error(text):
    for parse in (parse_ip_neigh, parse_arp_unix, parse_arp_windows):
        with suppress(UnreadableTable):
            assert all(n.mac == n.mac.lower() and n.state for n in parse(text).neighbors)
