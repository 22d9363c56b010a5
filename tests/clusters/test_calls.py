"""What one instance says to another, over real HTTP and TLS, to the internal listener of a whole daemon."""

import json
import os
import shutil
import tempfile
import time
from base64 import b64encode
from pathlib import Path

from authority import Authority
from clusters.api_server import ApiServer, data
from clusters.world import config
from rawhttp import request, talk
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from k3net.clusters.calls import CannotTell, ReloadCall
from k3net.config import load
from k3net.credentials import Token, Trust
from k3net.daemon import Daemon
from k3net.wiring.clusters import INTERNAL_NAME


class DaemonTests(TestCase):
    """`begin()` starts a daemon on a store in a file; several share it."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.authority = Authority(self.folder)
        self.certificate, self.key = self.authority.issue("instances", "127.0.0.1")
        for name, text in {"api": "users", "internal": "instances", "key": b64encode(bytes(32)).decode()}.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)

    def begin(self, *, tls=True, token=True):
        clusters = {
            "token_files": [str(self.folder / "api")],
            "internal_listen": "127.0.0.1:0",
            "key_files": [str(self.folder / "key")],
            "timeout": "2s",
        }
        if token:
            clusters["internal_token_files"] = [str(self.folder / "internal")]
        if tls:
            clusters |= {
                "internal_ca": self.authority.ca,
                "internal_cert": self.certificate,
                "internal_key": self.key,
            }
        settings = {
            "node": {"name": "n1", "register_self": False},
            "listen": "127.0.0.1:0",
            "api": {"listen": "127.0.0.1:0"},
            "mdns": {"enabled": False},
            "storage": {"type": "sqlite", "sqlite": {"path": str(self.folder / "k3net.db")}},
            "log": {"level": "error"},
            "clusters": clusters,
        }
        file = self.folder / "k3net.yaml"
        file.write_text(json.dumps(settings))
        daemon = Daemon(reactor, load(str(file), {}, {}).settings, wall=time.time, environ={})
        self.addCleanup(daemon.stopService)
        daemon.startService()
        return daemon

    def address(self, daemon):
        return f"127.0.0.1:{daemon[INTERNAL_NAME].port}"

    def call(self, **how):
        usual = {
            "token": Token("instances"),
            "trust": Trust(self.authority.ca, self.certificate, self.key),
            "timeout": 2.0,
        }
        return ReloadCall(reactor, **{**usual, **how})

    async def ask(self, daemon, method, target, body=None):
        words = ["Authorization: Bearer users", "Content-Type: application/json"]
        text = b"" if body is None else json.dumps(body).encode()
        [answer] = await talk(daemon["api"].port, request(target, *words, method=method, body=text))
        return answer

    async def create(self, daemon, name="edge", server="https://127.0.0.1:1", **parts):
        body = {"name": name, "kube_config": config(server, **parts)}
        self.assertEqual((await self.ask(daemon, "POST", "/api/v1/clusters", body)).status, 201)

    async def refusal(self, call, address, name="edge", change="creation"):
        return await self.assertFailure(call(address, name, change), CannotTell)

    async def until(self, what, within=10.0):
        end = time.monotonic() + within
        while not what():
            assert time.monotonic() < end, f"not within {within} s"
            await deferLater(reactor, 0.01)


class TlsTests(DaemonTests):
    async def test_with_certificate_and_token_it_is_done_and_the_answer_says_by_whom(self):
        daemon = self.begin()
        await self.create(daemon)
        self.assertEqual(await self.call()(self.address(daemon), "edge", "creation"), daemon.instance)

    async def test_the_certificate_alone_is_enough_where_no_tokens_are_configured(self):
        daemon = self.begin(token=False)
        await self.create(daemon)
        self.assertEqual(await self.call(token=str)(self.address(daemon), "edge", "update"), daemon.instance)

    async def test_without_a_certificate_or_with_one_of_another_authority_or_time_nothing_is_done(self):
        daemon = self.begin()
        await self.create(daemon)
        stranger = Authority(self.folder, "stranger")
        ca = self.authority.ca
        for trust in (
            Trust(ca),
            Trust(ca, *stranger.issue("mallory", "127.0.0.1")),
            Trust(ca, *self.authority.issue("late", "127.0.0.1", days=-1)),
        ):
            await self.refusal(self.call(trust=trust), self.address(daemon))

    async def test_a_server_with_a_certificate_of_another_authority_or_address_is_told_nothing(self):
        daemon = self.begin()
        stranger = Authority(self.folder, "stranger")
        refusal = await self.refusal(
            self.call(trust=Trust(stranger.ca, self.certificate, self.key)), self.address(daemon)
        )
        self.assertIn("certificate verify failed", str(refusal))
        self.assertFalse(refusal.may_pass)
        self.certificate, self.key = self.authority.issue("elsewhere", "127.0.0.9")
        refusal = await self.refusal(self.call(), self.address(self.begin()))
        self.assertIn("another host's", str(refusal))

    async def test_all_may_have_one_certificate_for_one_name_wherever_they_are_found(self):
        self.certificate, self.key = self.authority.issue("all", "192.0.2.1")
        daemon = self.begin()
        await self.create(daemon)
        self.assertIn("another host's", str(await self.refusal(self.call(), self.address(daemon))))
        trust = Trust(self.authority.ca, self.certificate, self.key, server_name="192.0.2.1")
        self.assertEqual(await self.call(trust=trust)(self.address(daemon), "edge", "creation"), daemon.instance)

    async def test_a_certificate_does_not_stand_for_a_token_where_both_are_asked_for(self):
        daemon = self.begin()
        await self.create(daemon)
        for token in (str, Token("users"), Token("guessed")):
            refusal = await self.refusal(self.call(token=token), self.address(daemon))
            self.assertIn("401", str(refusal))
            self.assertFalse(refusal.may_pass)

    async def test_plain_http_gets_nothing_from_a_listener_that_speaks_tls(self):
        await self.refusal(self.call(trust=None), self.address(self.begin()))

    async def test_a_file_that_holds_no_certificate_is_told_and_not_tried_again(self):
        trust = Trust(str(self.folder / "key"), self.certificate, self.key)
        refusal = await self.refusal(self.call(trust=trust), "127.0.0.1:1")
        self.assertFalse(refusal.may_pass)


class PlainTests(DaemonTests):
    async def test_a_deletion_is_told_where_the_cluster_is_not_known_and_nothing_else_is(self):
        daemon = self.begin(tls=False)
        call = self.call(trust=None)
        self.assertEqual(await call(self.address(daemon), "gone", "deletion"), "")
        for change in ("creation", "update"):
            refusal = await self.refusal(call, self.address(daemon), "gone", change)
            self.assertIn("404", str(refusal))
            self.assertFalse(refusal.may_pass)

    async def test_an_instance_is_told_over_ipv6(self):
        class Taking(Resource):
            isLeaf = True

            def render_POST(self, _asked):
                return b'{"data": {"instance": "six"}}'

        port = reactor.listenTCP(0, Site(Taking()), interface="::1")
        self.addCleanup(port.stopListening)
        address = f"[::1]:{port.getHost().port}"
        self.assertEqual(await self.call(trust=None)(address, "edge", "creation"), "six")

    async def test_a_name_stays_one_part_of_the_path(self):
        seen = []

        class Noting(Resource):
            isLeaf = True

            def render_POST(self, asked):
                seen.append(asked.uri)
                return b"[]"

        call = self.call(trust=None)
        self.assertEqual(await call(self.serving(Noting()), "../a b?c", "creation"), "")
        self.assertEqual(seen, [b"/api/v1/internal/clusters/..%2Fa%20b%3Fc/reload"])

    async def test_what_can_pass_may_be_tried_again_and_what_cannot_may_not(self):
        class Answering(Resource):
            isLeaf = True

            def __init__(self, status):
                super().__init__()
                self.status = status

            def render_POST(self, asked):
                asked.setResponseCode(self.status)
                asked.setHeader("Location", "http://127.0.0.1:1/")
                return b'{"message": "no\\n", "data": 3}'

        for status, may_pass in ((408, True), (429, True), (500, True), (503, True), (302, False), (403, False)):
            refusal = await self.refusal(self.call(trust=None), self.serving(Answering(status)))
            self.assertEqual((str(refusal), refusal.may_pass), (f"{status} 'no\\n'", may_pass))

    async def test_nobody_there_and_no_answer_may_pass_and_an_answer_without_end_may_not(self):
        class Silent(Resource):
            isLeaf = True

            def render_POST(self, _asked):
                return NOT_DONE_YET

        class Endless(Resource):
            isLeaf = True

            def render_POST(self, _asked):
                return b" " * 1_000_000

        call = self.call(trust=None, timeout=0.3)
        self.assertEqual(str(await self.refusal(call, "127.0.0.1:1")), "refused")
        self.assertTrue((await self.refusal(call, "127.0.0.1:1")).may_pass)
        self.assertTrue((await self.refusal(call, self.serving(Silent()))).may_pass)
        self.assertFalse((await self.refusal(call, self.serving(Endless()))).may_pass)

    def serving(self, resource):
        port = reactor.listenTCP(0, Site(resource), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"


class TogetherTests(DaemonTests):
    """Two whole daemons of one process on one store in a file."""

    async def test_one_tells_the_other_over_tls_and_leaves_itself_out(self):
        certificate, key = self.authority.issue("server", "127.0.0.1")
        server = ApiServer(certificate, key).start()
        self.addCleanup(server.stop)
        one, other = self.begin(), self.begin()
        os.environ["INSTANCE_ADDRESSES"] = f"{self.address(one)},{self.address(other)}"
        self.addCleanup(os.environ.pop, "INSTANCE_ADDRESSES")
        await self.create(one, "edge", server.url, cluster={"certificate-authority-data": data(self.authority.ca)})

        def used(daemon):
            state = daemon["clusters"]._loading.state("edge")
            return state is not None and state.state == "active"

        await self.until(lambda: used(one) and used(other))
        answer = await self.ask(one, "GET", "/api/v1/instances")
        self.assertEqual([item["instance"] for item in answer.json["items"]], [other.instance])

        async def delivered():
            items = (await self.ask(other, "GET", "/api/v1/clusters/edge/delivery")).json["items"]
            return [(item["instance"], item["state"]) for item in items]

        end = time.monotonic() + 5
        while await delivered() != [(self.address(other), "delivered")]:
            assert time.monotonic() < end, await delivered()
            await deferLater(reactor, 0.05)

    async def test_a_cluster_whose_server_never_answers_is_told_all_the_same(self):
        certificate, key = self.authority.issue("server", "127.0.0.1")
        server = ApiServer(certificate, key).start()
        server.behaviour = "slow"
        self.addCleanup(server.stop)
        daemon = self.begin()
        await self.create(daemon, "edge", server.url, cluster={"certificate-authority-data": data(self.authority.ca)})
        self.assertEqual(await self.call(timeout=4.5)(self.address(daemon), "edge", "creation"), daemon.instance)
