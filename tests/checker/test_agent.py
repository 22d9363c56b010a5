"""The agent on a clock: what it tells a server that knows the contract, whatever the probes and the server do."""

from datetime import datetime, timezone

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.checker.agent import Agent, Aims, Identity
from k3net.checker.calls import ServerError
from k3net.model.result import ProbeResult

ME = Identity("edge-1", "10.0.0.1", "10.244.0.1", "agent-1", "k3net")
AIMS = Aims(22, 6100, "", 80, 200, 10)
WALL = 1_700_000_000.0


class Told:
    """A server as the agent sees it: what it lists, what it was told, and whether it answers."""

    def __init__(self):
        self.lists = {"hosts": ("10.0.0.1", "10.0.0.2"), "pods": ("10.244.0.1", "10.244.0.2")}
        self.beats, self.reports = [], {"hosts": [], "pods": [], "service": []}
        self.away = self.mute = False
        self.after_listing = lambda: None

    def _answer(self, value=None):
        if self.mute:
            return Deferred()
        return fail(ServerError("refused", may_pass=True)) if self.away else succeed(value)

    def beat(self, heartbeat):
        self.beats.append(heartbeat)
        return self._answer()

    def _list(self, layer):
        found = self._answer(self.lists[layer])
        self.after_listing()
        return found

    def hosts(self):
        return self._list("hosts")

    def pods(self):
        return self._list("pods")

    def take(self, layer, report):
        if not self.away:
            self.reports[layer].append(report)
        return self._answer()


