"""Telling the other instances, on a clock: who is told, how often, what is kept, and what comes of changes."""

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from k3net.clusters.broadcast import TRIES, Broadcast
from k3net.clusters.calls import CannotTell
from k3net.errors import StoreUnavailable
from k3net.model.cluster import Cluster, merged

A, B, C = "10.0.0.1:8081", "10.0.0.2:8081", "[fd00::3]:8081"


def cluster(generation=1, name="edge"):
    return Cluster(name, "uid-1", generation)


class Instances:
    """Instances that answer after `delay` seconds, or as `scripts` says, by address."""

    def __init__(self, clock, *addresses):
        self.clock = clock
        self.listed = list(addresses)
        self.asked, self.told, self.at_once, self.most = [], [], 0, 0
        self.scripts, self.delay, self.who, self.besides = {}, {}, {}, []
        self.receipts, self.store_is_away, self.keeps = {}, False, 0

    def find(self):
        """As Instances does once it has met itself: `besides` itself there are these."""
        met_itself = any(self.who.get(address) == "me" for address, _ in self.told)
        return succeed(tuple(self.besides if met_itself else self.listed))

    def ask(self, address, name, change):
        self.asked.append((self.clock.seconds(), address, name))
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        script = self.scripts.get(address, [])
        error = script.pop(0) if script else None
        done = Deferred(lambda _: None)
        if error != "hangs":
            self.clock.callLater(self.delay.get(address, 0.01), self._answer, done, error, address, name)
        return done.addBoth(self._ended)

    def _answer(self, done, error, address, name):
        if done.called:
            return
        if error is None:
            self.told.append((address, name))
            done.callback(self.who.get(address, ""))
        else:
            done.errback(error)

    def _ended(self, result):
        self.at_once -= 1
        return result

    def keep(self, name, receipts):
        self.keeps += 1
        if self.store_is_away:
            return fail(StoreUnavailable("away"))
        self.receipts[name] = merged(self.receipts.get(name, ()), receipts)
        return succeed(None)

    def states(self, name="edge"):
        return {receipt.instance: receipt.state for receipt in self.receipts[name]}


class BroadcastTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.lines = []
        globalLogPublisher.addObserver(self.note)
        self.addCleanup(globalLogPublisher.removeObserver, self.note)

    def note(self, event):
        if event.get("log_format") and event.get("log_namespace", "").startswith("k3net"):
            self.lines.append(event["log_format"].format(**event))

    def begin(self, *addresses, **more):
        self.others = Instances(self.clock, *addresses)
        return Broadcast(
            self.clock,
            instances=self.others.find,
            ask=self.others.ask,
            keep=self.others.keep,
            wall=self.clock.seconds,
            own="me",
            chance=lambda: 0.5,
            **more,
        )

    def run_for(self, seconds, step=0.05):
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def test_every_instance_is_told_once_and_the_log_says_so_in_the_words_of_the_contract(self):
        done = self.begin(A, B, C).tell(cluster(), "creation")
        self.run_for(1)
        self.successResultOf(done)
        self.assertEqual(sorted(self.others.told), sorted((address, "edge") for address in (A, B, C)))
        self.assertEqual(self.others.states(), {A: "delivered", B: "delivered", C: "delivered"})
        self.assertEqual(self.lines[0], "Broadcasting cluster edge creation to 3 instances")
        self.assertIn(f"Successfully broadcasted cluster edge to instance {A}", self.lines)
        self.assertEqual(self.lines[-1], "Completed broadcasting cluster edge creation")

    def test_alone_it_says_that_there_are_no_others(self):
        done = self.begin().tell(cluster(), "deletion")
        self.successResultOf(done)
        self.assertEqual(self.lines, ["No other instances found for broadcasting cluster deletion"])
        self.assertEqual(self.others.keeps, 0)

    def test_an_address_where_this_instance_itself_answers_is_none_and_the_others_are_looked_for_again(self):
        broadcast = self.begin(A)
        self.others.who = {A: "me", B: "bee"}
        self.others.besides = [B]
        done = broadcast.tell(cluster(), "creation")
        self.run_for(1)
        self.successResultOf(done)
        self.assertEqual(self.others.told, [(A, "edge"), (B, "edge")])
        self.assertEqual(self.others.states(), {B: "delivered"})

    def test_of_two_addresses_of_one_instance_one_has_a_receipt(self):
        broadcast = self.begin(A, B, C)
        self.others.who = {A: "one", B: "one", C: "two"}
        self.others.delay = {A: 0.1, C: 1.0}
        done = broadcast.tell(cluster(), "creation")
        self.run_for(2)
        self.successResultOf(done)
        self.assertEqual(self.others.states(), {B: "delivered", C: "delivered"})

    def test_what_is_on_its_way_for_half_a_second_has_receipts_that_say_so(self):
        broadcast = self.begin(A, B)
        self.others.scripts[A] = ["hangs"]
        broadcast.tell(cluster(), "creation")
        self.run_for(0.6)
        self.assertEqual(self.others.states(), {A: "pending", B: "delivered"})

    def test_what_can_pass_is_tried_three_times_with_growing_pauses(self):
        broadcast = self.begin(A)
        self.others.scripts[A] = [CannotTell("refused", True)] * 5
        done = broadcast.tell(cluster(), "update")
        self.run_for(10)
        self.successResultOf(done)
        times = [at for at, _, _ in self.others.asked]
        self.assertEqual(len(times), TRIES)
        self.assertGreater(times[2] - times[1], 1.5 * (times[1] - times[0]))
        self.assertEqual(self.others.states(), {A: "failed"})
        self.assertEqual([receipt.tries for receipt in self.others.receipts["edge"]], [TRIES])
        self.assertIn(f"Failed to broadcast to {A}: refused", self.lines)

    def test_what_cannot_pass_is_not_tried_again(self):
        broadcast = self.begin(A)
        self.others.scripts[A] = [CannotTell("403 'no'", False)] * 5
        broadcast.tell(cluster(), "creation")
        self.run_for(10)
        self.assertEqual(len(self.others.asked), 1)

    def test_one_that_hangs_is_given_up_after_its_time_and_holds_up_nobody(self):
        broadcast = self.begin(A, B, fan_out=1, timeout=5.0)
        self.others.scripts[A] = ["hangs"] * 5
        done = broadcast.tell(cluster(), "creation")
        self.run_for(1)
        self.assertEqual(self.others.states()[B], "delivered")
        self.assertNoResult(done)
        self.run_for(30)
        self.successResultOf(done)
        self.assertEqual(self.others.receipts["edge"][0].last_error, "no answer within 5 s")

    def test_quick_ones_are_never_more_than_the_fan_out(self):
        broadcast = self.begin(*[f"10.0.1.{i}:1" for i in range(200)], fan_out=7)
        broadcast.tell(cluster(), "creation")
        broadcast.tell(cluster(name="other"), "creation")
        self.run_for(5, 0.005)
        self.assertEqual(len(self.others.told), 400)
        self.assertEqual(self.others.most, 7)

    def test_slow_ones_are_bounded_too(self):
        addresses = [f"10.0.1.{i}:1" for i in range(200)]
        broadcast = self.begin(*addresses, fan_out=2)
        self.others.scripts = {address: ["hangs"] * 5 for address in addresses}
        broadcast.tell(cluster(), "creation")
        self.run_for(20)
        self.assertLessEqual(self.others.most, 22)

    def test_an_instance_that_is_gone_is_not_tried_again(self):
        broadcast = self.begin(A, B)
        self.others.scripts[A] = [CannotTell("refused", True)] * 5
        broadcast.tell(cluster(), "creation")
        self.clock.advance(0.2)
        self.others.listed = [B]
        self.run_for(10)
        self.assertLess(len([1 for _, address, _ in self.others.asked if address == A]), TRIES)
        self.assertEqual(self.others.states()[A], "failed")

    def test_a_newer_change_takes_the_place_of_an_older_one(self):
        broadcast = self.begin(A)
        self.others.scripts[A] = ["hangs"]
        first = broadcast.tell(cluster(1), "creation")
        self.clock.advance(0.1)
        second = broadcast.tell(cluster(2), "update")
        self.successResultOf(first)
        self.run_for(2)
        self.successResultOf(second)
        self.assertEqual([(r.generation, r.state) for r in self.others.receipts["edge"]], [(2, "delivered")])

    def test_an_older_change_that_comes_late_changes_nothing(self):
        broadcast = self.begin(A)
        broadcast.tell(cluster(5), "update")
        self.successResultOf(broadcast.tell(cluster(4), "update"))
        self.run_for(1)
        self.assertEqual(len(self.others.asked), 1)

    def test_receipts_that_the_store_did_not_take_are_kept_when_it_is_back(self):
        broadcast = self.begin(A)
        self.others.store_is_away = True
        broadcast.tell(cluster(), "creation")
        self.run_for(3)
        self.others.store_is_away = False
        self.run_for(20)
        self.assertEqual(self.others.states(), {A: "delivered"})

    def test_who_is_not_reached_before_the_deadline_is_left_to_catch_up(self):
        broadcast = self.begin(A, deadline=2.0)
        self.others.scripts[A] = [CannotTell("503", True)] * 5
        done = broadcast.tell(cluster(), "creation")
        self.run_for(4)
        self.successResultOf(done)
        self.assertLessEqual(self.others.asked[-1][0], 2.0)

    def test_an_instance_list_that_cannot_be_had_is_told_and_ends_the_telling(self):
        broadcast = self.begin(A)
        broadcast._instances = lambda: fail(OSError("no DNS"))
        self.successResultOf(broadcast.tell(cluster(), "creation"))
        self.assertIn("could not be found", self.lines[0])

    def test_stopping_lets_go_of_everything(self):
        broadcast = self.begin(*[f"10.0.1.{i}:1" for i in range(100)])
        done = broadcast.tell(cluster(), "creation")
        waiting = [broadcast.tell(cluster(name=f"c{i}"), "creation") for i in range(80)]
        self.clock.advance(0.02)
        broadcast.stop()
        for each in (done, *waiting):
            self.successResultOf(each)
        self.successResultOf(broadcast.tell(cluster(), "creation"))
        asked = len(self.others.asked)
        self.run_for(10)
        self.assertEqual(len(self.others.asked), asked)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_thousand_instances_fifty_of_them_black_holes_the_others_within_four_seconds(self):
        addresses = [f"10.0.{i // 250}.{i % 250}:1" for i in range(1000)]
        broadcast = self.begin(*addresses)
        holes = set(random.Random(7).sample(addresses, 50))
        self.others.scripts = {address: ["hangs"] * TRIES for address in holes}
        done = broadcast.tell(cluster(), "creation")
        self.run_for(4, 0.005)
        self.assertEqual(len(self.others.told), 950)
        self.run_for(30)
        self.successResultOf(done)
        states = self.others.states()
        self.assertEqual({address for address, state in states.items() if state == "failed"}, holes)


