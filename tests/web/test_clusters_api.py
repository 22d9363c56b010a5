"""The clusters' API of a whole daemon, over HTTP: what users get, what instances say, and who may do what."""

import json
import shutil
import tempfile
import time
from base64 import b64encode
from pathlib import Path

from clusters.api_server import TOKEN
from clusters.world import config
from rawhttp import request, talk
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from k3net.config import load
from k3net.daemon import Daemon
from k3net.wiring.clusters import INTERNAL_NAME

JSON = "Content-Type: application/json"
SERVER = "https://127.0.0.1:1"
TOKENS = {"reads": "read-token", "writes": "write-token", "all": "all-token", "instance": "instance-token"}


class ClustersTests(TestCase):
    """One daemon with both listeners; `ask` speaks to them."""

    key = True

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        public = [f"{TOKENS['reads']} read", f"{TOKENS['writes']} write", TOKENS["all"], "# old-token"]
        files = {"tokens": "\n".join(public), "internal": TOKENS["instance"], "key": b64encode(bytes(32)).decode()}
        for name, text in files.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)
        settings = {
            "node": {"name": "n1", "register_self": False},
            "listen": "127.0.0.1:0",
            "api": {"listen": "127.0.0.1:0"},
            "mdns": {"enabled": False},
            "storage": {"type": "memory"},
            "log": {"level": "error"},
            "clusters": {
                "token_files": [str(self.folder / "tokens")],
                "internal_listen": "127.0.0.1:0",
                "internal_token_files": [str(self.folder / "internal")],
                "key_files": [str(self.folder / "key")] if self.key else [],
                "check_timeout": "200ms",
            },
        }
        file = self.folder / "k3net.yaml"
        file.write_text(json.dumps(settings))
        self.daemon = Daemon(reactor, load(str(file), {}, {}).settings, wall=time.time, environ={})
        self.addCleanup(self.daemon.stopService)
        self.daemon.startService()

    async def ask(self, method, target, body=None, *headers, token="all", part="api"):
        words = [f"Authorization: Bearer {TOKENS.get(token, token)}"] if token else []
        data = b"" if body is None else json.dumps(body).encode()
        words += [JSON] if body is not None else []
        [answer] = await talk(self.daemon[part].port, request(target, *words, *headers, method=method, body=data))
        return answer

    async def create(self, name="edge", **more):
        body = {"name": name, "description": "the lab", "kube_config": config(SERVER), **more}
        return await self.ask("POST", "/api/v1/clusters", body)


class UserTests(ClustersTests):
    async def test_a_cluster_is_created_shown_changed_and_deleted(self):
        made = await self.create()
        self.assertEqual(made.status, 201)
        self.assertEqual((made.json["name"], made.json["description"]), ("edge", "the lab"))
        shown = await self.ask("GET", "/api/v1/clusters/edge")
        self.assertEqual((shown.status, shown.headers["etag"]), (200, f'"{made.json["generation"]}"'))
        changed = await self.ask("PUT", "/api/v1/clusters/edge", {"description": "moved"})
        self.assertEqual((changed.status, changed.json["description"]), (200, "moved"))
        self.assertGreater(changed.json["generation"], made.json["generation"])
        gone = await self.ask("DELETE", "/api/v1/clusters/edge")
        self.assertEqual((gone.status, gone.json["deleted"]), (200, True))
        self.assertEqual((await self.ask("GET", "/api/v1/clusters/edge")).status, 404)

    async def test_the_kubeconfig_is_never_given_back(self):
        secret = config(SERVER)
        answers = [await self.create()]
        answers += [await self.ask("GET", f"/api/v1/clusters{path}") for path in ("", "/edge", "/edge/delivery")]
        answers.append(await self.ask("PUT", "/api/v1/clusters/edge", {"kube_config": secret + "\n"}))
        answers.append(await self.ask("POST", "/api/v1/clusters", {"name": "other", "kube_config": secret[:-40]}))
        answers.append(await self.ask("POST", "/api/v1/clusters", {"name": 7, "kube_config": secret}))
        for answer in answers:
            for secret in (TOKEN.encode(), b"apiVersion", b"sealed"):
                self.assertNotIn(secret, answer.body)

    async def test_a_name_that_is_taken_is_409_and_a_bad_one_400(self):
        await self.create()
        self.assertEqual((await self.create()).status, 409)
        for name in ("", "Big", "a/b", "a" * 254):
            self.assertEqual((await self.create(name)).status, 400, name)

    async def test_what_is_no_kubeconfig_is_refused_with_what_is_missing(self):
        answer = await self.create(kube_config="apiVersion: v1\nkind: Config\n")
        self.assertEqual(answer.status, 400)
        self.assertIn("clusters", answer.json["message"])

    async def test_if_match_protects_from_who_did_not_see_the_last_change(self):
        first = (await self.create()).headers["etag"]
        await self.ask("PUT", "/api/v1/clusters/edge", {"description": "two"}, f"If-Match: {first}")
        late = await self.ask("PUT", "/api/v1/clusters/edge", {"description": "three"}, f"If-Match: {first}")
        self.assertEqual((late.status, late.json["code"]), (412, "CHANGED"))
        self.assertEqual((await self.ask("DELETE", "/api/v1/clusters/edge", None, f"If-Match: {first}")).status, 412)
        self.assertEqual((await self.ask("DELETE", "/api/v1/clusters/edge", None, "If-Match: *")).status, 200)
        bad = await self.ask("DELETE", "/api/v1/clusters/edge", None, "If-Match: W/1")
        self.assertEqual(bad.status, 400)
        self.assertEqual((await self.ask("PUT", "/api/v1/clusters/edge", {}, "If-Match: ")).status, 400)

    async def test_a_secret_in_the_wrong_place_of_a_body_is_not_quoted(self):
        answer = await self.create(**{TOKEN: 1})
        self.assertEqual((answer.status, answer.json["message"]), (400, "a field is not known"))

    async def test_pages_join_without_gap(self):
        for number in range(5):
            await self.create(f"c{number}")
        names, after = [], ""
        while True:
            page = (await self.ask("GET", f"/api/v1/clusters?limit=2&continue={after}")).json
            names += [item["name"] for item in page["items"]]
            after = page["continue"]
            if not after:
                break
        self.assertEqual(names, [f"c{number}" for number in range(5)])
        for limit in ("0", "-1", "x", "1001", "9" * 400, "0000001001"):
            self.assertEqual((await self.ask("GET", f"/api/v1/clusters?limit={limit}")).status, 400, limit)

    async def test_a_cluster_that_cannot_be_reached_is_known_and_says_so(self):
        await self.create()
        while (shown := (await self.ask("GET", "/api/v1/clusters/edge")).json)["reason"] == "not asked yet":
            await deferLater(reactor, 0.02)
        self.assertEqual(shown["state"], "unreachable")

    async def test_rekeying_says_how_many(self):
        await self.create()
        (self.folder / "key").write_text("\n".join(b64encode(bytes([n] * 32)).decode() for n in (1, 0)))
        answer = await self.ask("POST", "/api/v1/rekey")
        self.assertEqual((answer.json["rekeyed"], answer.json["failed"]), (1, {}))


