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
        self.away = False
        self.after_listing = lambda: None

    def _answer(self, value=None):
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
        self.hangs = False

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
        return self.result(address, "icmp")

    def connect(self, reactor, target, timeout):
        return self.result(target, "tcp")

    def resolve(self, reactor, name, timeout):
        ok = name not in self.down
        facts = {"addresses": ("10.96.0.7",)} if ok else {}
        return succeed(ProbeResult(name, "dns", ok, 0.0, reason="" if ok else "NXDOMAIN", facts=facts))

    def loops(self, agent):
        return {loop.name: loop for loop in agent.loops}

    def test_it_says_at_once_who_it_is_and_goes_on_saying_so(self):
        self.started()
        beat = self.server.beats[0]
        self.assertEqual((beat.node_ip, beat.pod_ip, beat.pod_name), ("10.0.0.1", "10.244.0.1", "agent-1"))
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
        metrics = {metric.name: metric for metric in agent.collect()}
        self.assertEqual(metrics["k3net_checker_overruns"].samples[0].value, 1)

    def test_in_a_large_fleet_each_round_has_other_targets_beside_its_neighbours(self):
        self.server.lists["hosts"] = tuple(f"10.0.{i // 200}.{i % 200 + 1}" for i in range(1000))
        self.started(every=10.0)
        self.clock.pump([1] * 45)
        rounds = [{each.target_ip for each in report.results} for report in self.server.reports["hosts"]]
        self.assertGreater(len(rounds), 3)
        self.assertTrue(all(len(each) <= 20 for each in rounds))
        self.assertGreaterEqual(len(rounds[0] & rounds[1]), 10)
        self.assertGreater(len(set.union(*rounds)), 40)

    def test_stopping_ends_a_round_that_hangs(self):
        self.hangs = True
        agent = self.started()
        self.assertTrue(self.hanging)
        stopped = []
        agent.stopService().addCallback(stopped.append)
        self.assertEqual(len(stopped), 1)
        self.assertEqual(self.flushLoggedErrors(), [])
