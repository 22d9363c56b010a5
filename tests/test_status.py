"""What `/readyz` reports of loops, dependencies and alarms."""

from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.services import Dependency, Periodic
from k3net.status import loop_is_well, readiness


class LoopTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.answer = None

    def started(self, interval=10.0):
        loop = Periodic(self.clock, interval, lambda: self.answer, "loop")
        loop.startService()
        return loop

    def well(self, loop):
        return loop_is_well(loop, self.clock.seconds())

    def test_one_that_was_never_started_is_not_well(self):
        self.assertFalse(self.well(Periodic(self.clock, 1.0, lambda: None, "loop")))

    def test_a_new_one_has_three_intervals_and_a_little_for_its_first_success(self):
        self.answer = Deferred()
        loop = self.started()
        self.clock.advance(40.0)
        self.assertTrue(self.well(loop))
        self.clock.advance(0.1)
        self.assertFalse(self.well(loop))

    def test_one_that_succeeds_is_well(self):
        loop = self.started()
        self.clock.pump([10.0] * 30)
        self.assertTrue(self.well(loop))

    def test_one_that_hangs_is_not_well_after_three_intervals_and_a_little(self):
        loop = self.started()
        self.clock.advance(1.0)
        self.answer = Deferred()
        self.clock.advance(10.0)
        self.clock.advance(29.9)
        self.assertTrue(self.well(loop))
        self.clock.advance(0.2)
        self.assertFalse(self.well(loop))

    def test_one_failure_is_seen_at_once_and_one_success_mends_it(self):
        loop = self.started()
        self.clock.advance(1.0)
        self.answer = fail(ValueError("no"))
        self.clock.advance(10.0)
        self.assertFalse(self.well(loop))
        self.answer = None
        self.clock.advance(10.0)
        self.assertTrue(self.well(loop))


class ReadinessTests(SynchronousTestCase):
    def test_all_that_is_well_is_ready(self):
        clock = Clock()
        loop = Periodic(clock, 10.0, lambda: None, "reconcile")
        loop.startService()
        clock.advance(0.0)
        clock.advance(2.0)
        ready, report = readiness([loop], [Dependency("store", None, "")], [], clock.seconds())
        self.assertTrue(ready)
        self.assertEqual(
            report,
            {
                "loops": [{"name": "reconcile", "ok": True, "age_seconds": 2.0, "failures": 0, "error": ""}],
                "dependencies": [{"name": "store", "ok": True, "since_seconds": None, "error": ""}],
                "alarms": [],
            },
        )

    def test_a_loop_that_fails_is_named_with_its_error(self):
        clock = Clock()
        loop = Periodic(clock, 10.0, lambda: fail(ValueError("no")), "reconcile")
        loop.startService()
        clock.advance(0.0)
        clock.advance(10.0)
        ready, report = readiness([loop], [], [], clock.seconds())
        self.assertFalse(ready)
        row = {"name": "reconcile", "ok": False, "age_seconds": None, "failures": 2, "error": "ValueError: no"}
        self.assertEqual(report["loops"], [row])

    def test_a_dependency_that_is_lost_is_named_since_when(self):
        ready, report = readiness([], [Dependency("store", 10.0, "disk full"), Dependency("x", None, "")], [], 12.5)
        self.assertFalse(ready)
        row = {"name": "store", "ok": False, "since_seconds": 2.5, "error": "disk full"}
        self.assertEqual(report["dependencies"][0], row)

    def test_alarms_are_told_and_change_nothing(self):
        ready, report = readiness([], [], iter(["brake: held"]), 0.0)
        self.assertEqual((ready, report["alarms"]), (True, ["brake: held"]))
