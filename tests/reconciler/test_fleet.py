"""A fleet is one writer: what many daemons ask of their store together."""

import random

from reconciler.fleet import Fleet
from reconciler.world import PEER_TTL, REPORT_EVERY, World
from twisted.trial.unittest import SynchronousTestCase

from k3net.reconciler.service import Reconciler

SETTLED = 270
QUIET = 600


class Restless(Reconciler):
    """Looks at everything in every pass."""

    def _rests(self) -> bool:
        return False


class FleetTests(SynchronousTestCase):
    def setUp(self):
        random.seed(11)

    def settled(self, daemons=30, machines=10, **settings):
        fleet = Fleet(daemons, machines, **settings)
        fleet.switch_on()
        fleet.advance(SETTLED)
        fleet.ledger.forget()
        return fleet

    def test_while_nothing_changes_each_node_is_written_once_a_report_and_nothing_is_read_but_listings(self):
        fleet = self.settled()
        fleet.advance(QUIET)
        self.assertEqual(fleet.ledger.calls["get"], 0)
        self.assertLessEqual(fleet.ledger.calls["list"], 2 * len(fleet.names))
        self.assertEqual(fleet.ledger.written.keys(), {*fleet.names, *fleet.machines})
        reports = QUIET / REPORT_EVERY
        self.assertGreaterEqual(min(fleet.ledger.written.values()), reports - 1)
        self.assertLessEqual(max(fleet.ledger.written.values()), 1.2 * reports)
        self.assertEqual(fleet.ledger.outcomes.keys(), {"done"})

    def test_each_machine_that_is_no_member_has_one_writer_and_the_work_is_shared(self):
        fleet = self.settled(machines=60)
        fleet.advance(QUIET)
        writers = {name: {who for who, _ in fleet.ledger.writers[name]} for name in fleet.machines}
        self.assertTrue(all(len(who) == 1 for who in writers.values()), writers)
        self.assertGreater(len(set.union(*writers.values())), len(fleet.names) / 2)

    def test_the_death_of_one_is_one_write_in_time(self):
        fleet = self.settled()
        died = fleet.clock.seconds()
        fleet.kill("d7")
        fleet.advance(QUIET)
        [(_, written)] = fleet.ledger.writers["d7"]
        self.assertLessEqual(written - died, PEER_TTL + 1)
        self.assertGreaterEqual(written - died, PEER_TTL - 15)
        self.assertEqual(fleet.ready("d7"), "False")
        self.assertLessEqual(fleet.ledger.calls["get"], len(fleet.names) + 5, "each of the others reads it once")
        self.assertLessEqual(fleet.ledger.outcomes["conflict"], 3)

    def test_one_that_restarts_quickly_is_written_by_itself_alone(self):
        fleet = self.settled()
        fleet.kill("d7")
        fleet.advance(5)
        fleet.start("d7")
        fleet.advance(120)
        self.assertEqual({who for who, _ in fleet.ledger.writers["d7"]}, {"d7"})
        self.assertEqual(fleet.ledger.outcomes["conflict"], 0)
        self.assertEqual(fleet.ready("d7"), "True")

    def test_one_that_returns_after_long_is_left_to_itself(self):
        fleet = self.settled()
        fleet.kill("d7")
        fleet.advance(1500)
        fleet.ledger.forget()
        fleet.start("d7")
        fleet.advance(120)
        self.assertEqual({who for who, _ in fleet.ledger.writers["d7"]}, {"d7"})
        self.assertLessEqual(fleet.ledger.outcomes["conflict"], 3, "a listing just then")

    def test_a_fleet_that_starts_at_once_does_not_read_record_by_record(self):
        fleet = Fleet(60, 10)
        fleet.switch_on()
        fleet.advance(SETTLED)
        self.assertLessEqual(fleet.ledger.calls["list"], 2 * len(fleet.names))
        self.assertLessEqual(fleet.ledger.calls["get"], 3 * len(fleet.names))

    def test_passes_that_rest_change_nothing_that_is_written(self):
        def story(reconciler):
            random.seed(5)
            fleet = self.settled(8, 4, reconciler=reconciler)
            for name in ("d3", "m1", "d5"):
                fleet.kill(name) if name in fleet.daemons else fleet.up.discard(name)
                fleet.advance(130)
                fleet.start(name) if name in fleet.instances else fleet.up.add(name)
                fleet.advance(200)
            return fleet.ledger.writers, fleet.ledger.calls

        self.assertEqual(story(Reconciler), story(Restless))


class BrokenNetworkTests(SynchronousTestCase):
    """Daemons that lost sight of one another, each with its way to the store."""

    def setUp(self):
        random.seed(11)
        self.world = World()
        self.d1, self.d2 = self.world.fleet("d1", "d2")
        self.world.advance(60)

    def stops_being_ready(self, name, seconds):
        """How often the Node of this name does."""
        before, count = self.world.ready(name), 0
        for _ in range(seconds):
            self.world.advance(1)
            now = self.world.ready(name)
            count += now[0] == "False" != before[0]
            before = now
        return count

    def test_they_do_not_take_turns_with_a_node(self):
        self.d1.sees.clear()
        self.assertLessEqual(self.stops_being_ready("d2", 4000), 1)
        self.assertEqual(self.world.ready("d2")[0], "True", "d2 says so itself")

    def test_one_that_then_dies_is_written_off_all_the_same(self):
        self.d1.sees.clear()
        self.stops_being_ready("d2", 2000)
        self.world.kill("d2")
        self.assertEqual(self.stops_being_ready("d2", 2 * round(PEER_TTL + REPORT_EVERY) + 60), 1)
        self.assertEqual(self.stops_being_ready("d2", 2000), 0)
        self.assertEqual(self.world.ready("d2"), ("False", "PeerExpired"))

    def test_one_that_was_cut_from_the_store_too_looks_round_before_it_demotes(self):
        self.d1.wire.down = True
        self.d1.sees.clear()
        self.world.advance(200)
        self.d1.wire.down = False
        self.assertEqual(self.stops_being_ready("d2", 20), 0)
        self.d1.sees = {"d2"}
        self.assertEqual(self.stops_being_ready("d2", 600), 0)
