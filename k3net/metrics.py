"""What Prometheus may ask of this daemon: one registry, made here and handed over."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from k3net.log import make_logger

LAN_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
STORE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
OTHER = "other"


class Loop(Protocol):
    """What a Periodic shows of itself."""

    name: Any
    started_at: "float | None"
    last_success: "float | None"
    failures: int


class Bounded:
    """A counter whose labels come from outside: past `limit` sets of them all else is counted as `other`."""

    def __init__(self, counter: Counter, limit: int = 64):
        self._counter = counter
        self._limit = limit
        self._seen: set[tuple[str, ...]] = set()

    def inc(self, *labels: str) -> None:
        if labels not in self._seen:
            if len(self._seen) >= self._limit:
                labels = (OTHER,) * len(labels)
            self._seen.add(labels)
        self._counter.labels(*labels).inc()


class Collector(Protocol):
    """Every metric of prometheus_client is one."""

    def collect(self) -> Iterable[Metric]: ...


class Metrics:
    """The counters the rooms are given as callables, the gauges read at each scrape (`watch`), and what is registered.

    A part that comes and goes, or that has series of its own, keeps its own metrics: made with `registry=None`, told
    as its `collectors` (k3net/parts.py), dropped with a peer by the metric's `remove(*labels)`; labels from outside by
    `Bounded`. What is only read at a scrape, a gauge for each Node say, needs no series at all: anything with
    `collect()` that yields `GaugeMetricFamily` and the like.
    """

    def __init__(self, clock: Any, version: str):
        self._clock = clock
        self._log = make_logger()
        self._watched: list[Callable[[], Iterable[Metric]]] = []
        self._registered: dict[Collector, _Guarded] = {}
        self.registry = registry = CollectorRegistry()
        Gauge("k3net_build_info", "Always 1.", ["version"], registry=registry).labels(version).set(1)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._observations = Bounded(counter("k3net_observations", "Observations taken in.", "source"))
        self._refused = Bounded(
            counter("k3net_observations_refused", "Observations that break a rule.", "source", "reason")
        )
        self._peers_refused = counter("k3net_peers_refused", "Peers that found no room in the table.")
        self._steps = Bounded(counter("k3net_store_steps", "Steps applied to the store.", "outcome"))
        self._store_errors = counter("k3net_store_errors", "Calls the store did not answer.")
        self._probes = Bounded(counter("k3net_probes", "Probes by their result.", "probe", "result"))
        self._scrape_errors = counter("k3net_scrape_errors", "Gauges that could not be read at a scrape.")
        self._rtt = Histogram(
            "k3net_probe_rtt_seconds",
            "Round trips of probes that succeeded.",
            buckets=LAN_SECONDS,
            registry=registry,
        )
        self._store_seconds = Histogram(
            "k3net_store_seconds", "Time of store calls.", ["operation"], buckets=STORE_SECONDS, registry=registry
        )
        ProcessCollector(registry=registry)
        registry.register(self)

    def observed(self, source: str) -> None:
        self._observations.inc(source)

    def observation_refused(self, source: str, reason: str) -> None:
        self._refused.inc(source, reason)

    def peer_refused(self) -> None:
        self._peers_refused.inc()

    def step_done(self, outcome: str) -> None:
        """`outcome`: done, conflict or refused."""
        self._steps.inc(outcome)

    def store_failed(self) -> None:
        self._store_errors.inc()

    def store_took(self, operation: str, seconds: float) -> None:
        self._store_seconds.labels(operation).observe(seconds)

    def probed(self, probe: str, result: str, rtt: "float | None" = None) -> None:
        """`result`: ok, or the reason of a failure; `rtt` in seconds counts only when ok."""
        self._probes.inc(probe, result)
        if result == "ok" and rtt is not None:
            self._rtt.observe(rtt)

    def watch_nodes(self, count: Callable[[], Mapping[str, int]]) -> None:
        """`count()` gives the number of Nodes by their Ready status."""

        def families() -> Iterator[Metric]:
            family = GaugeMetricFamily("k3net_nodes", "Nodes by their Ready condition.", labels=["status"])
            found = count()
            for status in ("True", "False", "Unknown"):
                family.add_metric([status], found.get(status, 0))
            yield family

        self._watched.append(families)

    def watch_peers(self, count: Callable[[], int]) -> None:
        self._watched.append(lambda: [GaugeMetricFamily("k3net_peers", "Peers in the table.", value=count())])

    def watch_alarms(self, alarms: Callable[[], Mapping[str, bool]]) -> None:
        """`alarms()` gives each alarm there is, and whether it is raised."""

        def families() -> Iterator[Metric]:
            family = GaugeMetricFamily("k3net_alarm", "1 while the alarm is raised.", labels=["alarm"])
            for alarm, raised in alarms().items():
                family.add_metric([alarm], int(raised))
            yield family

        self._watched.append(families)

    def watch_loops(self, loops: Callable[[], Iterable[Loop]]) -> None:
        """Ages are since the last success, or since the start of a loop that has had none."""

        def families() -> Iterator[Metric]:
            age = GaugeMetricFamily(
                "k3net_loop_last_success_age_seconds", "Time since a loop last succeeded.", labels=["loop"]
            )
            failures = CounterMetricFamily("k3net_loop_failures", "Failed calls of a loop.", labels=["loop"])
            now = self._clock.seconds()
            for loop in loops():
                since = loop.started_at if loop.last_success is None else loop.last_success
                if since is not None:
                    age.add_metric([loop.name], max(0.0, now - since))
                failures.add_metric([loop.name], loop.failures)
            yield age
            yield failures

        self._watched.append(families)

    def register(self, collector: Collector) -> None:
        """Show this too; ValueError when a metric of its name is there (one that has `describe()` is asked for it).

        When `collect()` raises at a scrape, that is counted, and the others are shown.
        """
        guarded = _Guarded(collector, self._unreadable)
        self.registry.register(guarded)
        self._registered[collector] = guarded

    def unregister(self, collector: Collector) -> None:
        """Show this no more; one that is not registered is no error."""
        guarded = self._registered.pop(collector, None)
        if guarded is not None:
            self.registry.unregister(guarded)

    def describe(self) -> "list[Metric]":
        """For the registry, which would otherwise call `collect` to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        """For the registry: what is watched, as it is now; one that cannot be read is counted and leaves the others."""
        for families in self._watched:
            try:
                yield from list(families())
            except Exception as error:
                self._unreadable(error)

    def _unreadable(self, error: Exception) -> None:
        self._scrape_errors.inc()
        self._log.warn("a metric could not be read: {error!r}", error=error)

    def expose(self) -> bytes:
        """The Prometheus text format, version 0.0.4."""
        return generate_latest(_WithoutCreated(self.registry))


class _Guarded:
    """A collector that does not break a scrape."""

    def __init__(self, collector: Collector, unreadable: Callable[[Exception], None]):
        self._collector = collector
        self._unreadable = unreadable

    def describe(self) -> Iterable[Metric]:
        """For the registry, which then sees that no two are of the same name."""
        describe = getattr(self._collector, "describe", None)
        return describe() if describe is not None else []

    def collect(self) -> Iterator[Metric]:
        try:
            yield from list(self._collector.collect())
        except Exception as error:
            self._unreadable(error)


class _WithoutCreated:
    """A registry without the `_created` series, which double the text and which nobody asks for."""

    def __init__(self, registry: CollectorRegistry):
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric
