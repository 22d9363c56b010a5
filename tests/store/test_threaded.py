import subprocess
import sys
import threading
from threading import Event, get_ident

from contracts import manifest_of, node
from store.turns import Turns
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from k3net.errors import CorruptRecord, StoreOverloaded, StoreUnavailable
from k3net.model.plan import Create, Update
from k3net.store.memory import MemoryStore, Shared
from k3net.store.threaded import ThreadedStore


class Gate(MemoryStore):
    """A store whose `get` and `apply` wait until they are let through; it remembers which threads came."""

    def __init__(self, shared):
        super().__init__(shared)
        self.entered, self.open = Event(), Event()
        self.threads, self.asked, self.closed = set(), [], 0

    def get(self, name):
        self._wait(name)
        return super().get(name)

    def apply(self, steps):
        self._wait("apply")
        return super().apply(steps)

    def _wait(self, asked):
        self.threads.add(get_ident())
        self.asked.append(asked)
        self.entered.set()
        self.open.wait(20)

    def close(self):
        self.threads.add(get_ident())
        self.closed += 1


class Refusing(MemoryStore):
    """A store that reads, if `readable`, and takes writes only if `writable`, after `held()`."""

    readable, writable = True, False
    held = staticmethod(lambda: None)

    def list(self):
        if not self.readable:
            raise StoreUnavailable("away")
        return super().list()

    def apply(self, steps):
        self.held()
        if not self.writable:
            raise StoreUnavailable("read-only")
        return super().apply(steps)


