"""The options of the export: what they mean, and one clear line for each that cannot be read."""

from ipaddress import ip_network

import pytest

from k3net.errors import ConfigError
from k3net.export.request import Request, parse_request
from k3net.export_tap import Options


def test_without_options_all_is_as_the_contract_says():
    assert parse_request({}) == Request((), 15.0, "json", "", True, 0.25, (4,))


def test_every_option_is_read():
    words = {
        "cidr": ["192.168.1.7/24", "fd00::/64", "192.168.1.0/24"],
        "timeout": "2s",
        "format": "cmd",
        "output": "lan.txt",
        "resolve-dns": "False",
        "dns-timeout": "1m",
        "family": "all",
    }
    cidrs = (ip_network("192.168.1.0/24"), ip_network("fd00::/64"))
    assert parse_request(words) == Request(cidrs, 2.0, "cmd", "lan.txt", False, 60.0, (4, 6))


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"format": "xml"}, "unsupported --format=xml (json, yaml, cmd or table)"),
        ({"format": ""}, "unsupported --format='' (json, yaml, cmd or table)"),
        ({"family": "5"}, "unsupported --family=5 (4, 6 or all)"),
        ({"resolve-dns": "perhaps"}, "--resolve-dns: expected true or false, not perhaps"),
        ({"timeout": "soon"}, "--timeout: expected a duration such as 90s, 1m30s or 250ms, not 'soon'"),
        ({"timeout": "0s"}, "--timeout: expected more than 0 and at most 24h, not 0s"),
        ({"dns-timeout": "-1s"}, "--dns-timeout: expected more than 0 and at most 24h, not '-1s'"),
        ({"cidr": ["10.0.0.1"]}, "--cidr: expected a network as 192.168.1.0/24, not '10.0.0.1'"),
        ({"cidr": ["10.0.0.0/33"]}, "--cidr: expected a network as 192.168.1.0/24, not '10.0.0.0/33'"),
        ({"cidr": ["fd00::/64"]}, "--cidr: fd00::/64 is IPv6: ask with --family 6 or all"),
        ({"cidr": ["10.0.0.0/8"] * 257}, "--cidr: at most 256 of them"),
        ({"output": ""}, "--output: expected the path of a file"),
    ],
)
def test_what_cannot_be_read_is_one_line(words, line):
    with pytest.raises(ConfigError) as raised:
        parse_request(words)
    assert str(raised.value) == line


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--resolve-dns"], "resolve-dns", "true"),
        (["--resolve-dns", "--format", "cmd"], "resolve-dns", "true"),
        (["--resolve-dns", "false"], "resolve-dns", "false"),
        (["--resolve-dns=0"], "resolve-dns", "0"),
        (["--cidr", "10.0.0.0/8", "--cidr=10.1.0.0/16"], "cidr", ["10.0.0.0/8", "10.1.0.0/16"]),
        ([], "timeout", None),
    ],
)
def test_twistds_flags_are_read_as_gos(flags, name, value):
    options = Options()
    options.parseOptions(flags)
    assert options.words[name] == value


def test_twistd_stays_in_the_foreground_without_a_pid_file():
    options = Options()
    options.parent = {"nodaemon": False, "pidfile": "twistd.pid"}
    options.parseOptions([])
    assert options.parent == {"nodaemon": True, "pidfile": ""}


@pytest.mark.parametrize("flags", [["--bogus"], ["--format"], ["a", "word"]])
def test_flags_that_are_none_are_one_line_and_exit_status_2(flags, capfd):
    with pytest.raises(SystemExit) as raised:
        Options().parseOptions(flags)
    assert raised.value.code == 2
    said = capfd.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1
    assert said.err.startswith("k3net-export: ")
