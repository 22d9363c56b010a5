"""One daemon and one store: what is seen becomes Nodes, and what has not changed costs nothing."""

from contracts import manifest_of
from reconciler.world import EPOCH, PEER_TTL, REPORT_EVERY, World, address_of
from twisted.trial.unittest import SynchronousTestCase

from k3net.model import rfc3339


class PassTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def ready(self, name="n1"):
        return self.world.ready(name)

    def test_hearsay_alone_makes_no_node(self):
        d1 = self.world.daemon()
        d1.hears("n1")
        self.world.clock.advance(200)
        self.assertIsNone(self.world.node("n1"))

    def test_a_peer_that_a_probe_has_reached_becomes_a_node_within_a_moment(self):
        d1 = self.world.daemon()
        d1.hears("n1")
        self.world.clock.advance(0.3)
        d1.reaches("n1", node="n1")
        self.world.clock.advance(0.1)
        node = self.world.node("n1")
        self.assertEqual(self.ready(), ("True", "PeerAlive"))
        self.assertEqual(node.addresses, (("Hostname", "n1"), ("InternalIP", address_of("n1"))))
        self.assertEqual((node.uid, node.port, node.managed), ("node-n1", 7946, True))
        self.assertEqual(node.annotations["k3.network/pid"], "7")

    def test_silence_makes_a_node_not_ready_after_the_ttl_and_not_before(self):
        d1 = self.world.daemon()
        d1.hears("n1")
        d1.reaches("n1")
        self.world.advance(PEER_TTL - 1)
        self.assertEqual(self.ready(), ("True", "PeerAlive"))
        self.world.advance(2)
        self.assertEqual(self.ready(), ("False", "PeerExpired"))

    def test_a_goodbye_counts_at_once(self):
        d1 = self.world.daemon()
        d1.hears("n1")
        d1.reaches("n1")
        self.world.advance(10)
        d1.hears_goodbye("n1")
        self.world.clock.advance(0.1)
        self.assertEqual(self.ready(), ("False", "PeerGoodbye"))

    def test_a_peer_that_returns_is_ready_again(self):
        d1 = self.world.daemon()
        d1.hears("n1")
        d1.reaches("n1")
        self.world.advance(PEER_TTL + 1)
        d1.reaches("n1")
        self.world.clock.advance(0.1)
        self.assertEqual(self.ready(), ("True", "PeerAlive"))

    def test_a_burst_of_observations_is_one_pass(self):
        d1 = self.world.daemon()
        self.world.advance(5)
        self.world.calls(), self.world.written()
        for i in range(300):
            d1.hears(f"n{i}")
            d1.reaches(f"n{i}")
        self.world.clock.advance(0.1)
        self.assertEqual(self.world.calls(), {"apply": 1})
        self.assertEqual(self.world.written().total(), 300)

    def test_the_latest_of_many_changes_is_what_is_written(self):
        d1 = self.world.daemon()
        d1.reaches("n1")
        self.world.clock.advance(0.1)
        self.world.written()
        for i in range(1, 50):
            self.world.clock.advance(0.001)
            d1.hears("n1", addresses=(f"198.18.0.{i}",))
        self.world.clock.advance(0.2)
        self.assertEqual(self.world.node("n1").internal_ips, ("198.18.0.49",))
        self.assertLessEqual(self.world.written()["n1"], 2)

    def test_an_hour_of_sameness_costs_heartbeats_and_a_few_listings(self):
        machines = [f"n{i}" for i in range(10)]
        self.world.fleet("d1", machines=machines)
        self.world.advance(5)
        self.world.calls(), self.world.written()
        self.world.advance(3600)
        calls, written = self.world.calls(), self.world.written()
        self.assertEqual(calls.keys(), {"apply", "list"})
        self.assertIn(calls["list"], range(5, 8), "every ten report_every, give or take a tenth")
        self.assertEqual(set(written), {"d1", *machines})
        for name, times in written.items():
            self.assertIn(times, range(55, 62), f"{name}: one heartbeat every {REPORT_EVERY} s")
        self.assertLessEqual(calls["apply"], 130, "the heartbeats of a moment are one call")

    def test_between_two_heartbeats_the_store_is_not_called_at_all(self):
        d1, *_ = self.world.fleet("d1", machines=["n1", "n2"])
        self.world.advance(2)
        self.world.calls()
        for _ in range(55):
            self.world.clock.advance(1)
            d1.reaches("n1", node="n1")
            d1.hears("n2")
        self.assertEqual(self.world.calls(), {})

    def test_a_node_that_stays_silent_is_not_written_again(self):
        d1 = self.world.daemon()
        d1.hears("n1")
        d1.reaches("n1")
        self.world.advance(PEER_TTL + 2)
        self.world.written()
        self.world.advance(3600)
        self.assertEqual(self.world.written()["n1"], 0)

    def test_the_transition_time_moves_with_the_status_only_and_last_seen_tells_when_it_was_seen(self):
        d1, *_ = self.world.fleet("d1", machines=["n1"])
        self.world.advance(1)
        born = self.world.node("n1").ready
        self.world.advance(600)
        later = self.world.node("n1").ready
        self.assertEqual(later.last_transition, born.last_transition)
        self.assertGreaterEqual(later.last_heartbeat, born.last_heartbeat + 540)
        self.world.up.discard("n1")
        seen_last = d1.table.get("n1").last_seen
        self.world.advance(PEER_TTL + 30)
        node = self.world.node("n1")
        self.assertEqual(node.ready.status, "False")
        self.assertApproximates(node.ready.last_transition, EPOCH + seen_last + PEER_TTL, 2)
        self.assertApproximates(node.seen, EPOCH + seen_last, 0.001)

    def test_last_seen_never_goes_back_when_the_clock_on_the_wall_does(self):
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(120)
        before = self.world.node("n1").seen
        self.world.ahead = -3600.0
        self.world.advance(300)
        self.assertEqual(self.world.node("n1").seen, before)
        self.world.ahead = 0.0
        self.world.advance(300)
        self.assertGreater(self.world.node("n1").seen, before + 400)

    def test_heartbeats_go_on_when_the_clock_on_the_wall_is_set_back(self):
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(120)
        self.world.ahead = -7200.0
        self.world.written()
        self.world.advance(600)
        self.assertGreaterEqual(self.world.written()["n1"], 8)

    def test_a_denial_is_reported_like_any_claim(self):
        d1 = self.world.daemon()
        for _ in range(30):
            d1.observe("n1", "consul", ready=False, reason="ConsulCheckCritical", message="disk full")
            self.world.clock.pump([1.0] * 10)
        self.assertEqual(self.ready(), ("False", "ConsulCheckCritical"))
        beat = self.world.node("n1").ready.last_heartbeat
        self.assertGreaterEqual(beat, self.world.wall() - REPORT_EVERY - 10)


class ForeignWriterTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def test_a_node_that_others_manage_is_never_written(self):
        for i, label in enumerate([None, "True", "false", ""]):
            self.world.foreign.put(manifest_of(f"n{i}", managed=label))
        before = [self.world.foreign.raw(f"n{i}") for i in range(4)]
        d1, *_ = self.world.fleet("d1", machines=["n0", "n1", "n2", "n3"])
        self.world.advance(700)
        d1.hears_goodbye("n0")
        self.world.up -= {"n1", "n2"}
        self.world.advance(700)
        self.assertEqual([self.world.foreign.raw(f"n{i}") for i in range(4)], before)
        self.assertEqual(set(self.world.written()), {"d1"})

    def test_a_record_that_is_no_node_is_left_alone(self):
        self.world.foreign.put_raw("n1", b"no JSON")
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(1300)
        self.assertEqual(self.world.foreign.raw("n1"), b"no JSON")

    def test_a_record_that_was_no_node_is_made_anew_once_it_is_gone(self):
        self.world.foreign.put_raw("n1", b"no JSON")
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(10)
        self.world.foreign.delete("n1")
        self.world.advance(11 * REPORT_EVERY)
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))

    def test_a_record_that_was_no_node_is_written_again_once_it_is_mended(self):
        self.world.foreign.put_raw("n1", b"no JSON")
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(10)
        self.world.foreign.put(manifest_of("n1"))
        self.world.advance(11 * REPORT_EVERY)
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))

    def test_a_record_that_becomes_no_node_is_left_alone_from_then_on(self):
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(10)
        self.world.foreign.put_raw("n1", b"no JSON")
        self.world.advance(1300)
        self.assertEqual(self.world.foreign.raw("n1"), b"no JSON")

    def test_a_live_machine_s_record_that_somebody_deleted_is_made_again(self):
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(10)
        self.world.foreign.delete("n1")
        self.world.advance(REPORT_EVERY + 1)
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))

    def test_a_controller_that_takes_the_record_ends_our_writes(self):
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(10)
        self.world.foreign.put(manifest_of("n1", managed=None, theirs="yes"))
        taken = self.world.foreign.raw("n1")
        self.world.written()
        self.world.advance(1300)
        self.world.up.discard("n1")
        self.world.advance(1300)
        self.assertEqual(self.world.foreign.raw("n1"), taken)
        self.assertEqual(self.world.written()["n1"], 0)

    def test_a_controller_that_gives_the_record_back_is_followed(self):
        self.world.foreign.put(manifest_of("n1", managed=None))
        self.world.fleet("d1", machines=["n1"])
        self.world.advance(10)
        self.world.foreign.put(manifest_of("n1", theirs="yes"))
        self.world.advance(11 * REPORT_EVERY)
        node = self.world.node("n1")
        self.assertEqual(node.ready.status, "True")
        self.assertEqual(node.annotations["theirs"], "yes")

    def test_what_somebody_else_wrote_in_between_is_kept(self):
        d1, *_ = self.world.fleet("d1", machines=["n1"])
        self.world.advance(1)
        ours = dict(self.world.node("n1").manifest)

        def meanwhile():
            theirs = {**ours, "spec": {"taints": [{"key": "k"}]}, "extra": [1]}
            self.world.foreign.put(theirs)

        d1.wire.meanwhile = meanwhile
        d1.hears("n1", addresses=("198.18.9.9",))
        self.world.clock.advance(0.1)
        node = self.world.node("n1")
        self.assertEqual(node.internal_ips, ("198.18.9.9",))
        self.assertEqual((node.manifest["spec"], node.manifest["extra"]), ({"taints": [{"key": "k"}]}, [1]))
        self.assertEqual(d1.wire.outcomes["Conflict"], 1)

    def test_a_controller_that_creates_the_record_in_between_keeps_it(self):
        d1 = self.world.daemon()
        self.world.advance(1)
        d1.wire.meanwhile = lambda: self.world.foreign.put(manifest_of("n1", managed=None))
        d1.reaches("n1")
        self.world.advance(1)
        d1.hears("n1")
        self.world.advance(5)
        self.assertEqual(self.world.foreign.raw("n1"), _text(manifest_of("n1", managed=None)))
        self.assertEqual(self.world.written()["n1"], 0)

    def test_one_who_always_writes_in_between_is_met_four_times_a_pass_at_most(self):
        d1, *_ = self.world.fleet("d1", machines=["n1"])
        self.world.advance(1)
        count = []

        def meanwhile():
            count.append(1)
            self.world.foreign.put(manifest_of("n1", turn=str(len(count))))
            d1.wire.meanwhile = meanwhile

        d1.wire.meanwhile = meanwhile
        d1.hears("n1", addresses=("198.18.9.9",))
        self.world.clock.advance(0.1)
        self.assertEqual(len(count), 4)
        d1.wire.meanwhile = None
        self.world.clock.advance(1)
        self.assertEqual(self.world.node("n1").internal_ips, ("198.18.9.9",))

    def test_a_record_too_large_to_write_does_not_stop_the_others(self):
        huge = manifest_of("n1", theirs="x" * 1_499_500)
        self.world.foreign.put(huge)
        self.world.fleet("d1", machines=["n1", "n2"])
        self.world.advance(120)
        self.assertEqual(self.world.foreign.raw("n1"), _text(huge))
        self.assertEqual(self.world.ready("n2"), ("True", "PeerAlive"))
        self.assertLess(self.world.calls().total(), 40)


def _text(manifest):
    world = World()
    world.foreign.put(manifest)
    return world.foreign.raw(manifest["metadata"]["name"])


class TimeTests(SynchronousTestCase):
    def test_times_are_written_as_kubernetes_writes_them(self):
        world = World()
        world.fleet("d1", machines=["n1"])
        world.clock.advance(0.1)
        metadata = world.node("n1").manifest["metadata"]
        self.assertEqual(metadata["creationTimestamp"], rfc3339.format_seconds(EPOCH))
        self.assertEqual(metadata["annotations"]["k3.network/lastSeen"], rfc3339.format_nanos(EPOCH))
