"""What members and operators ask over HTTP: /probe, explain and the brake, of a daemon and of a fleet."""

import json
import shutil
import tempfile
import time

from contracts import manifest_of
from rawhttp import listening, request, talk
from reconciler.world import PEER_TTL, World, address_of
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from k3net.config import load
from k3net.daemon import Daemon
from k3net.reconciler.view import View
from k3net.web.api import brake_routes, explain_routes

JSON = "Content-Type: application/json"
RELEASE = "/api/v1/brake/release"


class DaemonTests(TestCase):
    def setUp(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        file = f"{folder}/k3net.yaml"
        settings = {
            "node": {"name": "n1"},
            "listen": "127.0.0.1:0",
            "api": {"listen": "127.0.0.1:0"},
            "mdns": {"enabled": False},
            "storage": {"type": "memory"},
            "log": {"level": "warn"},
        }
        with open(file, "w") as opened:
            json.dump(settings, opened)
        self.daemon = Daemon(reactor, load(file, {}, {}).settings, wall=time.time, environ={})
        self.addCleanup(self.daemon.stopService)
        self.daemon.startService()

    async def ask(self, target, *headers, part="api", **how):
        [answer] = await talk(self.daemon[part].port, request(target, *headers, **how))
        return answer

    async def test_a_probe_without_a_name_is_400(self):
        for target in ("/probe", "/probe?node=", "/probe?name=n1"):
            answer = await self.ask(target, part="listen")
            self.assertEqual((answer.status, answer.json["code"]), (400, "BAD_REQUEST"), target)

    async def test_a_probe_of_nobody_known_is_no_opinion(self):
        for name in ("nobody", "%C3%BC", "n1"):
            answer = await self.ask(f"/probe?node={name}", part="listen")
            self.assertEqual((answer.status, answer.json["ok"]), (200, None), name)
            self.assertEqual(answer.json["reason"], "not known here")

    async def test_the_lan_is_told_nothing_of_the_brake_or_of_nodes(self):
        for target in ("/api/v1/brake", "/api/v1/nodes/n1/explain"):
            self.assertEqual((await self.ask(target, part="listen")).status, 404)
        self.assertEqual((await self.ask(RELEASE, JSON, part="listen", method="POST", body=b"{}")).status, 404)

    async def test_the_own_node_is_explained(self):
        answer = await self.ask("/api/v1/nodes/n1/explain")
        self.assertEqual((answer.status, answer.json["writer"], answer.json["observer"]), (200, "n1", "n1"))
        ready = answer.json["fields"][-1]
        self.assertEqual((ready["field"], ready["source"]), ("status.conditions[Ready]", "own"))

    async def test_what_is_no_node_is_not_explained(self):
        for name in ("nobody", "%00", "..%2Fn1"):
            answer = await self.ask(f"/api/v1/nodes/{name}/explain")
            self.assertIn(answer.status, (400, 404))
        self.assertEqual((await self.ask("/api/v1/nodes/nobody/explain")).json["code"], "NOT_FOUND")

    async def test_a_release_is_a_post_of_json_and_of_nothing_else(self):
        form = "Content-Type: application/x-www-form-urlencoded"
        for headers in ((), (form,), ("Content-Type: text/plain",), ("Content-Type: multipart/form-data",)):
            answer = await self.ask(RELEASE, *headers, method="POST", body=b"{}")
            self.assertEqual((answer.status, answer.json["code"]), (415, "UNSUPPORTED_MEDIA_TYPE"), headers)
        for body in (b"[]", b'{"all": true}', b"{"):
            self.assertEqual((await self.ask(RELEASE, JSON, method="POST", body=body)).status, 400, body)
        self.assertEqual((await self.ask(RELEASE)).status, 405)
        answer = await self.ask(RELEASE, JSON, method="POST", body=b"{}")
        self.assertEqual((answer.status, answer.json), (200, {"released": []}))

    async def test_a_brake_that_rests_says_so(self):
        answer = await self.ask("/api/v1/brake")
        self.assertEqual(answer.json, {"enabled": True, "held": [], "held_seconds": None})


class FleetTests(TestCase):
    """A reconciler on a clock of its own behind a real listener."""

    machines = ("n1", "n2", "n3", "n4")

    def setUp(self):
        self.world = World()

    def started(self):
        [self.d1] = self.world.fleet("d1", machines=self.machines)
        self.world.advance(5)
        view = View(lambda: self.d1.reconciler, self.world.clock, self.world.wall, lambda name: None)
        routes = [*explain_routes(view.explain), *brake_routes(view.brake, view.release_brake)]
        self.port = listening(self, routes).port

    async def ask(self, target, *headers, **how):
        [answer] = await talk(self.port, request(target, *headers, **how))
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    async def explained(self, name):
        return await self.ask(f"/api/v1/nodes/{name}/explain")

    async def test_what_the_brake_holds_is_said_explained_and_let_go(self):
        self.started()
        self.world.up -= set(self.machines)
        self.world.advance(PEER_TTL + 15)
        held = await self.ask("/api/v1/brake")
        self.assertEqual(held["held"], sorted(self.machines))
        self.assertTrue(0 < held["held_seconds"] < 20)
        self.assertTrue((await self.explained("n1"))["held"])
        self.assertEqual(self.world.ready("n1")[0], "True")
        released = await self.ask(RELEASE, JSON, method="POST", body=b"{}")
        self.assertEqual(released, {"released": sorted(self.machines)})
        self.world.advance(2)
        self.assertEqual({self.world.ready(name) for name in self.machines}, {("False", "PeerExpired")})
        self.assertEqual((await self.ask("/api/v1/brake"))["held"], [])
        told = await self.explained("n1")
        self.assertEqual((told["held"], told["stored_ready"]), (False, "False"))
        self.assertEqual([each["status"] for each in told["transitions"]], ["True", "False"])

    async def test_a_peer_is_explained_by_who_saw_it(self):
        self.started()
        told = await self.explained("n1")
        rows = {row["field"]: row for row in told["fields"]}
        self.assertEqual((told["writer"], told["members"], told["stored"]), ("d1", ["d1"], True))
        self.assertEqual(rows["status.addresses[InternalIP]"]["value"], address_of("n1"))
        self.assertEqual(rows["status.addresses[InternalIP]"]["source"], "mdns")
        self.assertEqual(rows["status.conditions[Ready]"]["source"], "liveness")
        self.assertEqual({each["source"] for each in told["observations"]}, {"mdns", "liveness"})

    async def test_a_controller_s_node_is_explained_and_has_no_writer(self):
        self.world.foreign.put(manifest_of("n1", managed=None))
        self.world.foreign.put(manifest_of("cp-1", managed=None))
        self.started()
        for name, seen in (("n1", True), ("cp-1", False)):
            told = await self.explained(name)
            self.assertEqual((told["managed"], told["writer"], told["left_alone"]), (False, "", False))
            self.assertEqual({row["source"] for row in told["fields"]}, {"store"})
            self.assertEqual(bool(told["observations"]), seen)

    async def test_a_node_that_is_only_stored_is_explained(self):
        self.world.foreign.put(manifest_of("Not_A_Peer"))
        self.started()
        told = await self.explained("Not_A_Peer")
        self.assertEqual((told["managed"], told["stored_ready"], told["observations"]), (True, "True", []))
        self.assertEqual({row["rule"] for row in told["fields"]}, {"as stored: nobody here has seen the machine"})
