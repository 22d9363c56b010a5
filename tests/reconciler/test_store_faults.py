"""The store goes away, answers too late, or not at all."""

from contracts import manifest_of
from reconciler.world import PEER_TTL, REPORT_EVERY, World
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase


class StoreFaultTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def test_a_store_that_is_away_at_the_start_is_filled_when_it_comes(self):
        d1 = self.world.daemon(sees=["n1"])
        d1.wire.down = True
        self.world.up.add("n1")
        self.world.clock.advance(1)
        d1.look_round()
        self.world.advance(30)
        self.assertIsNone(self.world.node("n1"))
        self.assertIn("StoreUnavailable", d1.reconciler.last_error)
        d1.wire.down = False
        self.world.advance(2)
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))
        self.assertEqual((d1.reconciler.last_error, d1.reconciler.failing_since), ("", None))

    def test_after_an_hour_away_only_the_latest_state_is_written(self):
        d1, *_ = self.world.fleet("d1", machines=["n1", "n2", "n3", "n4"])
        self.world.advance(10)
        self.world.written(), self.world.calls()
        d1.wire.down = True
        for i in range(60):
            self.world.up ^= {"n1"}
            d1.hears("n2", addresses=(f"198.18.77.{i + 1}",))
            self.world.advance(60)
        self.world.up -= {"n1", "n3"}
        self.world.advance(PEER_TTL + 20)
        self.assertLess(self.world.calls().total(), 1.1 * (3600 + PEER_TTL + 20), "one try a second")
        d1.wire.down = False
        self.world.advance(50)  # it looks round again before it demotes
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))
        self.assertEqual(self.world.ready("n2"), ("True", "PeerAlive"))
        self.assertEqual(self.world.ready("n3"), ("False", "PeerExpired"))
        self.assertEqual(self.world.written(), {"d1": 1, "n1": 1, "n2": 1, "n3": 1, "n4": 1})
        self.assertEqual(self.world.calls()["list"], 1)

    def test_a_write_that_landed_without_an_answer_is_not_written_twice(self):
        d1 = self.world.daemon(sees=["n1"])
        self.world.advance(1)
        self.world.up.add("n1")
        d1.wire.loses_answers = True
        d1.look_round()
        self.world.clock.advance(0.1)
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"), "it landed")
        self.assertEqual(d1.reconciler.failures, 1)
        d1.wire.loses_answers = False
        self.world.written(), self.world.calls()
        self.world.advance(5)
        self.assertEqual(self.world.written(), {})
        self.assertEqual(self.world.calls(), {"list": 1}, "read anew, and found to be as it should")

    def test_a_write_that_did_not_land_is_written_once_the_store_is_back(self):
        d1 = self.world.daemon(sees=["n1"])
        self.world.advance(1)
        self.world.up.add("n1")
        d1.wire.down = True
        d1.look_round()
        self.world.clock.advance(0.1)
        d1.wire.down = False
        self.world.written()
        self.world.advance(5)
        self.assertEqual(self.world.written()["n1"], 1)

    def test_a_controller_that_came_while_the_outcome_was_unknown_keeps_its_node(self):
        d1 = self.world.daemon(sees=["n1"])
        self.world.advance(1)
        self.world.up.add("n1")
        d1.wire.loses_answers = True
        d1.look_round()
        self.world.clock.advance(0.1)
        self.world.foreign.put(manifest_of("n1", managed=None))
        taken = self.world.foreign.raw("n1")
        d1.wire.loses_answers = False
        self.world.advance(700)
        self.assertEqual(self.world.foreign.raw("n1"), taken)

    def test_a_demotion_with_an_unknown_outcome_is_written_once(self):
        d1, *_ = self.world.fleet("d1", machines=["n1", "n2", "n3"])
        self.world.advance(10)
        self.world.up.discard("n1")
        self.world.advance(PEER_TTL - 12)
        self.world.written()
        d1.wire.loses_answers = True
        self.world.advance(20)
        d1.wire.loses_answers = False
        transition = self.world.node("n1").ready.last_transition
        self.world.advance(700)
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))
        self.assertEqual(self.world.node("n1").ready.last_transition, transition)
        self.assertEqual(self.world.written()["n1"], 1)

    def test_a_store_that_forgot_everything_is_filled_again(self):
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(10)
        self.world.shared.texts.clear()
        self.world.advance(REPORT_EVERY + 2)
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))
        self.assertEqual(self.world.ready("d1"), ("True", "LANDiscovery"))


class SlowStoreTests(SynchronousTestCase):
    """A store that answers when the test says so."""

    def setUp(self):
        self.world = World()
        self.d1, *_ = self.world.fleet("d1", machines=["n1"])
        self.world.advance(5)
        self.gate = None
        self.apply = self.d1.wire.apply
        self.asked = 0
        self.d1.wire.apply = self.applied_at_the_gate

    def applied_at_the_gate(self, steps):
        self.asked += 1
        self.gate = Deferred()
        return self.gate.addCallback(lambda _: self.apply(steps))

    def test_passes_do_not_overlap_and_what_came_meanwhile_is_written_next(self):
        for i in range(1, 6):
            self.d1.hears("n1", addresses=(f"198.18.0.{i}",))
            self.world.clock.advance(0.5)
        self.assertEqual(self.asked, 1)
        self.gate.callback(None)
        self.world.clock.advance(0.2)
        self.assertEqual(self.asked, 2)
        self.gate.callback(None)
        self.world.clock.advance(1.0)
        self.assertEqual(self.world.node("n1").internal_ips, ("198.18.0.5",))
        self.assertEqual(self.asked, 2)

    def test_a_goodbye_heard_while_a_write_is_under_way_is_not_lost(self):
        self.d1.hears("n1", addresses=("198.18.0.9",))
        self.world.clock.advance(0.2)
        self.d1.hears_goodbye("n1")
        self.gate.callback(None)
        self.world.clock.advance(0.2)
        self.gate.callback(None)
        self.assertEqual(self.world.ready("n1"), ("False", "PeerGoodbye"))

    def test_a_stop_waits_for_the_pass_under_way(self):
        self.d1.hears("n1", addresses=("198.18.0.9",))
        self.world.clock.advance(0.2)
        self.d1.speaks(beats=0)
        stopped = self.d1.reconciler.stopService()
        self.assertNoResult(stopped)
        self.gate.callback(None)
        self.gate.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.world.ready("d1"), ("False", "PeerGoodbye"))
        self.assertEqual(self.world.node("n1").internal_ips, ("198.18.0.9",))

    def test_a_stop_gives_the_last_pass_five_seconds(self):
        self.d1.speaks(beats=0)
        stopped = self.d1.reconciler.stopService()
        self.world.clock.advance(4.9)
        self.assertNoResult(stopped)
        self.world.clock.advance(0.2)
        self.successResultOf(stopped)
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
