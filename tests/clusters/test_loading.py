"""States of clusters as time goes by; the API server is a fake that answers when it is told to."""

from typing import Any

from clusters.world import World, config, in_place
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.clusters.client import Unreachable, Unusable, Version
from k3net.clusters.loading import Loading
from k3net.errors import NotFound
from k3net.model.cluster import Since


class FakeClient:
    """Asked for its version, it waits for `answer`."""

    def __init__(self, servers: "Servers", server: str):
        self.servers = servers
        self.server = server

    def version(self, *, timeout: float) -> "Deferred[Version]":
        asked: Deferred[Version] = Deferred()
        self.servers.asked.append((self.server, asked))
        self.servers.most = max(self.servers.most, sum(not one.called for _, one in self.servers.asked))
        if self.server in self.servers.always:
            self.servers.tell(asked, self.servers.always[self.server])
        return asked


class Servers:
    """Makes the clients, and says what the servers answer: a version, or an error."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Version]]] = []
        self.always: dict[str, Any] = {}
        self.made: list[str] = []
        self.most = 0

    def connect(self, _clock: Any, kubeconfig: Any) -> FakeClient:
        self.made.append(kubeconfig.server)
        return FakeClient(self, kubeconfig.server)

    def tell(self, asked: "Deferred[Version]", answer: Any) -> None:
        if isinstance(answer, Exception):
            asked.errback(answer)
        else:
            asked.callback(Version(answer))


class LoadingTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.world = World()
        self.servers = Servers()
        self.loading = self.made()

    def made(self, **how):
        loading = Loading(
            self.clock, self.world.registry, in_thread=in_place, connect=self.servers.connect, interval=60.0, **how
        )
        loading.startService()
        self.addCleanup(loading.stopService)
        return loading

    def create(self, name="c1", server="https://one"):
        return self.successResultOf(self.world.registry.create(name, "", config(server)))

    def update(self, server, name="c1"):
        return self.successResultOf(self.world.registry.update(name, kube_config=config(server)))

    def state(self, name="c1"):
        found = self.loading.state(name)
        return found.state, found.reason, found.serving

    def test_a_cluster_that_answers_is_active_and_its_client_is_there(self):
        made = self.create()
        self.servers.always["https://one"] = "v1.31.2"
        state = self.successResultOf(self.loading.take(made))
        self.assertEqual((state.state, state.version, state.serving), ("active", "v1.31.2", made.generation))
        self.assertEqual(self.loading.client("c1").server, "https://one")
        self.assertEqual([one.name for one in self.loading.states()], ["c1"])

    def test_one_that_is_not_reached_is_known_and_loaded_as_soon_as_it_answers(self):
        made = self.create()
        self.servers.always["https://one"] = Unreachable("refused")
        self.assertEqual(self.successResultOf(self.loading.take(made)).state, "unreachable")
        self.assertEqual(self.state(), ("unreachable", "refused", 0))
        self.assertEqual(self.loading.client("c1").server, "https://one")
        self.servers.always["https://one"] = "v1.31.2"
        self.clock.pump([1.0] * 70)
        self.assertEqual(self.state(), ("active", "", made.generation))
        self.assertEqual(self.servers.made, ["https://one"])

    def test_each_is_asked_again_about_once_a_minute(self):
        self.servers.always["https://one"] = "v1"
        self.successResultOf(self.loading.take(self.create()))
        self.clock.pump([1.0] * 600)
        self.assertIn(len(self.servers.asked), range(9, 14))
        self.servers.always["https://one"] = Unreachable("timeout")
        self.clock.pump([1.0] * 70)
        made = self.loading.state("c1")
        self.assertEqual((made.state, made.reason, made.version), ("unreachable", "timeout", "v1"))
        self.assertEqual(self.loading.client("c1").server, "https://one")

    def test_the_working_client_stays_until_the_new_one_works(self):
        made = self.create()
        self.servers.always = {"https://one": "v1", "https://two": Unusable("TLS: certificate verify failed")}
        self.successResultOf(self.loading.take(made))
        new = self.update("https://two")
        self.successResultOf(self.loading.take(new))
        self.assertEqual(self.state(), ("invalid", "TLS: certificate verify failed", made.generation))
        self.assertEqual(self.loading.client("c1").server, "https://one")
        self.servers.always["https://two"] = "v2"
        self.clock.pump([1.0] * 70)
        self.assertEqual(self.state(), ("active", "", new.generation))
        self.assertEqual(self.loading.client("c1").server, "https://two")

    def test_the_old_client_serves_while_the_new_one_is_asked(self):
        self.servers.always["https://one"] = "v1"
        self.successResultOf(self.loading.take(self.create()))
        done = self.loading.take(self.update("https://two"))
        self.assertEqual(self.loading.client("c1").server, "https://one")
        self.assertNoResult(done)
        self.servers.tell(self.servers.asked[-1][1], "v2")
        self.assertEqual(self.successResultOf(done).version, "v2")
        self.assertEqual(self.loading.client("c1").server, "https://two")

    def test_an_answer_that_an_update_overtook_counts_for_nothing(self):
        first = self.loading.take(self.create())
        second = self.loading.take(self.update("https://two"))
        third = self.loading.take(self.update("https://three"))
        self.servers.tell(self.servers.asked[0][1], "v1")
        self.successResultOf(first)
        self.assertEqual([server for server, _ in self.servers.asked], ["https://one", "https://three"])
        self.assertEqual(self.loading.state("c1").serving, 0)
        self.servers.tell(self.servers.asked[1][1], "v3")
        for done in (second, third):
            self.assertEqual(self.successResultOf(done).version, "v3")
        self.assertEqual(self.loading.client("c1").server, "https://three")

    def test_taking_the_same_record_again_shares_the_check_under_way_and_makes_no_new_client(self):
        made = self.create()
        both = [self.loading.take(made), self.loading.take(made)]
        self.assertEqual(len(self.servers.asked), 1)
        self.servers.tell(self.servers.asked[0][1], "v1")
        self.assertEqual([self.successResultOf(one).state for one in both], ["active", "active"])
        again = self.loading.take(made)
        self.assertEqual((len(self.servers.asked), len(self.servers.made)), (2, 1))
        self.servers.tell(self.servers.asked[1][1], "v1")
        self.successResultOf(again)

    def test_a_kubeconfig_that_no_key_opens_is_invalid_until_there_is_one(self):
        made = self.create()
        self.world.keys(b"x" * 32)
        self.servers.always["https://one"] = "v1"
        state = self.successResultOf(self.loading.take(made))
        self.assertEqual(state.state, "invalid")
        self.assertIn("which no file of clusters.key_files has", state.reason)
        self.assertIsNone(self.loading.client("c1"))
        self.world.keys(bytes(range(32)))
        self.clock.pump([1.0] * 70)
        self.assertEqual(self.state(), ("active", "", made.generation))

    def test_what_is_not_allowed_here_any_more_is_invalid(self):
        self.world.registry._allow = frozenset(["exec"])
        text = config(user={"exec": {"command": "aws"}})
        made = self.successResultOf(self.world.registry.create("c1", "", text))
        self.world.registry._allow = frozenset()
        state = self.successResultOf(self.loading.take(made))
        self.assertEqual(state.state, "invalid")
        self.assertIn("exec is refused here", state.reason)

    def test_a_deleted_cluster_is_let_go_of_and_an_answer_on_its_way_brings_it_not_back(self):
        made = self.create()
        done = self.loading.take(made)
        gone = self.successResultOf(self.world.registry.delete("c1"))
        self.assertIsNone(self.successResultOf(self.loading.take(gone)))
        self.servers.tell(self.servers.asked[0][1], "v1")
        self.assertIsNone(self.successResultOf(done))
        self.assertIsNone(self.loading.state("c1"))
        self.assertIsNone(self.loading.client("c1"))

    def test_a_tombstone_older_than_what_is_held_does_nothing(self):
        self.servers.always["https://one"] = "v1"
        self.create()
        gone = self.successResultOf(self.world.registry.delete("c1"))
        new = self.create()
        self.successResultOf(self.loading.take(new))
        self.assertEqual(self.successResultOf(self.loading.take(gone)).generation, new.generation)

    def test_reload_reads_the_store_and_says_when_there_is_none(self):
        self.servers.always["https://one"] = "v1"
        self.create()
        self.assertEqual(self.successResultOf(self.loading.reload("c1")).state, "active")
        self.successResultOf(self.world.registry.delete("c1"))
        self.failureResultOf(self.loading.reload("c1"), NotFound)
        self.assertIsNone(self.loading.state("c1"))

    def test_those_that_were_not_seen_in_all_there_is_are_forgotten(self):
        self.servers.always["https://one"] = "v1"
        for name in ("c1", "c2", "c3"):
            self.successResultOf(self.loading.take(self.create(name)))
        self.loading.keep_only({"c2"})
        self.assertEqual([one.name for one in self.loading.states()], ["c2"])

    def test_few_are_asked_at_once_and_black_holes_hold_up_no_other(self):
        loading = self.loading = self.made(at_once=4)
        done = [loading.take(self.create(f"hole{at}", "https://hole")) for at in range(20)]
        self.assertEqual(len(self.servers.asked), 4)
        self.servers.always["https://good"] = "v1"
        good = [loading.take(self.create(f"good{at}", "https://good")) for at in range(40)]
        self.assertNoResult(good[0])
        self.clock.pump([0.5] * 14)
        self.assertEqual({self.successResultOf(one).state for one in good}, {"active"})
        self.assertNoResult(done[0])
        self.assertLessEqual(self.servers.most, 24)

    def test_a_store_that_is_away_leaves_every_state_as_it_was(self):
        made = self.create()
        self.servers.always["https://one"] = "v1"
        self.successResultOf(self.loading.take(made))
        self.update("https://two")
        self.world.store.away = True
        self.clock.pump([1.0] * 70)
        self.assertEqual(self.state(), ("active", "", made.generation))

    def test_a_state_that_changes_is_said_once_and_quotes_no_secret(self):
        from twisted.logger import formatEvent, globalLogPublisher

        lines: list[str] = []
        observer = lambda event: lines.append(formatEvent(event))  # noqa: E731
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.servers.always["https://one"] = Unreachable("refused")
        self.successResultOf(self.loading.take(self.create()))
        self.clock.pump([1.0] * 200)
        self.assertEqual(lines, ["cluster 'c1' is unreachable: refused"])

    def test_stopping_waits_for_nobody(self):
        done = self.loading.take(self.create())
        stopped = self.loading.stopService()
        if stopped is not None:
            self.successResultOf(stopped)
        self.assertEqual(self.successResultOf(done).reason, "not asked yet")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_changes_read_from_the_start_are_all_loaded(self):
        self.servers.always["https://one"] = "v1"
        for at in range(5):
            self.create(f"c{at}")
        for cluster in self.successResultOf(self.world.registry.changes(Since())).clusters:
            self.successResultOf(self.loading.take(cluster))
        self.assertEqual({one.state for one in self.loading.states()}, {"active"})
