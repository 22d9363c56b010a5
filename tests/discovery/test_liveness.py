"""Liveness: by a clock that the test moves, a network that answers as it is told, and the real peer table."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.discovery.liveness import Liveness
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.model.result import ProbeResult

OK = (True, "")
REFUSED = (False, "refused")

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
INFOS = st.fixed_dictionaries(
    {"node": st.just("n1") | ANYTHING},
    optional=dict.fromkeys(("store", "instance", "version", "selfUp", "port"), ANYTHING),
)


class Network:
    """Plays the machines: what a connect to an address finds, and what `/info` says there."""

    def __init__(self, clock):
        self._clock = clock
        self.found = {}
        self.info = {}
        self.connects = []
        self.asked = []
        self.holds = False
        self.held = []
        self.most_held = 0

    def connect(self, reactor, target, timeout):
        self.connects.append((self._clock.seconds(), *target))
        ok, reason = self.found.get(target[0], OK)
        result = ProbeResult(f"{target[0]}:{target[1]}", "tcp", ok, self._clock.seconds(), 0.001, reason=reason)
        if not self.holds:
            return succeed(result)
        done = Deferred()
        self.held.append((done, result))
        self.most_held = max(self.most_held, len(self.held))
        return done

    def release(self, count=1):
        for _ in range(count):
            done, result = self.held.pop(0)
            done.callback(result)

    def ask(self, url):
        self.asked.append((self._clock.seconds(), url))
        answer = self.info.get(url.partition("://")[2].rpartition(":")[0])
        if isinstance(answer, Exception):
            return fail(answer)
        return answer() if callable(answer) else succeed(answer)

    def times(self, address):
        return [at for at, to, _ in self.connects if to == address]


class LivenessTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.network = Network(self.clock)
        self.table = PeerTable()
        self.said = []
        self.counted = []
        self.own = {"10.0.0.1"}

    def tearDown(self):
        self.assertEqual(self.flushLoggedErrors(), [])

    def started(self, **settings):
        wiring = {"connect": self.network.connect, "ask": self.network.ask, "own_name": "here"} | settings
        self.liveness = Liveness(
            self.clock,
            self.observe,
            peers=lambda: self.table,
            own_addresses=lambda: self.own,
            counted=self.counted.append,
            **wiring,
        )
        self.liveness.startService()
        return self.liveness

    def observe(self, o):
        self.said.append(o)
        return self.table.observe(o)

    def hear(self, name, *addresses, source="mdns", ttl=90.0, port=7946, **more):
        now = self.clock.seconds()
        self.table.observe(Observation(name, source, now, ttl, addresses=addresses or ("10.0.0.2",), port=port, **more))

    def run_for(self, seconds, step=0.25):
        self.clock.pump([step] * round(seconds / step))

    def metas(self, name):
        return [dict(o.meta) for o in self.said if o.peer == name]


class RoundsTests(LivenessTestCase):
    def test_every_peer_is_probed_once_an_interval_for_as_long_as_it_is_known(self):
        names = [f"10.0.1.{i}" for i in range(1, 101)]
        for i, address in enumerate(names):
            self.hear(f"n{i}", address)
        self.started(interval=15.0)
        self.run_for(90)
        for address in names:
            times = self.network.times(address)
            gaps = [later - earlier for earlier, later in pairwise(times)]
            self.assertTrue(all(13.25 <= gap <= 15.5 for gap in gaps[1:]), gaps)
            self.assertTrue(6 <= len(times) <= 8, times)

    def test_a_newcomer_is_probed_at_the_next_look(self):
        self.started(interval=15.0)
        self.run_for(3)
        self.hear("n1", "10.0.0.2")
        self.run_for(0.25)
        self.assertEqual(len(self.network.connects), 1)

    def test_newcomers_of_one_moment_are_spread_over_the_interval_from_the_second_round_on(self):
        for i in range(300):
            self.hear(f"n{i}", f"10.0.{i // 200}.{i % 200 + 2}")
        self.started(interval=15.0, max_in_flight=300)
        self.run_for(16)
        second = Counter(int(at) for at, _, _ in self.network.connects if at > 0.5)
        self.assertGreaterEqual(sum(second.values()), 300)
        self.assertLess(max(second.values()), 60)

    def test_peers_adopted_from_the_store_begin_spread_over_the_interval(self):
        for i in range(300):
            self.hear(f"n{i}", f"10.0.{i // 200}.{i % 200 + 2}", source="store")
        self.started(interval=15.0)
        self.run_for(15.25)
        by_second = Counter(int(at) for at, _, _ in self.network.connects)
        self.assertGreaterEqual(len(by_second), 13)
        self.assertLess(max(by_second.values()), 60)
        self.assertEqual(len({to for _, to, _ in self.network.connects}), 300)

    def test_no_more_than_max_in_flight_are_under_way_and_all_get_their_turn(self):
        self.network.holds = True
        for i in range(50):
            self.hear(f"n{i}", f"10.0.2.{i + 1}")
        self.started(max_in_flight=7)
        self.run_for(1)
        self.assertEqual(len(self.network.held), 7)
        for _ in range(50):
            self.network.release()
        self.assertEqual(self.network.most_held, 7)
        self.assertEqual(len({to for _, to, _ in self.network.connects}), 50)

    def test_thousands_of_probes_that_all_end_at_once_are_no_trouble(self):
        for i in range(3000):
            self.hear(f"n{i}", f"10.1.{i // 200}.{i % 200 + 2}", source="consul")
            self.network.found[f"10.1.{i // 200}.{i % 200 + 2}"] = (False, "unreachable")
        self.started(max_in_flight=256)
        self.run_for(0.25)
        self.assertEqual([r.reason for r in self.counted], ["unreachable"] * 3000)

    def test_a_probe_that_takes_longer_than_the_interval_is_not_begun_twice(self):
        self.network.holds = True
        self.hear("n1", "10.0.0.2")
        self.started(interval=2.0)
        self.run_for(20)
        self.assertEqual(len(self.network.connects), 1)

    def test_a_peer_that_moved_is_probed_at_once_where_it_is_now(self):
        self.hear("n1", "10.0.0.2")
        self.started(interval=60.0)
        self.run_for(1)
        self.hear("n1", "10.0.0.9")
        self.run_for(0.25)
        self.hear("n1", "10.0.0.9", port=7000)
        self.run_for(0.25)
        self.assertEqual([where for _, *where in self.network.connects][1:], [["10.0.0.9", 7946], ["10.0.0.9", 7000]])

    def test_a_goodbye_is_looked_into_at_once(self):
        self.hear("n1", "10.0.0.2")
        self.started(interval=60.0)
        self.run_for(1)
        self.network.found["10.0.0.2"] = REFUSED
        self.hear("n1", "10.0.0.2", ttl=0.0)
        self.run_for(0.25)
        self.assertEqual(len(self.network.connects), 2)
        self.run_for(10)
        self.assertLessEqual(len(self.network.connects), 3)

    def test_a_goodbye_before_the_first_probe_of_an_adopted_peer_is_looked_into_at_once(self):
        for i in range(20):
            self.hear(f"n{i}", f"10.0.2.{i + 1}", source="store")
        self.started(interval=1000.0)
        self.run_for(1)
        before = len(self.network.connects)
        for i in range(20):
            self.hear(f"n{i}", f"10.0.2.{i + 1}", ttl=0.0)
        self.run_for(0.25)
        self.assertLessEqual(before, 3)
        self.assertEqual(len({to for _, to, _ in self.network.connects}), 20)

    def test_news_that_changes_nothing_does_not_hurry_a_probe(self):
        self.hear("n1", "10.0.0.2")
        self.started(interval=60.0)
        self.run_for(1)
        for _ in range(4):
            self.hear("n1", "10.0.0.2")
            self.run_for(1)
        self.assertEqual(len(self.network.connects), 1)

    def test_the_own_name_is_never_probed(self):
        self.hear("here", "10.0.0.7", source="own")
        self.started()
        self.run_for(60)
        self.assertEqual(self.network.connects, [])

    def test_an_address_of_this_machine_is_never_probed(self):
        self.hear("n1", "10.0.0.1", "10.0.0.2")
        self.hear("n2", "10.0.0.1")
        self.started()
        self.run_for(60)
        self.assertEqual({to for _, to, _ in self.network.connects}, {"10.0.0.2"})
        self.assertEqual((self.liveness.last("n2").ok, self.liveness.last("n2").reason), (None, "no address to probe"))

    def test_ipv4_is_tried_first_and_ipv6_only_when_it_misses(self):
        self.hear("n1", "fd00::2", "10.0.0.2")
        self.hear("n2", "fd00::3", "10.0.0.3")
        self.network.found["10.0.0.3"] = REFUSED
        self.started()
        self.run_for(0.25)
        self.assertEqual([to for _, to, _ in self.network.connects], ["10.0.0.2", "10.0.0.3", "fd00::3"])
        self.assertEqual([url for _, url in self.network.asked][1:], ["http://[fd00::3]:7946/info"])

    def test_at_most_four_addresses_of_a_peer_are_tried(self):
        addresses = [f"10.0.3.{i}" for i in range(1, 11)]
        self.network.found = dict.fromkeys(addresses, REFUSED)
        self.hear("n1", *addresses)
        self.started()
        self.run_for(0.25)
        self.assertEqual(len(self.network.connects), 4)

    def test_a_peer_without_a_port_is_not_probed(self):
        self.hear("n1", "10.0.0.2", port=0)
        self.started()
        self.run_for(1)
        self.assertEqual(self.network.connects, [])
        self.assertIsNone(self.liveness.last("n1").ok)


class OutcomesTests(LivenessTestCase):
    def test_a_success_is_observed_for_peer_ttl(self):
        self.hear("n1")
        self.started(peer_ttl=33.0)
        self.run_for(0.25)
        [o] = self.said
        self.assertEqual((o.peer, o.source, o.ttl, o.seen_at, o.reason), ("n1", "liveness", 33.0, 0.25, "PeerAlive"))
        self.assertEqual(self.liveness.last_answer, 0.25)

    def test_a_miss_says_nothing_and_is_counted(self):
        self.hear("n1")
        self.network.found["10.0.0.2"] = REFUSED
        self.started()
        self.run_for(1)
        self.assertEqual(self.said, [])
        self.assertEqual([(r.ok, r.reason) for r in self.counted], [(False, "refused")])
        self.assertEqual(self.liveness.last("n1").reason, "refused")
        self.assertIsNone(self.liveness.last_answer)

    def test_a_port_that_names_another_node_is_a_failure_and_an_alarm_until_it_is_right_again(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {"node": "evil"}
        self.started(interval=4.0)
        self.run_for(5)
        self.assertEqual(self.said, [])
        self.assertEqual((self.liveness.last("n1").ok, self.liveness.last("n1").reason), (False, "names another node"))
        self.assertEqual(self.liveness.impostors, {"n1": "evil"})
        self.network.info["10.0.0.2"] = {"node": "n1"}
        self.run_for(5)
        self.assertEqual(self.liveness.impostors, {})
        self.assertEqual(self.said[-1].meta["node"], "n1")

    def test_a_port_that_stops_being_the_peer_is_found_out_when_its_proof_is_renewed(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {"node": "n1"}
        self.started(peer_ttl=40.0, interval=4.0)
        self.run_for(8)
        self.network.info["10.0.0.2"] = {"node": "evil"}
        self.run_for(20)
        said = len(self.said)
        self.run_for(20)
        self.assertEqual(len(self.said), said)
        self.assertEqual(self.liveness.impostors, {"n1": "evil"})

    def test_an_alarm_goes_with_its_peer(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {"node": "evil"}
        self.started()
        self.run_for(1)
        self.table.forget("n1")
        self.run_for(0.25)
        self.assertEqual(self.liveness.impostors, {})
        self.assertIsNone(self.liveness.last("n1"))

    def test_an_alarm_keeps_no_more_of_a_name_than_a_node_can_have(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {"node": "x" * 16_000}
        self.started()
        self.run_for(1)
        self.assertLessEqual(len(self.liveness.impostors["n1"]), 254)

    def test_a_port_that_speaks_no_http_is_alive_without_proof(self):
        self.hear("n1")
        self.started()
        self.run_for(1)
        self.assertEqual(self.metas("n1"), [{}])

    def test_a_port_where_asking_fails_is_alive_without_proof(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = OSError("reset")
        self.started()
        self.run_for(1)
        self.assertEqual(self.metas("n1"), [{}])

    def test_a_proof_is_renewed_every_half_peer_ttl(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {"node": "n1", "store": "s", "instance": "i", "version": "1", "selfUp": True}
        self.started(peer_ttl=90.0, interval=15.0)
        self.run_for(300)
        times = [at for at, _ in self.network.asked]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        self.assertTrue(all(45 <= gap <= 61 for gap in gaps), gaps)
        self.assertGreaterEqual(len(times), 5)
        expected = {"node": "n1", "store": "s", "instance": "i", "version": "1", "selfUp": "true"}
        self.assertEqual(self.metas("n1"), [expected] * len(self.said))

    def test_what_a_member_said_outlives_one_failed_info_but_not_peer_ttl(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {"node": "n1", "store": "s"}
        self.started(peer_ttl=90.0, interval=15.0)
        self.run_for(10)
        self.network.info["10.0.0.2"] = OSError("busy")
        self.run_for(100)
        kept = [o.seen_at for o in self.said if o.meta.get("store") == "s"]
        dropped = [o.seen_at for o in self.said if not o.meta]
        self.assertTrue(60 <= max(kept) <= 90.5, kept)
        self.assertTrue(dropped and min(dropped) > max(kept), dropped)

    def test_a_member_that_answers_again_is_one_again(self):
        self.hear("n1")
        self.started(peer_ttl=20.0, interval=4.0)
        self.run_for(5)
        self.network.info["10.0.0.2"] = {"node": "n1", "store": "s"}
        self.run_for(16)
        self.assertEqual(self.said[-1].meta["store"], "s")

    def test_another_address_has_to_prove_itself(self):
        self.hear("n1", "10.0.0.2")
        self.network.info = {"10.0.0.2": {"node": "n1"}, "10.0.0.9": {"node": "evil"}}
        self.started()
        self.run_for(1)
        self.hear("n1", "10.0.0.9")
        self.run_for(0.25)
        self.assertEqual(len(self.said), 1)
        self.assertEqual(self.liveness.impostors, {"n1": "evil"})

    def test_after_a_goodbye_only_a_fresh_proof_says_whose_port_it_is(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {"node": "n1"}
        self.started()
        self.run_for(1)
        self.network.info["10.0.0.2"] = None
        self.hear("n1", ttl=0.0)
        self.run_for(0.25)
        self.assertEqual(self.metas("n1")[-1], {})
        self.network.info["10.0.0.2"] = {"node": "n1"}
        self.run_for(20)
        self.assertEqual(self.metas("n1")[-1], {"node": "n1", "selfUp": "false"})


class QuestionsTests(LivenessTestCase):
    def mute(self, count):
        """So many ports that take the connection and say nothing; the Deferreds they keep waiting."""
        waiting = []

        def never():
            waiting.append(Deferred())
            return waiting[-1]

        for i in range(count):
            self.hear(f"n{i}", f"10.0.2.{i + 1}")
            self.network.info[f"10.0.2.{i + 1}"] = never
        return waiting

    def test_ports_that_say_nothing_keep_no_other_peer_from_being_probed(self):
        waiting = self.mute(30)
        self.hear("good", "10.0.3.1")
        self.network.found["10.0.3.1"] = REFUSED
        self.started(max_in_flight=4, interval=15.0)
        self.run_for(1)
        self.assertEqual(len({to for _, to, _ in self.network.connects}), 31)
        self.assertEqual(self.liveness.last("good").reason, "refused")
        self.assertEqual((len(waiting), self.said), (2, []))

    def test_all_are_asked_in_turn_and_then_observed(self):
        waiting = self.mute(30)
        self.started(max_in_flight=4, interval=1000.0)
        self.run_for(1)
        for asked in range(30):
            self.assertLessEqual(len(waiting), asked + 2)
            waiting[asked].errback(OSError("timed out"))
        self.assertEqual(Counter(o.peer for o in self.said), Counter({f"n{i}": 1 for i in range(30)}))

    def test_who_was_forgotten_while_others_were_asked_is_not_asked(self):
        waiting = self.mute(3)
        self.started(max_in_flight=2)
        self.run_for(1)
        self.table.forget("n1")
        self.run_for(0.25)
        waiting[0].callback({"node": "n0"})
        self.assertEqual([url for _, url in self.network.asked], [f"http://10.0.2.{i}:7946/info" for i in (1, 3)])

    def test_once_stopped_it_asks_nobody(self):
        waiting = self.mute(5)
        self.started(max_in_flight=2)
        self.run_for(1)
        self.liveness.stopService()
        waiting[0].callback(None)
        self.assertEqual((len(self.network.asked), self.said), (1, []))

    def test_where_nothing_was_proven_it_asks_again_soon_and_then_less_and_less(self):
        self.hear("n1", ttl=10_000.0)
        self.network.info["10.0.0.2"] = OSError("timed out")
        self.started(peer_ttl=200.0, interval=10.0)
        self.run_for(600)
        times = [at for at, _ in self.network.asked]
        gaps = [later - earlier for earlier, later in pairwise(times)]
        for gap, (least, most) in zip(gaps, [(5, 15.5), (15, 25.5), (35, 45.5), (75, 85.5)], strict=False):
            self.assertTrue(least <= gap <= most, gaps)
        self.assertTrue(gaps[4:] and all(100 <= gap <= 110.5 for gap in gaps[4:]), gaps)

    def test_a_member_whose_first_info_failed_is_one_after_a_probe_or_two(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = OSError("busy")
        self.started(peer_ttl=900.0, interval=10.0)
        self.run_for(0.5)
        self.network.info["10.0.0.2"] = {"node": "n1", "store": "s"}
        self.run_for(15.5)
        self.assertEqual(self.said[-1].meta["store"], "s")


class ForgottenTests(LivenessTestCase):
    def test_a_forgotten_peer_that_waits_its_turn_is_not_probed(self):
        self.network.holds = True
        self.hear("n1", "10.0.0.2")
        self.hear("n2", "10.0.0.3")
        self.started(max_in_flight=1)
        self.run_for(1)
        self.table.forget("n2")
        self.run_for(1)
        self.network.release()
        self.assertEqual([to for _, to, _ in self.network.connects], ["10.0.0.2"])

    def test_a_peer_forgotten_while_it_is_probed_does_not_come_back(self):
        self.network.holds = True
        self.hear("n1")
        self.started()
        self.run_for(1)
        self.table.forget("n1")
        self.run_for(0.25)
        self.network.release()
        self.assertEqual(self.said, [])
        self.assertNotIn("n1", self.table)

    def test_a_peer_forgotten_and_heard_again_while_it_waits_is_probed_once_and_where_it_is_now(self):
        self.network.holds = True
        self.hear("n1", "10.0.0.2")
        self.hear("n2", "10.0.0.3")
        self.started(max_in_flight=1, interval=60.0)
        self.run_for(1)
        self.table.forget("n2")
        self.run_for(0.25)
        self.hear("n2", "10.0.0.9")
        self.run_for(1)
        self.network.holds = False
        self.network.release()
        self.run_for(1)
        self.assertEqual([to for _, to, _ in self.network.connects], ["10.0.0.2", "10.0.0.9"])


class BrokenTests(LivenessTestCase):
    def both_probed_again(self, **broken):
        """Two peers and one slot: whatever breaks, each is probed at least twice."""
        self.hear("n1", "10.0.0.2")
        self.hear("n2", "10.0.0.3")
        calls = []
        for word, f in broken.items():
            broken[word] = lambda *a, f=f, word=word: (calls.append((word, a)), f(*a))[1]
        self.started(max_in_flight=1, interval=4.0, peer_ttl=4.0, **broken)
        self.run_for(14)
        self.assertEqual(self.liveness.failures, 0)
        self.assertGreaterEqual(len(calls), 4)

    def raising(self, *_):
        raise RuntimeError("broken")

    def test_a_connect_that_raises(self):
        self.both_probed_again(connect=self.raising)
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 4)

    def test_a_connect_that_fails(self):
        self.both_probed_again(connect=lambda *_: fail(RuntimeError("broken")))
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 4)

    def test_a_connect_that_gives_no_result(self):
        self.both_probed_again(connect=lambda *_: succeed(None))
        self.assertGreaterEqual(len(self.flushLoggedErrors(AttributeError)), 4)

    def test_an_ask_that_raises_proves_nothing(self):
        self.both_probed_again(ask=self.raising)
        self.assertEqual({frozenset(o.meta) for o in self.said}, {frozenset()})

    def test_an_ask_that_gives_no_deferred_is_taken_at_its_word(self):
        self.both_probed_again(ask=lambda url: ["not", "an", "object"])
        self.assertEqual({frozenset(o.meta) for o in self.said}, {frozenset()})

    def test_an_observe_that_raises(self):
        self.hear("n1")
        self.observe = self.raising
        self.started(max_in_flight=1, interval=4.0)
        self.run_for(14)
        self.assertGreaterEqual(len(self.network.connects), 3)
        self.assertGreaterEqual(len(self.flushLoggedErrors(RuntimeError)), 3)

    def test_of_what_info_says_only_short_printable_words_are_kept(self):
        self.hear("n1")
        self.network.info["10.0.0.2"] = {
            "node": "n1",
            "store": "x" * 129,
            "instance": "esc\x1b[31m",
            "version": ["1"],
            "selfUp": 1,
            "more": "words",
        }
        self.started()
        self.run_for(1)
        self.assertEqual(self.metas("n1"), [{"node": "n1", "selfUp": "false"}])

    @given(ANYTHING | INFOS)
    def test_whatever_info_says_the_peer_is_alive_or_an_impostor(self, info):
        self.setUp()
        self.hear("n1")
        self.network.info["10.0.0.2"] = info
        self.started(interval=4.0)
        self.run_for(5)
        another = isinstance(info, dict) and isinstance(info.get("node"), str) and info["node"] != "n1"
        self.assertEqual(bool(self.said), not another)
        self.assertEqual(bool(self.liveness.impostors), another)
        self.assertEqual(len(self.counted), 2 if self.counted else 0)
        self.assertEqual(self.flushLoggedErrors(), [])


class ProbeNowTests(LivenessTestCase):
    def test_it_probes_at_once_although_the_peer_is_not_due(self):
        self.hear("n1")
        self.started(interval=60.0)
        self.run_for(2)
        found = self.successResultOf(self.liveness.probe_now("n1"))
        self.assertEqual((found.ok, found.at, len(self.network.connects)), (True, 2.0, 2))

    def test_a_result_of_this_very_second_is_good_enough(self):
        self.hear("n1")
        self.started(interval=60.0)
        self.run_for(0.5)
        self.assertEqual(self.successResultOf(self.liveness.probe_now("n1")).at, 0.25)
        self.assertEqual(len(self.network.connects), 1)

    def test_those_who_ask_at_once_share_one_probe(self):
        self.network.holds = True
        self.hear("n1")
        self.started()
        self.run_for(1)
        asked = [self.liveness.probe_now("n1") for _ in range(3)]
        self.network.release()
        self.assertEqual({self.successResultOf(each).ok for each in asked}, {True})
        self.assertEqual(len(self.network.connects), 1)

    def test_it_is_the_next_to_have_a_turn(self):
        self.network.holds = True
        for i in range(5):
            self.hear(f"n{i}", f"10.0.2.{i + 1}", source="store")
        self.started(max_in_flight=1, interval=1000.0)
        self.liveness._look_round()
        self.hear("x", "10.0.3.1")
        self.run_for(0.5)
        self.liveness.probe_now("n4")
        self.network.release()
        self.assertEqual([to for _, to, _ in self.network.connects], ["10.0.3.1", "10.0.2.5"])

    def test_of_one_that_is_not_known_and_of_the_own_node_it_says_nothing(self):
        self.hear("here", "10.0.0.7", source="own")
        self.started()
        self.run_for(1)
        self.assertIsNone(self.successResultOf(self.liveness.probe_now("nope")))
        self.assertIsNone(self.successResultOf(self.liveness.probe_now("here")))
        self.assertEqual(self.network.connects, [])

    def test_of_a_probe_that_breaks_it_says_nothing_and_nothing_old(self):
        self.hear("n1")
        self.started(interval=60.0)
        self.run_for(2)
        self.liveness._connect = lambda *_: fail(RuntimeError("broken"))
        self.assertIsNone(self.successResultOf(self.liveness.probe_now("n1")))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def waiting_behind_another(self):
        self.network.holds = True
        self.hear("n1", "10.0.0.2")
        self.hear("n2", "10.0.0.3")
        self.started(max_in_flight=1)
        self.run_for(1)
        return self.liveness.probe_now("n2")

    def test_one_who_waits_for_a_peer_that_is_forgotten_is_told_so(self):
        asked = self.waiting_behind_another()
        self.table.forget("n2")
        self.run_for(0.25)
        self.assertIsNone(self.successResultOf(asked))

    def test_one_who_waits_when_it_stops_is_told_so(self):
        asked = self.waiting_behind_another()
        self.liveness.stopService()
        self.assertIsNone(self.successResultOf(asked))
        self.network.release()

    def test_a_stopped_one_says_nothing(self):
        self.hear("n1")
        self.started()
        self.run_for(1.5)
        self.liveness.stopService()
        self.assertIsNone(self.successResultOf(self.liveness.probe_now("n1")))

    def test_one_who_gave_up_waiting_is_no_trouble(self):
        asked = self.waiting_behind_another()
        asked.addErrback(lambda _: None)
        asked.cancel()
        self.network.release(1)
        self.network.release(1)


class StopTests(LivenessTestCase):
    def test_a_probe_under_way_when_it_stops_says_nothing_and_begins_no_other(self):
        self.network.holds = True
        self.hear("n1", "10.0.0.2")
        self.hear("n2", "10.0.0.3")
        self.started(max_in_flight=1)
        self.run_for(1)
        self.assertIsNone(self.liveness.stopService())
        self.network.release()
        self.run_for(60)
        self.assertEqual((self.said, len(self.network.connects)), ([], 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_proof_asked_for_when_it_stops_says_nothing(self):
        answer = Deferred()
        self.network.info["10.0.0.2"] = lambda: answer
        self.hear("n1")
        self.started()
        self.run_for(1)
        self.liveness.stopService()
        answer.callback({"node": "n1"})
        self.assertEqual(self.said, [])

    def test_it_goes_on_when_it_is_started_again(self):
        self.network.holds = True
        self.hear("n1", "10.0.0.2")
        self.hear("n2", "10.0.0.3")
        self.started(max_in_flight=1, interval=4.0)
        self.run_for(1)
        self.liveness.stopService()
        self.network.holds = False
        self.network.release()
        self.liveness.startService()
        self.run_for(5)
        self.assertEqual({o.peer for o in self.said}, {"n1", "n2"})
