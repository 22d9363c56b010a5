"""One instance's clusters on a clock: stored first, then loaded and told; caught up with from the store."""

from clusters.test_loading import Servers
from clusters.world import World, config, in_place
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from k3net.clusters.broadcast import Broadcast
from k3net.clusters.loading import Loading
from k3net.clusters.service import Clusters
from k3net.errors import AlreadyThere, Changed, NotFound, StoreUnavailable
from k3net.model.cluster import DeleteCluster, Receipt

SERVER = "https://10.0.0.1:6443"


class ServiceTests(SynchronousTestCase):
    """`clusters` is this instance; `another` a registry by which somebody else changes the same store."""

    def setUp(self):
        self.clock = Clock()
        self.world = World()
        self.another = self.world.another()
        self.servers = Servers()
        self.servers.always = {SERVER: "v1.31.2"}
        self.told, self.others = [], ("10.0.0.2:8081",)
        self.clusters = self.made()

    def made(self, catch_up=60.0):
        registry = self.world.registry
        self.loading = Loading(self.clock, registry, in_thread=in_place, connect=self.servers.connect, interval=60.0)
        broadcast = Broadcast(
            self.clock,
            instances=lambda: succeed(self.others),
            ask=self.ask,
            keep=registry.add_receipts,
            wall=self.clock.seconds,
        )
        clusters = Clusters(self.clock, registry, self.loading, broadcast, catch_up=catch_up)
        clusters.startService()
        self.addCleanup(lambda: clusters.running and clusters.stopService())
        self.clock.advance(0)
        return clusters

    def ask(self, address, name, change):
        stored = self.successResultOf(self.another.page()).clusters
        self.told.append((address, name, change, name in {one.name for one in stored}))
        return succeed("")

    def create(self, name="edge"):
        return self.successResultOf(self.clusters.create(name, "", config(SERVER)))

    def elsewhere(self, name="edge", server=SERVER):
        return self.successResultOf(self.another.create(name, "", config(server)))

    def known(self):
        return {state.name: (state.state, state.generation) for state in self.loading.states()}

    def test_what_is_created_is_stored_before_anybody_is_told(self):
        known = self.create()
        self.assertEqual(known.state.state, "active")
        self.assertEqual(self.told, [("10.0.0.2:8081", "edge", "creation", True)])

    def test_what_the_store_does_not_take_is_neither_loaded_nor_told(self):
        self.elsewhere()
        self.failureResultOf(self.clusters.create("edge", "", config(SERVER)), AlreadyThere)
        self.failureResultOf(self.clusters.update("edge", description="x", generation=99), Changed)
        self.failureResultOf(self.clusters.delete("gone"), NotFound)
        self.world.store.away = True
        self.failureResultOf(self.clusters.create("other", "", config(SERVER)), StoreUnavailable)
        self.assertEqual((self.told, self.known()), ([], {}))

    def test_an_update_and_a_deletion_are_told_as_what_they_are(self):
        self.create()
        self.successResultOf(self.clusters.update("edge", description="moved"))
        gone = self.successResultOf(self.clusters.delete("edge"))
        self.assertTrue(gone.deleted)
        changes = [(change, stored) for _, _, change, stored in self.told]
        self.assertEqual(changes, [("creation", True), ("update", True), ("deletion", False)])
        self.assertEqual(self.known(), {})

    def test_a_reload_loads_what_is_stored_and_tells_nobody(self):
        made = self.elsewhere()
        state = self.successResultOf(self.clusters.reload("edge"))
        self.assertEqual((state.state, state.generation), ("active", made.generation))
        self.clock.pump([1.0] * 10)
        self.assertEqual(self.told, [])

    def test_a_reload_of_what_is_gone_lets_go_of_it(self):
        self.create()
        gone = self.successResultOf(self.another.delete("edge"))
        self.assertTrue(gone.deleted)
        self.failureResultOf(self.clusters.reload("edge"), NotFound)
        self.assertEqual(self.known(), {})

    def test_a_reload_of_what_cannot_be_a_name_asks_nobody_and_is_not_in_the_log(self):
        lines = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        self.world.store.away = True
        for name in ("a\nb", "../x", "A" * 9999, ""):
            self.failureResultOf(self.clusters.reload(name), NotFound)
        self.assertEqual([line for line in lines if "reload" in str(line.get("log_format"))], [])

    def test_who_tells_waits_two_seconds_for_a_server_that_hangs_and_the_check_goes_on(self):
        self.elsewhere(server="https://slow")
        told = self.clusters.reload("edge")
        self.clock.advance(1.9)
        self.assertNoResult(told)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(told).state, "unreachable")
        self.servers.tell(self.servers.asked[-1][1], "v1.30.0")
        self.assertEqual(self.known()["edge"][0], "active")

    def test_when_the_store_is_away_a_reload_says_so_and_what_is_known_stays(self):
        self.create()
        before = self.known()
        self.world.store.away = True
        self.failureResultOf(self.clusters.reload("edge"), StoreUnavailable)
        self.assertEqual(self.known(), before)

    def test_what_others_changed_is_read_every_minute_and_when_there_is_a_hint(self):
        made = self.elsewhere()
        self.assertEqual(self.known(), {})
        self.clock.pump([1.0] * 67)
        self.assertEqual(self.known(), {"edge": ("active", made.generation)})
        self.successResultOf(self.another.delete("edge"))
        self.elsewhere("other")
        self.clusters.hint()
        self.clock.advance(0.1)
        self.assertEqual(self.known().keys(), {"other"})
        self.assertEqual(self.told, [])

    def test_many_hints_are_one_look(self):
        looks = []
        self.world.store.before = lambda verb: looks.append(verb) if verb == "cluster_changes" else None
        for _ in range(100):
            self.clusters.hint()
        self.clock.pump([0.01] * 10)
        self.assertEqual(len(looks), 1)

    def test_it_is_ready_when_everything_that_was_stored_is_known_and_not_before(self):
        for at in range(250):
            self.elsewhere(f"c{at:03}")
        self.world.store.away = True
        late = self.made(catch_up=5.0)
        self.assertFalse(late.ready)
        self.world.store.away = False
        self.clock.pump([1.0] * 6)
        self.assertTrue(late.ready)
        self.assertEqual(len(self.known()), 250)

    def test_one_that_was_away_for_more_deletions_than_are_remembered_drops_what_is_gone(self):
        self.create("old")
        self.create("kept")
        driver = self.world.store.driver
        driver.write_cluster(DeleteCluster(driver.cluster("old"), 1.0))
        shared = self.world.shared.clusters
        shared.forgotten = shared.clusters.pop("old").generation
        self.clusters.hint()
        self.clock.advance(0.1)
        self.assertEqual(self.known().keys(), {"kept"})

    def test_a_page_shows_what_is_stored_and_what_is_made_of_it(self):
        self.create("a")
        self.elsewhere("b")
        items, after = self.successResultOf(self.clusters.page("", 1))
        self.assertEqual(([(one.cluster.name, one.state.state) for one in items], after), ([("a", "active")], "a"))
        items, after = self.successResultOf(self.clusters.page(after, 10))
        self.assertEqual(([(one.cluster.name, one.state) for one in items], after), ([("b", None)], ""))

    def test_the_delivery_of_a_deletion_can_be_asked_for_and_that_of_nothing_cannot(self):
        self.create()
        self.successResultOf(self.clusters.delete("edge"))
        receipts, generation = self.successResultOf(self.clusters.delivery("edge"))
        self.assertEqual(receipts, (Receipt("10.0.0.2:8081", generation, "delivered", 1, "", 0.0),))
        self.failureResultOf(self.clusters.delivery("never"), NotFound)

    def test_stopping_ends_what_is_under_way_and_asks_nothing_more(self):
        self.others = ("10.0.0.2:8081", "10.0.0.3:8081")
        self.ask = lambda *_: Deferred(lambda _: None)
        self.successResultOf(self.clusters.stopService())
        self.clusters = self.made()
        self.create()
        self.successResultOf(self.clusters.stopService())
        asked = len(self.servers.asked)
        self.clock.pump([1.0] * 200)
        self.assertEqual(len(self.servers.asked), asked)
        self.clusters.hint()
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.active()], [])
