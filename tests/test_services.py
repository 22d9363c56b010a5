"""Periodic and Sequential, by a clock that the test moves."""

from twisted.application.service import IServiceCollection, Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.services import Periodic, Sequential


class Work:
    """What a loop calls: notes when, and answers what it was told to."""

    def __init__(self, clock):
        self._clock = clock
        self.begun = []
        self.answers = []
        self.running = 0

    def __call__(self):
        self.begun.append(round(self._clock.seconds(), 6))
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer()
        if isinstance(answer, Deferred):
            self.running += 1
            assert self.running == 1, "calls overlap"
            return answer.addBoth(self._ended)
        return answer

    def _ended(self, result):
        self.running -= 1
        return result


class PeriodicTests(SynchronousTestCase):
    def started(self, interval=10.0, answers=(), **settings):
        self.clock = Clock()
        self.work = Work(self.clock)
        self.work.answers = list(answers)
        loop = Periodic(self.clock, interval, self.work, "loop", **settings)
        loop.startService()
        return loop

    def advance(self, seconds, by=1.0):
        self.clock.pump([by] * round(seconds / by))

    def test_it_calls_at_the_start_and_every_interval(self):
        loop = self.started()
        self.advance(35)
        self.assertEqual(self.work.begun, [1.0, 11.0, 21.0, 31.0])
        self.assertEqual((loop.started_at, loop.last_success, loop.failures, loop.last_error), (0.0, 31.0, 0, ""))
        self.assertTrue(loop.running)

    def test_the_first_call_may_come_later(self):
        self.started(first=4.0)
        self.advance(30)
        self.assertEqual(self.work.begun, [4.0, 14.0, 24.0])

    def test_it_has_not_succeeded_before_it_was_called(self):
        loop = self.started(first=4.0)
        self.assertIsNone(loop.last_success)
        self.assertIsNone(loop.failing_since)

    def test_an_exception_ends_one_call_and_not_the_loop(self):
        loop = self.started(answers=[ValueError("no"), None, KeyError("k")])
        self.advance(35)
        self.assertEqual(self.work.begun, [1.0, 11.0, 21.0, 31.0])
        self.assertEqual(loop.failures, 2)

    def test_a_failing_deferred_ends_one_call_and_not_the_loop(self):
        later = Deferred()
        loop = self.started(answers=[fail(ValueError("no")), later])
        self.advance(12)
        later.errback(OSError("gone"))
        self.assertEqual((loop.failures, loop.last_error), (2, "OSError: gone"))
        self.advance(9)
        self.assertEqual(self.work.begun, [1.0, 11.0, 21.0])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_call_that_is_cancelled_ends_one_call_and_not_the_loop(self):
        later = Deferred()
        loop = self.started(answers=[later])
        self.advance(1)
        later.cancel()
        self.advance(10)
        self.assertEqual(loop.failures, 1)
        self.assertEqual(self.work.begun, [1.0, 11.0])

    def test_it_tells_since_when_it_fails_and_why(self):
        loop = self.started(answers=[None, ValueError("one"), ValueError("two"), None])
        told = []
        for _ in range(4):
            self.advance(10)
            told.append((loop.last_success, loop.failing_since, loop.failures, loop.last_error))
        self.assertEqual(
            told,
            [
                (1.0, None, 0, ""),
                (1.0, 11.0, 1, "ValueError: one"),
                (1.0, 11.0, 2, "ValueError: two"),
                (31.0, None, 2, ""),
            ],
        )

    def test_a_call_that_fails_late_fails_since_it_began(self):
        later = Deferred()
        loop = self.started(answers=[later])
        self.advance(7)
        later.errback(ValueError("no"))
        self.assertEqual(loop.failing_since, 1.0)

    def test_it_waits_for_the_deferred_and_never_overlaps(self):
        slow = [Deferred(), Deferred()]
        loop = self.started(answers=slow)
        self.advance(25)
        self.assertEqual(self.work.begun, [1.0])
        slow[0].callback(None)
        self.advance(1)
        self.assertEqual(self.work.begun, [1.0, 26.0])
        self.advance(3)
        slow[1].callback(None)
        self.assertEqual(loop.last_success, 29.0)
        self.advance(20)
        self.assertEqual(self.work.begun, [1.0, 26.0, 36.0, 46.0])

    def test_it_keeps_its_pace_from_when_a_call_began(self):
        slow = Deferred()
        self.started(answers=[slow])
        self.advance(5)
        slow.callback(None)
        self.advance(6)
        self.assertEqual(self.work.begun, [1.0, 11.0])

    def test_a_kick_between_calls_calls_at_once_and_the_interval_counts_from_there(self):
        loop = self.started()
        self.advance(4)
        loop.kick()
        loop.kick()
        self.assertEqual(self.work.begun, [1.0])
        self.advance(20)
        self.assertEqual(self.work.begun, [1.0, 5.0, 15.0])

    def test_a_kick_during_a_call_calls_once_more_after_it(self):
        slow = Deferred()
        loop = self.started(answers=[slow])
        self.advance(3)
        loop.kick()
        loop.kick()
        self.assertEqual(self.work.begun, [1.0])
        slow.callback(None)
        self.advance(20)
        self.assertEqual(self.work.begun, [1.0, 4.0, 14.0])

    def test_a_kick_from_within_the_call_calls_once_more(self):
        loop = self.started()
        self.work.answers = [loop.kick]
        self.advance(12)
        self.assertEqual(self.work.begun, [1.0, 1.0, 11.0])

    def test_a_kick_within_some_time_gathers_a_burst_into_one_call(self):
        loop = self.started()
        self.advance(3)
        for _ in range(3):
            loop.kick(within=0.3)
            self.advance(0.1, by=0.1)
        self.advance(2, by=0.1)
        self.assertEqual(self.work.begun, [1.0, 3.3])

    def test_a_kick_within_more_than_is_left_delays_nothing(self):
        loop = self.started()
        self.advance(8)
        loop.kick(within=60.0)
        self.advance(4)
        self.assertEqual(self.work.begun, [1.0, 11.0])

    def test_a_kick_during_a_call_within_more_than_is_left_delays_nothing(self):
        slow = Deferred()
        loop = self.started(answers=[slow])
        self.advance(3)
        loop.kick(within=60.0)
        slow.callback(None)
        self.advance(10)
        self.assertEqual(self.work.begun, [1.0, 11.0])

    def test_a_call_may_ask_for_the_next_one_sooner(self):
        loop = self.started()
        self.work.answers = [lambda: (loop.again_in(5.0), loop.again_in(2.0), loop.again_in(60.0))]
        self.advance(20)
        self.assertEqual(self.work.begun, [1.0, 3.0, 13.0])

    def test_a_kick_before_the_start_or_after_the_stop_is_nothing(self):
        loop = Periodic(Clock(), 10.0, lambda: None, "loop")
        loop.kick()
        loop = self.started()
        self.advance(1)
        loop.stopService()
        loop.kick()
        self.advance(30)
        self.assertEqual(self.work.begun, [1.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopping_between_calls_is_done_at_once(self):
        loop = self.started()
        self.advance(3)
        self.assertIsNone(loop.stopService())
        self.advance(30)
        self.assertEqual(self.work.begun, [1.0])
        self.assertFalse(loop.running)

    def test_stopping_waits_for_the_call_under_way(self):
        slow = Deferred()
        loop = self.started(answers=[slow])
        self.advance(3)
        stopped = [loop.stopService(), loop.stopService()]
        for waiting in stopped:
            self.assertNoResult(waiting)
        slow.callback(None)
        for done in stopped:
            self.assertIsNone(self.successResultOf(done))
        self.advance(30)
        self.assertEqual(self.work.begun, [1.0])

    def test_stopping_waits_for_a_call_that_fails_and_does_not_fail_itself(self):
        slow = Deferred()
        loop = self.started(answers=[slow])
        self.advance(3)
        stopped = loop.stopService()
        slow.errback(ValueError("no"))
        self.assertIsNone(self.successResultOf(stopped))
        self.assertEqual(loop.failures, 1)

    def test_it_can_be_started_again(self):
        loop = self.started(answers=[ValueError("no")])
        self.advance(3)
        loop.stopService()
        self.advance(100)
        loop.startService()
        self.advance(12)
        self.assertEqual(self.work.begun, [1.0, 104.0, 114.0])
        self.assertEqual(loop.started_at, 103.0)

    def test_started_again_while_the_last_call_is_under_way_it_does_not_overlap(self):
        slow = Deferred()
        loop = self.started(answers=[slow])
        self.advance(3)
        loop.stopService()
        loop.startService()
        self.advance(20)
        self.assertEqual(self.work.begun, [1.0])
        slow.callback(None)
        self.advance(20)
        self.assertEqual(self.work.begun, [1.0, 24.0, 34.0])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_jitter_stays_within_its_share_of_the_interval(self):
        self.started(interval=10.0, jitter=0.2)
        self.advance(3000, by=0.125)
        gaps = [b - a for a, b in zip(self.work.begun, self.work.begun[1:], strict=False)]
        self.assertGreater(len(gaps), 200)
        self.assertGreaterEqual(min(gaps), 8.0)
        self.assertLessEqual(max(gaps), 12.125)
        self.assertLess(min(gaps), 9.0)
        self.assertGreater(max(gaps), 11.0)

    def test_one_that_overruns_is_followed_at_once_in_a_turn_of_its_own(self):
        slow = Deferred()
        self.started(answers=[slow])
        self.advance(50)
        slow.callback(None)
        self.assertEqual(self.work.begun, [1.0])
        self.clock.advance(0)
        self.assertEqual(self.work.begun, [1.0, 50.0])


class Step(Service):
    """A child that notes what is done to it."""

    def __init__(self, name, notes, stop=lambda: None):
        self.name = name
        self._notes = notes
        self._stop = stop

    def startService(self):
        super().startService()
        self._notes.append(f"+{self.name}")

    def stopService(self):
        super().stopService()
        self._notes.append(f"-{self.name}")
        return self._stop()


def failing():
    raise ValueError("no")


class SequentialTests(SynchronousTestCase):
    def tree(self, **stops):
        self.notes = []
        tree = Sequential()
        for name in ("store", "site", "own"):
            Step(name, self.notes, stops.get(name, lambda: None)).setServiceParent(tree)
        tree.startService()
        return tree

    def test_children_start_in_order_and_stop_in_reverse(self):
        tree = self.tree()
        self.assertTrue(tree.running)
        self.assertIsNone(self.successResultOf(tree.stopService()))
        self.assertEqual(self.notes, ["+store", "+site", "+own", "-own", "-site", "-store"])
        self.assertFalse(tree.running)

    def test_each_stop_is_awaited_before_the_next(self):
        own, site = Deferred(), Deferred()
        tree = self.tree(own=lambda: own, site=lambda: site)
        stopped = tree.stopService()
        self.assertEqual(self.notes[3:], ["-own"])
        own.callback(None)
        self.assertEqual(self.notes[3:], ["-own", "-site"])
        self.assertNoResult(stopped)
        site.callback(None)
        self.assertEqual(self.notes[3:], ["-own", "-site", "-store"])
        self.successResultOf(stopped)

    def test_one_that_fails_to_stop_keeps_no_other_from_stopping(self):
        for stop in (failing, lambda: fail(ValueError("no"))):
            tree = self.tree(own=stop, site=stop)
            self.assertIsNone(self.successResultOf(tree.stopService()))
            self.assertEqual(self.notes[3:], ["-own", "-site", "-store"])
            self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_tree_in_a_tree_is_awaited(self):
        last = Deferred()
        inner = self.tree(store=lambda: last)
        outer = Sequential()
        Step("before", self.notes).setServiceParent(outer)
        inner.setServiceParent(outer)
        outer.startService()
        self.notes.clear()
        stopped = outer.stopService()
        self.assertEqual(self.notes, ["-own", "-site", "-store"])
        last.callback(None)
        self.assertEqual(self.notes[-1], "-before")
        self.successResultOf(stopped)

    def test_a_loop_finishes_its_call_before_what_it_uses_is_stopped(self):
        clock, notes, write = Clock(), [], Deferred()
        tree = Sequential()
        Step("store", notes).setServiceParent(tree)
        Periodic(clock, 1.0, lambda: write, "loop").setServiceParent(tree)
        tree.startService()
        clock.advance(0)
        stopped = tree.stopService()
        self.assertEqual(notes, ["+store"])
        write.callback(None)
        self.assertEqual(notes, ["+store", "-store"])
        self.successResultOf(stopped)

    def test_it_can_be_started_again(self):
        tree = self.tree()
        self.successResultOf(tree.stopService())
        self.notes.clear()
        tree.startService()
        self.assertEqual(self.notes, ["+store", "+site", "+own"])
        self.assertEqual(IServiceCollection(tree).getServiceNamed("site").running, 1)
