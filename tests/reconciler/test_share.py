"""Several daemons on one store: who writes which Node."""

from contracts import manifest_of
from reconciler.world import PEER_TTL, REPORT_EVERY, World
from twisted.trial.unittest import SynchronousTestCase

MACHINES = [f"n{i}" for i in range(40)]
PATIENCE = REPORT_EVERY + PEER_TTL


def writers(world):
    """The daemons that wrote each record; forgotten by asking."""
    found = {}
    for daemon in world.daemons.values():
        for name in daemon.wire.written:
            found.setdefault(name, set()).add(daemon.name)
        daemon.wire.written.clear()
    return found


class ShareTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()

    def settled_fleet(self, *names, machines=MACHINES, **settings):
        fleet = self.world.fleet(*names, machines=machines, **settings)
        self.world.advance(60)
        self.world.written(), self.world.calls()
        for daemon in fleet:
            daemon.wire.outcomes.clear()
        return fleet

    def test_each_node_is_written_by_one_daemon_and_its_own_by_each(self):
        self.settled_fleet("d1", "d2", "d3")
        self.world.advance(1800)
        for name, wrote in writers(self.world).items():
            self.assertEqual(len(wrote), 1, f"{name} was written by {wrote}")
            if name.startswith("d"):
                self.assertEqual(wrote, {name})

    def test_the_work_is_shared_and_is_that_of_one_daemon(self):
        fleet = self.settled_fleet("d1", "d2", "d3", "d4")
        self.world.advance(600)
        counts = [len(daemon.wire.written) for daemon in fleet]
        self.assertLess(sum(counts), 44 * 11, "each Node once a minute")
        self.assertGreater(min(counts), 40, f"nobody idles: {counts}")
        self.assertEqual([daemon.wire.outcomes["Conflict"] for daemon in fleet], [0, 0, 0, 0])

    def test_a_machine_that_dies_is_written_off_once(self):
        self.settled_fleet("d1", "d2", "d3")
        self.world.up.discard("n7")
        self.world.advance(PEER_TTL + 16)
        self.assertEqual(self.world.ready("n7"), ("False", "PeerExpired"))
        self.world.written()
        self.world.advance(1800)
        self.assertEqual(self.world.written()["n7"], 0)

    def test_a_daemon_that_is_killed_is_written_off_once_and_its_share_taken_over(self):
        self.settled_fleet("d1", "d2", "d3")
        self.world.kill("d2")
        self.world.advance(PEER_TTL + 16)
        self.assertEqual(self.world.ready("d2"), ("False", "PeerExpired"))
        self.assertLessEqual(self.world.written()["d2"], 2, "its own last heartbeat and the end of it")
        self.world.advance(120)
        writers(self.world)
        self.world.advance(300)
        self.assertEqual(writers(self.world).keys(), {*MACHINES, "d1", "d3"})

    def test_one_who_joins_or_leaves_moves_its_share_only(self):
        fleet = self.settled_fleet("d1", "d2", "d3")
        before = {name: fleet[0].reconciler.share.writer(name) for name in MACHINES}
        self.world.fleet("d4", machines=MACHINES)
        for daemon in self.world.daemons.values():
            daemon.sees |= {"d1", "d2", "d3", "d4"}
        self.world.advance(60)
        after = {name: fleet[0].reconciler.share.writer(name) for name in MACHINES}
        moved = {name for name in MACHINES if before[name] != after[name]}
        self.assertTrue(moved)
        self.assertEqual({after[name] for name in moved}, {"d4"})
        self.world.kill("d4")
        self.world.advance(PEER_TTL + 20)
        self.assertEqual({name: fleet[0].reconciler.share.writer(name) for name in MACHINES}, before)

    def test_all_members_agree_on_the_writers(self):
        fleet = self.settled_fleet("d1", "d2", "d3")
        for name in MACHINES:
            self.assertEqual(len({daemon.reconciler.share.writer(name) for daemon in fleet}), 1)
        self.assertEqual({daemon.reconciler.share.members for daemon in fleet}, {frozenset({"d1", "d2", "d3"})})

    def test_a_writer_that_hangs_is_written_for_by_others_after_its_patience(self):
        d1, d2 = self.settled_fleet("d1", "d2")
        theirs = [name for name in MACHINES if d1.reconciler.share.writer(name) == "d2"]
        gone = theirs[0]
        d2.wire.down = True
        self.world.up.discard(gone)
        self.world.advance(PEER_TTL + PATIENCE - 30)
        self.assertEqual(self.world.ready(gone)[0], "True", "its writer still has time")
        self.world.advance(60)
        self.assertEqual(self.world.ready(gone), ("False", "PeerExpired"))

    def test_a_new_machine_whose_writer_hangs_becomes_a_node_all_the_same(self):
        d1, d2 = self.settled_fleet("d1", "d2")
        d2.wire.down = True
        new = next(name for name in (f"new{i}" for i in range(100)) if d1.reconciler.share.writer(name) == "d2")
        self.world.up.add(new)
        d1.sees.add(new)
        self.world.advance(PATIENCE - 10)
        self.assertIsNone(self.world.node(new))
        self.world.advance(30)
        self.assertEqual(self.world.ready(new), ("True", "PeerAlive"))

    def test_a_writer_that_is_heard_again_takes_its_share_back(self):
        _, d2 = self.settled_fleet("d1", "d2")
        d2.wire.down = True
        self.world.advance(20 * REPORT_EVERY)
        d2.wire.down = False
        self.world.advance(12 * REPORT_EVERY)
        writers(self.world)
        self.world.advance(1300)
        for name, wrote in writers(self.world).items():
            self.assertEqual(len(wrote), 1, f"{name} was written by {wrote}")

    def test_a_member_that_keeps_no_node_of_itself_is_kept_by_another(self):
        d1, d2, quiet = (
            self.world.daemon("d1"),
            self.world.daemon("d2"),
            self.world.daemon("quiet", registers=False),
        )
        for daemon in (d1, d2, quiet):
            daemon.sees = {"d1", "d2", "quiet", *MACHINES}
        self.world.up |= set(MACHINES)
        self.world.advance(60)
        self.assertEqual(self.world.ready("quiet"), ("True", "PeerAlive"))
        writers(self.world)
        for _ in range(40):
            self.world.advance(60)
            self.assertEqual(self.world.ready("quiet"), ("True", "PeerAlive"))
        wrote = writers(self.world)
        self.assertEqual(len(wrote["quiet"]), 1)
        self.assertNotIn("quiet", wrote["quiet"])
        self.assertTrue(any(names == {"quiet"} for names in wrote.values()), "it has a share like the others")

    def test_alone_a_daemon_that_keeps_no_node_of_itself_lets_the_old_one_lapse(self):
        self.world.foreign.put(manifest_of("quiet"))
        self.world.daemon("quiet", registers=False)
        self.world.advance(PEER_TTL + 2)
        self.assertEqual(self.world.ready("quiet"), ("False", "PeerExpired"))

    def test_daemons_of_another_store_are_no_members(self):
        d1 = self.world.daemon("d1")
        d1.reaches("d2", node="d2", store="another", instance="i2", selfUp="true")
        d1.reaches("d3", node="d3", store="", instance="i3", selfUp="true")
        d1.reaches("d4", node="d4")
        self.world.advance(2)
        self.assertEqual(d1.reconciler.share.members, {"d1"})
        self.assertEqual(self.world.ready("d2"), ("True", "PeerAlive"))

    def test_two_who_do_not_know_of_each_other_write_each_record_once_a_report_at_most(self):
        d1 = self.world.daemon("d1", sees=MACHINES)
        d2 = self.world.daemon("d2", sees=MACHINES)
        self.world.up |= set(MACHINES)
        self.world.advance(60)
        self.world.written(), self.world.calls()
        self.world.advance(1800)
        for name, times in self.world.written().items():
            self.assertLessEqual(times, 2 * 31, name)
        self.assertLess(self.world.calls()["apply"], 4 * 31 + 20)
        self.assertEqual({self.world.ready(name) for name in MACHINES}, {("True", "PeerAlive")})
        self.assertEqual((d1.reconciler.failures, d2.reconciler.failures), (0, 0))

    def test_one_who_sees_more_addresses_does_not_fight_with_one_who_sees_less(self):
        d1, d2 = self.settled_fleet("d1", "d2", machines=["n1"])
        for _ in range(120):
            d1.hears("n1", addresses=("198.18.0.1", "2001:db8::1"))
            d2.hears("n1", addresses=("198.18.0.1",))
            self.world.advance(15)
        self.assertLessEqual(self.world.written()["n1"], 40, "about one write a minute")

    def test_a_daemon_that_is_cut_off_from_a_machine_does_not_write_it_off_while_its_writer_reaches_it(self):
        d1, _ = self.settled_fleet("d1", "d2")
        theirs = next(name for name in MACHINES if d1.reconciler.share.writer(name) == "d2")
        d1.sees.discard(theirs)
        for _ in range(40):
            self.world.advance(60)
            self.assertEqual(self.world.ready(theirs), ("True", "PeerAlive"))
        self.assertEqual(d1.wire.written.count(theirs), 0)
