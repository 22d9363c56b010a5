"""The own node, by a clock that the test moves."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.discovery.own_node import OwnNode


class OwnNodeTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.said = []
        self.facts = {"addresses": ("10.0.0.1",), "port": 7946, "meta": {"pid": "7"}}
        self.free = True

    def started(self, **settings):
        own = OwnNode(
            self.clock,
            self.said.append,
            name="here",
            facts=lambda: self.facts,
            may_speak=lambda: self.free,
            **{"interval": 30.0, **settings},
        )
        own.startService()
        return own

    def run_for(self, seconds, step=0.1):
        self.clock.pump([step] * round(seconds / step))

    def test_it_speaks_at_once_and_every_interval(self):
        self.started()
        self.run_for(100)
        self.assertEqual([round(o.seen_at) for o in self.said], [0, 30, 60, 90])

    def test_a_word_holds_for_three_intervals(self):
        self.started(interval=7.0)
        self.run_for(1)
        [o] = self.said
        self.assertEqual((o.peer, o.source, o.ttl, o.ready, o.reason), ("here", "own", 21.0, True, "LANDiscovery"))
        self.assertEqual((o.addresses, o.port, dict(o.meta)), (("10.0.0.1",), 7946, {"pid": "7"}))

    def test_facts_are_looked_at_each_time(self):
        self.started()
        self.run_for(1)
        self.facts = {"addresses": ("10.0.0.9", "fd77::9"), "port": 7000}
        self.run_for(30)
        self.assertEqual([(o.addresses, o.port) for o in self.said][1:], [(("10.0.0.9", "fd77::9"), 7000)])

    def test_its_last_word_is_one_goodbye(self):
        own = self.started()
        self.run_for(1)
        own.stopService()
        self.run_for(100)
        goodbyes = [o for o in self.said if o.goodbye]
        self.assertEqual([(o.reason, o.message) for o in goodbyes], [("PeerGoodbye", "k3net was stopped")])
        self.assertTrue(self.said[-1].goodbye)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_goodbye_is_not_said_twice(self):
        own = self.started()
        self.run_for(1)
        own.stopService()
        own.startService()
        own.stopService()
        self.assertEqual([o.goodbye for o in self.said], [False, True])

    def test_one_who_never_spoke_says_no_goodbye(self):
        self.free = False
        own = self.started()
        self.run_for(10)
        own.stopService()
        self.assertEqual(self.said, [])

    def test_one_who_stops_before_its_first_word_says_none(self):
        self.started().stopService()
        self.run_for(1)
        self.assertEqual(self.said, [])

    def test_one_whose_name_was_taken_since_leaves_the_goodbye_to_the_other(self):
        own = self.started()
        self.run_for(1)
        self.free = False
        own.stopService()
        self.assertEqual([o.goodbye for o in self.said], [False])

    def test_a_goodbye_may_be_left_out(self):
        own = self.started(goodbye=False)
        self.run_for(1)
        own.stopService()
        self.assertEqual([o.goodbye for o in self.said], [False])

    def test_whether_a_goodbye_is_said_may_be_decided_late(self):
        own = self.started()
        self.run_for(1)
        own.goodbye = False
        own.stopService()
        self.assertEqual([o.goodbye for o in self.said], [False])

    def test_while_it_may_not_speak_it_asks_again_soon_and_then_speaks(self):
        self.free = False
        own = self.started(retry=0.5)
        self.run_for(10)
        self.assertEqual((self.said, own.failures), ([], 0))
        self.free = True
        self.run_for(0.6)
        self.assertEqual(len(self.said), 1)
        self.run_for(29)
        self.assertEqual(len(self.said), 1)
        self.run_for(1.5)
        self.assertEqual(len(self.said), 2)

    def test_one_whose_words_were_all_refused_says_no_goodbye(self):
        own = self.started()
        self.facts = {"port": 99999}
        self.run_for(1)
        self.facts = {}
        own.stopService()
        self.assertEqual(self.said, [])

    def test_facts_that_cannot_be_true_fail_the_loop_and_not_the_service(self):
        own = self.started()
        self.facts = {"addresses": ("127.0.0.1",)}
        self.run_for(31)
        self.assertEqual((self.said, own.failures), ([], 2))
        self.assertIn("addresses", own.last_error)
        self.facts = {"addresses": ("10.0.0.1",)}
        self.run_for(30)
        self.assertEqual((len(self.said), own.last_error), (1, ""))
