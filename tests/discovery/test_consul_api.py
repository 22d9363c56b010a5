"""What comes of answers that are not good: over real HTTP, from a fake that gives them on demand."""

import time

from discovery.fake_consul import FakeConsul, HttpDoor
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from k3net.credentials import Token
from k3net.discovery.consul_api import ConsulApi, ConsulError, Denied, Throttled, Unreachable


class ApiTests(TestCase):
    def setUp(self):
        self.consul = FakeConsul(reactor)
        self.door = HttpDoor(self.consul)
        self.port = reactor.listenTCP(0, self.door.site(), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.url = f"http://127.0.0.1:{self.port.getHost().port}"
        self.api = ConsulApi(reactor, self.url, token=lambda: "s3cret")

    async def error(self, kind=ConsulError, ask=None, **parts):
        done = (ask or self.api.health)("k3-node", **parts)
        error = await self.assertFailure(done, kind)
        self.assertNotIn("\n", str(error))
        self.assertNotIn("s3cret", str(error))
        return str(error)

    async def test_a_token_goes_with_every_request_and_an_empty_one_does_not(self):
        await self.api.health("k3-node")
        await self.api.register({"Name": "k3-node"})
        self.assertEqual(self.door.tokens, ["s3cret"] * 2)
        await ConsulApi(reactor, self.url).health("k3-node")
        self.assertIsNone(self.door.tokens[-1])

    async def test_a_denial_names_the_right_that_is_missing(self):
        for body, named in (
            (b"Permission denied: Missing service:write on k3-node", "service:write"),
            (b"Permission denied: token with AccessorID 'x' lacks permission 'node:read' on \"n\"", "node:read"),
            (b"Permission denied", "service:read and node:read"),
            (b"ACL not found", "does not know the ACL token"),
        ):
            self.door.answer = (403, {}, body)
            self.assertIn(named, await self.error(Denied))
        self.door.answer = (403, {}, b"Permission denied")
        self.assertIn("service:write", await self.error(Denied, self.api.deregister))
        self.assertIn("service:read", await self.error(Denied, self.api.registered))

    async def test_429_says_for_how_long(self):
        for header, seconds in (("7", 7.0), ("999999", 600.0), ("soon", 0.0), ("-1", 0.0)):
            self.door.answer = (429, {"Retry-After": header}, b"slow down\n")
            error = await self.assertFailure(self.api.health("k3-node"), Throttled)
            self.assertEqual(error.retry_after, seconds)

    async def test_no_leader_redirects_and_pages_are_errors(self):
        for status, body, words in (
            (500, b"No cluster leader", "500: No cluster leader"),
            (503, b"", "503: no reason given"),
            (302, b"", "302"),
            (404, b"<html>", "404"),
        ):
            self.door.answer = (status, {"Location": "http://127.0.0.1:1/"}, body)
            self.assertIn(words, await self.error())
        self.assertIn("404", await self.error(ask=self.api.registered))

    async def test_garbage_is_an_error(self):
        for body in (
            b"",
            b"null",
            b"{}",
            b"[1]",
            b'[{"Node":{}}]',
            b"[[[[",
            b'[{"Node":{"Node":1},"Service":{"ID":"x"}}]',
        ):
            self.door.answer = (200, {"X-Consul-Index": "5"}, body)
            self.assertIn("not the JSON expected", await self.error())

    async def test_an_index_that_is_none_is_nought(self):
        for header, index in (("7", 7), ("-7", 0), ("x", 0), ("1e3", 0), ("9" * 30, 0)):
            self.door.answer = (200, {"X-Consul-Index": header}, b"[]")
            self.assertEqual((await self.api.health("k3-node")).index, index)
        self.door.answer = (200, {}, b"[]")
        self.assertEqual((await self.api.health("k3-node")).index, 0)

    async def test_a_silent_consul_is_given_the_wait_a_sixteenth_and_the_slack(self):
        self.door.answer = None
        begun = time.monotonic()
        await self.error(Unreachable, index=5, wait=0.4, slack=0.3)
        self.assertTrue(0.7 < time.monotonic() - begun < 1.5)

    async def test_one_that_refuses_is_unreachable(self):
        await self.port.stopListening()
        self.assertIn("refused", await self.error(Unreachable))

    async def test_a_long_poll_keeps_no_other_request_waiting(self):
        health = await self.api.health("k3-node")
        polls = [self.api.health("k3-node", index=health.index, wait=30.0) for _ in range(20)]
        begun = time.monotonic()
        await self.api.registered("x")
        self.assertLess(time.monotonic() - begun, 1.0)
        for poll in polls:
            poll.addErrback(lambda _: None)
            poll.cancel()
        await gatherResults(polls)
        await deferLater(reactor, 0.1)

    async def test_a_token_file_that_is_missing_is_an_error_like_any_other(self):
        api = ConsulApi(reactor, self.url, token=Token(path="/nowhere/token"))
        error = await self.assertFailure(api.health("k3-node"), ConsulError)
        self.assertIn("/nowhere/token", str(error))
