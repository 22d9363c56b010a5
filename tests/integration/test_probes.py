"""Probes between machines: routers that say no, drops in one direction, a long wire and one that loses packets."""

import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from integration.lab import Lab, wait_for
from integration.netns import ip
from integration.wire import wire
from probes.entered import entered
from probes.servers import Nameserver, Saying
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from k3net.probes import PROBES
from k3net.probes.icmp import Pinger
from k3net.probes.numeric import socket_address

A, ROUTER, B = "10.77.0.2", "10.77.0.1", "10.77.0.3"
FORWARDING = (
    "net.ipv4.ip_forward=1",
    "net.ipv4.conf.all.send_redirects=0",
    "net.ipv4.conf.lan0.send_redirects=0",
    "net.ipv4.icmp_ratelimit=0",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv6.icmp.ratelimit=0",
)


class LabCase(TestCase):
    def setUp(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.lab = Lab(folder)
        self.lab.__enter__()
        self.addCleanup(self.lab.__exit__, None, None, None)
        self.pinger = Pinger(reactor)
        self.addCleanup(self.pinger.close)

    def enter(self, host):
        within = entered(host.namespace)
        within.__enter__()
        self.addCleanup(within.__exit__, None, None, None)

    def take(self, host, address, port):
        """Connections on this host, until the test ends."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = host.inside(lambda: socket.create_server(socket_address(address, port)[1], family=family))
        self.addCleanup(sock.close)

    async def found(self, *addresses, count=3):
        found = await gatherResults([self.pinger.ping(address, count, 0.02, 0.4) for address in addresses])
        return {each.target: (each.ok, each.reason) for each in found}

    async def connected(self, *addresses, port=7946):
        found = await gatherResults([PROBES["tcp"](reactor, (address, port), 0.4) for address in addresses])
        return [(each.ok, each.reason) for each in found]


@pytest.mark.requires("nft", "sysctl")
class RoutedTests(LabCase):
    async def test_what_a_router_says_is_told_apart_from_silence(self):
        a = self.lab.host("a", ipv4=f"{A}/24", ipv6="fd77::2/64")
        router = self.lab.host("router", ipv4=f"{ROUTER}/24", ipv6="fd77::1/64")
        other = self.lab.host("other", ipv4=f"{B}/24")
        ip("-n", a.namespace, "route", "replace", "default", "via", ROUTER)
        ip("-n", a.namespace, "-6", "route", "replace", "default", "via", "fd77::1")
        for host in (router, other):
            host.run("sysctl", "-qw", *FORWARDING)
        for at, kind in enumerate(("unreachable", "prohibit", "blackhole")):
            ip("-n", router.namespace, "route", "add", kind, f"10.8{at}.0.0/16")
            ip("-n", router.namespace, "-6", "route", "add", kind, f"fd8{at}::/32")
        ip("-n", router.namespace, "route", "replace", "default", "via", B)
        ip("-n", other.namespace, "route", "replace", "default", "via", ROUTER)
        self.enter(a)
        expected = {
            ROUTER: (True, ""),
            "fd77::1": (True, ""),
            "10.80.0.1": (False, "unreachable"),
            "10.81.0.1": (False, "prohibited"),
            "10.82.0.1": (False, "timeout"),
            "fd80::1": (False, "unreachable"),
            "fd81::1": (False, "prohibited"),
            "fd82::1": (False, "timeout"),
            "10.99.0.1": (False, "time exceeded"),
        }
        self.assertEqual(await self.found(*expected), expected)

    async def test_a_drop_in_one_direction_is_silence(self):
        a, b = (
            self.lab.host("a", ipv4=f"{A}/24", ipv6="fd77::2/64"),
            self.lab.host("b", ipv4=f"{B}/24", ipv6="fd77::3/64"),
        )
        ip("-n", b.namespace, "address", "add", "fe80::3/64", "dev", "lan0", "nodad")
        for address in (B, "fd77::3", "fe80::3%lan0"):
            self.take(b, address, 7946)
        self.enter(a)
        all_of_b = (B, "fd77::3", "fe80::3%lan0")
        self.assertEqual(await self.found(*all_of_b), dict.fromkeys(all_of_b, (True, "")))
        self.assertEqual(await self.connected(*all_of_b), [(True, "")] * 3)
        for direction in ("in", "out"):
            b.blackhole(direction)
            self.assertEqual(await self.found(*all_of_b), dict.fromkeys(all_of_b, (False, "timeout")), direction)
            self.assertEqual(await self.connected(*all_of_b), [(False, "timeout")] * 3, direction)
            b.restore()


class Counted(Saying):
    def connectionMade(self):
        self.factory.connections += 1

    def connectionLost(self, reason):
        self.factory.connections -= 1


class WireTests(LabCase):
    NEAR, FAR = "10.78.0.1", "10.78.0.2"

    def ends(self):
        return self.lab.host("a"), self.lab.host("b")

    def lay(self, a, b, **how):
        laid = wire((a.namespace, b.namespace), (f"{self.NEAR}/24", f"{self.FAR}/24"), **how)
        laid.__enter__()
        self.addCleanup(laid.__exit__, None, None, None)

    async def test_a_long_wire_is_in_every_time_that_is_told(self):
        a, b = self.ends()
        self.lay(a, b, delay=0.02)
        with entered(b.namespace):
            saying = Factory.forProtocol(Counted)
            saying.noisy, saying.connections = False, 0
            saying.words = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
            serving = reactor.listenTCP(80, saying, interface=self.FAR)
            names = reactor.listenUDP(53, Nameserver({("k3.example", "A"): ["10.0.0.1"]}), interface=self.FAR)
        self.addCleanup(serving.stopListening)
        self.addCleanup(names.stopListening)
        self.enter(a)
        ping = await self.pinger.ping(self.FAR, 3, 0.01, 1.0)
        tcp = await PROBES["tcp"](reactor, (self.FAR, 80), 1.0)
        dns = await PROBES["dns"](reactor, ("k3.example", self.FAR, 53), 1.0)
        http = await PROBES["http"](reactor, f"http://{self.FAR}/", 1.0)
        for found in (ping, tcp, dns, http):
            self.assertTrue(found.ok, found)
            self.assertGreaterEqual(found.rtt, 0.04)
        self.assertGreaterEqual(ping.rtt_min, 0.04)
        for phase in ("connect", "processing"):
            self.assertGreaterEqual(http.phases[phase], 0.04)
        for _ in range(200):  # the far end hears of the end a little later
            if not saying.connections:
                break
            await deferLater(reactor, 0.01)

    async def test_a_wire_that_loses_packets_is_told_by_its_loss(self):
        a, b = self.ends()
        self.lay(a, b, loss=0.15)
        self.enter(a)
        found = await self.pinger.ping(self.FAR, 100, 0.002, 0.2)
        self.assertEqual((found.ok, found.sent), (True, 100))
        self.assertEqual(found.loss, 1 - found.received / 100)
        self.assertTrue(0.1 < found.loss < 0.5, f"1 - 0.85 ** 2 = 0.28 was expected, not {found.loss}")


@pytest.mark.requires("avahi-daemon", "curl")
def test_a_daemon_tells_prometheus_of_the_peers_it_found_and_of_nobody_else(lab):
    a, b = lab.host("a", ipv4=f"{A}/24"), lab.host("b", ipv4=f"{B}/24")
    lab.host("c", ipv4="10.77.0.4/24")
    b.avahi("b", port=7946, txt={"node": "b", "port": 7946, "pid": 1})
    with b.inside(lambda: socket.create_server((B, 7946))):
        daemon = a.k3net({"storage": {"type": "memory"}}, node_name="a")
        wait_for(lambda: "b" in daemon.nodes(), 10, "b's Node")

    def asked(target):
        url = f"http://127.0.0.1:8080/probe?module=icmp&target={target}"
        return a.run("curl", "-s", "-w", "%{http_code}", url).stdout

    for target in ("b", B):
        assert "\nprobe_success 1.0\n" in asked(target), target
    for target in ("c", "10.77.0.4"):
        assert asked(target).endswith("403"), target
