"""The TCP probe against real sockets, and in namespaces whose routes and filters say no."""

import errno
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from integration import netns
from integration.lab import Lab
from integration.netns import ip
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase

from k3net.probes import PROBES, tcp


def bound(address="127.0.0.1", listening=True, backlog=100):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family)
    sock.bind((address, 0))
    if listening:
        sock.listen(backlog)
    return sock, sock.getsockname()[1]


def open_files():
    return len(os.listdir("/proc/self/fd"))


class RealTests(TestCase):
    def listening(self, *args, **how):
        sock, port = bound(*args, **how)
        self.addCleanup(sock.close)
        return port

    def full(self):
        """A port whose backlog is full: connects to it hang."""
        sock, port = bound(backlog=0)
        self.addCleanup(sock.close)
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            self.addCleanup(filler.close)
        return port

    async def test_a_port_that_listens_is_ok(self):
        port = self.listening()
        found = await PROBES["tcp"](reactor, ("127.0.0.1", port), 1.0)
        self.assertEqual((found.ok, found.reason, found.probe), (True, "", "tcp"))
        self.assertEqual(found.target, f"127.0.0.1:{port}")
        self.assertTrue(0 <= found.rtt < 1)
        self.assertLess(abs(reactor.seconds() - found.at), 1)

    async def test_an_ipv6_port_that_listens_is_ok(self):
        try:
            port = self.listening("::1")
        except OSError:
            raise SkipTest("this machine has no IPv6") from None
        found = await tcp.probe(reactor, ("::1", port), 1.0)
        self.assertEqual((found.ok, found.target), (True, f"[::1]:{port}"))

    async def test_an_answer_that_waited_for_a_late_process_counts(self):
        asked = tcp.probe(reactor, ("127.0.0.1", self.listening()), 0.05)
        unused, port = bound(listening=False)
        self.addCleanup(unused.close)
        refused = tcp.probe(reactor, ("127.0.0.1", port), 0.05)
        hangs = tcp.probe(reactor, ("127.0.0.1", self.full()), 0.05)
        time.sleep(0.2)
        found = await gatherResults([asked, refused, hangs])
        self.assertEqual([(r.ok, r.reason) for r in found], [(True, ""), (False, "refused"), (False, "timeout")])

    async def test_the_other_side_is_hung_up_on(self):
        sock, port = bound()
        self.addCleanup(sock.close)
        await tcp.probe(reactor, ("127.0.0.1", port), 1.0)
        accepted, _ = sock.accept()
        self.addCleanup(accepted.close)
        accepted.settimeout(1)
        self.assertEqual(accepted.recv(1), b"")

    async def test_a_port_that_does_not_listen_refuses(self):
        port = self.listening(listening=False)
        found = await tcp.probe(reactor, ("127.0.0.1", port), 1.0)
        self.assertEqual((found.ok, found.reason, found.rtt), (False, "refused", None))

    async def test_a_port_that_says_nothing_times_out_when_it_was_told_to(self):
        begun = reactor.seconds()
        found = await tcp.probe(reactor, ("127.0.0.1", self.full()), 0.2)
        self.assertEqual((found.ok, found.reason, found.rtt), (False, "timeout", None))
        self.assertTrue(0.2 <= reactor.seconds() - begun < 0.6)

    async def test_a_cancelled_probe_was_not_measured_and_leaves_nothing(self):
        before = open_files()
        waiting = tcp.probe(reactor, ("127.0.0.1", self.full()), 5.0)
        with_one = open_files()
        writers = len(reactor.getWriters())
        waiting.cancel()
        found = await waiting
        self.assertEqual((found.ok, found.reason), (None, "cancelled"))
        self.assertEqual(len(reactor.getWriters()), writers - 1)
        self.assertEqual(open_files(), with_one - 1)
        self.assertGreater(with_one, before)

    async def test_two_thousand_probes_leave_no_descriptor_reader_or_timer_behind(self):
        ports = [self.listening(), self.listening(listening=False), self.full()]
        await gatherResults([tcp.probe(reactor, ("127.0.0.1", port), 0.05) for port in ports])
        before = open_files(), len(reactor.getReaders()), len(reactor.getWriters()), len(reactor.getDelayedCalls())
        for _ in range(10):
            probes = [tcp.probe(reactor, ("127.0.0.1", ports[i % 3]), 0.05) for i in range(200)]
            for waiting in probes[::7]:
                waiting.cancel()
            found = await gatherResults(probes)
            self.assertEqual({result.reason for result in found} - {"", "refused", "timeout", "cancelled"}, set())
        await deferLater(reactor, 0)
        after = open_files(), len(reactor.getReaders()), len(reactor.getWriters()), len(reactor.getDelayedCalls())
        self.assertLessEqual(after[0], before[0])
        self.assertEqual(after[1:3], before[1:3])
        self.assertLessEqual(after[3], before[3] + 1)


