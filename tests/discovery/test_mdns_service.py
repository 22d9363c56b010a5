"""Mdns as a service, by real zeroconfs on 127.0.0.1: two machines that are made up but for their sockets."""

import os
import threading
import time
from ipaddress import ip_interface

from twisted.internet import reactor
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from k3net.discovery.dnssd import Instance
from k3net.discovery.mdns import Mdns, in_thread
from k3net.host import Host, Interface
from k3net.model.peers import PeerTable

TYPE = f"_k3s{os.getpid() % 100000}._tcp.local."
"""A type of this process alone: others may speak on this machine's loopback too."""


def host(address, *ways, index=1):
    """A machine with this address, whose multicast goes over loopback by `ways`."""
    speaks = tuple(ip_interface(f"{way}/8") for way in ways)
    return Host(
        (
            Interface("lan0", index, True, True, False, speaks),
            Interface("eth0", 9, True, False, False, (ip_interface(f"{address}/16"),)),
        )
    )


class Machine:
    """One made-up machine: change `host` and `port`, and look at `said`."""

    def __init__(self, name, address):
        self.host = host(address, "127.0.0.1")
        self.port = 7946
        self.said = []
        self.refused = []
        self.table = PeerTable()
        self.mdns = Mdns(
            reactor,
            self.observe,
            name=name,
            port=lambda: self.port,
            pid=7,
            host=lambda: self.host,
            service_type=TYPE,
            peer_of=self.table.get,
            refused=self.refused.append,
        )

    def observe(self, o):
        self.said.append(o)
        return self.table.observe(o)

    @property
    def newest(self):
        return self.said[-1]