class AgentTests(SynchronousTestCase):
    def setUp(self):
        self.clock, self.server = Clock(), Told()
        self.down, self.unmeasured, self.pinged, self.hanging = set(), set(), [], []
        self.hangs = self.unpinged = False

    def started(self, aims=AIMS, **more):
        agent = Agent(
            self.clock,
            self.server,
            ME,
            aims,
            ping=self.ping,
            connect=self.connect,
            resolve=self.resolve,
            wall=lambda: WALL,
            **more,
        )
        agent.startService()
        self.addCleanup(agent.stopService)
        self.clock.advance(1)
        return agent

    def result(self, target, probe):
        address = target[0] if isinstance(target, tuple) else target
        ok = None if address in self.unmeasured else address not in self.down
        reason = {True: "", False: "timeout", None: "not permitted"}[ok]
        found = ProbeResult(str(target), probe, ok, 0.0, rtt=0.001 if ok else None, reason=reason, sent=3, received=3)
        if not self.hangs:
            return succeed(found)
        done = Deferred()
        self.hanging.append((done, found))
        return done

    def ping(self, address, count, interval, timeout):
        self.pinged.append(address)
        if self.unpinged:
            return succeed(ProbeResult(address, "icmp", None, 0.0, reason="not permitted"))
        return self.result(address, "icmp")

    def connect(self, reactor, target, timeout):
        return self.result(target, "tcp")

    def resolve(self, reactor, name, timeout):
        ok = name not in self.down
        facts = {"addresses": ("10.96.0.7",)} if ok else {}
        return succeed(ProbeResult(name, "dns", ok, 0.0, reason="" if ok else "NXDOMAIN", facts=facts))

    def metric(self, agent, name, layer=None):
        """The value of a metric that has one of that layer, or one at all."""
        [collector] = agent.collectors
        [family] = [family for family in collector.collect() if family.name == name]
        [value] = [each.value for each in family.samples if each.labels.get("layer") == layer]
        return value

    def loops(self, agent):
        return {loop.name: loop for loop in agent.loops}

    def test_it_says_at_once_who_it_is_and_goes_on_saying_so(self):
        self.started()
        beat = self.server.beats[0]
        self.assertEqual((beat.node_ip, beat.pod_ip, beat.pod_name), ("10.0.0.1", "10.244.0.1", "agent-1"))
        self.assertEqual((beat.node_name, beat.namespace, beat.goodbye), ("edge-1", "k3net", False))
        self.assertEqual(beat.timestamp, datetime.fromtimestamp(WALL, timezone.utc))
        self.clock.pump([0.5] * 24)
        self.assertIn(len(self.server.beats), (3, 4))

    def test_the_first_round_is_at_once_and_tests_all_others_but_not_itself(self):
        self.started()
        hosts, pods = self.server.reports["hosts"][0], self.server.reports["pods"][0]
        self.assertEqual((hosts.source_ip, [each.target_ip for each in hosts.results]), ("10.0.0.1", ["10.0.0.2"]))
        self.assertEqual((pods.source_ip, [each.target_ip for each in pods.results]), ("10.244.0.1", ["10.244.0.2"]))
        self.assertEqual(hosts.results[0].port_status, {"22": "open"})
        self.assertEqual(pods.results[0].port_status, {"6100": "open"})
        self.assertNotIn("10.0.0.1", self.pinged)

    def test_each_layer_is_one_report(self):
        self.server.lists["hosts"] = tuple(f"10.0.1.{i}" for i in range(1, 150))
        self.started()
        self.assertEqual([len(report.results) for report in self.server.reports["hosts"]], [149])

    def test_who_is_down_is_told_as_down(self):
        self.down = {"10.0.0.2"}
        self.started()
        found = self.server.reports["hosts"][0].results[0]
        self.assertEqual((found.ping_status, found.port_status), ("unreachable", {"22": "closed"}))

    def test_who_departs_while_the_round_is_under_way_is_not_told_as_down(self):
        self.down = {"10.0.0.2", "10.244.0.2"}
        self.server.after_listing = lambda: self.server.lists.update({"hosts": ("10.0.0.1",), "pods": ("10.244.0.1",)})
        self.started()
        self.assertEqual(self.server.reports["hosts"], [])

    def test_who_leaves_is_nobody_whose_test_is_missed(self):
        self.server.lists["hosts"] = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
        agent = self.started(every=10.0)
        self.down = {"10.0.0.3"}
        self.server.lists["hosts"] = ("10.0.0.1", "10.0.0.2")
        self.clock.pump([1] * 40)
        self.assertEqual({each.target_ip for each in self.server.reports["hosts"][-1].results}, {"10.0.0.2"})
        self.assertEqual(list(agent.alarms), [])
        self.assertLess(self.metric(agent, "k3net_checker_agent_oldest_pair_age_seconds", "hosts"), 12)

    def test_it_publishes_how_many_of_the_others_it_covers_and_how_old_the_oldest_pair_is(self):
        agent = self.started(every=10.0)
        self.clock.advance(3)
        self.assertEqual(self.metric(agent, "k3net_checker_agent_coverage_ratio", "hosts"), 1.0)
        self.assertEqual(self.metric(agent, "k3net_checker_agent_oldest_pair_age_seconds", "hosts"), 3.0)
        self.unmeasured = {"10.0.0.2"}
        self.clock.pump([1] * 40)
        self.assertEqual(self.metric(agent, "k3net_checker_agent_coverage_ratio", "hosts"), 0.0)
        self.assertEqual(self.metric(agent, "k3net_checker_agent_coverage_ratio", "pods"), 1.0)
        self.assertEqual(self.metric(agent, "k3net_checker_agent_oldest_pair_age_seconds", "hosts"), 43.0)

    def test_in_a_large_fleet_all_are_covered_within_the_stated_rounds(self):
        self.server.lists["hosts"] = tuple(f"10.0.{i // 200}.{i % 200 + 1}" for i in range(100))
        agent = self.started(AIMS._replace(full_mesh_limit=20), every=10.0)
        shares = []
        for _ in range(12):
            shares.append(self.metric(agent, "k3net_checker_agent_coverage_ratio", "hosts"))
            self.clock.pump([1] * 10)
        self.assertLess(shares[0], 0.25)
        self.assertEqual(shares[-1], 1.0)

    def test_without_a_ping_the_port_is_told_and_the_operator_too(self):
        self.unpinged = True
        agent = self.started()
        found = self.server.reports["hosts"][0].results[0]
        self.assertEqual((found.ping_status, found.port_status, found.loss), ("reachable", {"22": "open"}, None))
        self.assertIn("1 tests of hosts were done without a ping: 'icmp: not permitted'", next(iter(agent.alarms)))
        self.unpinged = False
        self.clock.pump([1] * 70)
        self.assertEqual(list(agent.alarms), [])

    def test_what_could_not_be_measured_is_no_result_but_an_alarm(self):
        self.unmeasured = {"10.0.0.2"}
        agent = self.started()
        self.assertEqual(self.server.reports["hosts"], [])
        self.assertEqual(len(self.server.reports["pods"]), 1)
        self.assertIn("1 tests of hosts could not be measured", " ".join(agent.alarms))

    def test_a_service_is_tested_by_its_name(self):
        self.started(AIMS._replace(service_name="web.default"))
        found = self.server.reports["service"][0]
        self.assertEqual((found.source_ip, found.result.target_ip), ("10.244.0.1", "web.default"))
        self.assertIn("10.96.0.7", self.pinged)
        self.assertTrue(found.result.resolved)

    def test_a_service_whose_name_does_not_resolve_is_told_without_a_ping(self):
        self.down = {"web.default"}
        self.started(AIMS._replace(service_name="web.default"))
        self.assertEqual(self.server.reports["service"][0].result.reason, "dns: NXDOMAIN")
        self.assertNotIn("10.96.0.7", self.pinged)

    def test_while_the_server_is_away_it_goes_on_testing_whom_it_knew_and_says_since_when(self):
        agent = self.started()
        self.server.away = True
        self.pinged.clear()
        self.clock.pump([1] * 70)
        self.assertIn("10.0.0.2", self.pinged)
        self.assertIsNotNone(agent.dependencies[0].since)
        self.assertGreater(self.loops(agent)["checker round"].failures, 0)
        self.server.away = False
        self.clock.pump([1] * 70)
        self.assertIsNone(agent.dependencies[0].since)
        self.assertEqual(self.loops(agent)["checker round"].last_error, "")

    def test_a_round_that_overruns_is_told_as_such_and_no_other_begins_meanwhile(self):
        self.hangs = True
        agent = self.started(every=10.0)
        begun = len(self.hanging)
        self.clock.pump([1] * 15)
        self.assertEqual(len(self.hanging), begun)
        self.hangs = False
        for done, found in self.hanging:
            done.callback(found)
        self.assertIn("took 15 s, of 10 s", " ".join(agent.alarms))
        self.assertEqual(self.metric(agent, "k3net_checker_overruns"), 1)
        self.clock.pump([1] * 12)
        self.assertEqual(list(agent.alarms), [])
        self.assertEqual(self.metric(agent, "k3net_checker_overruns"), 1)

    def test_a_round_under_way_that_has_overrun_is_told_before_it_ends(self):
        self.hangs = True
        agent = self.started(every=10.0)
        self.clock.advance(9)
        self.assertEqual(list(agent.alarms), [])
        self.clock.advance(4)
        self.assertIn("under way has taken 13 s, of 10 s", " ".join(agent.alarms))

    def test_a_server_that_never_answers_does_not_make_a_round_fall_behind(self):
        agent = self.started(every=10.0)
        self.server.mute = True
        self.pinged.clear()
        self.clock.pump([1] * 60)
        self.assertGreaterEqual(self.pinged.count("10.0.0.2"), 4)
        self.assertIn("no answer within", self.loops(agent)["checker round"].last_error)

    def test_in_a_large_fleet_each_round_has_other_targets_beside_its_neighbours(self):
        self.server.lists["hosts"] = tuple(f"10.0.{i // 200}.{i % 200 + 1}" for i in range(1000))
        self.started(every=10.0)
        self.clock.pump([1] * 45)
        rounds = [{each.target_ip for each in report.results} for report in self.server.reports["hosts"]]
        self.assertGreater(len(rounds), 3)
        self.assertTrue(all(len(each) <= 20 for each in rounds))
        self.assertGreaterEqual(len(rounds[0] & rounds[1]), 10)
        self.assertGreater(len(set.union(*rounds)), 40)

    def test_its_last_word_is_a_goodbye(self):
        agent = self.started()
        stopped = []
        agent.stopService().addCallback(stopped.append)
        self.assertEqual([beat.goodbye for beat in self.server.beats], [False, True])
        self.assertEqual(len(stopped), 1)
        self.clock.pump([1] * 20)
        self.assertEqual(len(self.server.beats), 2)

    def test_a_server_that_never_answers_does_not_keep_it_from_stopping(self):
        agent = self.started()
        self.server.mute = True
        stopped = []
        agent.stopService().addCallback(stopped.append)
        self.assertEqual(stopped, [])
        self.clock.advance(2)
        self.assertEqual(len(stopped), 1)

    def test_one_that_was_never_heard_says_no_goodbye(self):
        self.server.away = True
        agent = self.started()
        agent.stopService()
        self.assertEqual([beat.goodbye for beat in self.server.beats], [False])

    def test_stopping_ends_a_round_that_hangs(self):
        self.hangs = True
        agent = self.started()
        self.assertTrue(self.hanging)
        stopped = []
        agent.stopService().addCallback(stopped.append)
        self.assertEqual(len(stopped), 1)
        self.assertEqual(self.flushLoggedErrors(), [])
