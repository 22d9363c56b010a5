"""`fetch` against real servers on 127.0.0.1, good ones and others."""

import gzip
import socket
import time

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, SynchronousTestCase, TestCase
from twisted.web.http_headers import Headers

from k3net.http import BrokenAnswer, ConnectFailed, FetchError, NotHTTP, Response, TimedOut, TooLarge, fetch
from k3net.web.health import health_routes
from k3net.web.site import Listener


class Info(msgspec.Struct):
    node: str


class Scripted(Protocol):
    """Says `greeting` at once, `reply` to the first bytes, and then hangs up or not."""

    greeting = b""
    reply = b""
    hangs_up = True
    repeats = False

    def connectionMade(self):
        self.factory.open.append(self)
        if self.greeting:
            self.transport.write(self.greeting)
        if not self.reply and self.hangs_up:
            self.transport.loseConnection()

    def dataReceived(self, data):
        self.factory.received.append(data)
        if self.reply:
            self.transport.write(self.reply)
            if self.repeats:
                self.transport.registerProducer(self, False)
            elif self.hangs_up:
                self.transport.loseConnection()

    def resumeProducing(self):
        self.transport.write(b"x" * 65536)

    def stopProducing(self):
        self.repeats = False

    def connectionLost(self, reason):
        self.factory.open.remove(self)


