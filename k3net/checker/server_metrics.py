"""What Prometheus may know of the checker's server: read from what it knows at each scrape, gone with an agent."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from k3net.checker.durations import LAN_BUCKETS
from k3net.checker.server import CheckerServer
from k3net.model.verdict import LAYERS, state

_BOUNDS = (*(f"{bound:g}" for bound in LAN_BUCKETS), "+Inf")


class ServerMetrics:
    """Counters by the name of the source's node, a histogram of round trips, and how the matrix is."""

    def __init__(self, server: CheckerServer, seconds: Callable[[], float]):
        self._server = server
        self._seconds = seconds

    def describe(self) -> Iterable[Metric]:
        """For the registry: the families, empty."""
        return []

    def collect(self) -> Iterator[Metric]:
        self._server.sweep()
        yield GaugeMetricFamily("k3net_checker_agents", "Agents that live.", value=len(self._server.registry))
        yield from self._counters()
        yield from self._round_trips()
        yield from self._matrix()
        yield from self._verdicts()

    def _counters(self) -> Iterator[Metric]:
        tests = CounterMetricFamily(
            "k3net_checker_tests", "Tests that an agent reported, by their result.", labels=["layer", "node", "result"]
        )
        sent = CounterMetricFamily("k3net_checker_packets_sent", "Echoes sent.", labels=["layer", "node"])
        received = CounterMetricFamily("k3net_checker_packets_received", "Echoes answered.", labels=["layer", "node"])
        for layer in LAYERS:
            for client, counts in self._server.results.counts(layer):
                tests.add_metric([layer, client.name, "ok"], counts.ok)
                tests.add_metric([layer, client.name, "failed"], counts.failed)
                if counts.not_measured:
                    tests.add_metric([layer, client.name, "not_measured"], counts.not_measured)
                if counts.sent:
                    sent.add_metric([layer, client.name], counts.sent)
                    received.add_metric([layer, client.name], counts.received)
        return iter((tests, sent, received))

    def _round_trips(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "k3net_checker_rtt_seconds", "Round trips of pings that succeeded.", labels=["layer"]
        )
        for layer, rtt in self._server.results.rtt.items():
            upto, buckets = 0, []
            for bound, count in zip(_BOUNDS, rtt.buckets, strict=True):
                upto += count
                buckets.append((bound, float(upto)))
            family.add_metric([layer], buckets, rtt.seconds)
        yield family

    def _matrix(self) -> Iterator[Metric]:
        health = GaugeMetricFamily(
            "k3net_checker_success_ratio", "Share of the results that count which are successes.", labels=["layer"]
        )
        coverage = GaugeMetricFamily(
            "k3net_checker_coverage_ratio", "Share of the ordered pairs that have a result.", labels=["layer"]
        )
        age = GaugeMetricFamily(
            "k3net_checker_oldest_result_age_seconds", "Age of the oldest result that counts.", labels=["layer"]
        )
        for layer in LAYERS:
            summary = self._server.results.summary(layer)
            if summary.tests:
                health.add_metric([layer], summary.success_rate / 100)
            share, oldest = self._server.results.coverage(layer)
            coverage.add_metric([layer], share)
            if oldest is not None:
                age.add_metric([layer], max(0.0, self._seconds() - oldest))
        return iter((health, coverage, age))

    def _verdicts(self) -> Iterator[Metric]:
        found = self._server.last_verdicts
        kinds = GaugeMetricFamily("k3net_checker_verdicts", "What is broken, by kind.", labels=["kind", "layer"])
        for (kind, layer), count in sorted(Counter((v.kind, v.layer) for v in found).items()):
            kinds.add_metric([kind, layer], count)
        healthy = GaugeMetricFamily(
            "k3net_checker_state", "1 for the state that the verdicts come to.", labels=["state"]
        )
        now = state(found)
        for word in ("healthy", "broken", "unknown"):
            healthy.add_metric([word], int(word == now))
        return iter((kinds, healthy))
