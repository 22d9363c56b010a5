"""Silence from many at once: the brake in front of the store, and the members that are asked."""

from reconciler.world import PEER_TTL, World
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from k3net.model.brake import Opinion, Reach

MACHINES = [f"n{i}" for i in range(10)]


class BrakeTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.d1, *_ = self.world.fleet("d1", machines=MACHINES)
        self.world.advance(20)

    def fall(self, names=MACHINES):
        self.world.up -= set(names)
        self.world.advance(PEER_TTL + 20)

    def not_ready(self):
        return {name for name in MACHINES if self.world.ready(name)[0] == "False"}

    def reach(self, last_answer=None, **shown):
        self.d1.reach = Reach(last_answer=last_answer, **shown)

    def test_a_few_that_fall_are_written_off(self):
        self.fall(MACHINES[:3])
        self.assertEqual(self.not_ready(), set(MACHINES[:3]))

    def test_when_all_fall_at_once_nobody_is_written_off(self):
        self.fall()
        self.assertEqual(self.not_ready(), set())
        self.assertEqual(self.d1.reconciler.brake.held, set(MACHINES))

    def test_the_network_that_works_counts_after_twice_the_ttl_and_not_before(self):
        self.fall()
        held_since = self.d1.reconciler.brake.held_since
        self.reach(network_works=True)
        while self.world.clock.seconds() < held_since + 2 * PEER_TTL - 1:
            self.world.advance(1)
            self.assertEqual(self.not_ready(), set())
        self.world.advance(3)
        self.assertEqual(self.not_ready(), set(MACHINES))

    def test_a_daemon_that_reaches_nobody_demotes_nobody(self):
        self.reach()
        self.fall()
        self.world.advance(12 * 3600, by=30.0)
        self.assertEqual(self.not_ready(), set())

    def test_what_is_held_is_let_go_by_the_operator(self):
        self.reach()
        self.fall()
        self.assertEqual(self.d1.reconciler.brake.release(), set(MACHINES))
        self.world.advance(2)
        self.assertEqual(self.not_ready(), set(MACHINES))
        self.assertEqual(self.d1.reconciler.brake.held, set())

    def test_those_who_return_leave_the_brake(self):
        self.reach()
        self.fall()
        self.world.up |= set(MACHINES)
        self.world.advance(20)
        self.assertEqual((self.not_ready(), self.d1.reconciler.brake.held), (set(), set()))

    def test_a_held_brake_costs_no_store_call_between_heartbeats(self):
        self.reach()
        self.fall()
        self.world.calls()
        self.world.advance(600)
        self.assertLess(self.world.calls().total(), 600 / 30 + 3)

    def test_new_machines_are_written_while_the_brake_holds_hundreds(self):
        many = [f"m{i}" for i in range(1200)]
        self.d1.sees |= set(many)
        self.world.up |= set(many)
        self.world.look_round()
        self.world.advance(3)
        self.reach()
        self.world.up -= {*many, *MACHINES}
        self.world.advance(PEER_TTL + 20, by=5.0)
        self.assertEqual(len(self.d1.reconciler.brake.held), 1210)
        self.d1.reaches("new")
        self.world.advance(1)
        self.assertEqual(self.world.ready("new"), ("True", "PeerAlive"))
        self.assertEqual(self.d1.reconciler.brake.release(), {*many, *MACHINES})
        self.world.advance(60)
        left = [name for name in many if self.world.ready(name)[0] == "True"]
        self.assertEqual(left, [], "all that the operator let go")

    def test_without_a_brake_silence_counts(self):
        self.d1.reconciler.brake.enabled = False
        self.fall()
        self.assertEqual(self.not_ready(), set(MACHINES))

    def test_goodbyes_pass(self):
        self.reach()
        for name in MACHINES:
            self.d1.hears_goodbye(name)
        self.world.clock.advance(0.2)
        self.assertEqual(self.not_ready(), set(MACHINES))


class AskedMembersTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.asked = []
        self.opinion = Opinion()
        self.d1, *_ = self.world.fleet("d1", machines=MACHINES, ask=self.ask)
        self.world.advance(20)

    def ask(self, name):
        self.asked.append(name)
        return self.opinion

    def silent(self, *names):
        self.world.up -= set(names)
        self.world.advance(PEER_TTL + 16)

    def test_nobody_is_asked_while_all_is_well(self):
        self.world.advance(600)
        self.assertEqual(self.asked, [])

    def test_one_success_keeps_a_node_ready_and_says_by_whom(self):
        self.opinion = Opinion(reached_by="d2")
        self.silent("n1")
        self.assertEqual(self.asked, ["n1"])
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))
        self.assertEqual(self.world.node("n1").ready.message, "reached by d2")
        self.world.advance(PEER_TTL + 2)
        self.assertEqual(self.asked, ["n1", "n1"], "again after the ttl")

    def test_denied_by_the_members_it_falls(self):
        self.opinion = Opinion(denied_by=("d2", "d3"))
        self.silent("n1")
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))

    def test_without_members_the_own_word_counts(self):
        self.silent("n1")
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))

    def test_a_question_that_fails_is_no_answer(self):
        self.opinion = fail(ValueError("broken"))
        self.silent("n1")
        self.assertEqual(self.world.ready("n1"), ("False", "PeerExpired"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_goodbye_is_asked_about_by_nobody(self):
        self.d1.hears_goodbye("n1")
        self.world.advance(1)
        self.assertEqual(self.asked, [])
        self.assertEqual(self.world.ready("n1"), ("False", "PeerGoodbye"))

    def test_members_that_agree_release_the_brake(self):
        self.opinion = Opinion(denied_by=("d2",))
        self.silent(*MACHINES)
        self.assertEqual({self.world.ready(name) for name in MACHINES}, {("False", "PeerExpired")})

    def test_a_machine_that_is_heard_while_members_are_asked_stays_ready(self):
        self.opinion = Deferred()
        self.silent("n1")
        self.assertEqual(self.world.ready("n1")[0], "True")
        self.d1.reaches("n1")
        self.opinion.callback(Opinion(denied_by=("d2",)))
        self.world.advance(2)
        self.assertEqual(self.world.ready("n1"), ("True", "PeerAlive"))
        self.assertEqual(self.world.node("n1").ready.last_transition, self.world.node("n2").ready.last_transition)
