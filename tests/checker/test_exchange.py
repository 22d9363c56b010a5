"""What one server passes on to another."""

from collections import OrderedDict
from typing import Any

import msgspec
from checker.received import received
from twisted.internet.defer import maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.checker.exchange import _MOST_PENDING, MOST_BYTES, Exchange, Members, _lots, take
from k3net.checker.server import CheckerServer
from k3net.checker.wire import ConnectivityResult, Heartbeat, SentReport, ServiceReport

BEAT = Heartbeat(node_ip="10.0.0.1", pod_ip="10.1.0.1", pod_name="agent-1")
RESULT = ConnectivityResult(target_ip="10.0.0.2", ping_status="reachable", port_status={"22": "open"})
SERVICE = ServiceReport("10.1.0.1", ConnectivityResult(target_ip="web", port_status={"80": "open"}))


def members(clock: Clock) -> Members:
    return Members(clock, ["http://m:1"], instance="a", token=str, resolve=lambda host, port: succeed([]))


class ExchangeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[str] = []
        self.clock = Clock()
        self.server = CheckerServer(
            self.clock,
            wall=lambda: 0.0,
            expiry=15.0,
            in_thread=maybeDeferred,
            accepted=lambda kind, key, body: self.told.append(kind),
        )

    def take(self, said: Exchange) -> "dict[str, Any]":
        return self.successResultOf(take(self.clock, self.server, said, "b"))

    def test_what_is_sent_is_taken_in_and_passed_on_to_nobody(self):
        pending = OrderedDict(
            {
                ("hosts", "10.0.0.1"): msgspec.json.encode(SentReport("10.0.0.1", [RESULT])),
                ("heartbeats", "agent-1"): msgspec.json.encode(BEAT),
                ("pods", "10.1.0.1"): msgspec.json.encode(SentReport("10.1.0.1", [RESULT])),
                ("service", "10.1.0.1"): msgspec.json.encode(SERVICE),
            }
        )
        [(body, count)] = _lots(pending, "a")
        self.assertEqual(count, 4)
        said = msgspec.json.decode(body, type=Exchange)
        self.assertEqual(self.take(said), {"instance": "b", "refused": 0})
        self.assertEqual(len(self.server.registry), 1)
        self.assertEqual(len(self.server.rows("host")), 1)
        self.assertEqual(len(self.server.rows("pod")), 1)
        self.assertEqual(list(self.server.results.services()), ["10.1.0.1"])
        self.assertEqual(self.told, [])

    def test_a_server_that_hears_itself_takes_nothing(self):
        self.assertEqual(self.take(Exchange("b", [BEAT])), {"instance": "b", "refused": 0})
        self.assertEqual(len(self.server.registry), 0)

    def test_one_word_that_cannot_be_taken_leaves_the_others(self):
        bad = ConnectivityResult(target_ip="x", test_duration="soon")
        nowhere = Heartbeat(node_ip="10.0.0.9", pod_ip="10.1.0.9.9", pod_name="agent-9")
        said = Exchange("a", [nowhere], [received("10.0.0.9", [bad]), received("10.0.0.1", [RESULT])])
        self.assertEqual(self.take(said)["refused"], 2)
        self.assertEqual(len(self.server.registry), 0)
        self.assertEqual([source for source, _ in self.server.rows("host")], ["10.0.0.1"])

    def test_a_large_lot_is_taken_in_a_little_at_a_time(self):
        beats = [Heartbeat(f"10.0.{i // 250}.{i % 250}", f"10.1.{i // 250}.{i % 250}", f"a-{i}") for i in range(1200)]
        taken = take(self.clock, self.server, Exchange("a", beats), "b")
        self.assertEqual(len(self.server.registry), 500)
        self.clock.advance(0)
        self.assertEqual(len(self.server.registry), 1200)
        self.assertEqual(self.successResultOf(taken), {"instance": "b", "refused": 0})

    def test_lots_are_bounded(self):
        words = OrderedDict({("hosts", str(i)): b"x" * 1_000_000 for i in range(10)})
        lots = list(_lots(words, "a"))
        self.assertEqual(sum(count for _, count in lots), 10)
        self.assertTrue(all(len(body) <= MOST_BYTES for body, _ in lots))

    def test_what_waits_is_the_last_word_of_each_in_a_bounded_number_of_bytes(self):
        waiting = members(Clock())
        waiting.offer("heartbeats", "agent-1", BEAT)
        waiting.offer("heartbeats", "agent-1", BEAT)
        self.assertEqual(len(waiting._pending), 1)
        long = SentReport("10.0.0.1", [ConnectivityResult(target_ip="x" * 250, reason="y" * 120)] * 10_000)
        for i in range(20):
            waiting.offer("hosts", str(i), long)
        self.assertLessEqual(waiting._bytes, _MOST_PENDING)
        self.assertGreater(waiting.dropped, 0)
        self.assertEqual(waiting._bytes, sum(map(len, waiting._pending.values())))