class MdnsServiceTests(TestCase):
    timeout = 40

    async def machine(self, name, address):
        machine = Machine(name, address)
        machine.mdns.startService()
        self.addCleanup(machine.mdns.stopService)
        return machine

    async def until(self, true, what, seconds=8.0):
        deadline = time.monotonic() + seconds
        while not true():
            self.assertLess(time.monotonic(), deadline, what)
            await deferLater(reactor, 0.02)

    async def announced(self, name, address):
        machine = await self.machine(name, address)
        await self.until(lambda: machine.mdns.name_is_free, f"{name} announced")
        return machine

    async def test_two_machines_hear_each_other_follow_changes_and_hear_the_goodbye(self):
        a = await self.announced("a", "10.0.0.1")
        b = await self.announced("b", "10.0.0.2")
        await self.until(lambda: a.said and b.said, "both were heard")
        o = b.newest
        self.assertEqual((o.peer, o.addresses, o.port, dict(o.meta)), ("a", ("10.0.0.1",), 7946, {"pid": "7"}))
        self.assertEqual({o.peer for o in a.said}, {"b"})

        await deferLater(reactor, 1.5)
        a.host = host("10.0.0.9", "127.0.0.1")
        a.mdns._hear([Instance(f"a.{TYPE}", "h.", 7946, {}, ("10.0.0.1",), reactor.seconds())])
        a.mdns.loop.kick()
        await self.until(lambda: b.newest.addresses == ("10.0.0.9",), "the new address")
        a.port = 7000
        a.mdns.loop.kick()
        await self.until(lambda: b.newest.port == 7000, "the new port")
        await deferLater(reactor, 1.5)
        self.assertEqual((a.mdns.alarms, b.mdns.alarms, a.mdns.loop.failures), ((), (), 0))

        await a.mdns.stopService()
        await self.until(lambda: b.newest.goodbye, "the goodbye")
        a.mdns.startService()
        await self.until(lambda: not b.newest.goodbye, "the machine came back")

    async def test_a_name_that_another_machine_has_is_left_to_it(self):
        await self.announced("same", "10.0.0.1")
        late = await self.machine("same", "10.0.0.2")
        await self.until(lambda: late.mdns.name_is_free is False, "the name is taken")
        self.assertTrue(any("another machine announces this node's name" in alarm for alarm in late.mdns.alarms))
        self.assertEqual((late.mdns.loop.failures, late.said), (0, []))

    async def test_without_interfaces_it_fails_and_with_them_it_heals(self):
        a = await self.announced("a", "10.0.0.1")
        b = await self.announced("b", "10.0.0.2")
        whole, a.host = a.host, host("10.0.0.1")
        a.mdns.loop.kick()
        await self.until(lambda: a.mdns.loop.last_error, "the loop fails")
        self.assertIn("no interface", a.mdns.loop.last_error)
        await self.until(lambda: b.said and b.newest.goodbye, "its sockets are closed")
        a.host = whole
        a.mdns.loop.kick()
        await self.until(lambda: not b.newest.goodbye, "it is back")
        await self.until(lambda: not a.mdns.loop.last_error, "the loop is well")  # b may hear it before a's call ends

    async def test_another_interface_is_followed(self):
        a = await self.announced("a", "10.0.0.1")
        b = await self.announced("b", "10.0.0.2")
        before = a.mdns._dnssd
        a.host = host("10.0.0.1", "127.0.0.3")
        a.mdns.loop.kick()
        await self.until(lambda: a.mdns._speaking_on == ((1, "127.0.0.3"),), "the other interface")
        a.port = 7000
        a.mdns.loop.kick()
        await self.until(lambda: b.newest.port == 7000, "it is heard from there")
        self.assertIs(a.mdns._dnssd, before)
        self.assertEqual(a.mdns.loop.failures, 0)

    async def test_an_interface_made_anew_with_its_old_address_is_joined_anew(self):
        a = await self.announced("a", "10.0.0.1")
        before = a.mdns._dnssd
        a.host = host("10.0.0.1", "127.0.0.1", index=5)
        a.mdns.loop.kick()
        await self.until(lambda: a.mdns._dnssd not in (None, before) and a.mdns._announced, "it speaks again")
        self.assertEqual(a.mdns.loop.failures, 0)

    async def test_a_zeroconf_that_cannot_open_leaves_nothing_behind(self):
        threads = threading.active_count()
        a = await self.machine("a", "10.0.0.1")
        a.host = host("10.0.0.1", "192.0.2.1")
        await self.until(lambda: a.mdns.loop.failures, "it fails")
        await self.until(lambda: threading.active_count() <= threads, "the threads end")
        a.host = host("10.0.0.1", "127.0.0.1")
        a.mdns.loop.kick()
        await self.until(lambda: a.mdns.name_is_free, "it heals")

    async def test_a_zeroconf_that_hangs_does_not_hold_up_the_end(self):
        a = await self.announced("a", "10.0.0.1")
        a.mdns._dnssd._opened.loop.call_soon_threadsafe(time.sleep, 7)
        sockets = [wrapped.sock for wrapped in a.mdns._dnssd._opened.engine.senders]
        begun = time.monotonic()
        await a.mdns.stopService()
        self.assertLess(time.monotonic() - begun, 6)
        await self.until(lambda: all(socket.fileno() < 0 for socket in sockets), "it defends its name no more")

    async def test_it_may_stop_at_any_moment(self):
        for pause in (0, 0.01, 0.3):
            a = Machine("a", "10.0.0.1")
            a.mdns.startService()
            await deferLater(reactor, pause)
            await a.mdns.stopService()
            self.assertIsNone(a.mdns._dnssd)
            self.assertEqual(a.mdns.loop.last_error, "")


class InThreadTests(TestCase):
    @inlineCallbacks
    def test_what_is_returned_and_raised_comes_back(self):
        name = yield in_thread(reactor, lambda: threading.current_thread().name)
        self.assertNotEqual(name, threading.current_thread().name)
        yield self.assertFailure(in_thread(reactor, lambda: 1 / 0), ZeroDivisionError)

    @inlineCallbacks
    def test_what_takes_too_long_fails_and_its_late_word_is_not_heard(self):
        for late in (lambda: "late", lambda: 1 / 0):
            go_on = threading.Event()

            def work(late=late, go_on=go_on):
                go_on.wait(5)
                return late()

            yield self.assertFailure(in_thread(reactor, work, timeout=0.05), DeferredTimeout)
            go_on.set()
            yield deferLater(reactor, 0.1)
        self.assertEqual(self.flushLoggedErrors(), [])
