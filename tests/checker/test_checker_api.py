"""The checker's API over a real socket, and who may use it."""

import json
import tempfile
from pathlib import Path

from rawhttp import listening, request, talk
from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from k3net.checker.exchange import PATH
from k3net.checker.report import Reporter
from k3net.checker.server import CheckerServer
from k3net.web.access import RateLimit, Tokens
from k3net.web.api import described
from k3net.web.checker_api import CheckerApi
from k3net.web.resource import Route
from k3net.web.source_tokens import SourceTokens

BEAT = {"namespace": "lab", "node_ip": "10.0.0.1", "pod_ip": "10.1.0.1", "pod_name": "agent-1"}
GO_RESULT = {
    "source_ip": "10.1.0.1",
    "target_ip": "10.0.0.2",
    "ping_status": "reachable",
    "port_status": {"22": "open"},
    "latency": 673_000_000,
    "test_duration": "2.03s",
    "timestamp": "2026-11-20T18:15:47.123456789+08:00",
}
REPORT = {"source_ip": "10.1.0.1", "results": [GO_RESULT]}


class CheckerApiTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.server = CheckerServer(self.clock, wall=lambda: 0.0, expiry=15.0, in_thread=maybeDeferred)
        self.reporter = Reporter(self.clock, self.server, wall=lambda: 0.0, interval=300.0)
        self.directory = Path(tempfile.mkdtemp())
        self.operators = self.directory / "operators"
        self.operators.write_text("op-token\n")
        self.agents = self.directory / "agents"
        self.agents.write_text("# the fleet\nfleet\nbound 10.0.0.1 10.1.0.1 # edge-1\n")

    def listen(self, checks=(), site=(), admits=lambda key: True):
        api = CheckerApi(
            self.clock,
            lambda: self.server,
            lambda: self.reporter,
            instance="me",
            admits=admits,
            checks=checks,
            open_checks=(),
        )
        other = Route("GET", "/api/v1/nodes", lambda _: [], summary="Nodes.")
        return listening(self, described([*api.routes(), other], "1"), checks=site).port

    def guarded(self):
        operators = Tokens(reactor, [str(self.operators)])
        self.tokens = SourceTokens(reactor, [str(self.agents)], operators)
        return self.listen((self.tokens,), (operators,))

    async def ask(self, port, path, body=None, token=""):
        headers = [f"Authorization: Bearer {token}"] if token else []
        path = path if path.startswith("/api") else f"/api/v1/{path}"
        if body is None:
            [answer] = await talk(port, request(path, *headers))
        else:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            [answer] = await talk(
                port, request(path, "Content-Type: application/json", *headers, method="POST", body=raw)
            )
        return answer

    async def test_a_go_client_reports_and_its_words_come_back(self):
        port = self.listen()
        answer = await self.ask(port, "heartbeat", {**BEAT, "timestamp": GO_RESULT["timestamp"]})
        self.assertEqual((answer.status, answer.json["status"]), (200, "success"))
        for kind in ("hosts", "pods"):
            self.assertEqual((await self.ask(port, f"test-results/{kind}", REPORT)).json["status"], "success")
        service = {"source_ip": "10.1.0.1", "result": {**GO_RESULT, "target_ip": "web.lab"}}
        self.assertEqual((await self.ask(port, "test-results/service", service)).status, 200)
        cell = {
            "ping": "reachable",
            "port_status": "open",
            "test_duration": "2.03s",
            "latency": "673.00ms",
            "timestamp": "2026-11-20T18:15:47.123457+08:00",
        }
        matrix = {"10.1.0.1": {"10.0.0.2": cell}}
        told = {**GO_RESULT, "target_ip": "web.lab", "latency": "673.00ms", "timestamp": cell["timestamp"]}
        wanted = {
            "hosts": {"host_ips": ["10.0.0.1"], "count": 1},
            "pods": {"pod_ips": ["10.1.0.1"], "count": 1},
            "test-results/hosts": {"results": matrix},
            "test-results/pods": {"results": matrix},
            "test-results/service": {"results": {"10.1.0.1": told}},
            "clients/count": {"active_client_count": 1},
            "results": {
                "active_client_count": 1,
                "host_ips": ["10.0.0.1"],
                "pod_ips": ["10.1.0.1"],
                "host_test_results": matrix,
                "pod_test_results": matrix,
                "service_test_results": {"10.1.0.1": told},
            },
            "health": {"status": "healthy"},
        }
        for path, answer in wanted.items():
            self.assertEqual((await self.ask(port, path)).json, answer, path)

    async def test_nothing_yet_is_empty_and_no_error(self):
        port = self.listen()
        empty = (await self.ask(port, "results")).json
        self.assertEqual((empty["active_client_count"], empty["host_ips"], empty["host_test_results"]), (0, [], {}))
        self.assertEqual((await self.ask(port, "verdicts")).json["kind"], "VerdictList")
        self.assertEqual((await self.ask(port, "report")).json["host_test_summary"]["total_tests"], 0)
        self.assertEqual((await self.ask(port, "clients")).json, {"kind": "ClientList", "items": []})

    async def test_what_does_not_fit_is_an_invalid_request_that_names_the_field(self):
        port = self.listen()
        for path, body, details in (
            ("heartbeat", {**BEAT, "pod_name": ""}, "$.pod_name"),
            ("heartbeat", {**BEAT, "node_ip": "a\nb"}, "$.node_ip"),
            ("heartbeat", {**BEAT, "node_ip": "1.2.3.4.5"}, "$.node_ip"),
            ("heartbeat", {**BEAT, "pod_ip": "::::"}, "$.pod_ip"),
            ("heartbeat", {**BEAT, "pod_ip": "010.1.0.1"}, "$.pod_ip"),
            ("test-results/pods", {**REPORT, "source_ip": "10.1"}, "$.source_ip"),
            ("heartbeat", b"{", ""),
            ("heartbeat", b"[" * 5000, ""),
            ("test-results/hosts", {"source_ip": "", "results": []}, "$.source_ip"),
            ("test-results/hosts", {"source_ip": "10.0.0.1"}, ""),
            (
                "test-results/pods",
                {**REPORT, "results": [{**GO_RESULT, "ping_status": "x"}]},
                "$.results[0].ping_status",
            ),
            ("test-results/pods", {**REPORT, "results": [{**GO_RESULT, "latency": "soon"}]}, "$.results[0].latency"),
            (
                "test-results/hosts",
                {**REPORT, "results": [GO_RESULT, {**GO_RESULT, "test_duration": -1}]},
                "$.results[1].test_duration",
            ),
            (
                "test-results/hosts",
                {**REPORT, "results": [GO_RESULT, {**GO_RESULT, "port_status": {"22": "filtered"}}]},
                "$.results[1].port_status[...]",
            ),
            (
                "test-results/hosts",
                {**REPORT, "results": [{**GO_RESULT, "port_status": dict.fromkeys("abcdefghijklmnopq", "open")}]},
                "$.results[0].port_status",
            ),
            (
                "test-results/hosts",
                {**REPORT, "results": [{**GO_RESULT, "port_status": 22}]},
                "$.results[0].port_status",
            ),
            ("test-results/service", {"source_ip": "10.0.0.1", "result": []}, "$.result"),
        ):
            answer = await self.ask(port, path, body)
            self.assertEqual(
                (answer.status, answer.json["code"], answer.json["details"]), (400, "INVALID_REQUEST", details)
            )
        self.assertEqual(self.server.rows("pod"), [])

    async def test_a_body_that_is_too_long_is_refused(self):
        answer = await self.ask(self.listen(), "heartbeat", b'{"namespace":"' + b"x" * 70_000 + b'"}')
        self.assertEqual(answer.status, 413)

    async def test_a_source_that_speaks_too_often_is_told_to_wait_and_the_others_are_not(self):
        limit = RateLimit(self.clock, rate=1.0, burst=2.0)
        port = self.listen(admits=limit.admits)
        statuses = [(await self.ask(port, "heartbeat", BEAT)).status for _ in range(3)]
        other = await self.ask(port, "heartbeat", {**BEAT, "pod_ip": "10.1.0.2", "pod_name": "agent-2"})
        self.assertEqual((statuses, other.status), ([200, 200, 429], 200))

    async def test_a_fleets_token_reports_for_all_and_reads_only_this(self):
        port = self.guarded()
        self.assertEqual((await self.ask(port, "heartbeat", BEAT)).status, 401)
        self.assertEqual((await self.ask(port, "heartbeat", BEAT, "wrong")).status, 401)
        self.assertEqual((await self.ask(port, "heartbeat", BEAT, "fleet")).status, 200)
        self.assertEqual((await self.ask(port, "heartbeat", {**BEAT, "pod_ip": "10.1.0.9"}, "fleet")).status, 200)
        self.assertEqual((await self.ask(port, "hosts", token="fleet")).status, 200)
        self.assertEqual((await self.ask(port, "nodes", token="fleet")).status, 401)
        self.assertEqual((await self.ask(port, "health")).status, 200)

    async def test_an_operators_token_is_good_for_everything(self):
        port = self.guarded()
        for path in ("hosts", "results", "report", "nodes"):
            self.assertEqual((await self.ask(port, path, token="op-token")).status, 200, path)
        self.assertEqual((await self.ask(port, "heartbeat", BEAT, "op-token")).status, 200)

    async def test_a_bound_token_speaks_for_its_addresses_only(self):
        port = self.guarded()
        other = {**BEAT, "node_ip": "10.0.0.2", "pod_ip": "10.1.0.2", "pod_name": "agent-2", "node_name": "n2"}
        self.assertEqual((await self.ask(port, "heartbeat", other, "fleet")).status, 200)
        self.assertEqual((await self.ask(port, "heartbeat", BEAT, "bound")).status, 200)
        self.assertEqual((await self.ask(port, "heartbeat", {**BEAT, "pod_name": "new"}, "bound")).status, 200)
        self.assertEqual((await self.ask(port, "test-results/hosts", REPORT, "bound")).status, 200)
        for path, body in (
            ("heartbeat", {**BEAT, "node_ip": "10.0.0.2"}),
            ("heartbeat", {**BEAT, "pod_ip": "10.1.0.2"}),
            ("heartbeat", {**BEAT, "pod_name": "agent-2"}),
            ("heartbeat", {**BEAT, "node_name": "n2"}),
            ("test-results/hosts", {**REPORT, "source_ip": "10.1.0.2"}),
            ("test-results/service", {"source_ip": "10.1.0.2", "result": GO_RESULT}),
            (PATH, {"instance": "x", "heartbeats": [BEAT]}),
        ):
            answer = await self.ask(port, path, body, "bound")
            self.assertEqual((answer.status, answer.json["code"]), (403, "FORBIDDEN"), path)

    async def test_a_token_file_that_is_wrong_lets_nobody_in_and_is_told(self):
        for text in ("", "token not-an-address\n"):
            self.agents.write_text(text)
            port = self.guarded()
            self.assertEqual((await self.ask(port, "hosts", token="token")).status, 401)
            self.assertIn(str(self.agents), self.tokens.error)
        self.agents.unlink()
        self.guarded()
        self.assertIn("No such file", self.tokens.error)

    async def test_what_another_server_passes_on_is_taken_in(self):
        port = self.listen()
        said = {"instance": "other", "heartbeats": [BEAT], "hosts": [REPORT]}
        self.assertEqual((await self.ask(port, PATH, said)).json, {"instance": "me", "refused": 0})
        self.assertEqual((await self.ask(port, "clients/count")).json, {"active_client_count": 1})
        self.assertEqual(len((await self.ask(port, "test-results/hosts")).json["results"]), 1)
