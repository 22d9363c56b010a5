"""What a daemon that starts makes of the records it finds."""

from contracts import manifest_of
from reconciler.world import EPOCH, PEER_TTL, REPORT_EVERY, World, address_of
from store.controllers import text_of
from twisted.trial.unittest import SynchronousTestCase

from k3net.model import rfc3339


def stored(name, status="True", reason="LANDiscovery", message="discovered via mDNS", age=10.0, **metadata):
    """A record as a daemon wrote it `age` seconds before EPOCH."""
    at = rfc3339.format_seconds(EPOCH - age)
    manifest = manifest_of(name, **{"k3.network/port": "7946", "k3.network/lastSeen": at})
    manifest["metadata"] |= {"creationTimestamp": at, **metadata}
    manifest["status"]["addresses"] = [{"type": "InternalIP", "address": address_of(name)}]
    manifest["status"]["conditions"] = [
        {
            "type": "Ready",
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": at,
            "lastTransitionTime": at,
        }
    ]
    return manifest


class AdoptionTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def test_a_restart_demotes_nobody_who_is_there(self):
        self.world.foreign.put(stored("n1", age=5000.0))
        before = self.world.foreign.raw("n1")
        d1 = self.world.daemon(sees=["n1"])
        self.assertEqual(self.world.foreign.raw("n1"), before, "nothing at once")
        self.assertEqual(d1.table.get("n1").whereabouts(0.0), ((address_of("n1"),), 7946), "where to probe it")
        self.world.advance(PEER_TTL - 20)
        self.assertEqual(self.world.foreign.raw("n1"), before)
        self.world.up.add("n1")
        self.world.advance(600)
        node = self.world.node("n1")
        self.assertEqual(node.ready.status, "True")
        self.assertEqual(rfc3339.format_seconds(node.ready.last_transition), rfc3339.format_seconds(EPOCH - 5000.0))

    def test_no_node_stays_ready_because_the_daemon_that_wrote_it_is_gone(self):
        self.world.foreign.put(stored("n1"))
        self.world.daemon()
        self.world.advance(PEER_TTL + 2)
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))

    def test_a_lapse_after_adoption_is_no_sighting(self):
        self.world.foreign.put(stored("n1", age=500.0))
        self.world.daemon()
        self.world.advance(PEER_TTL + 2)
        node = self.world.node("n1")
        self.assertEqual(rfc3339.format_seconds(node.seen), rfc3339.format_seconds(EPOCH - 500.0))
        self.assertEqual(node.internal_ips, (address_of("n1"),))

    def test_a_record_that_is_not_ready_stays_as_it_is_with_its_reason(self):
        self.world.foreign.put(stored("n1", "False", "PeerGoodbye", "k3net was stopped"))
        before = self.world.foreign.raw("n1")
        self.world.daemon()
        self.world.advance(1300)
        self.assertEqual(self.world.foreign.raw("n1"), before)

    def test_an_adopted_machine_that_probes_alone_reach_is_reported_again(self):
        manifest = stored("n1", reason="PeerAlive", message="tcp probe ok")
        self.world.foreign.put(manifest)
        d1 = self.world.daemon()
        for _ in range(40):
            d1.reaches("n1")
            self.world.clock.pump([1.0] * 10)
        self.assertGreaterEqual(self.world.node("n1").ready.last_heartbeat, self.world.wall() - REPORT_EVERY - 10)

    def test_hearsay_revives_a_node_that_is_stored(self):
        self.world.foreign.put(stored("n1", "False", "PeerExpired", "peer ttl exceeded"))
        d1 = self.world.daemon()
        self.world.advance(5)
        d1.hears("n1")
        self.world.clock.advance(0.1)
        self.assertEqual(self.world.ready("n1"), ("True", "LANDiscovery"))

    def test_unmanaged_and_broken_records_are_not_adopted(self):
        self.world.foreign.put(manifest_of("n1", managed=None))
        self.world.foreign.put_raw("n2", b"no JSON")
        d1 = self.world.daemon()
        self.world.advance(1300)
        self.assertEqual([peer.name for peer in d1.table], ["d1"])
        self.assertEqual((set(d1.stored), set(d1.reconciler.corrupt)), ({"n1", "d1"}, {"n2"}))

    def test_records_with_texts_that_no_observation_takes_do_not_stop_a_pass(self):
        odd = [
            stored("n1", message="line\nline \x1b[31m" + "x" * 9000),
            stored("n2", reason="no reason at all!"),
            stored("Not_DNS-1123"),
            {"metadata": {"name": "n3", "labels": {"k3.network/managed": "true"}}},
            {"metadata": {"name": "", "labels": {}}, "kind": "Pod"},
        ]
        odd[0]["status"]["addresses"] += [{"type": "InternalIP", "address": a} for a in ("127.0.0.1", "ff02::1", "x")]
        for i, manifest in enumerate(odd):
            self.world.foreign.put_raw(manifest["metadata"]["name"] or str(i), text_of(manifest))
        untouched = self.world.foreign.raw("Not_DNS-1123")
        d1, *_ = self.world.fleet("d1", machines=["m1"])
        self.world.advance(PEER_TTL + 20)
        self.assertEqual(d1.reconciler.failures, 0)
        self.assertEqual(self.world.ready("m1"), ("True", "PeerAlive"))
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))
        self.assertEqual(self.world.ready("n2"), ("False", "PeerExpired"))
        self.assertEqual(self.world.foreign.raw("Not_DNS-1123"), untouched)

    def test_records_of_others_that_come_later_are_adopted_by_a_later_listing(self):
        self.world.daemon()
        self.world.advance(30)
        self.world.foreign.put(stored("n1", age=-30))
        self.world.advance(11 * REPORT_EVERY + PEER_TTL + 2)
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))

    def test_the_own_node_of_the_run_before_goes_on(self):
        self.world.foreign.put(stored("d1", age=100.0, uid="given-before"))
        d1 = self.world.daemon()
        d1.speaks()
        self.world.advance(1)
        node = self.world.node("d1")
        self.assertEqual((node.uid, node.ready.status), ("given-before", "True"))
        self.assertGreater(node.ready.last_heartbeat, EPOCH - 5)
        self.assertLess(node.ready.last_transition, EPOCH - 50)


class FarewellTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def test_a_goodbye_said_before_the_stop_is_in_the_store_after_it(self):
        d1, *_ = self.world.fleet("d1")
        self.world.advance(5)
        d1.speaks(beats=0)
        self.successResultOf(d1.reconciler.stopService())
        self.assertEqual(self.world.ready("d1"), ("False", "PeerGoodbye"))
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_without_a_goodbye_the_own_node_stays_ready(self):
        d1, *_ = self.world.fleet("d1")
        self.world.advance(5)
        self.successResultOf(d1.reconciler.stopService())
        self.assertEqual(self.world.ready("d1"), ("True", "LANDiscovery"))

    def test_a_stop_while_the_store_is_away_ends(self):
        d1, *_ = self.world.fleet("d1")
        self.world.advance(5)
        d1.wire.down = True
        d1.speaks(beats=0)
        self.successResultOf(d1.reconciler.stopService())
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_a_goodbye_is_written_also_while_the_brake_holds(self):
        machines = [f"n{i}" for i in range(10)]
        d1, *_ = self.world.fleet("d1", machines=machines)
        self.world.advance(5)
        self.world.up -= set(machines)
        self.world.advance(PEER_TTL + 10)
        self.assertEqual(len(d1.reconciler.brake.held), 10)
        d1.speaks(beats=0)
        self.successResultOf(d1.reconciler.stopService())
        self.assertEqual(self.world.ready("d1"), ("False", "PeerGoodbye"))
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))

    def test_the_deleted_record_of_a_dead_machine_is_not_made_anew(self):
        self.world.foreign.put(stored("n1"))
        self.world.daemon()
        self.world.advance(PEER_TTL + 2)
        self.world.foreign.delete("n1")
        self.world.advance(12 * REPORT_EVERY)
        self.assertIsNone(self.world.foreign.raw("n1"))
