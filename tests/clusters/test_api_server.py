"""Loading against a real TLS server: authorities, certificates, tokens, and what a bad server does."""

import tempfile
from pathlib import Path

import pytest
import yaml
from authority import Authority
from clusters.api_server import TOKEN, ApiServer, data, kubeconfig
from clusters.world import World, config
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from k3net.clusters.client import Client, Unreachable, Unusable
from k3net.clusters.kubeconfig import read_kubeconfig
from k3net.clusters.loading import Loading

EVERYTHING = ("files", "insecure-skip-tls-verify", "impersonation", "exec", "auth-provider", "proxy-url")


class ApiServerTests(TestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.authority = Authority(self.folder)
        self.users = Authority(self.folder, "users")
        self.pair = self.authority.issue("server", "127.0.0.1")

    def serving(self, pair=None, **how):
        server = ApiServer(*(pair or self.pair), **how).start()
        self.addCleanup(server.stop)
        return server

    def client(self, server, *, cluster=None, user=None):
        trusted = {"certificate-authority-data": data(self.authority.ca), **(cluster or {})}
        text = yaml.safe_dump(kubeconfig(server.url, cluster=trusted, user=user))
        return Client(reactor, read_kubeconfig(text, EVERYTHING))

    async def version(self, server, *, timeout=5.0, **how):
        return (await self.client(server, **how).version(timeout=timeout)).git_version

    async def refusal(self, error, server, **how):
        with pytest.raises(error) as caught:
            await self.version(server, **how)
        assert TOKEN not in str(caught.value)
        return str(caught.value)

    async def test_a_token_is_taken(self):
        server = self.serving()
        self.assertEqual(await self.version(server), "v1.31.2")
        self.assertEqual(server.seen[0]["authorization"], f"Bearer {TOKEN}")

    async def test_a_name_and_password_are_taken(self):
        server = self.serving()
        self.assertEqual(await self.version(server, user={"username": "user", "password": "pass"}), "v1.31.2")

    async def test_a_client_certificate_is_taken_also_when_it_has_a_chain_below_it(self):
        server = self.serving(clients=self.users, demands=True)
        certificate, key = self.users.issue("alice")
        user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
        self.assertEqual(await self.version(server, user=user), "v1.31.2")
        chain = self.folder / "chain.pem"
        chain.write_bytes(Path(certificate).read_bytes() + Path(self.users.ca).read_bytes())
        user["client-certificate-data"] = data(chain)
        self.assertEqual(await self.version(server, user=user), "v1.31.2")
        self.assertEqual([one["client"] for one in server.seen], ["alice", "alice"])

    async def test_wrong_credentials_make_it_invalid(self):
        server = self.serving()
        self.assertIn(
            "does not take these credentials (401)", await self.refusal(Unusable, server, user={"token": "x"})
        )

    async def test_a_client_certificate_that_has_expired_or_is_another_s_makes_it_invalid(self):
        server = self.serving(clients=self.users, demands=True)
        for certificate, key in (self.users.issue("old", days=-1), self.authority.issue("stranger")):
            user = {"client-certificate-data": data(certificate), "client-key-data": data(key)}
            self.assertRegex(await self.refusal(Unusable, server, user=user), "^TLS: .*(expired|unknown ca|alert)")

    async def test_a_server_s_certificate_that_is_wrong_makes_it_invalid(self):
        stranger = Authority(self.folder, "stranger")
        for pair, words in (
            (stranger.issue("other", "127.0.0.1"), "has expired, or is not of the authority"),
            (self.authority.issue("expired", "127.0.0.1", days=-1), "has expired, or is not of the authority"),
            (self.authority.issue("elsewhere", "127.0.0.9"), "another host's"),
        ):
            server = self.serving(pair)
            self.assertIn(words, await self.refusal(Unusable, server))
            self.assertEqual(server.seen, [])

    async def test_without_an_authority_of_its_own_those_of_this_machine_are_believed_and_it_is_not_one(self):
        server = self.serving()
        said = await self.refusal(Unusable, server, cluster={"certificate-authority-data": None})
        self.assertIn("certificate verify failed", said)

    async def test_a_server_name_of_the_kubeconfig_is_what_the_certificate_is_to_be_for(self):
        server = self.serving(self.authority.issue("elsewhere", "127.0.0.9"))
        self.assertEqual(await self.version(server, cluster={"tls-server-name": "127.0.0.9"}), "v1.31.2")

    async def test_unverified_where_it_is_allowed(self):
        server = self.serving(Authority(self.folder, "stranger").issue("other", "127.0.0.8"))
        cluster = {"insecure-skip-tls-verify": True, "certificate-authority-data": None}
        self.assertEqual(await self.version(server, cluster=cluster), "v1.31.2")

    async def test_files_and_impersonation_where_they_are_allowed(self):
        server = self.serving()
        token = self.folder / "token"
        token.write_text(TOKEN + "\n")
        cluster = {"certificate-authority-data": None, "certificate-authority": self.authority.ca}
        user = {"tokenFile": str(token), "as": "root", "as-groups": ["a", "b"]}
        self.assertEqual(await self.version(server, cluster=cluster, user=user), "v1.31.2")
        self.assertEqual((server.seen[0]["user"], server.seen[0]["groups"]), ("root", ["a", "b"]))
        wrong = {"certificate-authority-data": None, "certificate-authority": str(token)}
        with pytest.raises(Unusable, match="certificate-authority, tokenFile: no certificate in the CA file"):
            self.client(server, cluster=wrong, user=user)
        token.unlink()
        with pytest.raises(Unusable, match="tokenFile: No such file"):
            self.client(server, cluster=cluster, user=user)

    async def test_a_server_that_is_away_slow_or_no_api_server_is_unreachable(self):
        server = self.serving()
        for behaviour, words in {
            "garbage": "no Kubernetes API server",
            "another": "no Kubernetes API server",
            "redirecting": "status 302",
            "broken": "status 500",
            "endless": "more than",
        }.items():
            server.behaviour = behaviour
            self.assertIn(words, await self.refusal(Unreachable, server))
        server.behaviour = "slow"
        await self.refusal(Unreachable, server, timeout=0.2)
        client = self.client(server)
        await server.stop()
        with pytest.raises(Unreachable, match="refused"):
            await client.version()
        self.assertEqual({one["path"] for one in server.seen}, {"/version"})

    async def test_what_k3net_does_not_do_itself_is_said(self):
        server = self.serving()
        with pytest.raises(Unusable, match="proxy-url"):
            self.client(server, cluster={"proxy-url": "http://127.0.0.1:1"})
        with pytest.raises(Unusable, match="exec"):
            self.client(server, user={"exec": {"command": "false"}})

    async def test_from_the_store_to_active_and_back_again_as_the_server_comes_and_goes(self):
        world, server = World(), self.serving()
        loading = Loading(reactor, world.registry, in_thread=deferToThread, interval=0.1, timeout=2.0)
        trusted = {"certificate-authority-data": data(self.authority.ca)}
        made = await world.registry.create("c1", "", config(server.url, cluster=trusted))
        loading.startService()
        self.addCleanup(loading.stopService)
        state = await loading.take(made)
        self.assertEqual((state.state, state.version), ("active", "v1.31.2"))
        self.assertEqual((await loading.client("c1").ask("/version")).status, 200)
        await server.stop()
        await self.until(lambda: loading.state("c1").reason == "refused")
        server.start()
        await self.until(lambda: loading.state("c1").state == "active")
        another = Authority(self.folder, "another")
        wrong = config(server.url, cluster={"certificate-authority-data": data(another.ca)})
        changed = await world.registry.update("c1", kube_config=wrong)
        page = await world.registry.page()
        state = await loading.take(page.clusters[0])  # without its kubeconfig, which is then read
        self.assertEqual((state.state, state.generation), ("invalid", changed.generation))
        self.assertEqual(state.serving, made.generation)
        self.assertEqual((await loading.client("c1").version()).git_version, "v1.31.2")

    async def until(self, f):
        for _ in range(500):
            if f():
                return
            await deferLater(reactor, 0.01)
        self.fail("not within 5 s")
