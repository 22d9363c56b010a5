"""The server under a clock: who lives, what it comes to, what is said of it."""

from typing import Any

import msgspec
from checker.received import received
from prometheus_client import CollectorRegistry, generate_latest
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from k3net.checker.report import Reporter, lines
from k3net.checker.server import CheckerServer, InvalidRequest
from k3net.checker.server_metrics import ServerMetrics
from k3net.checker.wire import ConnectivityResult, Heartbeat, Report, ServiceReport


def beat(i: int, pod: str = "") -> Heartbeat:
    return Heartbeat(
        node_ip=f"10.0.0.{i}", pod_ip=f"10.1.0.{i}", pod_name=pod or f"agent-{i}", namespace="lab", node_name=f"n{i}"
    )


def report(source: int, others: "list[int]", down: "tuple[int, ...]" = ()) -> Report:
    return received(
        f"10.0.0.{source}",
        [
            ConnectivityResult(
                target_ip=f"10.0.0.{i}",
                ping_status="unreachable" if i in down else "reachable",
                port_status={"22": "closed" if i in down else "open"},
                test_duration="2.00ms",
                latency="" if i in down else "0.30ms",
                sent=3,
                received=0 if i in down else 3,
            )
            for i in others
            if i != source
        ],
    )


class ServerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.work: list[Any] = []
        self.told: list[tuple[str, str]] = []
        self.heard: list[str] = []
        self.server = self.made(maybeDeferred)

    def made(self, in_thread: Any) -> CheckerServer:
        server = CheckerServer(
            self.clock,
            wall=lambda: 1_795_198_547.25 + self.clock.seconds(),
            expiry=15.0,
            in_thread=in_thread,
            accepted=lambda kind, key, body: self.told.append((kind, key)),
            heard=lambda said: self.heard.append(said.node_name),
        )
        server.startService()
        self.addCleanup(server.stopService)
        return server

    def mesh(self, count: int, down: "tuple[int, ...]" = ()) -> None:
        for i in range(count):
            self.server.heartbeat(beat(i))
        for i in range(count):
            if i not in down:
                self.server.report("hosts", report(i, list(range(count)), down))

    def kinds(self) -> "list[tuple[str, tuple[str, ...]]]":
        return [(verdict.kind, verdict.nodes) for verdict in self.successResultOf(self.server.verdicts())]

    def test_a_client_record_has_its_version_and_its_last_heartbeat(self):
        self.server.heartbeat(beat(1))
        self.clock.advance(5)
        self.server.heartbeat(beat(1))
        self.assertEqual(
            self.server.clients(),
            [
                {
                    "name": "n1",
                    "namespace": "lab",
                    "node_ip": "10.0.0.1",
                    "pod_ip": "10.1.0.1",
                    "pod_name": "agent-1",
                    "version": 2,
                    "last_heartbeat": "2026-11-20T18:15:52.25Z",
                }
            ],
        )

    def test_silence_drops_an_agent_and_its_results(self):
        self.mesh(3)
        self.clock.advance(10)
        for i in (0, 1):
            self.server.heartbeat(beat(i))
        self.clock.advance(6)
        self.assertEqual(self.server.addresses("host"), ["10.0.0.0", "10.0.0.1"])
        self.assertEqual([source for source, _ in self.server.rows("host")], ["10.0.0.0", "10.0.0.1"])
        self.assertEqual(self.server.results.summary("host").tests, 2)

    def test_many_that_fall_silent_at_once_are_a_few_lines_of_the_log(self):
        for i in range(250):
            self.server.heartbeat(beat(i))
        with capturedLogs() as events:
            self.clock.advance(15)
        self.assertEqual(len(self.server.registry), 0)
        said = [formatEvent(event) for event in events]
        self.assertEqual((len(said), said[-1]), (21, "checker: and 230 agents more, all at once"))

    def silence(self, i: int, count: int) -> None:
        """Agent `i` says no more, and the others do for longer than the expiry."""
        for _ in range(4):
            self.clock.advance(5)
            for other in range(count):
                if other != i:
                    self.server.heartbeat(beat(other))

    def test_an_agent_that_fell_silent_and_that_nobody_reaches_is_down_though_it_counts_no_more(self):
        self.mesh(5)
        self.silence(3, 5)
        self.assertEqual(self.kinds(), [])
        self.assertEqual(self.server.silent("host"), ["10.0.0.3"])
        for i in (0, 1, 2, 4):
            self.server.report("hosts", report(i, list(range(5)), down=(3,)))
        self.clock.advance(1)
        self.assertEqual(self.kinds(), [("down", ("n3",))])
        summary = self.server.results.summary("host")
        self.assertEqual((summary.tests, summary.failed), (12, 0))
        self.assertNotIn(b"10.0.0.3", b"".join(cells for _, cells in self.server.rows("host")))
        self.assertEqual(self.server.results.coverage("host")[0], 1.0)
        self.server.heartbeat(beat(3))
        for i in range(5):
            self.server.report("hosts", report(i, list(range(5))))
        self.clock.advance(1)
        self.assertEqual((self.kinds(), self.server.silent("host")), ([], []))

    def test_what_was_found_of_an_agent_before_it_fell_silent_says_nothing_of_it(self):
        self.mesh(5, down=(3,))
        self.assertIn(("down", ("n3",)), self.kinds())
        self.clock.advance(5)
        for i in range(5):
            self.server.heartbeat(beat(i))
        self.silence(3, 5)
        self.clock.advance(1)
        self.assertEqual(self.kinds(), [])

    def test_a_goodbye_raises_no_alarm_and_is_passed_on(self):
        self.mesh(5)
        self.server.heartbeat(msgspec.structs.replace(beat(3), goodbye=True))
        for i in (0, 1, 2, 4):
            self.server.report("hosts", report(i, list(range(5)), down=(3,)))
        self.assertEqual((len(self.server.registry), self.server.silent("host")), (4, []))
        self.assertEqual(self.kinds(), [])
        self.assertEqual(self.told.count(("heartbeats", "lab/agent-3")), 2)

    def test_a_restarted_agent_keeps_its_row_and_raises_no_alarm(self):
        self.mesh(3)
        self.server.heartbeat(beat(1, "agent-1-new"))
        self.assertEqual(len(self.server.registry), 3)
        self.assertEqual(self.kinds(), [])

    def test_results_that_come_before_the_heartbeat_count_when_it_comes(self):
        self.server.report("hosts", report(0, [0, 1]))
        self.server.heartbeat(beat(0))
        self.clock.advance(14)
        self.server.heartbeat(beat(0))
        self.clock.advance(14)
        self.assertEqual([source for source, _ in self.server.rows("host")], ["10.0.0.0"])

    def test_results_without_a_heartbeat_lapse(self):
        self.server.report("hosts", report(0, [0, 1]))
        self.assertEqual(len(self.server.registry), 0)
        self.clock.pump([1.0] * 16)
        self.assertEqual(self.server.rows("host"), [])

    def test_an_ipv6_address_is_the_same_however_it_is_written(self):
        for i in (1, 2):
            self.server.heartbeat(Heartbeat(f"FD00:0::{i}", f"fd01::0:{i}", f"agent-{i}"))
        found = ConnectivityResult(target_ip="fd00::2", ping_status="reachable", port_status={"22": "open"})
        self.server.report("hosts", received("fd00:0:0::1", [found]))
        self.assertEqual(self.server.addresses("host"), ["fd00::1", "fd00::2"])
        self.assertEqual(self.server.addresses("pod"), ["fd01::1", "fd01::2"])
        self.assertEqual([source for source, _ in self.server.rows("host")], ["fd00::1"])
        self.assertEqual(self.server.results.coverage("host")[0], 0.5)

    def test_agents_that_have_not_told_anything_yet_are_nodes_without_results(self):
        for i in range(3):
            self.server.heartbeat(beat(i))
        [verdict] = self.successResultOf(self.server.verdicts())
        self.assertEqual((verdict.kind, verdict.text), ("unknown", "too little data: no host was measured"))

    def test_the_verdict_names_the_node_that_is_down(self):
        self.mesh(6, down=(3,))
        self.assertIn(("down", ("n3",)), self.kinds())

    def test_verdicts_are_read_once_a_second_at_the_most_and_in_a_thread(self):
        self.server = self.made(self.in_thread)
        self.mesh(3)
        asked = [self.server.verdicts(), self.server.verdicts()]
        self.assertEqual(len(self.work), 1)
        self.run_work()
        self.assertEqual([self.successResultOf(each) for each in asked], [(), ()])
        self.server.report("hosts", report(0, [0, 1, 2]))
        self.successResultOf(self.server.verdicts())
        self.assertEqual(self.work, [])
        self.clock.advance(1.0)
        again = self.server.verdicts()
        self.assertEqual(len(self.work), 1)
        self.run_work()
        self.successResultOf(again)

    def in_thread(self, f: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self.work.append((f, done))
        return done

    def run_work(self) -> None:
        work, self.work = self.work, []
        for f, done in work:
            done.callback(f())

    def test_a_verdict_that_cannot_be_read_is_told_and_the_next_one_can(self):
        self.server = self.made(self.in_thread)
        asked = self.server.verdicts()
        [(_, done)] = self.work
        self.work = []
        done.errback(ZeroDivisionError())
        self.failureResultOf(asked, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.mesh(2)
        self.clock.advance(1.0)
        again = self.server.verdicts()
        self.run_work()
        self.assertEqual(self.successResultOf(again), ())

    def test_agents_that_share_a_name_are_an_alarm(self):
        for _ in range(3):
            for i in (1, 2):
                self.server.heartbeat(beat(i, "agent"))
        self.assertEqual(
            list(self.server.alarms),
            ["checker: 2 agents have the same pod name, 'lab/agent': on 10.0.0.1, 10.0.0.2"],
        )
        self.clock.advance(20.0)
        self.assertEqual(self.server.clients(), [])
        self.assertEqual(list(self.server.alarms), [])

    def test_a_duration_that_is_none_is_an_invalid_request(self):
        bad = ConnectivityResult(target_ip="web", test_duration="soon")
        error = self.assertRaises(InvalidRequest, self.server.report, "hosts", received("10.0.0.1", [bad]))
        self.assertIn("expected a duration", str(error))
        self.assertRaises(InvalidRequest, self.server.service_report, ServiceReport("10.0.0.1", bad))

    def test_what_agents_say_is_passed_on_and_what_servers_say_is_not(self):
        self.server.heartbeat(beat(1))
        self.server.report("hosts", report(1, [1, 2]))
        self.server.heartbeat(beat(2), forwarded=True)
        self.server.report("pods", report(2, [1, 2]), forwarded=True)
        self.assertEqual(self.told, [("heartbeats", "lab/agent-1"), ("hosts", "10.0.0.1")])

    def test_a_heartbeat_is_told_once_a_second_at_the_most(self):
        for _ in range(3):
            self.server.heartbeat(beat(1))
        self.clock.advance(1.0)
        self.server.heartbeat(beat(1))
        self.assertEqual(self.heard, ["n1", "n1"])

    def reporter(self) -> Reporter:
        return Reporter(self.clock, self.server, wall=lambda: 1_795_198_547.25, interval=300.0)

    def test_the_report_has_the_fields_of_the_contract(self):
        self.mesh(4, down=(3,))
        told = ConnectivityResult(target_ip="web", port_status={"80": "open"}, test_duration="1.00ms")
        self.server.service_report(ServiceReport("10.1.0.0", told))
        found = self.successResultOf(self.reporter().report())
        self.assertEqual(found["timestamp"], "2026-11-20T18:15:47.25Z")
        self.assertEqual(
            (found["active_client_count"], found["host_ips"][0], found["pod_ips"][-1]), (4, "10.0.0.0", "10.1.0.3")
        )
        self.assertEqual(
            found["host_test_summary"],
            {
                "total_tests": 9,
                "successful_tests": 6,
                "failed_tests": 3,
                "success_rate": 66.67,
                "avg_test_duration": "2.00ms",
                "total_test_duration": "18.00ms",
            },
        )
        self.assertEqual(found["service_test_summary"]["service_name"], "web")
        self.assertEqual(found["service_test_summary"]["success_rate"], 100.0)
        self.assertEqual(found["state"], "broken")
        self.assertIn("n3", " ".join(lines(found)))

    def test_a_report_of_nothing_divides_by_nothing(self):
        found = self.successResultOf(self.reporter().report())
        self.assertEqual(found["pod_test_summary"]["success_rate"], 0.0)
        self.assertEqual(found["state"], "unknown")

    def test_the_log_has_a_report_every_interval(self):
        reporter = self.reporter()
        reporter.startService()
        self.addCleanup(reporter.stopService)
        self.clock.advance(299)
        self.assertIs(reporter.last_success, None)
        self.clock.advance(1)
        self.assertEqual(reporter.last_success, 300.0)

    def metrics(self) -> str:
        registry = CollectorRegistry()
        registry.register(ServerMetrics(self.server, self.clock.seconds))
        return generate_latest(registry).decode()

    def test_metrics_have_the_name_of_the_node_and_go_with_it(self):
        self.mesh(4, down=(3,))
        self.clock.advance(2)
        text = self.metrics()
        for line in (
            "k3net_checker_agents 4.0",
            'k3net_checker_tests_total{layer="host",node="n0",result="ok"} 2.0',
            'k3net_checker_tests_total{layer="host",node="n0",result="failed"} 1.0',
            'k3net_checker_packets_sent_total{layer="host",node="n0"} 9.0',
            'k3net_checker_packets_received_total{layer="host",node="n0"} 6.0',
            'k3net_checker_rtt_seconds_bucket{layer="host",le="0.00025"} 0.0',
            'k3net_checker_rtt_seconds_bucket{layer="host",le="0.0005"} 6.0',
            'k3net_checker_rtt_seconds_count{layer="host"} 6.0',
            'k3net_checker_coverage_ratio{layer="host"} 0.75',
            'k3net_checker_oldest_result_age_seconds{layer="host"} 2.0',
            'k3net_checker_verdicts{kind="down",layer="host"} 1.0',
            'k3net_checker_state{state="broken"} 1.0',
        ):
            self.assertIn(line, text)
        self.clock.advance(15)
        self.assertNotIn('node="', self.metrics())
