"""What the watch makes of Consul's answers, driven by a clock (spec/2-consul.md)."""

from itertools import pairwise

from discovery.fake_consul import FakeConsul
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from k3net.discovery.consul_api import ConsulError, Denied, Throttled
from k3net.discovery.consul_watch import ConsulWatch
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable

INTERVAL = 15.0
DOWN = ConsulError("Consul at http://127.0.0.1:8500: refused")


class World:
    """A clock, a fake Consul, a table, and a watch of "k3-node" by the machine "own"."""

    def __init__(self, **settings):
        self.clock = Clock()
        self.consul = FakeConsul(self.clock, node="rack-7", address="10.0.0.7")
        self.table = PeerTable()
        self.told: list[Observation] = []
        self.refused: list[str] = []
        self.own_is_there: list[bool] = []
        self.watch = ConsulWatch(
            self.clock,
            self.observe,
            self.consul,
            service="k3-node",
            own_name="own",
            own_id="k3-node-own",
            peers=lambda: self.table,
            interval=INTERVAL,
            own_is_there=self.own_is_there.append,
            refused=self.refused.append,
            **settings,
        )

    def observe(self, o):
        self.told.append(o)
        return self.table.observe(o)

    def start(self, *ids, **parts):
        for service_id in ids:
            self.consul.service(service_id, **parts)
        self.watch.startService()
        self.advance(1)
        return self

    def advance(self, seconds, by=0.25):
        self.clock.pump([by] * round(seconds / by))

    def ready(self, name):
        peer = self.table.get(name)
        ready = peer.desired(self.clock.seconds()).ready
        return ready.status, ready.reason

    def statuses(self):
        return {peer.name: self.ready(peer.name) for peer in self.table}

    def polls(self):
        return [at for verb, at in self.consul.requests if verb == "health"]


GOOD = ("True", "ConsulHealthCheck")
BAD = ("False", "ConsulHealthCheck")
GONE = ("False", "ConsulDeregistered")


