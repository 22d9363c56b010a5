"""From rows to devices: which, in which order, named by what, and in which form they are printed."""

import json
from ipaddress import ip_address, ip_interface, ip_network

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from k3net.cli.export_forms import Changes, line, write_report
from k3net.export.devices import Device, NoNetwork, devices, own_networks, selected
from k3net.export.names import parse_hosts, read_hosts, shown_name
from k3net.export.report import Report
from k3net.export.vendor import vendor
from k3net.neighbors.entry import Neighbor

HOSTILE = "evil\x1b[2J\n\u202e\x7f"


def row(
    ip: str, mac: str = "52:54:00:00:00:01", interface: str = "e0", state: str = "stale", host: str = ""
) -> Neighbor:
    return Neighbor(ip_address(ip), mac, interface, state, host)


def nobody(mac: str) -> str:
    return ""


def report(*found: Device) -> Report:
    return Report((ip_network("10.0.0.0/24"),), 1795198427.25, 0.0123, found)


def test_numbers_order_the_devices_and_ipv4_comes_first():
    rows = [row("fd00::2"), row("10.0.0.10"), row("fd00::10"), row("10.0.0.9"), row("10.0.0.9", interface="a0")]
    kept = selected(rows, [ip_network("10.0.0.0/8"), ip_network("fd00::/8")])
    assert [(str(r.address), r.interface) for r in kept] == [
        ("10.0.0.9", "a0"),
        ("10.0.0.9", "e0"),
        ("10.0.0.10", "e0"),
        ("fd00::2", "e0"),
        ("fd00::10", "e0"),
    ]


@given(st.lists(st.ip_addresses(network="10.0.0.0/28"), max_size=40), st.integers(28, 32))
def test_what_is_kept_is_what_ipaddress_calls_the_hosts_of_the_network(addresses, length):
    network = ip_network(f"10.0.0.0/{length}")
    kept = {r.address for r in selected([row(str(a)) for a in addresses], [network])}
    assert kept == set(addresses) & set(network.hosts())


def test_groups_and_rows_without_a_machine_are_left_out():
    rows = [row("224.0.0.22"), row("ff02::16"), row("10.0.0.1", mac=""), row("10.0.0.2", state="failed")]
    assert selected(rows, [ip_network("0.0.0.0/0"), ip_network("::/0")]) == []


def test_own_networks_are_those_of_the_family_and_none_is_an_error():
    addresses = [ip_interface(text) for text in ("10.0.0.7/24", "10.0.0.8/24", "192.0.2.1/32", "fe80::1/64")]
    assert own_networks(addresses, (4,)) == (ip_network("10.0.0.0/24"),)
    assert own_networks(addresses, (4, 6)) == (ip_network("10.0.0.0/24"), ip_network("fe80::/64"))
    with pytest.raises(NoNetwork, match="no interface has an IPv6 network; name one with --cidr"):
        own_networks(addresses[:3], (6,))


def test_the_tables_own_name_comes_first_and_the_mac_last():
    rows = [row("10.0.0.1", host="gate"), row("10.0.0.2"), row("10.0.0.3")]
    names = {rows[0].address: ("other", "dns"), rows[1].address: ("two.lan", "dns")}
    found = [(d.name, d.named_by) for d in devices(rows, names, nobody)]
    assert found == [("gate", "table"), ("two.lan", "dns"), ("52:54:00:00:00:01", "mac")]


def test_link_local_addresses_are_of_their_link():
    first, second = row("fe80::1", "52:54:00:00:00:01", "e0"), row("fe80::1", "52:54:00:00:00:02", "e1")
    assert [d.duplicate for d in devices([first, second], {}, nobody)] == [False, False]
    first, second = row("fd00::1", "52:54:00:00:00:01", "e0"), row("fd00::1", "52:54:00:00:00:02", "e1")
    assert [d.duplicate for d in devices([first, second], {}, nobody)] == [True, True]


