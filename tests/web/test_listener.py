"""Where a listener listens, and how it stops."""

import socket
import time

from rawhttp import connect, listening, parse, read_all, request, talk
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from k3net.web.health import health_routes
from k3net.web.resource import Route
from k3net.web.site import Listener, is_loopback, parse_address, plain_address


class AddressTests(SynchronousTestCase):
    def test_the_forms_of_an_address(self):
        for text, parsed in (
            (":7946", ("", 7946)),
            ("127.0.0.1:8080", ("127.0.0.1", 8080)),
            ("[::1]:0", ("::1", 0)),
            ("localhost:8080", ("127.0.0.1", 8080)),
        ):
            self.assertEqual(parse_address(text), parsed)

    def test_anything_else_is_refused(self):
        for text in ("", "8080", "1.2.3:80", "::1:80", "[1.2.3.4]:80", "host.example:80", ":65536", "[::1]", "a b:1"):
            with self.subTest(text=text):
                self.assertRaises(ValueError, parse_address, text)

    def test_which_addresses_only_this_machine_reaches(self):
        loopback = [text for text in (":1", "127.1.2.3:1", "[::1]:1", "0.0.0.0:1", "192.0.2.1:1") if is_loopback(text)]
        self.assertEqual(loopback, ["127.1.2.3:1", "[::1]:1"])

    def test_a_mapped_address_is_the_ipv4_one(self):
        self.assertEqual(plain_address("::ffff:192.0.2.1"), "192.0.2.1")
        self.assertEqual(plain_address("fe80::1%eth0"), "fe80::1")


class ListenerTests(TestCase):
    async def test_every_address_means_ipv4_and_ipv6(self):
        port = listening(self, [Route("GET", "/peer", lambda view: view.peer)], address=":0").port
        [four] = await talk(port, request("/peer"), host="127.0.0.1")
        self.assertEqual(four.json, "127.0.0.1")
        if socket.has_dualstack_ipv6():
            [six] = await talk(port, request("/peer"), host="::1")
            self.assertEqual(six.json, "::1")

    async def test_a_taken_port_is_told_at_start(self):
        port = listening(self, []).port
        taken = Listener(reactor, f"127.0.0.1:{port}", [])
        error = self.assertRaises(CannotListenError, taken.startService)
        self.assertIn(str(port), str(error))
        await taken.stopService()

    async def test_a_stop_lets_an_answer_end_and_closes_what_is_idle(self):
        pending = Deferred()
        listener = listening(self, [*health_routes(dict), Route("GET", "/pending", lambda _: pending)])

        def begin():
            idle, asking = connect(listener.port), connect(listener.port)
            idle.sendall(request("/healthz", close=False))
            idle.recv(1 << 16)
            asking.sendall(request("/pending", close=False))
            return idle, asking

        idle, asking = await deferToThread(begin)
        await deferLater(reactor, 0.05)
        stopped = listener.stopService()
        self.assertEqual(await deferToThread(read_all, idle), b"")
        self.assertFalse(stopped.called)
        pending.callback("done")
        [answer] = parse(await deferToThread(read_all, asking))
        self.assertEqual(answer.json, "done")
        await stopped
        idle.close()
        asking.close()
        await self.assertFailure(deferToThread(connect, listener.port), ConnectionRefusedError)

    async def test_a_stop_does_not_wait_for_ever(self):
        listener = listening(self, [Route("GET", "/pending", lambda _: Deferred())])
        asking = await deferToThread(connect, listener.port)
        asking.sendall(request("/pending"))
        await deferLater(reactor, 0.05)
        begun = time.monotonic()
        await listener.stopService()
        self.assertLess(time.monotonic() - begun, 1.0)
        asking.close()

    async def test_it_can_start_again(self):
        listener = listening(self, health_routes(dict))
        await listener.stopService()
        listener.startService()
        [answer] = await talk(listener.port, request("/healthz"))
        self.assertEqual(answer.status, 200)
