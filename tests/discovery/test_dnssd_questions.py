"""What is heard must not keep zeroconf from asking."""

import asyncio
import time
from threading import Event
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase
from zeroconf import DNSOutgoing, DNSPointer
from zeroconf._listener import AsyncListener
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_QUERY, _FLAGS_QR_RESPONSE, _TYPE_PTR

from k3net.discovery import asking
from k3net.discovery.dnssd import DnsSd

TYPE = "_k3._tcp.local."


def pointer(label: str) -> DNSPointer:
    return DNSPointer(TYPE, _TYPE_PTR, _CLASS_IN, 4500, f"{label}.{TYPE}", 0.0)


def packet(*labels: str) -> bytes:
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    for label in labels:
        out.add_answer_at_time(pointer(label), 0)
    return out.packets()[0]


class QuestionTests(SynchronousTestCase):
    def setUp(self):
        self.dnssd = DnsSd(TYPE, lambda instances: None, lambda f: f())
        with patch("zeroconf._core.create_sockets", lambda *_, **__: (None, [])):
            self.dnssd.open(["127.0.0.1"])
        self.addCleanup(self.dnssd.close)

    def hear(self, data: bytes) -> list[Any]:
        """The pointers that are in the cache when the packet has been heard."""

        async def heard() -> list[Any]:
            zeroconf = self.dnssd._opened
            AsyncListener(zeroconf).datagram_received(data, ("10.77.0.9", 5353))
            return list(zeroconf.cache.async_entries_with_name(TYPE))

        loop = self.dnssd._opened.loop
        assert loop is not None
        return asyncio.run_coroutine_threadsafe(heard(), loop).result(5)

    def test_an_instance_that_nobody_answered_for_is_asked_for_again_a_few_times(self):
        seen, enough = [], Event()

        async def ask(name):
            seen.append(name)
            if len(seen) == 1 + asking._TIMES_AGAIN:
                enough.set()

        with patch.object(self.dnssd._asking, "ask", ask), patch.object(asking, "_AGAIN_SECONDS", 0.002):
            self.hear(packet("lost"))
            self.assertTrue(enough.wait(5))
            self.assertEqual(self.in_thread(lambda: len(self.dnssd._asking.again)), 0)
        self.assertEqual(set(seen), {f"lost.{TYPE}"})

    def test_those_asked_for_again_are_bounded(self):
        async def ask(name):
            pass

        with patch.object(self.dnssd._asking, "ask", ask), patch.object(asking, "_AGAIN_SECONDS", 60.0):
            for part in range(10):
                self.hear(packet(*[f"lost-{part}-{n}" for n in range(20)]))
            until = time.monotonic() + 5
            while self.in_thread(lambda: len(self.dnssd._asking.under_way) + len(self.dnssd._asking.waiting)):
                self.assertLess(time.monotonic(), until)
            self.assertEqual(self.in_thread(lambda: len(self.dnssd._asking.again)), asking._MOST_AGAIN)

    def in_thread(self, f):
        """The result of `f()` in zeroconf's thread."""

        async def call():
            return f()

        loop = self.dnssd._opened.loop
        assert loop is not None
        return asyncio.run_coroutine_threadsafe(call(), loop).result(5)

    def test_a_name_that_no_question_can_hold_is_not_kept(self):
        data = packet("good", "x" * 40, "y" * 63).replace(b"x" * 40, b"\xff" * 40)
        known = self.hear(data)
        self.assertEqual({p.alias for p in known}, {f"good.{TYPE}", f"{'y' * 63}.{TYPE}"})
        question = DNSOutgoing(_FLAGS_QR_QUERY)
        for one in known:
            question.add_answer_at_time(one, 0)
        self.assertEqual(len(question.packets()), 1)
        self.assertEqual(self.dnssd.errors, 0)

    def test_the_same_one_twice_in_a_packet_is_no_error(self):
        data = packet("a" * 40, "b" * 40).replace(b"a" * 40, b"\xff" * 40).replace(b"b" * 40, b"\xff" * 40)
        self.assertEqual(self.hear(data), [])
        self.assertEqual(self.hear(data), [])
        self.assertEqual(self.dnssd.errors, 0)
