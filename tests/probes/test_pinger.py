"""The Pinger on real sockets, in a namespace whose filters drop, refuse and lose on purpose."""

import socket
import struct
import time

import pytest
from integration.netns import ip
from probes.entered import a_network, entered
from probes.probe_contract import held
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from k3net.probes import echo
from k3net.probes.icmp import Pinger

RULES = """
chain in { type filter hook input priority 0
    ip daddr 127.0.0.9 drop
    ip daddr 127.0.0.8 reject with icmp type admin-prohibited
    ip daddr 127.0.0.7 reject with icmp type host-unreachable
    ip daddr 127.0.0.6 icmp type echo-request numgen inc mod 2 0 drop
    ip daddr 127.0.0.5 icmp type echo-request numgen inc mod 3 != 0 drop
    ip6 daddr fd77::9 icmpv6 type echo-request drop
    ip6 daddr fd77::8 icmpv6 type echo-request reject with icmpv6 type admin-prohibited
    ip6 daddr fd77::7 icmpv6 type echo-request reject with icmpv6 type addr-unreachable
}
chain out { type filter hook output priority 0
    ip daddr 127.0.0.4 drop
}"""
UNHEARD = "127.0.0.9"


@pytest.mark.requires("root", "netns", "nft")
class PingerTests(TestCase):
    range = "1 0"

    @classmethod
    def setUpClass(cls):
        cls.network = a_network("pinger", RULES, cls.range)
        cls.namespace = cls.network.__enter__()
        for host in (7, 8, 9):
            ip("-n", cls.namespace, "address", "add", f"fd77::{host}/128", "dev", "lo")
        ip("-n", cls.namespace, "link", "add", "d0", "type", "veth", "peer", "name", "d1")
        for link, address in (("d0", "fe80::1/64"), ("d1", "fe80::2/64")):
            ip("-n", cls.namespace, "link", "set", link, "up")
            ip("-n", cls.namespace, "address", "add", address, "dev", link, "nodad")

    @classmethod
    def tearDownClass(cls):
        cls.network.__exit__(None, None, None)

    def setUp(self):
        within = entered(self.namespace)
        within.__enter__()
        self.addCleanup(within.__exit__, None, None, None)
        self.pinger = Pinger(reactor)
        self.addCleanup(self.pinger.close)

    def ping(self, address, count=3, interval=0.01, timeout=0.3, **how):
        return self.pinger.ping(address, count, interval, timeout, **how)

    async def outcomes(self, *addresses, **how):
        found = await gatherResults([self.ping(address, **how) for address in addresses])
        return [(each.ok, each.reason, each.received) for each in found]

    async def test_every_packet_is_told(self):
        for address in ("127.0.0.1", "::1", "127.3.2.1", "fe80::1%d0"):
            found = await self.ping(address, 5)
            self.assertEqual((found.ok, found.sent, found.received, found.loss), (True, 5, 5, 0.0), found)
            self.assertTrue(0 < found.rtt_min <= found.rtt <= found.rtt_max < 0.3)
            self.assertEqual(found.facts["hop_limit"], 64)

    async def test_what_the_network_says_is_told_apart(self):
        expected = {
            "127.0.0.9": (False, "timeout", 0),
            "127.0.0.8": (False, "prohibited", 0),
            "127.0.0.7": (False, "unreachable", 0),
            "fd77::9": (False, "timeout", 0),
            "fd77::8": (False, "prohibited", 0),
            "fd77::7": (False, "unreachable", 0),
            "10.9.9.9": (False, "unreachable", 0),
            "127.0.0.4": (None, "not permitted", 0),
            "127.0.0.1": (True, "", 3),
            "::1": (True, "", 3),
        }
        self.assertEqual(dict(zip(expected, await self.outcomes(*expected), strict=True)), expected)

    async def test_an_error_about_one_target_is_not_anothers(self):
        there = ["127.0.0.1", "127.0.0.7", "127.0.0.2", "127.0.0.8", "127.0.0.3", "10.9.9.9"] * 20
        found = await gatherResults([self.ping(address, 5, 0.002) for address in there])
        alive = [each for each in found if each.target in ("127.0.0.1", "127.0.0.2", "127.0.0.3")]
        self.assertEqual({(each.ok, each.received) for each in alive}, {(True, 5)})
        self.assertEqual({each.ok for each in found if each not in alive}, {False})

    async def test_half_of_the_packets_is_enough_and_less_is_not(self):
        [half, third] = await gatherResults([self.ping("127.0.0.6", 6), self.ping("127.0.0.5", 6)])
        self.assertEqual((half.ok, half.reason, half.loss, half.received), (True, "", 0.5, 3))
        self.assertEqual((third.ok, third.reason, third.received), (False, "loss", 2))
        self.assertAlmostEqual(third.loss, 4 / 6)
        self.assertIsNotNone(third.rtt)

    async def test_a_busy_reactor_is_not_in_the_rtt(self):
        asked = self.ping("127.0.0.1", 1, timeout=0.1)
        reactor.callLater(0, time.sleep, 0.4)
        found = await asked
        self.assertTrue(found.ok, found)
        self.assertLess(found.rtt, 0.1)

    async def test_a_wall_clock_that_is_set_does_no_harm(self):
        for step in (-3600, 3600):
            pinger = Pinger(reactor, wall=lambda step=step: time.time() + step)
            found = await pinger.ping("127.0.0.1", 1, 0.1, 0.3)
            self.assertTrue(found.ok and 0 <= found.rtt <= 0.3, found)

    async def test_two_pingers_do_not_hear_one_another(self):
        other = Pinger(reactor)
        found = await gatherResults([p.ping("127.0.0.1", 20, 0.002, 0.3) for p in (self.pinger, other) * 5])
        self.assertEqual({(each.sent, each.received) for each in found}, {(20, 20)})

    async def test_packets_leave_no_faster_than_was_said(self):
        self.pinger = Pinger(reactor, packets_per_second=100)
        begun = reactor.seconds()
        found = await self.outcomes(*[f"127.5.0.{i}" for i in range(1, 41)], count=1, timeout=0.1)
        self.assertEqual(set(found), {(True, "", 1)})
        self.assertGreaterEqual(reactor.seconds() - begun, 0.35)

    async def test_what_could_not_be_sent_in_time_was_not_measured(self):
        self.pinger = Pinger(reactor, packets_per_second=2)
        found = await self.outcomes("127.0.0.1", "127.0.0.2", count=2, interval=0.01, within=0.1)
        self.assertEqual(found, [(True, "", 1), (None, "not sent in time", 0)])

    async def test_a_pinger_that_is_closed_ends_what_it_began_and_leaves_nothing(self):
        await self.ping("127.0.0.1", 1)
        before = held()
        asked = [self.ping(UNHEARD, timeout=5.0), self.ping("fd77::9", timeout=5.0)]
        await deferLater(reactor, 0.03)
        self.assertGreater(held(), before)
        self.pinger.close()
        self.assertEqual([(each.ok, each.reason) for each in await gatherResults(asked)], [(None, "closed")] * 2)
        self.assertEqual(held(), before)
        self.assertTrue((await self.ping("127.0.0.1")).ok, "and it opens anew")
        self.assertEqual(held(), before)

    async def test_a_ping_begun_by_the_end_of_another_is_answered(self):
        found = await self.ping("127.0.0.1", 1).addCallback(lambda _: self.ping("::1", 1))
        self.assertEqual((found.ok, found.target), (True, "::1"))

    async def test_only_the_true_answer_counts(self):
        for forged, received in (("payload", 0), ("source", 0), ("sequence", 0), ("", 1)):
            asked = self.ping(UNHEARD, 1, timeout=0.3)
            await self.answer(UNHEARD, forged)
            found = await asked
            self.assertEqual(found.received, received, f"forged {forged or 'nothing'}")

    async def answer(self, address, forged):
        """See the request to `address` on the wire, and answer it with something `forged`."""
        with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as wire:
            wire.bind(("lo", 0x0800))
            wire.settimeout(0)
            for _ in range(100):
                await deferLater(reactor, 0.002)
                try:
                    packet = wire.recv(2048)
                except BlockingIOError:
                    continue
                if packet[16:20] == socket.inet_aton(address):
                    break
            asked = echo.quoted(4, echo.without_ipv4_header(packet))
        payload = b"x" * len(asked.payload) if forged == "payload" else asked.payload
        sequence = asked.sequence ^ (forged == "sequence")
        said = struct.pack("!BBHHH", 0, 0, 0, asked.identifier, sequence) + payload
        said = said[:2] + struct.pack("!H", echo.checksum(said)) + said[4:]
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as liar:
            liar.bind(("127.0.0.66" if forged == "source" else address, 0))
            liar.sendto(said, ("127.0.0.1", 0))


class DatagramPingerTests(PingerTests):
    """The same where the kernel lets everybody ping."""

    range = "0 0"
