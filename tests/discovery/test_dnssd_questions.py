"""What is heard must not keep zeroconf from asking."""

import asyncio
from typing import Any
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase
from zeroconf import DNSOutgoing, DNSPointer
from zeroconf._listener import AsyncListener
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_QUERY, _FLAGS_QR_RESPONSE, _TYPE_PTR

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
