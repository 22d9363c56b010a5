"""Ten thousand machines: written in batches, between which the reactor turns, and then left alone for nothing."""

import gc
import time

from reconciler.world import Daemon, World
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from k3net.tap import collect_rarely

MANY = 10_000
LONGEST_TURN = 0.2
"""Seconds that a pass may take at a time: of the processor, so that a busy machine is no fault."""


class Turns:
    """A store whose answers come when `run` lets them; `longest` is the longest turn after an answer, or of a timer."""

    def __init__(self, wire, clock):
        self._wire = wire
        self._clock = clock
        self._waiting = []
        self.calls = []
        self.longest = 0.0
        call_later = type(clock).callLater
        clock.callLater = lambda delay, f, *args: call_later(clock, delay, self._measured, f, *args)

    def __getattr__(self, verb):
        def call(*args):
            self.calls.append(verb)
            answer = Deferred()
            self._waiting.append((answer, verb, args))
            return answer

        return call

    def run(self, seconds):
        """Let time pass, and all that is asked meanwhile be answered."""
        self._clock.advance(seconds)
        while self._waiting:
            answer, verb, args = self._waiting.pop(0)
            result = []
            getattr(self._wire, verb)(*args).addBoth(result.append)
            self._measured(answer.callback, result[0])
            self._clock.advance(0)

    def _measured(self, turn, *args):
        begun = time.thread_time()
        turn(*args)
        self.longest = max(self.longest, time.thread_time() - begun)


class ScaleTests(SynchronousTestCase):
    def setUp(self):
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        collect_rarely()  # what the tests before left behind is no part of the daemon
        self.world = World()
        self.d1 = self.world.daemon(through=self.in_turns)
        self.turns = self.d1.store
        self.turns.run(1)
        self.turns.calls.clear()

    def in_turns(self, wire):
        return Turns(wire, self.world.clock)

    def all_seen(self):
        for i in range(MANY):
            self.d1.hears(f"n{i}")
            self.d1.reaches(f"n{i}", node=f"n{i}")

    def a_pass(self, seconds=1.0):
        self.turns.run(seconds)

    def test_all_are_written_in_one_pass_of_short_turns(self):
        self.all_seen()
        self.a_pass(0.2)
        self.assertEqual(len(self.d1.stored), MANY)
        self.assertEqual(self.turns.calls, ["apply"] * (MANY // 500))
        self.assertLess(self.turns.longest, LONGEST_TURN)

    def test_a_pass_in_which_nothing_changed_is_short_and_asks_nothing(self):
        self.all_seen()
        self.a_pass(0.2)
        self.turns.longest, self.turns.calls = 0.0, []
        for _ in range(5):
            self.all_seen()
            self.a_pass()
        self.assertEqual(self.turns.calls, [])
        self.assertLess(self.turns.longest, 0.1)

    def test_a_restart_finds_all_of_them_and_writes_nothing(self):
        self.all_seen()
        self.a_pass(0.2)
        again = Daemon(self.world, "d1", through=self.in_turns)
        turns = again.store
        again.reconciler.startService()
        turns.run(0)
        self.assertEqual((len(again.stored), len(again.table)), (MANY, MANY))
        self.assertEqual(turns.calls, ["identity", "list"])
        self.assertLess(turns.longest, LONGEST_TURN)