class FetchTests(TestCase):
    async def serving(self, **script):
        """A server that plays `script`; its URL."""
        self.factory = Factory.forProtocol(type("Server", (Scripted,), script))
        self.factory.open = []
        self.factory.received = []
        port = await TCP4ServerEndpoint(reactor, 0, backlog=200, interface="127.0.0.1").listen(self.factory)
        self.addCleanup(port.stopListening)
        self.addCleanup(self.all_closed)
        return f"http://127.0.0.1:{port.getHost().port}/info"

    async def all_closed(self):
        """No connection may outlive its fetch."""
        deadline = time.monotonic() + 3
        while self.factory.open and time.monotonic() < deadline:
            await deferLater(reactor, 0.01)
        self.assertEqual(self.factory.open, [])

    async def failing(self, error, url, **how):
        failure = await self.assertFailure(fetch(reactor, "GET", url, **how), error)
        self.assertEqual(failure.url, url)
        self.assertNotIn("\n", str(failure))
        return failure.reason

    async def test_an_answer_of_any_status_is_a_response(self):
        url = await self.serving(reply=b'HTTP/1.1 503 No\r\nX-A: b\r\nContent-Length: 13\r\n\r\n{"node":"n1"}')
        response = await fetch(reactor, "GET", url)
        self.assertEqual((response.status, response.json(Info)), (503, Info("n1")))
        self.assertEqual(response.headers.getRawHeaders("x-a"), ["b"])

    async def test_what_is_asked_goes_out_once_and_plainly(self):
        url = await self.serving(reply=b"HTTP/1.1 204 No Content\r\n\r\n")
        await fetch(reactor, "PUT", url, headers={"X-Consul-Token": "t"}, data=b"body")
        [sent] = [b"".join(self.factory.received)]
        self.assertTrue(sent.startswith(b"PUT /info HTTP/1.1\r\n"))
        self.assertIn(b"X-Consul-Token: t\r\n", sent)
        self.assertEqual(sent.lower().count(b"accept-encoding"), 1)
        self.assertIn(b"Accept-Encoding: identity\r\n", sent)
        self.assertTrue(sent.endswith(b"\r\n\r\nbody"))

    async def test_an_ipv6_address_is_asked_directly(self):
        if not socket.has_dualstack_ipv6():
            raise SkipTest("this machine has no IPv6")
        listener = Listener(reactor, "[::1]:0", health_routes(lambda: {"node": "n6"}))
        listener.startService()
        self.addCleanup(listener.stopService)
        response = await fetch(reactor, "GET", f"http://[::1]:{listener.port}/info")
        self.assertEqual(response.json(Info), Info("n6"))

    async def test_a_redirect_is_an_answer_and_is_not_followed(self):
        url = await self.serving(reply=b"HTTP/1.1 302 F\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual((await fetch(reactor, "GET", url)).status, 302)

    async def test_cookies_are_not_kept(self):
        url = await self.serving(reply=b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n")
        for _ in range(2):
            await fetch(reactor, "GET", url)
        self.assertNotIn(b"ookie", b"".join(self.factory.received))

    async def test_a_refused_connection_says_so(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.assertEqual(await self.failing(ConnectFailed, f"http://127.0.0.1:{port}/"), "refused")

    async def test_a_connection_that_never_comes_is_a_timeout_of_connecting(self):
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            fillers = [socket.socket() for _ in range(3)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}/"
            self.assertEqual(await self.failing(ConnectFailed, url, timeout=0.3), "timeout")
            for filler in fillers:
                filler.close()

    async def test_a_port_that_speaks_something_else_is_not_http(self):
        for script, reason in (
            ({"greeting": b"SSH-2.0-OpenSSH_9.2\r\n", "hangs_up": False}, "another protocol"),
            ({"greeting": b"220 ", "hangs_up": False}, "another protocol"),
            ({"hangs_up": False}, "silent"),
            ({"hangs_up": True}, "closed"),
            ({"reply": b"\x15\x03\x01\x00\x02\x02\x46"}, "another protocol"),
        ):
            with self.subTest(script=script):
                self.assertEqual(await self.failing(NotHTTP, await self.serving(**script), timeout=0.3), reason)
                await self.all_closed()

    async def test_what_cannot_become_http_is_not_waited_for(self):
        begun = time.monotonic()
        await self.failing(NotHTTP, await self.serving(greeting=b"220 ", hangs_up=False), timeout=5)
        self.assertLess(time.monotonic() - begun, 2.0)

    async def test_the_deadline_covers_headers_and_body(self):
        for reply in (b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"):
            begun = time.monotonic()
            url = await self.serving(reply=reply, hangs_up=False)
            await self.failing(TimedOut, url, timeout=0.3)
            self.assertLess(time.monotonic() - begun, 1.0)
            await self.all_closed()

    async def test_a_body_past_the_cap_is_cut_off(self):
        for head in (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n"):
            url = await self.serving(reply=head, hangs_up=False, repeats=True)
            await self.failing(TooLarge, url, max_bytes=100_000)
            await self.all_closed()

    async def test_a_body_of_just_the_cap_passes(self):
        url = await self.serving(reply=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
        self.assertEqual(len((await fetch(reactor, "GET", url, max_bytes=1000)).body), 1000)
        await self.failing(TooLarge, url, max_bytes=999)

    async def test_headers_without_end_are_cut_off(self):
        url = await self.serving(reply=b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000, hangs_up=False)
        await self.failing(TooLarge, url, max_bytes=1000)

    async def test_a_compressed_answer_is_not_unpacked(self):
        bomb = gzip.compress(b"0" * 10_000_000)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
        url = await self.serving(reply=head + bomb)
        self.assertIn("encoding", await self.failing(BrokenAnswer, url))

    async def test_an_answer_that_ends_early_is_broken(self):
        url = await self.serving(reply=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        await self.failing(BrokenAnswer, url)

    async def test_what_is_no_url_for_this_fails_and_does_not_raise(self):
        for url in ("https://127.0.0.1/", "ftp://127.0.0.1/", "http://", "nonsense", "http://127.0.0.1:x/"):
            with self.subTest(url=url):
                failure = await self.assertFailure(fetch(reactor, "GET", url, timeout=1), FetchError)
                self.assertIn("URL", failure.reason)

    async def test_a_hundred_at_once_are_answered_within_a_second(self):
        url = await self.serving(reply=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        begun = time.monotonic()
        responses = await gatherResults([fetch(reactor, "GET", url) for _ in range(100)])
        self.assertEqual({response.status for response in responses}, {200})
        self.assertLess(time.monotonic() - begun, 1.0)

    async def test_cancelling_closes_the_connection(self):
        url = await self.serving(hangs_up=False)
        asking = fetch(reactor, "GET", url)
        await deferLater(reactor, 0.1)
        self.assertEqual(len(self.factory.open), 1)
        asking.cancel()
        await self.assertFailure(asking, FetchError)


class ResponseTests(SynchronousTestCase):
    def test_json_that_does_not_fit_says_where(self):
        for body in (b'{"node":1}', b"not json", b"\xff", b"[" * 100_000):
            response = Response("http://192.0.2.1/info", 200, Headers(), body)
            error = self.assertRaises(BrokenAnswer, response.json, Info)
            self.assertIn("http://192.0.2.1/info", str(error))