def test_the_answer_has_the_keys_of_the_contract(capsys):
    write_report(report(Device(row("10.0.0.9"), "nine.lan", "dns", "Vendor Inc.", True)), "json")
    shown = capsys.readouterr().out
    assert json.loads(shown) == {
        "mode": "neighbor-table",
        "cidrs": ["10.0.0.0/24"],
        "scannedAt": "2026-11-20T18:13:47.25Z",
        "duration": "12.3ms",
        "count": 1,
        "devices": [
            {
                "ip": "10.0.0.9",
                "name": "nine.lan",
                "mac": "52:54:00:00:00:01",
                "state": "stale",
                "interface": "e0",
                "family": "ipv4",
                "vendor": "Vendor Inc.",
                "nameSource": "dns",
                "duplicate": True,
            }
        ],
    }
    write_report(report(Device(row("10.0.0.9"), "nine.lan", "dns", "Vendor Inc.", True)), "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == json.loads(shown)


@pytest.mark.parametrize("form", ["json", "yaml", "cmd", "table"])
def test_no_form_lets_control_characters_through(form, capsys):
    device = Device(row("10.0.0.9", interface=HOSTILE), HOSTILE, "table", HOSTILE)
    write_report(report(device), form)
    Changes(form).write([("added", device)])
    shown = capsys.readouterr().out
    assert all(text.isprintable() for text in shown.splitlines())
    assert "evil" in shown


@pytest.mark.parametrize(
    ("name", "mac", "shown"),
    [
        ("a.lan", "52:54:00:00:00:01", "10.0.0.9 a.lan 52:54:00:00:00:01"),
        ("", "", "10.0.0.9 - -"),
        ('my "old" tv', "", '10.0.0.9 "my \\"old\\" tv" -'),
        ("a\x1bb", "", "10.0.0.9 a\\x1bb -"),
        ('"', "", '10.0.0.9 "\\"" -'),
    ],
)
def test_a_cmd_line_has_three_words(name, mac, shown):
    assert line(Device(row("10.0.0.9", mac), name, "dns")) == shown


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "x" * 64, ".".join(["x" * 63] * 4), "a\x1b", "a\n", "\u202ea", "a\x00", "ü.lan", "\x7f"]
)
def test_what_is_no_name_is_not_shown(name):
    assert shown_name(name) == ""


def test_names_lose_their_last_dot():
    assert shown_name("a-1.example.org.") == "a-1.example.org"
    assert shown_name(".".join(["x" * 49] * 5)) == ".".join(["x" * 49] * 5)


def test_hosts_gives_the_first_good_name_of_what_is_wanted(tmp_path):
    text = (
        "\n# 10.0.0.1 no\n10.0.0.1 \x1bbad\n10.0.0.1 one one.lan\n10.0.0.1 later\n"
        "10.0.0.2 two\nfe80::1%e0 six\nx y\n10.0.0.3\n"
    )
    wanted = {ip_address("10.0.0.1"), ip_address("fe80::1"), ip_address("10.0.0.3")}
    assert parse_hosts(text, wanted) == {ip_address("10.0.0.1"): "one", ip_address("fe80::1"): "six"}
    (tmp_path / "hosts").write_bytes(b"\xff\xfe\n" + text.encode())
    assert read_hosts(wanted, tmp_path / "hosts") == parse_hosts(text, wanted)
    assert read_hosts(wanted, tmp_path / "nothing") == {}


def test_a_vendor_is_known_by_the_first_half_of_its_mac():
    pytest.importorskip("netaddr")
    assert vendor("b8:27:eb:00:00:01") == "Raspberry Pi Foundation"
    assert vendor("00:1b:21:00:00:01") == "Intel Corporate"
    assert vendor("ba:27:eb:00:00:01") == ""  # locally administered: nobody's
    assert vendor("fc:ff:ff:00:00:01") == ""