class FilesTests(ClustersTests):
    async def test_a_file_that_cannot_be_used_makes_readyz_say_so(self):
        def wrong(answer):
            return {one["name"] for one in answer.json["dependencies"] if not one["ok"]}

        names = {"key": "clusters' keys", "tokens": "clusters' tokens", "internal": "instances' tokens"}
        self.assertEqual(wrong(await self.ask("GET", "/readyz", token=None)) & set(names.values()), set())
        for file in names:
            (self.folder / file).unlink()
        answer = await self.ask("GET", "/readyz", token=None)
        self.assertEqual(wrong(answer) & set(names.values()), set(names.values()))
        self.assertIn(str(self.folder / "key"), answer.body.decode())


class WithoutKeyTests(ClustersTests):
    key = False

    async def test_without_a_key_no_kubeconfig_is_taken_and_the_answer_says_how_to_make_one(self):
        answer = await self.create()
        self.assertEqual(answer.status, 503)
        self.assertIn("/dev/urandom", answer.json["message"])


class InstanceTests(ClustersTests):
    async def test_another_instance_may_have_a_cluster_reloaded(self):
        await self.create()
        path = "/api/v1/internal/clusters/edge/reload"
        answer = await self.ask("POST", path, token="instance", part=INTERNAL_NAME)
        self.assertEqual((answer.status, answer.json["code"]), (200, 200))
        self.assertEqual(answer.json["message"], "Cluster reloaded successfully")
        self.assertEqual(answer.json["data"]["cluster_name"], "edge")

    async def test_a_cluster_that_is_not_there_is_404(self):
        for name in ("none", "%2e%2e%2fnodes", "a%20b"):
            path = f"/api/v1/internal/clusters/{name}/reload"
            self.assertEqual((await self.ask("POST", path, token="instance", part=INTERNAL_NAME)).status, 404, name)

    async def test_a_cluster_that_cannot_be_loaded_is_500_and_the_one_before_stays(self):
        await self.create()
        (self.folder / "key").write_text(b64encode(bytes([9] * 32)).decode())
        await self.ask("PUT", "/api/v1/clusters/edge", {"description": "x"})
        path = "/api/v1/internal/clusters/edge/reload"
        answer = await self.ask("POST", path, token="instance", part=INTERNAL_NAME)
        self.assertEqual((answer.status, answer.json["code"]), (500, "RELOAD_FAILED"))

    async def test_both_listeners_say_that_they_live_and_when_they_are_ready(self):
        for part in ("api", INTERNAL_NAME):
            live = await self.ask("GET", "/health/live", token=None, part=part)
            self.assertEqual((live.status, live.json["instance"]), (200, self.daemon.instance))
            end = time.monotonic() + 10
            while (ready := await self.ask("GET", "/health/ready", token=None, part=part)).status == 503:
                self.assertLess(time.monotonic(), end, ready.json)
                await deferLater(reactor, 0.02)
            self.assertEqual(ready.status, 200)

    async def test_the_port_for_instances_is_in_info(self):
        info = (await self.ask("GET", "/info", token=None, part="listen")).json
        self.assertEqual(info["clusters"], str(self.daemon[INTERNAL_NAME].port))


class GuessTests(ClustersTests):
    async def test_who_guesses_is_slowed_down_and_who_knows_is_not(self):
        statuses = [(await self.ask("GET", "/api/v1/clusters", token=f"guess-{n}")).status for n in range(40)]
        self.assertEqual(statuses[0], 401)
        self.assertIn(429, statuses)
        self.assertEqual((await self.ask("GET", "/api/v1/clusters")).status, 200)
