"""The DNS probe against name servers that answer, lie, lose and say no."""

import shutil
import tempfile
from pathlib import Path

import pytest
from probes.entered import a_network, entered
from probes.servers import Nameserver, nameserver
from twisted.internet import reactor
from twisted.names import dns as wire
from twisted.trial.unittest import TestCase

from k3net.probes import dns

BOTH = {("k3.example", "A"): ["127.0.0.5"], ("k3.example", "AAAA"): ["fd00::5"]}


class AskedServerTests(TestCase):
    async def ask(self, zone=BOTH, name="k3.example", timeout=2.0, **how):
        self.server, port = nameserver(self, zone, **how)
        return await dns.probe(reactor, (name, "127.0.0.1", port), timeout)

    async def test_both_families_are_asked_for_and_told(self):
        found = await self.ask()
        self.assertEqual((found.ok, found.facts["rcode"]), (True, "NOERROR"))
        self.assertEqual(found.facts["addresses"], ("127.0.0.5", "fd00::5"))
        self.assertEqual(sorted(self.server.asked), [("k3.example", "A"), ("k3.example", "AAAA")])
        self.assertEqual((found.sent, found.received), (2, 2))

    async def test_one_family_is_enough(self):
        for family in ("A", "AAAA"):
            zone = {key: addresses if key[1] == family else [] for key, addresses in BOTH.items()}
            found = await self.ask(zone)
            self.assertEqual((found.ok, found.facts["addresses"]), (True, tuple(zone["k3.example", family])))

    async def test_what_the_server_says_is_told(self):
        said = {"NXDOMAIN": wire.ENAME, "SERVFAIL": wire.ESERVER, "REFUSED": wire.EREFUSED, "no address": []}
        for reason, rcode in said.items():
            zone = {("k3.example", family): rcode for family in ("A", "AAAA")}
            found = await self.ask(zone)
            expected = (False, reason, "NOERROR" if rcode == [] else reason)
            self.assertEqual((found.ok, found.reason, found.facts["rcode"]), expected)

    async def test_one_family_that_is_never_answered_is_a_timeout(self):
        found = await self.ask(mangle=lambda data, question: None if question[1] == "AAAA" else data, timeout=0.2)
        self.assertEqual((found.ok, found.reason, found.received), (False, "timeout", 1))

    async def test_a_lost_packet_is_sent_again(self):
        found = await self.ask(mangle=lambda data, _: None if len(self.server.asked) <= 2 else data, timeout=0.4)
        self.assertEqual((found.ok, found.sent), (True, 4))

    async def test_a_lie_is_waited_past(self):
        lies = (
            lambda data, _: bytes([data[0] ^ 1]) + data[1:],
            lambda data, _: data.replace(b"example", b"elpmaxe"),
            lambda data, _: data[:-3],
            lambda data, _: b"\xc0\x0c" * 40,
            lambda data, _: b"",
        )
        for lie in lies:
            found = await self.ask(mangle=lie, timeout=0.1)
            self.assertEqual((found.ok, found.reason), (False, "timeout"))

    async def test_an_answer_that_was_cut_is_one(self):
        zone = {("k3.example", family): [] for family in ("A", "AAAA")}
        found = await self.ask(zone, mangle=lambda data, _: data[:2] + bytes([data[2] | 2]) + data[3:])
        self.assertEqual((found.ok, found.facts["truncated"]), (True, True))


@pytest.mark.requires("root", "netns")
class MachineTests(TestCase):
    """As the machine's own configuration has it: servers on port 53 of a network of the test's own."""

    def setUp(self):
        network = a_network("dns")
        self.addCleanup(network.__exit__, None, None, None)
        within = entered(network.__enter__())
        within.__enter__()
        self.addCleanup(within.__exit__, None, None, None)
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        self.file = Path(folder) / "resolv.conf"

    def server(self, address, zone):
        serving = Nameserver(zone)
        port = reactor.listenUDP(53, serving, interface=address)
        self.addCleanup(port.stopListening)
        return serving

    async def ask(self, name, timeout=1.0):
        return await dns.probe(reactor, name, timeout, resolv_conf=self.file)

    async def test_the_search_list_is_followed(self):
        self.file.write_text("nameserver 127.0.0.53\nsearch nowhere example\noptions ndots:2\n")
        serving = self.server("127.0.0.53", BOTH)
        found = await self.ask("k3")
        self.assertEqual((found.ok, found.target, found.facts["name"]), (True, "k3", "k3.example"))
        self.assertEqual({name for name, _ in serving.asked}, {"k3.nowhere", "k3.example"})
        self.assertEqual((await self.ask("k4")).reason, "NXDOMAIN")

    async def test_a_server_that_is_dead_or_ill_is_followed_by_the_next(self):
        good = "nameserver 127.0.0.53\n"
        self.server("127.0.0.53", BOTH)
        self.server("127.0.0.54", dict.fromkeys(BOTH, wire.ESERVER))
        for first in ("127.0.0.55", "127.0.0.54", "10.9.9.9"):
            self.file.write_text(f"nameserver {first}\n{good}")
            found = await self.ask("k3.example")
            self.assertEqual((found.ok, found.facts["server"]), (True, "127.0.0.53:53"), first)
        self.file.write_text("nameserver 127.0.0.55\nnameserver 10.9.9.9\n")
        found = await self.ask("k3.example")
        self.assertEqual((found.ok, found.reason), (False, "unreachable"))

    async def test_a_configuration_that_is_not_there_means_this_machine(self):
        found = await self.ask("k3.example")
        self.assertEqual((found.ok, found.reason, found.facts["server"]), (False, "refused", "127.0.0.1:53"))

    async def test_a_configuration_that_cannot_be_read_is_a_local_fault(self):
        self.file.mkdir()
        found = await self.ask("k3.example")
        self.assertIsNone(found.ok)
        self.assertIn("Is a directory", found.reason)
