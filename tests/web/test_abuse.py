"""What hostile clients get: a refusal in JSON, in time and in bounded memory; and what the others get meanwhile."""

import subprocess
import sys
import time

import msgspec
from rawhttp import connect, listening, parse, read_all, request, talk
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from k3net.web.access import RateLimit
from k3net.web.api import node_routes
from k3net.web.channel import Deadlines
from k3net.web.health import health_routes
from k3net.web.resource import JSONStream, Route

SHORT = Deadlines(headers=0.4, body=0.4, answer=1.0, idle=0.4, linger=0.3)

FLOOD = """
import socket, sys, time
port, seconds, source = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
end, asked = time.monotonic() + seconds, 0
while time.monotonic() < end:
    try:
        with socket.create_connection(("127.0.0.1", port), 1, (source, 0)) as s:
            s.sendall(b"GET /healthz HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" * 200)
            while s.recv(65536):
                pass
    except OSError:
        pass
    asked += 1
print(asked)
"""


def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


class AbuseTests(TestCase):
    def setUp(self):
        routes = [
            *health_routes(lambda: {"node": "n1"}),
            Route("POST", "/values", lambda view: view.body, body=msgspec.Raw, max_body=1000),
            Route("GET", "/endless", lambda _: JSONStream(b"[", iter(lambda: "x" * 1000, ""), b"]")),
        ]
        self.port = listening(self, routes, deadlines=SHORT).port

    def trickle(self, head, piece, pause=0.05, limit=5.0):
        """Send `piece` again and again; the seconds until the connection ended, and the answers."""

        def conversation():
            begun = time.monotonic()
            with connect(self.port) as sock:
                sock.sendall(head)
                sock.settimeout(pause)
                data = b""
                while time.monotonic() - begun < limit:
                    try:
                        sock.sendall(piece)
                        got = sock.recv(1 << 16)
                    except TimeoutError:
                        continue
                    except OSError:
                        break
                    if not got:
                        break
                    data += got
                return time.monotonic() - begun, parse(data)

        return deferToThread(conversation)

    async def test_headers_that_trickle_in_do_not_prolong_their_deadline(self):
        took, [answer] = await self.trickle(b"GET /healthz HTTP/1.1\r\nX: ", b"a")
        self.assertEqual((answer.status, answer.json["code"]), (408, "REQUEST_TIMEOUT"))
        self.assertLess(took, 2.0)

    async def test_a_body_that_trickles_in_does_not_prolong_its_deadline(self):
        head = request("/values", "Content-Type: application/json", "Content-Length: 900", method="POST")
        took, [answer] = await self.trickle(head, b"1")
        self.assertEqual(answer.status, 408)
        self.assertLess(took, 2.0)

    async def test_a_client_that_says_nothing_is_let_go(self):
        begun = time.monotonic()
        [answer] = await talk(self.port)
        self.assertEqual(answer.status, 408)
        self.assertLess(time.monotonic() - begun, 2.0)

    async def test_a_kept_connection_that_falls_idle_is_closed(self):
        begun = time.monotonic()
        [answer] = await talk(self.port, request("/healthz", close=False))
        self.assertEqual(answer.status, 200)
        self.assertLess(time.monotonic() - begun, 2.0)

    async def test_a_client_that_reads_nothing_is_cut_off_and_its_answer_not_stored(self):
        before = rss()

        def conversation():
            with connect(self.port) as sock:
                sock.sendall(request("/endless"))
                time.sleep(2.0)
                return len(read_all(sock))

        received = await deferToThread(conversation)
        self.assertLess(received, 16 << 20)
        self.assertLess(rss() - before, 32 << 20)

    async def test_a_gigabyte_declared_is_refused_before_it_is_sent(self):
        for method, target in (("POST", "/values"), ("GET", "/healthz"), ("POST", "/nothing"), ("PUT", "/values")):
            begun = time.monotonic()
            head = request(target, "Content-Length: 1000000000", "Expect: 100-continue", method=method, close=False)
            [answer] = await talk(self.port, head)
            self.assertIn(answer.status, (413, 404, 405))
            self.assertEqual(answer.headers["connection"], "close")
            self.assertLess(time.monotonic() - begun, 1.0)

    async def test_a_refusal_reaches_a_client_that_goes_on_sending(self):
        def upload():
            with connect(self.port) as sock:
                sock.sendall(request("/values", "Content-Length: 500000", method="POST"))
                for _ in range(5):
                    time.sleep(0.02)
                    sock.sendall(b"1" * 50_000)
                return parse(read_all(sock))

        [answer] = await deferToThread(upload)
        self.assertEqual(answer.status, 413)

    async def test_a_length_of_ten_thousand_digits_is_refused(self):
        [answer] = await talk(self.port, request("/values", "Content-Length: " + "9" * 10000, method="POST"))
        self.assertEqual(answer.status, 413)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_chunks_are_counted_before_they_are_stored(self):
        before = rss()
        head = request("/values", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")

        def flood():
            with connect(self.port) as sock:
                sock.sendall(head)
                sent = 0
                try:
                    while sent < 256 << 20:
                        sock.sendall(b"100000\r\n" + b"1" * (1 << 20) + b"\r\n")
                        sent += 1 << 20
                except OSError:
                    pass
                return sent

        self.assertLess(await deferToThread(flood), 64 << 20)
        self.assertLess(rss() - before, 16 << 20)
        [answer] = await talk(self.port, head, b"7d0\r\n" + b"1" * 2000 + b"\r\n0\r\n\r\n")
        self.assertEqual((answer.status, answer.json["code"]), (413, "BODY_TOO_LARGE"))

    async def test_what_is_no_http_is_told_so_in_json(self):
        for raw in (
            b"GET /a\x00b HTTP/1.1\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\r\n",
            b"GET /healthz HTTP/1.1\r\nbad header\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nA: b\x00c\r\n\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"POST /values HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
            b"POST /values HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST /values HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            with self.subTest(raw=raw):
                [answer] = await talk(self.port, raw)
                self.assertEqual((answer.status, answer.json["code"]), (400, "BAD_REQUEST"))

    async def test_headers_have_a_size_and_a_number(self):
        for headers in (["A: " + "b" * 20000], [f"A{n}: b" for n in range(1000)], ["A: " + "b" * 5000] * 4):
            [answer] = await talk(self.port, request("/healthz", *headers))
            self.assertEqual((answer.status, answer.json["code"]), (431, "HEADERS_TOO_LARGE"))

    async def test_a_refused_request_ends_the_pipeline(self):
        raw = b"GET /a\x01b HTTP/1.1\r\n\r\n" + request("/healthz")
        self.assertEqual([answer.status for answer in await talk(self.port, raw)], [400])


class CrowdTests(TestCase):
    async def test_one_peer_may_hold_so_many_connections_and_others_still_come_in(self):
        port = listening(self, health_routes(dict), per_peer=5).port

        def crowd():
            held = [connect(port, source="127.0.0.2") for _ in range(20)]
            try:
                time.sleep(0.2)
                for sock in held:
                    sock.settimeout(0.05)
                return sum(_is_open(sock) for sock in held), _healthz(port, "127.0.0.3")
            finally:
                for sock in held:
                    sock.close()

        self.assertEqual(await deferToThread(crowd), (5, 200))

    async def test_when_all_connections_are_taken_the_oldest_silent_one_makes_room(self):
        port = listening(self, health_routes(dict), connections=10, per_peer=3).port

        def crowd():
            held = [connect(port, source=f"127.0.1.{n}") for n in range(1, 31)]
            try:
                return _healthz(port, "127.0.0.3")
            finally:
                for sock in held:
                    sock.close()

        self.assertEqual(await deferToThread(crowd), 200)

    async def test_who_asks_too_often_is_told_to_wait(self):
        port = listening(self, health_routes(dict), checks=[RateLimit(reactor, rate=1, burst=3)]).port
        answers = await talk(port, request("/healthz", close=False) * 10)
        self.assertEqual([answer.status for answer in answers], [200, 200, 200, 429])
        self.assertEqual(answers[-1].json["code"], "TOO_MANY_REQUESTS")
        self.assertEqual(answers[-1].headers["retry-after"], "1")

    async def test_a_flood_from_others_leaves_healthz_within_200_ms(self):
        port = listening(self, health_routes(dict), checks=[RateLimit(reactor)]).port
        flood = subprocess.Popen(
            [sys.executable, "-c", FLOOD, str(port), "1.5", "127.0.0.2"], stdout=subprocess.PIPE, text=True
        )

        def measure():
            times = []
            while flood.poll() is None:
                times.append(_timed(port, "127.0.0.3"))
                time.sleep(0.03)
            return times, int(flood.communicate()[0])

        times, asked = await deferToThread(measure)
        self.assertGreater(asked, 100)
        self.assertGreater(len(times), 10)
        self.assertLess(max(times), 0.2)

    async def test_ten_thousand_nodes_leave_healthz_within_200_ms(self):
        node = {"metadata": {"name": "n", "annotations": {"x": "y" * 1200}}, "status": {"addresses": [{}] * 20}}
        nodes = [{**node, "n": n} for n in range(10000)]
        port = listening(self, [*health_routes(dict), *node_routes(lambda: nodes, str)]).port
        times = []
        listing = deferToThread(_read_whole, port, "/api/v1/nodes")

        def measure():
            while not listing.called:
                times.append(_timed(port, "127.0.0.3"))

        await deferToThread(measure)
        [answer] = parse(await listing)
        self.assertGreater(len(answer.body), 12_000_000)
        self.assertEqual([item["n"] for item in answer.json["items"]], list(range(10000)))
        self.assertGreater(len(times), 5)
        self.assertLess(max(times), 0.2)


def _read_whole(port, target):
    with connect(port) as sock:
        sock.sendall(request(target))
        return read_all(sock)


def _is_open(sock):
    try:
        return sock.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def _healthz(port, source):
    with connect(port, source=source) as sock:
        sock.sendall(request("/healthz"))
        return parse(read_all(sock))[0].status


def _timed(port, source):
    begun = time.monotonic()
    assert _healthz(port, source) in (200, 429)
    return time.monotonic() - begun