class ThreadedStoreTests(SynchronousTestCase):
    def setUp(self):
        self.turns = Turns()
        self.shared = Shared()
        self.gate = Gate(self.shared)
        self.addCleanup(self.gate.open.set)

    def started(self, open_driver=None, **settings):
        store = ThreadedStore(self.turns, open_driver or (lambda: self.gate), **settings)
        store.startService()
        self.addCleanup(self.stop, store)
        return store

    def stop(self, store):
        stopped = store.stopService()
        if stopped is not None:
            self.turns.wait(stopped)

    def failing(self, d, error=StoreUnavailable):
        return str(self.failureResultOf(d, error).value)

    def test_every_verb_runs_in_one_thread_that_is_not_the_reactors(self):
        store = self.started()
        self.gate.open.set()
        for name in ("n1", "n2"):
            self.turns.wait(store.get(name))
        self.turns.wait(store.stopService())
        self.assertEqual(len(self.gate.threads), 1)
        self.assertNotIn(get_ident(), self.gate.threads)

    def test_no_thread_and_no_driver_before_the_first_call(self):
        before, opened = threading.active_count(), []
        store = self.started(lambda: opened.append(1) or self.gate)
        self.assertEqual((threading.active_count(), opened), (before, []))
        self.turns.wait(store.list())
        self.assertEqual((threading.active_count(), opened), (before + 1, [1]))
        self.turns.wait(store.stopService())
        self.assertEqual(threading.active_count(), before)

    def test_a_driver_that_does_not_open_is_tried_again_by_each_call(self):
        answers = [StoreUnavailable("no disk"), StoreUnavailable("no disk"), None]

        def open_driver():
            error = answers.pop(0)
            if error is not None:
                raise error
            return MemoryStore()

        store = self.started(open_driver)
        self.assertEqual((store.unavailable_since, store.last_error, store.last_success), (None, "", None))
        self.turns.advance(5)
        for _ in range(2):
            with self.assertRaises(StoreUnavailable):
                self.turns.wait(store.list())
            self.turns.advance(1)
        self.assertEqual((store.unavailable_since, store.last_error), (5, "no disk"))
        self.assertEqual(self.turns.wait(store.list()), [])
        self.assertEqual((store.unavailable_since, store.last_error, store.last_success), (None, "", 7))

    def test_a_check_that_says_the_store_is_down_is_no_success(self):
        self.gate.check = lambda: "the disk is full"
        store = self.started()
        self.assertEqual(self.turns.wait(store.check()), "the disk is full")
        self.assertEqual((store.unavailable_since, store.last_success), (None, None))

    def test_steps_are_taken_as_they_were_when_asked(self):
        store = self.started()
        steps = [Create(node("n1"))]
        done = store.apply(steps)
        steps.append(Create(node("n2")))
        self.gate.open.set()
        self.assertEqual(len(self.turns.wait(done)), 1)

    def test_a_corrupt_record_is_an_answer_not_an_outage(self):
        self.shared.texts["n1"] = 1, b"broken"
        self.gate.open.set()
        store = self.started()
        with self.assertRaises(CorruptRecord):
            self.turns.wait(store.get("n1"))
        self.assertEqual((store.unavailable_since, store.last_success), (None, 0))

    def test_what_was_answered_is_told_with_its_time_and_what_was_not_is_counted(self):
        took, missed = [], []
        store = self.started(queue=1, took=lambda *told: took.append(told), missed=lambda: missed.append(1))
        slow = store.get("n1")
        self.gate.entered.wait(20)
        self.failureResultOf(store.list(), StoreOverloaded)
        self.gate.open.set()
        self.turns.wait(slow)
        self.turns.wait(store.list())
        self.assertEqual(([verb for verb, _ in took], len(missed)), (["get", "list"], 1))
        self.assertTrue(all(seconds >= 0 for _, seconds in took))

    def refusing(self):
        driver = Refusing(self.shared)
        store = self.started(lambda: driver)
        self.fails(store.apply([]))
        return driver, store

    def fails(self, call):
        with self.assertRaises(StoreUnavailable):
            self.turns.wait(call)

    def test_a_store_that_reads_but_does_not_write_is_unavailable_until_it_writes(self):
        driver, store = self.refusing()
        for _ in range(30):
            self.turns.wait(store.list())
            self.fails(store.apply([]))
            self.turns.advance(1)
        self.turns.wait(store.list())
        self.assertEqual((store.unavailable_since, store.last_error), (0.0, "read-only"))
        driver.writable = True
        self.turns.wait(store.apply([]))
        self.assertEqual((store.unavailable_since, store.last_error), (None, ""))

    def test_a_refused_write_that_nobody_repeats_does_not_spoil_the_store_for_ever(self):
        _, store = self.refusing()
        self.turns.wait(store.list())
        self.turns.advance(9)
        self.assertEqual(store.unavailable_since, 0.0)
        self.turns.advance(1)
        self.assertEqual((store.unavailable_since, store.last_error), (None, ""))

    def test_a_store_that_reads_no_more_is_not_well_for_having_read_before(self):
        driver, store = self.refusing()
        self.turns.wait(store.list())
        driver.readable = False
        self.fails(store.list())
        self.turns.advance(60)
        self.assertEqual(store.unavailable_since, 0.0)

    def test_a_store_is_not_well_while_a_write_that_was_refused_is_tried_again(self):
        driver, store = self.refusing()
        self.turns.wait(store.list())
        self.turns.advance(9)
        entered, leave = Event(), Event()
        self.addCleanup(leave.set)
        driver.held = lambda: (entered.set(), leave.wait(20))
        again = store.apply([])
        entered.wait(20)
        self.turns.advance(5)
        self.assertEqual(store.unavailable_since, 0.0)
        leave.set()
        self.fails(again)

    def test_more_calls_than_the_queue_holds_fail_at_once(self):
        store = self.started(queue=3)
        waiting = [store.get(f"n{i}") for i in range(3)]
        self.assertEqual(
            self.failing(store.list(), StoreOverloaded), "store overloaded: 3 calls are waiting; not begun"
        )
        self.gate.open.set()
        self.assertEqual([self.turns.wait(d) for d in waiting], [None] * 3)
        self.assertEqual(self.turns.wait(store.list()), [])

    def test_a_call_over_its_deadline_fails_with_its_outcome_unknown_and_those_behind_it_never_begin(self):
        store = self.started(deadline=10.0)
        hanging, behind = store.get("n1"), store.get("n2")
        self.assertTrue(self.gate.entered.wait(20))
        self.turns.advance(9.9)
        self.assertNoResult(hanging)
        self.turns.advance(0.2)
        self.assertEqual(self.failing(hanging), "store: get timed out after 10 s; outcome unknown")
        self.assertEqual(self.failing(behind), "store: get timed out after 10 s; not begun")
        self.assertEqual(store.unavailable_since, 10.1)
        for _ in range(200):
            self.assertIn("not begun", self.failing(store.list()))
        self.gate.open.set()
        while store.unavailable_since is not None:
            self.turns.turn()
        self.turns.turn()
        self.assertEqual(self.turns.wait(store.list()), [])
        self.assertEqual(self.gate.asked, ["n1"])

    def test_a_write_that_lands_after_its_deadline_is_found_by_reading(self):
        store = self.started(deadline=10.0)
        written = store.apply([Create(node("n1"))])
        self.assertTrue(self.gate.entered.wait(20))
        self.turns.advance(10)
        self.assertEqual(self.failing(written), "store: apply timed out after 10 s; outcome unknown")
        self.gate.open.set()
        self.turns.turn()
        self.assertEqual([n.name for n in self.turns.wait(store.list())], ["n1"])

    def test_a_caller_that_cancels_does_not_disturb_the_others(self):
        store = self.started()
        first, second = store.get("n1"), store.get("n2")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.gate.open.set()
        self.assertIsNone(self.turns.wait(second))

    def test_an_error_that_nobody_foresaw_reaches_the_caller_and_the_record_of_outages(self):
        store = self.started(lambda: None)
        with self.assertRaises(AttributeError):
            self.turns.wait(store.list())
        self.assertIn("'NoneType'", store.last_error)

    def test_stopping_waits_for_what_was_asked_and_closes_the_driver_in_its_thread(self):
        store = self.started()
        asked = store.get("n1"), store.apply([Create(node("n1"))])
        stopped = store.stopService()
        self.assertIn("not running", self.failing(store.list()))
        self.assertNoResult(stopped)
        self.gate.open.set()
        self.assertIsNone(self.turns.wait(stopped))
        self.assertEqual([type(self.successResultOf(d)) for d in asked], [type(None), list])
        self.assertEqual((self.gate.closed, len(self.gate.threads)), (1, 1))
        self.assertEqual(self.turns.getDelayedCalls(), [])

    def test_stopping_leaves_a_thread_that_hangs(self):
        store = self.started(grace=5.0, deadline=60.0)
        hanging, behind = store.get("n1"), store.apply([Create(node("n2"))])
        self.assertTrue(self.gate.entered.wait(20))
        stopped = store.stopService()
        self.turns.advance(4.9)
        self.assertNoResult(stopped)
        self.turns.advance(0.2)
        self.successResultOf(stopped)
        self.assertIn("outcome unknown", self.failing(hanging))
        self.assertIn("not begun", self.failing(behind))
        self.assertEqual(self.turns.getDelayedCalls(), [])
        self.gate.open.set()
        for _ in range(3):
            self.turns.turn()
        self.assertEqual((self.shared.texts, self.gate.closed), ({}, 1))

    def test_a_store_that_was_never_started_stops_and_answers_nothing(self):
        store = ThreadedStore(self.turns, lambda: self.gate)
        self.assertIn("not running", self.failing(store.identity()))
        self.assertIsNone(store.stopService())

    def test_it_can_be_started_again(self):
        self.gate.open.set()
        store = self.started()
        [done] = self.turns.wait(store.apply([Create(node("n1"))]))
        self.turns.wait(store.stopService())
        store.startService()
        self.assertEqual([n.version for n in self.turns.wait(store.list())], [done.version])
        [again] = self.turns.wait(store.apply([Update(node("n1", port="1"), done.version)]))
        self.assertEqual((again.name, self.turns.wait(store.list())[0].manifest), ("n1", manifest_of("n1", port="1")))


HANGING = """
import time
from twisted.internet import reactor
from k3net.store.memory import MemoryStore
from k3net.store.threaded import ThreadedStore

class Hanging(MemoryStore):
    def list(self):
        time.sleep(60)

store = ThreadedStore(reactor, Hanging, deadline=0.2, grace=0.2)
reactor.callWhenRunning(store.startService)
reactor.callWhenRunning(lambda: store.list().addErrback(lambda f: print(f.getErrorMessage())))
reactor.addSystemEventTrigger("before", "shutdown", lambda: store.stopService())
reactor.callLater(0.4, reactor.stop)
reactor.run()
print("ended")
"""


def test_a_store_that_hangs_does_not_keep_the_process_from_ending():
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == ["store: list timed out after 0.2 s; outcome unknown", "ended"], done.stderr
    assert done.returncode == 0
