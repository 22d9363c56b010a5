"""What a client gets over a real socket: values, texts, streams, errors."""

import json
import socket
import struct
import time

import msgspec
from rawhttp import connect, listening, parse, request, talk
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from k3net.errors import BadRequest, NotFound, Unauthorized
from k3net.web.resource import JSON, JSONPieces, JSONStream, Route, Text

PIECES = [b"[", b'"%b",' % (b"a" * 100_000), b"1," * 70_000, b"2]"]


def no_entry(_):
    raise Unauthorized("not here")


class OddProbe(BadRequest):
    def __init__(self, message, details):
        super().__init__(message)
        self.details = details


class Probe(msgspec.Struct):
    node: str
    port: int = 0


class AnswerTests(TestCase):
    def setUp(self):
        self.pending = []
        self.listener = listening(
            self,
            [
                Route("GET", "/text", lambda _: Text("grüß\n")),
                Route("GET", "/value", lambda _: {"a": [1, None]}),
                Route("GET", "/status", lambda _: JSON({"ok": False}, status=503)),
                Route("GET", "/names/{name}", lambda view: {"name": view.path["name"], "query": view.query}),
                Route("GET", "/none/{name}", self.missing),
                Route("GET", "/broken", lambda _: 1 / 0),
                Route("GET", "/odd", lambda _: object()),
                Route("GET", "/later", lambda _: deferLater(reactor, 0.05, lambda: {"late": True})),
                Route("GET", "/pending", self.pend),
                Route("GET", "/many", lambda _: JSONStream(b"[", ({"n": n} for n in range(50000)), b"]")),
                Route("GET", "/cut", lambda _: JSONStream(b"[", (1 // (40000 - n) for n in range(50000)), b"]")),
                Route("GET", "/pieces", lambda _: JSONPieces(PIECES)),
                Route("GET", "/guarded", lambda _: "open", checks=(no_entry,)),
                Route("POST", "/probes", lambda view: view.body, body=Probe, max_body=1000),
                Route("POST", "/odd-probes", lambda view: view.body, body=Probe, unfit=OddProbe),
            ],
        )

    def missing(self, view):
        raise NotFound(f"no Node named {view.path['name']}")

    def pend(self, _):
        self.pending.append(Deferred())
        return self.pending[-1]

    async def ask(self, target, *headers, **how):
        [answer] = await talk(self.listener.port, request(target, *headers, **how))
        return answer

    async def test_pieces_that_are_encoded_already_are_sent_as_they_are(self):
        answer = await self.ask("/pieces")
        self.assertEqual(answer.headers["content-length"], str(sum(map(len, PIECES))))
        self.assertEqual(answer.body, b"".join(PIECES))
        head = await self.ask("/pieces", method="HEAD")
        self.assertEqual((head.headers["content-length"], head.body), (answer.headers["content-length"], b""))

    async def test_a_route_may_have_checks_of_its_own(self):
        self.assertEqual((await self.ask("/guarded")).status, 401)
        self.assertEqual((await self.ask("/text")).status, 200)
        closed = listening(
            self, [Route("GET", "/open", lambda _: 1, checks=()), Route("GET", "/a", lambda _: 1)], checks=[no_entry]
        )
        statuses = []
        for path in ("/open", "/a", "/nowhere"):
            [answer] = await talk(closed.port, request(path))
            statuses.append(answer.status)
        self.assertEqual(statuses, [200, 401, 401])

    async def test_a_route_may_have_an_error_of_its_own_for_a_body_that_does_not_fit(self):
        answer = await self.ask("/odd-probes", "Content-Type: application/json", method="POST", body=b'{"node": 1}')
        self.assertEqual((answer.status, answer.json["code"], answer.json["details"]), (400, "ODD_PROBE", "$.node"))

    async def test_text_and_values_say_what_they_are(self):
        text = await self.ask("/text")
        self.assertEqual((text.status, text.body.decode()), (200, "grüß\n"))
        self.assertEqual(text.headers["content-type"], "text/plain; charset=utf-8")
        value = await self.ask("/value")
        self.assertEqual(value.json, {"a": [1, None]})
        self.assertEqual(value.headers["content-type"], "application/json; charset=utf-8")

    async def test_no_version_of_anything_is_told(self):
        self.assertEqual((await self.ask("/value")).headers["server"], "k3net")

    async def test_an_answer_may_have_a_status_and_may_come_later(self):
        self.assertEqual((await self.ask("/status")).status, 503)
        self.assertEqual((await self.ask("/later")).json, {"late": True})

    async def test_path_and_query_come_decoded(self):
        answer = await self.ask("/names/a%20b%2Fc%C3%BC?x=1%202&x=3&empty=")
        self.assertEqual(answer.json, {"name": "a b/cü", "query": {"x": "1 2", "empty": ""}})

    async def test_errors_are_json_with_their_status(self):
        for target, method, status, code in (
            ("/nothing", "GET", 404, "NOT_FOUND"),
            ("/none/n1", "GET", 404, "NOT_FOUND"),
            ("/value", "DELETE", 405, "METHOD_NOT_ALLOWED"),
            ("/value", "TRACE", 405, "METHOD_NOT_ALLOWED"),
            ("/value", "OPTIONS", 405, "METHOD_NOT_ALLOWED"),
            ("/value", "BREW", 405, "METHOD_NOT_ALLOWED"),
            ("/names/%ff", "GET", 400, "BAD_REQUEST"),
            ("/names/a?x=%ff", "GET", 400, "BAD_REQUEST"),
            ("http://evil.example/", "GET", 400, "BAD_REQUEST"),
        ):
            with self.subTest(target=target, method=method):
                answer = await self.ask(target, method=method)
                self.assertEqual((answer.status, answer.json["code"]), (status, code))
                self.assertEqual(answer.headers["content-type"], "application/json; charset=utf-8")
                self.assertEqual(set(answer.json), {"code", "message", "details"})
        self.assertEqual((await self.ask("/value", method="PUT")).headers["allow"], "GET, HEAD")

    async def test_a_fault_is_logged_and_not_told(self):
        for target in ("/broken", "/odd"):
            answer = await self.ask(target)
            self.assertEqual((answer.status, answer.json["code"]), (500, "INTERNAL_ERROR"))
            self.assertNotIn(b"zero", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError, TypeError)), 2)

    async def test_head_is_get_without_the_body(self):
        for target in ("/text", "/many", "/nothing"):
            whole, head = await self.ask(target), await self.ask(target, method="HEAD")
            self.assertEqual((head.status, head.body), (whole.status, b""))
            for name in ("content-length", "content-type"):
                self.assertEqual(head.headers.get(name), whole.headers.get(name), target)

    async def test_a_body_comes_in_the_type_of_the_route(self):
        body = b'{"node":"n1","port":7946}'
        answer = await self.ask("/probes", "Content-Type: application/json", method="POST", body=body)
        self.assertEqual(answer.json, {"node": "n1", "port": 7946})
        wrong = await self.ask("/probes", "Content-Type: application/json", method="POST", body=b'{"node":1}')
        self.assertEqual((wrong.status, wrong.json["details"]), (400, "$.node"))
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
            form = await self.ask("/probes", f"Content-Type: {kind}", method="POST", body=b"node=1")
            self.assertEqual(form.status, 415)

    async def test_a_chunked_body_is_a_body(self):
        head = request("/probes", "Content-Type: application/json", "Transfer-Encoding: chunked", method="POST")
        [answer] = await talk(self.listener.port, head, b'8\r\n{"node":\r\n', b'4\r\n"x"}\r\n0\r\n\r\n')
        self.assertEqual(answer.json, {"node": "x", "port": 0})

    async def test_a_stream_is_one_json_document(self):
        answer = await self.ask("/many")
        self.assertEqual(answer.headers["transfer-encoding"], "chunked")
        self.assertEqual(answer.json, [{"n": n} for n in range(50000)])

    async def test_a_stream_to_http_1_0_ends_with_the_connection(self):
        [answer] = await talk(self.listener.port, b"GET /many HTTP/1.0\r\n\r\n")
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertEqual(len(answer.json), 50000)

    async def test_a_stream_that_fails_is_cut_and_never_looks_whole(self):
        def read():
            with connect(self.listener.port) as sock:
                sock.sendall(request("/cut"))
                data = b""
                try:
                    while piece := sock.recv(1 << 16):
                        data += piece
                except ConnectionResetError:
                    pass
                return data

        data = await deferToThread(read)
        self.assertTrue(data.startswith(b"HTTP/1.1 200"))
        self.assertFalse(data.endswith(b"0\r\n\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_pipelined_requests_are_answered_in_order(self):
        asked = ["/later", "/value", "/many", "/text", "/nothing"]
        pieces = [request(target, close=False) for target in asked] + [request("/names/last")]
        answers = await talk(self.listener.port, b"".join(pieces))
        self.assertEqual([answer.status for answer in answers], [200, 200, 200, 200, 404, 200])
        self.assertEqual(answers[0].json, {"late": True})
        self.assertEqual(len(answers[2].json), 50000)
        self.assertEqual(answers[-1].json["name"], "last")

    async def test_bodies_are_whole_wherever_the_stream_is_cut(self):
        kind = "Content-Type: application/json"
        names = ["", "x\r\n\r\ny", "y" * 5000, "z" * 60_000]
        bodies = [json.dumps({"node": name}).encode() for name in names]
        asked = [request("/odd-probes", kind, method="POST", body=body, close=False) for body in bodies]
        stream = b"".join([*asked, request("/value")])
        end = len(stream)
        for cuts in ([], [1], [len(asked[0]) + 40], [4096], [4097, 4098], [end - 1], range(977, end, 977)):
            pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, end], strict=True)]
            answers = await talk(self.listener.port, *pieces)
            self.assertEqual([answer.json.get("node") for answer in answers], [*names, None])

    async def test_who_has_said_all_is_still_answered(self):
        for target in ("/value", "/later", "/many"):
            [answer] = await talk(self.listener.port, request(target, close=False), half_close=True)
            self.assertEqual(answer.status, 200)
            json.loads(answer.body)

    async def test_a_client_that_leaves_before_the_answer_is_no_error(self):
        def leave():
            with connect(self.listener.port) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(request("/pending"))
                deadline = time.monotonic() + 5
                while not self.pending and time.monotonic() < deadline:
                    time.sleep(0.005)

        await deferToThread(leave)
        await deferLater(reactor, 0.1)
        [pending] = self.pending
        pending.callback({"too": "late"})
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual((await self.ask("/value")).status, 200)

    async def test_a_client_that_leaves_amid_a_stream_is_no_error(self):
        def leave():
            with connect(self.listener.port) as sock:
                sock.sendall(request("/many"))
                sock.recv(1000)

        await deferToThread(leave)
        await deferLater(reactor, 0.1)
        self.assertEqual(self.flushLoggedErrors(), [])

    async def test_connections_are_kept_for_the_next_request(self):
        def twice():
            with connect(self.listener.port) as sock:
                statuses = []
                for _ in range(2):
                    sock.sendall(request("/text", close=False))
                    statuses += [answer.status for answer in parse(sock.recv(1 << 16))]
                return statuses

        self.assertEqual(await deferToThread(twice), [200, 200])