class WatchTests(SynchronousTestCase):
    def test_what_consul_has_at_the_start_is_observed_at_once(self):
        world = World().start("k3-node-a", "k3-node-b")
        self.assertEqual(world.statuses(), {"a": GOOD, "b": GOOD})
        peer = world.table.get("a")
        o = peer.observations["consul"]
        self.assertEqual((o.addresses, o.port, o.ttl), (("10.0.0.7",), 7946, 45.0))
        self.assertEqual(o.meta, {"discovery": "consul", "hostname": "rack-7"})
        self.assertTrue(peer.verified)

    def test_a_change_is_observed_without_waiting_for_the_interval(self):
        world = World().start("k3-node-a")
        for word, expected in (("fail", BAD), ("warn", GOOD), ("fail", BAD), ("pass", GOOD)):
            world.advance(5)
            world.consul.check("k3-node-a", word)
            world.advance(0.25)
            self.assertEqual(world.ready("a"), expected)

    def test_checks_of_the_node_and_maintenance_count(self):
        world = World().start("k3-node-a")
        world.consul.node_check("critical")
        world.advance(1)
        self.assertEqual(world.ready("a"), BAD)
        world.consul.node_check("passing")
        world.consul.maintenance("k3-node-a", True, "new disk")
        world.advance(1)
        self.assertEqual(world.ready("a"), BAD)
        self.assertIn("service maintenance (new disk)", world.table.get("a").observations["consul"].message)

    def test_a_service_that_is_gone_is_a_goodbye(self):
        world = World().start("k3-node-a", "k3-node-b")
        world.consul.drop("k3-node-a")
        world.advance(1)
        self.assertEqual(world.statuses(), {"a": GONE, "b": GOOD})
        world.consul.service("k3-node-a")
        world.advance(1)
        self.assertEqual(world.ready("a"), GOOD)

    def test_nothing_changes_and_there_is_one_request_per_wait_and_a_full_answer_per_interval(self):
        world = World().start("k3-node-a")
        before, begun = len(world.polls()), world.clock.seconds()
        world.advance(600)
        polls = world.polls()[before:]
        self.assertLessEqual(len(polls), 600 / (INTERVAL * 16 / 17) + 1)
        gaps = [later - earlier for earlier, later in zip([begun, *polls], polls, strict=False)]
        self.assertLessEqual(max(gaps), INTERVAL)
        self.assertEqual(world.ready("a"), GOOD)

    def test_answers_that_come_fast_are_asked_for_twice_a_second_at_most(self):
        world = World().start("k3-node-a")
        before = len(world.polls())
        for number in range(240):
            world.consul.check("k3-node-a", ("pass", "fail")[number % 2])
            world.advance(0.25)
        self.assertLessEqual(len(world.polls()) - before, 60 * 2 * 1.3 + 6)
        world.advance(2)
        self.assertEqual(world.ready("a"), BAD)

    def test_an_index_of_nought_is_never_waited_for(self):
        world = World()
        world.consul.index = -1
        world.start("k3-node-a")
        self.assertEqual((world.consul.index, world.watch.index), (0, 0))
        world.advance(150)
        self.assertLessEqual(len(world.polls()), 12)
        self.assertEqual(world.ready("a"), GOOD)

    def test_an_index_that_goes_back_is_forgotten_and_all_is_asked_for_anew(self):
        world = World().start("k3-node-a")
        world.consul.index = 500
        world.advance(INTERVAL)
        world.consul.index = 3
        world.consul.changed()
        world.advance(2)
        self.assertEqual(world.watch.index, world.consul.index)
        world.consul.check("k3-node-a", "fail")
        world.advance(1)
        self.assertEqual(world.ready("a"), BAD)

    def test_after_an_index_that_went_back_what_is_missing_is_doubted(self):
        world = World().start(*(f"k3-node-{i}" for i in range(5)))
        world.consul.index = 500
        world.consul.changed()
        world.advance(1)
        for i in range(1, 5):
            world.consul._services.pop(f"k3-node-{i}")
        world.consul.index = 20
        world.consul.changed()
        world.advance(20)
        self.assertEqual(set(world.statuses().values()), {GOOD})
        world.advance(20)
        self.assertEqual([world.ready(str(i)) for i in range(5)], [GOOD, GONE, GONE, GONE, GONE])

    def test_an_error_changes_nothing_for_as_long_as_it_lasts(self):
        world = World().start("k3-node-a", "k3-node-b")
        world.consul.check("k3-node-b", "fail")
        world.advance(1)
        for fault in (
            DOWN,
            Denied("the token lacks service:read"),
            Throttled("429", 30.0),
            ConsulError("500: No leader"),
        ):
            world.consul.fault = fault
            world.consul.changed()
            world.advance(600)
            self.assertEqual(world.statuses(), {"a": GOOD, "b": BAD})
            self.assertEqual(world.watch.trouble.error, str(fault))
        world.consul.fault = None
        world.advance(31)
        self.assertIsNone(world.watch.trouble.since)
        self.assertEqual(world.statuses(), {"a": GOOD, "b": BAD})

    def test_an_hour_of_outage_shows_no_sighting_and_makes_a_line_a_minute_at_most(self):
        world = World().start("k3-node-a")
        seen = world.table.get("a").last_seen
        lines = []
        globalLogPublisher.addObserver(lines.append)
        self.addCleanup(globalLogPublisher.removeObserver, lines.append)
        for number in range(3600):
            world.consul.fault = ConsulError(f"refused, or {number % 7}")
            if not number:
                world.consul.changed()
            world.clock.advance(1)
        spoken = [line for line in lines if line.get("log_namespace", "").startswith("k3net")]
        self.assertLessEqual(len(spoken), 61)
        self.assertGreaterEqual(len(spoken), 1)
        self.assertEqual((world.ready("a"), world.table.get("a").last_seen), (GOOD, seen))
        self.assertFalse(world.table.get("a").desired(world.clock.seconds()).live)
        asked = len(world.polls())
        self.assertLessEqual(asked, 3600 / (INTERVAL / 2) + 20)

    def test_429_is_left_alone_for_as_long_as_it_says(self):
        world = World().start("k3-node-a")
        world.consul.fault = Throttled("429", 120.0)
        world.consul.changed()
        world.advance(1)
        before = len(world.polls())
        world.advance(118)
        self.assertEqual(len(world.polls()), before)
        self.assertEqual(world.ready("a"), GOOD)
        world.consul.fault = None
        world.advance(3)
        self.assertGreater(len(world.polls()), before)

    def test_after_an_outage_what_is_missing_must_be_missing_from_three_answers_over_three_intervals(self):
        world = World().start("k3-node-a", "k3-node-b")
        world.consul.fault = DOWN
        world.consul.changed()
        world.advance(60)
        world.consul.fault = None
        world.consul.drop("k3-node-a")
        world.advance(15)
        world.advance(12)
        self.assertEqual(world.ready("a"), GOOD)
        world.advance(20)
        self.assertEqual(world.statuses(), {"a": GONE, "b": GOOD})

    def test_an_empty_answer_after_a_full_one_is_doubted(self):
        world = World().start("k3-node-a", "k3-node-b")
        world.consul.drop("k3-node-a")
        world.consul._services.clear()
        world.consul.changed()
        world.advance(26)
        self.assertEqual(world.ready("b"), GOOD)
        world.advance(10)
        self.assertEqual(world.ready("b"), GONE)

    def test_many_empty_answers_at_once_are_one_proof(self):
        world = World().start("k3-node-a")
        world.consul._services.clear()
        for _ in range(40):
            world.consul.changed()
            world.advance(0.25)
        self.assertEqual(world.ready("a"), GOOD)

    def test_a_full_answer_between_two_empty_ones_begins_the_count_anew(self):
        world = World().start("k3-node-a")
        for _ in range(4):
            kept = dict(world.consul._services)
            world.consul._services.clear()
            world.consul.changed()
            world.advance(20)
            world.consul._services.update(kept)
            world.consul.changed()
            world.advance(20)
        self.assertEqual(world.ready("a"), GOOD)
        self.assertNotIn("ConsulDeregistered", [o.reason for o in world.told])

    def test_a_watch_that_begins_with_an_empty_answer_takes_nothing_from_what_was_known(self):
        world = World()
        o = Observation("a", "consul", 0.0, 45.0, meta={"discovery": "consul"}, reason="ConsulHealthCheck")
        world.table.observe(o)
        world.start()
        world.advance(20)
        self.assertEqual(world.ready("a"), GOOD)

    def test_what_the_store_says_of_consul_s_nodes_is_held_to_while_consul_is_down_from_the_start(self):
        world = World()
        for name, meta in (("a", {"discovery": "consul"}), ("lan", {})):
            world.table.observe(Observation(name, "store", 0.0, 90.0, meta=meta))
        world.consul.fault = DOWN
        world.start()
        world.advance(600)
        self.assertEqual(world.ready("a")[0], "True")
        self.assertEqual(world.ready("lan"), ("False", "PeerExpired"))

    def test_a_peer_of_the_lan_alone_is_none_of_consul_s_business(self):
        world = World().start("k3-node-a")
        world.table.observe(Observation("lan", "mdns", 0.0, 1e6, reason="LANDiscovery"))
        world.consul.service("k3-node-b")
        world.advance(2)
        self.assertEqual(world.ready("lan"), ("True", "LANDiscovery"))

    def test_the_registration_is_told_whether_consul_has_it(self):
        world = World().start("k3-node-a")
        world.consul.service("k3-node-own")
        world.advance(1)
        world.consul.drop("k3-node-own")
        world.advance(1)
        self.assertEqual(world.own_is_there, [False, True, False])
        self.assertEqual(world.watch.own_checks, ())

    def test_the_own_name_on_another_machine_is_an_alarm_and_says_nothing_of_this_one(self):
        world = World().start("k3-node-own", "k3-node-x", Meta={"node": "own"})
        self.assertIn("'own'", world.watch.alarms[0])
        world.consul.check("k3-node-own", "fail")
        world.advance(1)
        self.assertEqual(world.ready("own"), BAD)
        world.consul.drop("k3-node-own")
        world.advance(1)
        self.assertEqual(world.ready("own"), BAD)
        self.assertEqual(len(world.watch.alarms), 1)

    def test_what_names_no_node_is_counted_and_left_out(self):
        world = World().start("k3-node-Not_A_Name", "k3-node-a")
        self.assertEqual(set(world.statuses()), {"a"})
        self.assertIn("name", world.refused)

    def test_thousands_of_instances_are_taken_in_turns(self):
        world = World()
        for number in range(1000):
            world.consul.service(f"k3-node-n{number}")
        world.watch.startService()
        sizes = [0]
        while sizes[-1] < 1000:
            turn = world.clock.calls.pop(0)
            turn.called = 1
            turn.func(*turn.args)
            sizes.append(len(world.table))
        self.assertEqual([later - earlier for earlier, later in pairwise(sizes)], [200] * 5)
        world.consul.drop("k3-node-n7")
        world.advance(1)
        self.assertEqual([name for name, ready in world.statuses().items() if ready == GONE], ["n7"])

    def test_stopping_ends_the_poll_and_says_nothing_more(self):
        world = World().start("k3-node-a")
        told = len(world.told)
        stopped = world.watch.stopService()
        self.assertIsNone(self.successResultOf(stopped))
        world.consul.drop("k3-node-a")
        world.advance(60)
        self.assertEqual((len(world.told), world.clock.getDelayedCalls()), (told, []))

    def test_stopping_while_it_backs_off_is_clean(self):
        world = World()
        world.consul.fault = DOWN
        world.start()
        world.watch.stopService()
        world.advance(60)
        self.assertEqual(world.clock.getDelayedCalls(), [])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "drop", "pass", "warn", "fail"]), st.sampled_from("abcd")),
        st.tuples(st.sampled_from(["down", "up", "wipe", "wait"]), st.just("")),
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_happens_the_table_agrees_with_consul_once_it_is_quiet(steps):
    world = World().start()
    for step, name in steps:
        known = f"k3-node-{name}" in world.consul._services
        if step == "add":
            world.consul.service(f"k3-node-{name}")
        elif step == "drop":
            world.consul.drop(f"k3-node-{name}")
        elif step in ("pass", "warn", "fail") and known:
            world.consul.check(f"k3-node-{name}", step)
        elif step == "down":
            world.consul.fault = DOWN
            world.consul.changed()
        elif step == "up":
            world.consul.fault = None
        elif step == "wipe":
            for done, timer in world.consul._waiting:
                timer.cancel()
                world.clock.callLater(0, done.callback, None)
            world.consul.start()
        world.advance(2)
    world.consul.fault = None
    world.advance(100)
    health = world.consul._health("k3-node", ())
    expected = {
        e.service.id.removeprefix("k3-node-"): BAD if any(c.status == "critical" for c in e.checks) else GOOD
        for e in health.entries
    }
    found = world.statuses()
    assert {name: ready for name, ready in found.items() if ready != GONE} == expected
