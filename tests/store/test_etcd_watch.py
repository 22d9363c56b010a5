"""The hint that clusters have changed, from a real etcd: at once, after a restart too, and never in the way."""

import time
from types import SimpleNamespace

import pytest
import pytest_twisted
from etcd import Member
from twisted.internet import reactor
from twisted.internet.task import deferLater

from k3net.config.settings import EtcdSettings
from k3net.model.cluster import Cluster, CreateCluster, DeleteCluster, Receipt, UpdateCluster
from k3net.store.etcd import EtcdStore
from k3net.store.etcd_watch import EtcdWatch

pytestmark = pytest.mark.requires("etcd", "etcdctl")


@pytest.fixture(scope="module")
def server():
    with Member() as member:
        yield member


@pytest.fixture
def store(server):
    store = EtcdStore([server.url])
    yield store
    store.close()


class Watched:
    """A watch that counts its hints; `more()` fires when there is another than there were."""

    def __init__(self, *urls: str):
        self.hints = 0
        self.seen = 0
        settings = SimpleNamespace(etcd=EtcdSettings(endpoints=urls))
        self.watch = EtcdWatch(reactor, settings, self.hint)

    def hint(self) -> None:
        self.hints += 1

    async def more(self, within: float = 10.0) -> None:
        await until(lambda: self.hints > self.seen, within)
        self.seen = self.hints

    async def quiet(self) -> None:
        """No hint is on its way any more."""
        while True:
            self.seen = self.hints
            await deferLater(reactor, 0.2)
            if self.seen == self.hints:
                return

    async def __aenter__(self) -> "Watched":
        self.watch.startService()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.watch.stopService()


async def until(what, within: float = 10.0) -> None:
    end = time.monotonic() + within
    while not what():
        assert time.monotonic() < end, f"not within {within} s"
        await deferLater(reactor, 0.01)


@pytest_twisted.ensureDeferred
async def test_each_change_is_a_hint_and_a_receipt_or_a_node_is_none(server, store):
    async with Watched(server.url) as watched:
        await watched.more()
        await watched.quiet()
        made = store.write_cluster(CreateCluster(Cluster("edge", "u", 0))).cluster
        await watched.more()
        changed = store.write_cluster(UpdateCluster(made)).cluster
        await watched.more()
        await watched.quiet()
        store.add_receipts("edge", [Receipt("a", changed.generation, "delivered")])
        store.identity()
        await watched.quiet()
        before = watched.hints
        store.write_cluster(DeleteCluster(changed, 1.0))
        await watched.more()
        await watched.quiet()
        assert watched.hints == before + 1


@pytest_twisted.ensureDeferred
async def test_after_a_restart_of_etcd_it_hints_at_once_and_goes_on(store):
    with Member() as member:
        store = EtcdStore([member.url])
        async with Watched(member.url) as watched:
            await watched.more()
            await watched.quiet()
            member.kill()
            await until(lambda: "refused" in watched.watch.lost or "Socket closed" in watched.watch.lost)
            member.start()
            await watched.more()
            await until(lambda: watched.watch.lost == "")
            await watched.quiet()
            store.write_cluster(CreateCluster(Cluster("edge", "u", 0)))
            await watched.more()
        store.close()


@pytest_twisted.ensureDeferred
async def test_a_server_that_falls_silent_is_found_out_and_watched_again_when_it_is_back(monkeypatch):
    quick = (("grpc.keepalive_time_ms", 500), ("grpc.keepalive_timeout_ms", 500), ("grpc.http2.ping_timeout_ms", 500))
    monkeypatch.setattr("k3net.store.etcd_rpc._KEEPALIVE", (*quick, ("grpc.http2.max_pings_without_data", 0)))
    with Member() as member:
        async with Watched(member.url) as watched:
            await watched.more()
            await watched.quiet()
            with member.frozen():
                await until(lambda: watched.watch.lost)
            await watched.more()
            assert watched.watch.lost == ""


@pytest_twisted.ensureDeferred
async def test_a_compaction_does_not_end_it(server, store):
    async with Watched(server.url) as watched:
        await watched.more()
        made = store.write_cluster(CreateCluster(Cluster("compact", "u", 0))).cluster
        server.ctl("compact", str(made.generation))
        await watched.quiet()
        store.write_cluster(UpdateCluster(made))
        await watched.more()


@pytest_twisted.ensureDeferred
async def test_one_endpoint_that_is_away_leaves_the_others(server, store):
    async with Watched("http://127.0.0.1:9", server.url) as watched:
        await watched.more()
        await watched.quiet()
        store.write_cluster(CreateCluster(Cluster("second", "u", 0)))
        await watched.more()


@pytest_twisted.ensureDeferred
async def test_it_stops_at_once_whatever_etcd_does_and_starts_again(server):
    with Member() as member:
        watched = Watched(member.url)
        for _ in range(2):
            async with watched:
                await watched.more()
            assert not watched.watch.running
        async with watched:
            await watched.more()
            member.kill()
            await until(lambda: watched.watch.lost)
        with Member() as frozen, frozen.frozen():
            async with Watched(frozen.url):
                await deferLater(reactor, 0.2)
    begun = watched.hints
    await deferLater(reactor, 0.2)
    assert watched.hints == begun


@pytest_twisted.ensureDeferred
async def test_hundreds_of_changes_at_once_are_few_hints(server, store):
    async with Watched(server.url) as watched:
        await watched.more()
        await watched.quiet()
        before, cluster = watched.hints, store.write_cluster(CreateCluster(Cluster("busy", "u", 0))).cluster
        for _ in range(300):  # while the reactor does not run
            cluster = store.write_cluster(UpdateCluster(cluster)).cluster
        await watched.more()
        await watched.quiet()
        assert watched.hints - before < 30
