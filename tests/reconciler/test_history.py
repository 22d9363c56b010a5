"""The transitions of Ready that a daemon remembers."""

from reconciler.world import EPOCH, PEER_TTL, World
from twisted.trial.unittest import SynchronousTestCase

from k3net.model import rfc3339
from k3net.model.brake import Opinion
from k3net.model.node import Condition
from k3net.reconciler.history import LENGTH, History

UP = Condition("Ready", "True", "PeerAlive", "tcp probe ok")
DOWN = Condition("Ready", "False", "PeerExpired", "peer ttl exceeded")


class HistoryTests(SynchronousTestCase):
    def test_a_transition_has_its_time_and_why(self):
        history = History()
        history.note("n1", UP, EPOCH + 0.25)
        self.assertEqual(
            history.of("n1"),
            [{"at": "2027-01-15T08:00:00Z", "status": "True", "reason": "PeerAlive", "message": "tcp probe ok"}],
        )

    def test_only_a_change_of_status_is_a_transition(self):
        history = History()
        for wall, ready in ((1.0, UP), (2.0, Condition("Ready", "True", "LANDiscovery")), (3.0, DOWN), (4.0, DOWN)):
            history.note("n1", ready, wall)
        self.assertEqual([each["at"][-3:] for each in history.of("n1")], ["01Z", "03Z"])

    def test_the_last_twenty_are_kept_the_oldest_first(self):
        history = History()
        for second in range(50):
            history.note("n1", (UP, DOWN)[second % 2], float(second))
        times = [rfc3339.parse(each["at"]) for each in history.of("n1")]
        self.assertEqual(times, [float(second) for second in range(30, 50)])
        self.assertEqual(LENGTH, 20)

    def test_each_node_has_its_own_and_those_not_kept_are_forgotten(self):
        history = History()
        history.note("n1", UP, 1.0)
        history.note("n2", DOWN, 2.0)
        history.keep({"n2"})
        self.assertEqual([history.of("n1"), len(history.of("n2"))], [[], 1])


class PassTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def transitions(self, daemon, name="n1"):
        return [
            (rfc3339.parse(each["at"]) - EPOCH, each["status"], each["reason"])
            for each in daemon.reconciler.history.of(name)
        ]

    def test_coming_going_and_coming_back_are_three_transitions_with_their_times(self):
        [d1] = self.world.fleet("d1", machines=["n1", "n2", "n3"])
        self.world.advance(60)
        self.world.up.discard("n1")
        self.world.advance(140)
        self.world.up.add("n1")
        self.world.advance(30)
        (came, *why_came), (went, *why_went), (returned, *why_returned) = self.transitions(d1)
        self.assertEqual(
            [why_came[0], why_went, why_returned], ["True", ["False", "PeerExpired"], ["True", "PeerAlive"]]
        )
        self.assertLess(came, 5)
        self.assertTrue(45 + PEER_TTL <= went <= 62 + PEER_TTL, went)
        self.assertTrue(200 <= returned <= 217, returned)

    def test_a_machine_that_only_a_member_reaches_does_not_flap(self):
        d1 = self.world.daemon("d1", ask=lambda name: Opinion(reached_by="d2"))
        d1.hears("n1")
        d1.reaches("n1")
        self.world.advance(10 * PEER_TTL)
        self.assertEqual([status for _, status, _ in self.transitions(d1)], ["True"])
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))

    def test_hearsay_has_no_history(self):
        d1 = self.world.daemon("d1")
        d1.hears("n1")
        self.world.advance(5)
        self.assertEqual(self.transitions(d1), [])
