"""Tests of both kinds share one reactor in one run, in either order."""

import pytest_twisted
from twisted.internet import reactor, task
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase


@pytest_twisted.inlineCallbacks
def test_a_generator_waits_for_a_timer():
    begun = reactor.seconds()
    yield task.deferLater(reactor, 0.01)
    assert reactor.seconds() - begun >= 0.009


class TrialTests(TestCase):
    def test_a_returned_deferred_is_waited_for(self):
        begun = reactor.seconds()
        return task.deferLater(reactor, 0.01).addCallback(
            lambda _: self.assertGreaterEqual(reactor.seconds() - begun, 0.009)
        )

    def test_a_thread_is_waited_for(self):
        return deferToThread(lambda: 3).addCallback(self.assertEqual, 3)


@pytest_twisted.ensureDeferred
async def test_a_coroutine_waits_for_a_thread():
    assert await deferToThread(lambda: 3) == 3


class LaterTrialTests(TestCase):
    async def test_a_coroutine_method_waits_for_a_thread(self):
        self.assertEqual(await deferToThread(lambda: 3), 3)
