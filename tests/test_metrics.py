"""What a scrape gives, read by prometheus_client's own parser."""

from dataclasses import dataclass

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.metrics import Metrics


@dataclass
class Loop:
    name: str
    started_at: "float | None" = None
    last_success: "float | None" = None
    failures: int = 0


class MetricsTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.metrics = Metrics(self.clock, "1.2.3")

    def scrape(self):
        families = text_string_to_metric_families(self.metrics.expose().decode())
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }

    def test_what_is_counted_is_shown(self):
        self.metrics.observed("mdns")
        self.metrics.observed("mdns")
        self.metrics.observation_refused("mdns", "port")
        self.metrics.peer_refused()
        self.metrics.step_done("conflict")
        self.metrics.store_failed()
        found = self.scrape()
        self.assertEqual(found["k3net_observations_total", ("source", "mdns")], 2)
        self.assertEqual(found["k3net_observations_refused_total", ("reason", "port"), ("source", "mdns")], 1)
        self.assertEqual(found["k3net_peers_refused_total",], 1)
        self.assertEqual(found["k3net_store_steps_total", ("outcome", "conflict")], 1)
        self.assertEqual(found["k3net_store_errors_total",], 1)
        self.assertEqual(found["k3net_build_info", ("version", "1.2.3")], 1)

    def test_round_trips_are_of_probes_that_succeeded(self):
        self.metrics.probed("tcp", "ok", 0.0003)
        self.metrics.probed("tcp", "timeout", 0.7)
        self.metrics.probed("tcp", "refused")
        found = self.scrape()
        self.assertEqual(found["k3net_probes_total", ("probe", "tcp"), ("result", "timeout")], 1)
        self.assertEqual(found["k3net_probe_rtt_seconds_count",], 1)
        self.assertEqual(found["k3net_probe_rtt_seconds_bucket", ("le", "0.00025")], 0)
        self.assertEqual(found["k3net_probe_rtt_seconds_bucket", ("le", "0.0005")], 1)

    def test_store_calls_are_timed_by_operation(self):
        self.metrics.store_took("list", 0.003)
        self.assertEqual(self.scrape()["k3net_store_seconds_bucket", ("le", "0.005"), ("operation", "list")], 1)

    def test_gauges_are_read_at_each_scrape(self):
        nodes, alarms = {"True": 3}, {"brake": False}
        self.metrics.watch_nodes(lambda: nodes)
        self.metrics.watch_peers(lambda: 7)
        self.metrics.watch_alarms(lambda: alarms)
        found = self.scrape()
        self.assertEqual(
            [found["k3net_nodes", ("status", status)] for status in ("True", "False", "Unknown")], [3, 0, 0]
        )
        self.assertEqual(found["k3net_peers",], 7)
        self.assertEqual(found["k3net_alarm", ("alarm", "brake")], 0)
        nodes["False"] = 2
        alarms["brake"] = True
        found = self.scrape()
        self.assertEqual(found["k3net_nodes", ("status", "False")], 2)
        self.assertEqual(found["k3net_alarm", ("alarm", "brake")], 1)

    def test_a_loop_shows_its_failures_and_the_age_of_its_last_success(self):
        loops = [Loop("good", 0.0, 90.0, 1), Loop("never", 10.0, None, 5), Loop("not-begun")]
        self.metrics.watch_loops(lambda: loops)
        self.clock.advance(100)
        found = self.scrape()
        self.assertEqual(found["k3net_loop_last_success_age_seconds", ("loop", "good")], 10)
        self.assertEqual(found["k3net_loop_last_success_age_seconds", ("loop", "never")], 90)
        self.assertNotIn(("k3net_loop_last_success_age_seconds", ("loop", "not-begun")), found)
        self.assertEqual(found["k3net_loop_failures_total", ("loop", "never")], 5)

    def test_one_gauge_that_fails_leaves_the_others_and_is_counted(self):
        self.metrics.watch_nodes(lambda: {}["absent"])
        self.metrics.watch_peers(lambda: 7)
        self.scrape()
        found = self.scrape()
        self.assertEqual(found["k3net_peers",], 7)
        self.assertEqual(found["k3net_scrape_errors_total",], 1)

    def test_labels_from_outside_are_bounded_and_nothing_is_lost(self):
        for number in range(1000):
            self.metrics.observation_refused(f"source-{number}", "port")
        values = [value for key, value in self.scrape().items() if key[0] == "k3net_observations_refused_total"]
        self.assertLessEqual(len(values), 65)
        self.assertEqual(sum(values), 1000)

    def test_the_process_is_measured(self):
        found = self.scrape()
        self.assertGreater(found["process_resident_memory_bytes",], 1 << 20)
        self.assertIn(("process_open_fds",), found)

    def test_nothing_says_when_a_series_began(self):
        self.metrics.observed("mdns")
        self.assertFalse([key for key in self.scrape() if key[0].endswith("_created")])

    def test_two_daemons_in_one_process_count_apart(self):
        other = Metrics(self.clock, "1.2.3")
        other.observed("mdns")
        self.assertNotIn(("k3net_observations_total", ("source", "mdns")), self.scrape())
        self.assertFalse([family.name for family in REGISTRY.collect() if family.name.startswith("k3net")])

    def test_what_a_part_registers_is_shown_until_it_is_gone(self):
        found = Counter("k3net_found", "Of a part.", ["peer"], registry=None)
        rtt = Histogram("k3net_found_seconds", "Of a part.", buckets=(0.1, 1.0), registry=None)
        self.metrics.register(found)
        self.metrics.register(rtt)
        for peer in ("n1", "n2"):
            found.labels(peer).inc()
        rtt.observe(0.5)
        self.assertEqual(self.scrape()["k3net_found_total", ("peer", "n1")], 1)
        self.assertEqual(self.scrape()["k3net_found_seconds_bucket", ("le", "1.0")], 1)
        found.remove("n1")
        self.assertNotIn(("k3net_found_total", ("peer", "n1")), self.scrape())
        self.assertEqual(self.scrape()["k3net_found_total", ("peer", "n2")], 1)
        self.metrics.unregister(found)
        self.metrics.unregister(found)
        self.assertNotIn(("k3net_found_total", ("peer", "n2")), self.scrape())
        self.metrics.register(Counter("k3net_found", "Of a part made anew.", registry=None))
        self.assertEqual(self.scrape()["k3net_found_total",], 0)

    def test_two_metrics_of_one_name_are_an_error(self):
        self.metrics.register(Counter("k3net_found", "Of a part.", registry=None))
        with self.assertRaises(ValueError):
            self.metrics.register(Counter("k3net_found", "Of another.", registry=None))

    def test_a_collector_is_read_at_each_scrape_and_one_that_fails_is_counted(self):
        class Rooms:
            nodes = ("n1",)

            def collect(self):
                family = GaugeMetricFamily("k3net_room", "Of a part.", labels=["node"])
                for node in self.nodes:
                    family.add_metric([node], 1 / len(node))
                yield family

        rooms = Rooms()
        self.metrics.register(rooms)
        self.assertEqual(self.scrape()["k3net_room", ("node", "n1")], 0.5)
        rooms.nodes = ("",)
        self.metrics.observed("mdns")
        self.scrape()
        found = self.scrape()
        self.assertEqual(found["k3net_observations_total", ("source", "mdns")], 1)
        self.assertGreaterEqual(found["k3net_scrape_errors_total",], 1)
        rooms.nodes = ()
        self.assertNotIn(("k3net_room", ("node", "n1")), self.scrape())