class OddTargetsTests(SynchronousTestCase):
    def asked(self, address, port):
        found = self.successResultOf(tcp.probe(MemoryReactorClock(), (address, port), 1.0))
        self.assertIsNone(found.ok)
        self.assertRegex(found.reason, "^local fault: .")

    @given(
        st.text().filter(lambda text: "::" not in text and text.count(".") < 3)
        | st.sampled_from(["localhost", "127.1", "127.0.0.1\x00", "[::1]", "0x7f.1", ""])
    )
    def test_what_is_no_ip_address_is_never_looked_up(self, address):
        self.asked(address, 7946)

    @given(st.integers(max_value=-1) | st.integers(min_value=65536), st.sampled_from(["127.0.0.1", "::1"]))
    def test_a_port_that_is_none_was_not_measured(self, port, address):
        self.asked(address, port)

    def test_a_scope_that_this_machine_has_not_was_not_measured(self):
        self.asked("fe80::1%nope0", 7946)


SCRIPT = """
import json, resource, sys
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from k3net.probes import tcp

async def main():
    found, kept = [], []
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    while "--exhausted" in sys.argv:
        try:
            kept.append(open("/dev/null"))
        except OSError:
            break
    for address, port in json.loads(sys.argv[1]):
        found.append(await tcp.probe(reactor, (address, port), 0.3))
    print(json.dumps([(r.ok, r.reason) for r in found]))
    reactor.stop()

reactor.callWhenRunning(lambda: ensureDeferred(main()))
reactor.run()
"""


def probed_by_another_process(targets, *flags, namespace=""):
    """(ok, reason) of each target, as probed by a process of its own."""
    command = [sys.executable, "-c", SCRIPT, json.dumps(targets), *flags]
    inside = ["ip", "netns", "exec", namespace] if namespace else []
    done = subprocess.run([*inside, *command], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    assert "Unhandled" not in done.stderr, done.stderr
    return [tuple(found) for found in json.loads(done.stdout)]


def test_a_process_that_has_no_descriptor_left_did_not_measure():
    found = probed_by_another_process([["127.0.0.1", 9]] * 2, "--exhausted")
    assert found == [(None, f"local fault: {os.strerror(errno.EMFILE)}")] * 2


@pytest.fixture
def lan(tmp_path):
    with Lab(tmp_path) as lab:
        yield lab


@pytest.mark.requires("root", "netns", "nft")
def test_what_routes_and_filters_say_is_told_apart(lan):
    here = lan.host("here", ipv4="10.77.0.2/16", ipv6="fd77::2/64")
    lan.host("there", ipv4="10.77.0.3/16", ipv6="fd77::3/64")
    silent = lan.host("silent", ipv4="10.77.0.4/16")
    silent.blackhole()
    at = ["-n", here.namespace]
    ip(*at, "route", "delete", "default")
    ip(*at, "-6", "route", "delete", "default")
    ip(*at, "route", "add", "unreachable", "10.80.0.0/16")
    ip(*at, "route", "add", "prohibit", "10.81.0.0/16")
    ip(*at, "route", "add", "blackhole", "10.82.0.0/16")
    rules = """table inet t { chain out { type filter hook output priority 0;
        ip daddr 10.77.0.5 drop
        ip daddr 10.77.0.6 reject with icmp type admin-prohibited
        ip daddr 10.77.0.7 reject with icmp type host-unreachable
        ip daddr 10.77.0.8 reject with tcp reset
        }; }"""
    nft = ["ip", "netns", "exec", here.namespace, "nft", "-f", "-"]
    subprocess.run(nft, input=rules, text=True, check=True)
    expected = {
        "10.77.0.3": (False, "refused"),
        "fd77::3": (False, "refused"),
        "10.77.0.4": (False, "timeout"),
        "10.99.0.1": (False, "unreachable"),
        "fd99::1": (False, "unreachable"),
        "10.80.0.1": (False, "unreachable"),
        "10.81.0.1": (None, "not permitted"),
        "10.82.0.1": (None, f"local fault: {os.strerror(errno.EINVAL)}"),
        "10.77.0.5": (False, "timeout"),
        "10.77.0.6": (False, "unreachable"),
        "10.77.0.7": (False, "unreachable"),
        "10.77.0.8": (False, "refused"),
    }
    found = probed_by_another_process([[address, 7946] for address in expected], namespace=here.namespace)
    assert dict(zip(expected, found, strict=True)) == expected


@pytest.mark.requires("root", "netns")
def test_a_machine_without_any_route_finds_everything_unreachable():
    namespace = netns.create("probe-bare")
    try:
        found = probed_by_another_process([["10.0.0.1", 1], ["fd00::1", 1]], namespace=namespace)
    finally:
        netns.delete(namespace)
    assert found == [(False, "unreachable"), (False, "unreachable")]
