"""Many calls, few at a time; the slow ones hold up no other."""

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.clusters.slots import Slots, Stopped


class SlotsTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.calls: list[Deferred] = []

    def begin(self, slots: Slots) -> Deferred:
        def call() -> Deferred:
            self.calls.append(Deferred())
            return self.calls[-1]

        return slots.run(call)

    def test_calls_run_in_their_order_so_many_at_a_time(self):
        slots = Slots(self.clock, 2)
        results = [self.begin(slots) for _ in range(4)]
        self.assertEqual((len(self.calls), slots.waiting), (2, 2))
        self.calls[1].callback("b")
        self.clock.advance(0)
        self.assertEqual((len(self.calls), self.successResultOf(results[1])), (3, "b"))
        self.calls[0].errback(OSError("a"))
        self.failureResultOf(results[0], OSError)

    def test_a_call_that_hangs_frees_its_place_and_ends_when_it_ends(self):
        slots = Slots(self.clock, 1, slow=2, patience=1.0)
        results = [self.begin(slots) for _ in range(5)]
        self.clock.advance(1.0)
        self.clock.advance(1.0)
        self.assertEqual((len(self.calls), slots.in_flight), (3, 3))
        self.clock.pump([1.0] * 5)
        self.assertEqual(len(self.calls), 3)
        self.calls[0].callback("late")
        self.assertEqual(self.successResultOf(results[0]), "late")

    def test_many_that_end_at_once_do_not_nest(self):
        slots = Slots(self.clock, 1)
        results = [slots.run(lambda: succeed("x")) for _ in range(5000)]
        for _ in range(5001):
            self.clock.advance(0)
        self.assertEqual([self.successResultOf(one) for one in results], ["x"] * 5000)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_cancels_what_is_under_way_and_begins_nothing_more(self):
        slots = Slots(self.clock, 1)
        running, waiting = self.begin(slots), self.begin(slots)
        slots.stop()
        self.failureResultOf(running, CancelledError)
        self.failureResultOf(waiting, Stopped)
        self.failureResultOf(self.begin(slots), Stopped)
        self.clock.advance(10)
        self.assertEqual((len(self.calls), slots.in_flight), (1, 0))
