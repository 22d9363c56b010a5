"""What the API shows of the reconciler's knowledge."""

import json

from contracts import manifest_of
from reconciler.world import EPOCH, PEER_TTL, World, address_of
from twisted.trial.unittest import SynchronousTestCase

from k3net.errors import NotFound
from k3net.model.brake import Reach
from k3net.model.result import ProbeResult
from k3net.reconciler.view import View


class ViewTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.probes = {}

    def view_of(self, daemon):
        return View(lambda: daemon.reconciler, self.world.clock, self.world.wall, self.probes.get)

    def started(self, *machines):
        self.d1, *_ = self.world.fleet("d1", machines=machines)
        self.world.advance(5)
        return self.view_of(self.d1)

    def names(self, view):
        return [manifest["metadata"]["name"] for manifest in view.nodes()]

    def ready(self, manifest):
        [ready] = [c for c in manifest["status"]["conditions"] if c["type"] == "Ready"]
        return ready

    def test_nodes_are_sorted_by_name_and_carry_the_store_s_version(self):
        self.world.foreign.put(manifest_of("m0", managed=None))
        view = self.started("n2", "n10", "n1")
        self.assertEqual(self.names(view), ["d1", "m0", "n1", "n10", "n2"])
        for manifest in view.nodes():
            name = manifest["metadata"]["name"]
            self.assertEqual(manifest["metadata"]["resourceVersion"], self.d1.stored[name].version)
            json.dumps(manifest)

    def test_the_resource_version_is_shown_and_not_stored(self):
        view = self.started("n1")
        self.assertIn("resourceVersion", view.node("n1")["metadata"])
        self.assertNotIn("resourceVersion", self.world.node("n1").manifest["metadata"])

    def test_a_node_that_is_about_to_be_has_no_version_yet(self):
        view = self.started()
        self.d1.wire.down = True
        self.d1.reaches("n1", node="n1")
        self.assertEqual(view.node("n1")["metadata"]["resourceVersion"], "")
        self.assertEqual(self.ready(view.node("n1"))["status"], "True")

    def test_hearsay_is_a_peer_and_no_node(self):
        view = self.started()
        self.d1.hears("n1")
        self.assertEqual(self.names(view), ["d1"])
        self.assertRaises(NotFound, view.node, "n1")
        [_, peer] = view.peers()
        self.assertEqual((peer["name"], peer["verified"], peer["ready"]), ("n1", False, "Unknown"))

    def test_what_there_is_not_is_not_found(self):
        error = self.assertRaises(NotFound, self.started().node, "n1")
        self.assertEqual(str(error), 'nodes "n1" not found')

    def test_a_broken_record_is_hidden_and_its_reason_told(self):
        self.world.foreign.put_raw("n1", b"no JSON")
        view = self.started("n1")
        self.assertEqual(self.names(view), ["d1"])
        self.assertIn("no JSON", str(self.assertRaises(NotFound, view.node, "n1")))
        self.assertEqual(view.count(), {"True": 1})

    def test_a_node_of_others_is_shown_as_they_wrote_it(self):
        theirs = manifest_of("n1", managed=None, theirs="yes")
        self.world.foreign.put(theirs)
        view = self.started("n1")
        shown = view.node("n1")
        version = shown["metadata"].pop("resourceVersion")
        self.assertEqual(shown, theirs)
        self.assertEqual(version, self.d1.stored["n1"].version)

    def test_heartbeat_and_last_seen_are_shown_to_the_second_without_a_write(self):
        view = self.started("n1")
        self.world.calls()
        self.world.advance(40)
        shown = view.node("n1")
        self.assertEqual(self.ready(shown)["lastHeartbeatTime"], "2027-01-15T08:00:45Z")
        self.assertEqual(shown["metadata"]["annotations"]["k3.network/lastSeen"], "2027-01-15T08:00:45Z")
        self.assertEqual(self.ready(shown)["lastTransitionTime"], "2027-01-15T08:00:01Z")
        self.assertEqual(self.world.calls(), {})
        self.assertEqual(EPOCH, 1_800_000_000)

    def test_while_the_store_is_away_a_lapse_is_shown_all_the_same(self):
        view = self.started("n1", "n2", "n3")
        self.d1.wire.down = True
        self.world.up.discard("n1")
        self.world.advance(PEER_TTL + 16)
        self.assertEqual(self.ready(view.node("n1"))["reason"], "PeerExpired")
        self.assertEqual(view.count(), {"True": 3, "False": 1})
        self.assertEqual(self.world.ready("n1")[0], "True")

    def test_counts_follow_what_is_shown(self):
        self.world.foreign.put(manifest_of("m0", managed=None))
        bare = manifest_of("m1", managed=None)
        bare["status"] = {}
        self.world.foreign.put(bare)
        view = self.started("n1", "n2")
        self.d1.hears("hearsay")
        self.d1.hears_goodbye("n2")
        shown = [self.ready(m)["status"] if m["status"] else "Unknown" for m in view.nodes()]
        self.assertEqual(view.count(), {status: shown.count(status) for status in set(shown)})
        self.assertEqual(view.count(), {"True": 3, "False": 1, "Unknown": 1})

    def test_a_peer_s_observations_and_last_probe_have_ages(self):
        view = self.started("n1")
        self.probes["n1"] = ProbeResult("n1", "tcp", True, 3.0, rtt=0.002)
        [own, peer] = view.peers()
        self.assertEqual((own["own"], own["member"], own["last_probe"]), (True, True, None))
        self.assertEqual((peer["own"], peer["member"]), (False, False))
        self.assertEqual((peer["addresses"], peer["port"]), ([address_of("n1")], 7946))
        self.assertEqual(peer["last_probe"], {"ok": True, "reason": "", "rtt_seconds": 0.002, "age_seconds": 2.0})
        told = {o["source"]: o for o in peer["observations"]}
        self.assertEqual(told.keys(), {"mdns", "liveness"})
        self.assertEqual(told["liveness"]["ttl_seconds"], PEER_TTL)
        self.assertEqual(told["liveness"]["age_seconds"], 5.0)
        json.dumps(peer)

    def test_a_listing_under_way_survives_what_happens_meanwhile(self):
        self.world.foreign.put(manifest_of("m0", managed=None))
        self.world.foreign.put(manifest_of("z0", managed=None))
        view = self.started("n1")
        listing = view.nodes()
        self.assertEqual(next(listing)["metadata"]["name"], "d1")
        self.world.foreign.delete("z0")
        self.world.foreign.put_raw("m0", b"no JSON")
        self.world.advance(700)
        self.assertEqual([m["metadata"]["name"] for m in listing], ["n1"])

    def test_a_listing_under_way_survives_a_new_reconciler(self):
        self.world.foreign.put(manifest_of("z0", managed=None))
        self.started()
        known = [self.d1.reconciler]
        view = View(lambda: known[0], self.world.clock, self.world.wall, self.probes.get)
        listing = view.nodes()
        next(listing)
        known[0] = self.world.daemon("d2").reconciler
        known[0].stored.clear()
        self.assertEqual([m["metadata"]["name"] for m in listing], [])

    def test_a_record_that_is_read_again_stays_on_show(self):
        view = self.started("n1")
        self.world.foreign.put({**self.world.node("n1").manifest, "theirs": 1})
        shown = []
        get = self.d1.wire.get
        self.d1.wire.get = lambda name: shown.append(view.node(name)) or get(name)
        self.d1.hears("n1", addresses=("198.18.9.9",))
        self.world.advance(1)
        self.assertEqual(len(shown), 1)
        self.assertNotEqual(shown[0]["metadata"]["resourceVersion"], "")

    def test_the_brake_is_shown_and_released(self):
        machines = [f"n{i}" for i in range(5)]
        view = self.started(*machines)
        self.assertEqual(view.brake(), {"enabled": True, "held": [], "held_seconds": None})
        self.d1.reach = Reach()
        self.world.up -= set(machines)
        self.world.advance(PEER_TTL + 20)
        self.assertEqual(view.brake()["held"], machines)
        self.assertEqual(view.release_brake(), {"released": machines})
        self.world.advance(1)
        self.assertEqual(view.brake()["held"], [])
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))