FAULTS = st.sampled_from([None, None, CannotTell("refused", True), CannotTell("401", False), "hangs"])


@given(
    st.lists(st.lists(FAULTS, max_size=4), min_size=1, max_size=12),
    st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(0, 3)), min_size=1, max_size=8),
    st.integers(1, 4),
)
def test_whatever_happens_each_telling_ends_and_the_last_receipts_are_true(scripts, changes, fan_out):
    clock = Clock()
    others = Instances(clock, *[f"10.0.0.{i}:1" for i in range(len(scripts))])
    others.scripts = {f"10.0.0.{i}:1": list(script) for i, script in enumerate(scripts)}
    broadcast = Broadcast(
        clock, instances=others.find, ask=others.ask, keep=others.keep, wall=clock.seconds, fan_out=fan_out, timeout=1.0
    )
    tellings, newest = [], {}
    for generation, (name, pause) in enumerate(changes, 1):
        tellings.append(broadcast.tell(cluster(generation, name), "update"))
        newest[name] = generation
        clock.pump([0.1] * round(pause * 10))
    clock.pump([0.1] * 1200)
    assert all(each.called for each in tellings)
    assert others.at_once == 0
    for name, generation in newest.items():
        for receipt in others.receipts[name]:
            assert receipt.generation == generation
            assert receipt.state in ("delivered", "failed")
            if receipt.state == "delivered":
                assert (receipt.instance, name) in others.told
