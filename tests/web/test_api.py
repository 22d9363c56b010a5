"""The paths of both listeners, as their clients see them."""

import tempfile
from pathlib import Path

from rawhttp import listening, request, talk
from twisted.internet import reactor
from twisted.internet.defer import fail, succeed
from twisted.trial.unittest import TestCase

from k3net.errors import NotFound, StoreUnavailable
from k3net.web.access import Tokens, loopback_host
from k3net.web.api import described, node_routes, peer_routes, status_routes
from k3net.web.health import health_routes

NODES = [{"kind": "Node", "metadata": {"name": name, "resourceVersion": "1"}} for name in ("a", "b")]
REPORT = {"loops": [], "dependencies": [], "alarms": []}


def node(name):
    found = [one for one in NODES if one["metadata"]["name"] == name]
    if not found:
        raise NotFound(f"no Node named {name}")
    return found[0]


def api(nodes=lambda: NODES, ready=True):
    return described(
        [
            *node_routes(nodes, node),
            *peer_routes(list),
            *status_routes(lambda: (ready, REPORT), lambda: b"k3net_peers 0\n"),
        ],
        "1.2.3",
    )


class APITests(TestCase):
    async def ask(self, routes, target, *headers, checks=(), **how):
        port = listening(self, routes, checks=checks).port
        [answer] = await talk(port, request(target, *headers, **how))
        return answer

    async def test_healthz_is_two_letters(self):
        answer = await self.ask(health_routes(dict), "/healthz")
        self.assertEqual((answer.status, answer.body), (200, b"ok\n"))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")

    async def test_info_is_what_it_was_given(self):
        self.assertEqual((await self.ask(health_routes(lambda: {"node": "n1"}), "/info")).json, {"node": "n1"})

    async def test_nodes_are_a_node_list(self):
        wanted = {"apiVersion": "v1", "kind": "NodeList", "metadata": {"resourceVersion": ""}, "items": NODES}
        for nodes in (lambda: NODES, lambda: succeed(iter(NODES))):
            self.assertEqual((await self.ask(api(nodes), "/api/v1/nodes")).json, wanted)

    async def test_no_nodes_are_an_empty_list(self):
        self.assertEqual((await self.ask(api(list), "/api/v1/nodes")).json["items"], [])

    async def test_a_store_that_is_away_is_503(self):
        answer = await self.ask(api(lambda: fail(StoreUnavailable("secret"))), "/api/v1/nodes")
        self.assertEqual((answer.status, answer.json["code"]), (503, "UNAVAILABLE"))
        self.assertNotIn(b"secret", answer.body)

    async def test_one_node_or_none(self):
        self.assertEqual((await self.ask(api(), "/api/v1/nodes/b")).json, NODES[1])
        missing = await self.ask(api(), "/api/v1/nodes/c")
        self.assertEqual(
            (missing.status, missing.json),
            (404, {"code": "NOT_FOUND", "message": "no Node named c", "details": ""}),
        )

    async def test_peers_are_a_peer_list(self):
        self.assertEqual((await self.ask(api(), "/api/v1/peers")).json, {"kind": "PeerList", "items": []})

    async def test_readyz_says_it_with_the_status_too(self):
        ready, not_ready = await self.ask(api(), "/readyz"), await self.ask(api(ready=False), "/readyz")
        self.assertEqual((ready.status, ready.json), (200, {"status": "ready", **REPORT}))
        self.assertEqual((not_ready.status, not_ready.json), (503, {"status": "not ready", **REPORT}))

    async def test_metrics_are_text_of_prometheus(self):
        answer = await self.ask(api(), "/metrics")
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        self.assertEqual(answer.body, b"k3net_peers 0\n")

    async def test_without_metrics_there_is_no_such_path(self):
        answer = await self.ask(status_routes(lambda: (True, REPORT), None), "/metrics")
        self.assertEqual(answer.status, 404)

    async def test_the_description_has_our_version(self):
        self.assertEqual((await self.ask(api(), "/openapi.json")).json["info"]["version"], "1.2.3")

    async def test_tokens_guard_every_path_and_stand_before_the_body(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = Path(directory.name, "tokens")
        path.write_text("alpha\n")
        checks = [Tokens(reactor, [str(path)])]
        for target in ("/api/v1/nodes", "/metrics", "/readyz", "/openapi.json", "/nothing"):
            answer = await self.ask(api(), target, checks=checks)
            self.assertEqual((answer.status, answer.headers["www-authenticate"]), (401, "Bearer"), target)
        upload = await self.ask(api(), "/x", "Content-Length: 1000000", checks=checks, method="POST")
        self.assertEqual(upload.status, 401)
        let_in = await self.ask(api(), "/metrics", "Authorization: Bearer alpha", checks=checks)
        self.assertEqual(let_in.status, 200)

    async def test_a_rebound_name_is_refused_on_loopback(self):
        for host, status in (("evil.example:8080", 403), ("localhost:8080", 200), ("127.0.0.1", 200), (None, 200)):
            answer = await self.ask(api(), "/readyz", checks=[loopback_host], host=host)
            self.assertEqual(answer.status, status, host)
