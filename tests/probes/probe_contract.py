"""What every probe owes, on real sockets: three outcomes, never a failure, and nothing left behind."""

import errno
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from k3net.model.result import ProbeResult
from k3net.probes import PROBES


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """The process may open nothing more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def held() -> tuple[int, int, int, int]:
    """Open descriptors, readers, writers and timers."""
    timers = [call for call in reactor.getDelayedCalls() if call.active()]
    return len(os.listdir("/proc/self/fd")), len(reactor.getReaders()), len(reactor.getWriters()), len(timers)


def make_probe_tests(name: str) -> type[TestCase]:  # noqa: C901 - a suite
    """The suite for `PROBES[name]`.

    A subclass says what its targets are: `alive()`, `silent()` (no packet comes back), `refusing()` (the reason is then
    `refused`), and `odd` (no targets at all). `waits` tells whether the whole answer may lie in a socket.
    """

    class ProbeTests(TestCase):
        odd: tuple[Any, ...] = ()
        refused = "refused"
        waits = True

        def alive(self) -> Any:
            raise NotImplementedError

        def silent(self) -> Any:
            raise NotImplementedError

        def refusing(self) -> Any:
            raise NotImplementedError

        def probe(self, target: Any, timeout: float) -> "Deferred[ProbeResult]":
            return PROBES[name](reactor, target, timeout)

        async def test_what_answers_is_ok(self):
            begun = reactor.seconds()
            found = await self.probe(self.alive(), 2.0)
            self.assertEqual((found.ok, found.reason, found.probe), (True, "", name))
            self.assertTrue(0 < found.rtt < 2)
            self.assertTrue(begun <= found.at <= reactor.seconds())
            self.assertTrue(found.target)

        async def test_what_says_nothing_has_timed_out_when_it_was_told_to(self):
            begun = reactor.seconds()
            found = await self.probe(self.silent(), 0.2)
            self.assertEqual((found.ok, found.reason, found.rtt), (False, "timeout", None))
            self.assertTrue(0.19 <= reactor.seconds() - begun < 2)

        async def test_what_refuses_is_told_apart(self):
            found = await self.probe(self.refusing(), 2.0)
            self.assertEqual((found.ok, found.reason, found.rtt), (False, self.refused, None))

        async def test_what_is_no_target_was_not_measured(self):
            for target in self.odd:
                found = await self.probe(target, 2.0)
                self.assertIsNone(found.ok, found)
                self.assertRegex(found.reason, "^local fault: .", target)

        async def test_without_a_descriptor_nothing_was_measured(self):
            await self.probe(self.alive(), 2.0)  # what is imported late is there now
            target = self.alive()
            with no_descriptor_left():
                found = await self.probe(target, 2.0)
            self.assertIsNone(found.ok, found)
            self.assertIn(os.strerror(errno.EMFILE), found.reason)

        async def test_an_answer_that_waited_for_a_busy_process_counts(self):
            if not self.waits:
                raise SkipTest("its answer comes in several steps, each of which this process has a part in")
            alive, silent = self.alive(), self.silent()
            await self.probe(alive, 2.0)
            waiting = [self.probe(alive, 0.3), self.probe(silent, 0.3)]
            await deferLater(reactor, 0.02)
            time.sleep(0.5)
            found = await gatherResults(waiting)
            self.assertEqual([(each.ok, each.reason) for each in found], [(True, ""), (False, "timeout")])

        async def test_a_cancelled_probe_was_not_measured_and_leaves_nothing(self):
            target = self.silent()
            await self.probe(target, 0.01)
            before = held()
            waiting = self.probe(target, 5.0)
            await deferLater(reactor, 0.02)
            waiting.cancel()
            found = await waiting
            self.assertEqual((found.ok, found.reason), (None, "cancelled"))
            await deferLater(reactor, 0)
            self.assertEqual(held(), before)

        async def test_hundreds_of_probes_leave_nothing_behind(self):
            targets = [self.alive(), self.silent(), self.refusing(), *self.odd]
            await gatherResults([self.probe(target, 0.05) for target in targets])
            before = held()
            for _ in range(2):
                probes = [self.probe(targets[i % len(targets)], 0.05) for i in range(120)]
                for waiting in probes[::7]:
                    waiting.cancel()
                found = await gatherResults(probes)
                self.assertEqual({each.ok for each in found} - {True, False, None}, set())
                self.assertFalse([each for each in found if each.ok is None and not each.reason])
            await deferLater(reactor, 0.05)
            self.assertLessEqual(held(), before)

    return ProbeTests
