"""Every probe against the one contract; icmp with each of its two kinds of socket, in a namespace of its own."""

import socket
from typing import Any

import pytest
from probes.entered import a_network, entered
from probes.probe_contract import make_probe_tests
from probes.servers import full, listening, mute, nameserver, refusing, web

SILENT, REFUSING = "127.0.0.9", "127.0.0.8"
RULES = f"""chain in {{ type filter hook input priority 0
    ip daddr {SILENT} drop
    ip daddr {REFUSING} reject with icmp type admin-prohibited
}}"""
ZONE = {("k3.example", "A"): ["127.0.0.5"], ("k3.example", "AAAA"): ["::5"]}


class TcpTests(make_probe_tests("tcp")):
    odd = (
        ("localhost", 80),
        ("127.1", 80),
        ("", 80),
        ("127.0.0.1", 65536),
        ("fe80::1%nope0", 80),
        ("fe80::1%" + "9" * 30, 80),
    )

    def alive(self):
        return "127.0.0.1", listening(self)

    def silent(self):
        return "127.0.0.1", full(self)

    def refusing(self):
        return "127.0.0.1", refusing(self)


class DnsTests(make_probe_tests("dns")):
    odd = ("", ".", "a..b", "x" * 64, "a b", "ü.example", ("k3.example", "localhost", 53), ("k3.example", "::1", 65536))

    def alive(self):
        return "k3.example", "127.0.0.1", nameserver(self, ZONE)[1]

    def silent(self):
        return "k3.example", "127.0.0.1", mute(self)

    def refusing(self):
        return "k3.example", "127.0.0.1", refusing(self, socket.SOCK_DGRAM)


class HttpTests(make_probe_tests("http")):
    odd = (
        "",
        "k3.example",
        "ftp://127.0.0.1/",
        "http://",
        "http://u:p@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://a b/",
    )
    waits = False

    def alive(self):
        return f"http://127.0.0.1:{web(self)}/"

    def silent(self):
        return f"http://127.0.0.1:{full(self)}/"

    def refusing(self):
        return f"http://127.0.0.1:{refusing(self)}/"


class IcmpSuite(make_probe_tests("icmp")):
    odd = (
        "localhost",
        "127.1",
        "",
        "0.0.0.0",
        "::",
        "224.0.0.1",
        "ff02::1",
        "fe80::1",
        "fe80::1%nope0",
        "fe80::1%" + "9" * 30,
    )
    refused = "prohibited"
    range: Any = None
    __test__ = False

    def setUp(self):
        network = a_network("probe", RULES, self.range)
        self.addCleanup(network.__exit__, None, None, None)
        within = entered(network.__enter__())
        within.__enter__()
        self.addCleanup(within.__exit__, None, None, None)

    def alive(self):
        return "127.0.0.5"

    def silent(self):
        return SILENT

    def refusing(self):
        return REFUSING


@pytest.mark.requires("root", "netns", "nft")
class IcmpRawTests(IcmpSuite):
    range = "1 0"
    __test__ = True


@pytest.mark.requires("root", "netns", "nft")
class IcmpDatagramTests(IcmpSuite):
    range = "0 0"
    __test__ = True
