"""How the rounds of an agent go: what it has covered, what it could not measure, and which of them took too long."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from k3net.checker.wire import ConnectivityResult
from k3net.log import make_logger
from k3net.model.mesh import Coverage, Mesh

_SLACK = 1.5


@dataclass
class _Layer:
    """The last round of one layer; `unpinged` of its tests were done without a ping, for the reason `why`."""

    tested: int = 0
    unmeasured: int = 0
    unpinged: int = 0
    why: str = ""
    coverage: Coverage = field(default_factory=Coverage)


class Account:
    """Told of each round of `every` seconds, and read for `/readyz` and the metrics."""

    def __init__(self, clock: Any, mesh: Mesh, every: float):
        self._clock = clock
        self._mesh = mesh
        self._every = every
        self._layers: dict[str, _Layer] = {}
        self._rounds = 0
        self._overruns = 0
        self._began: float | None = None
        self._took: float | None = None
        self._log = make_logger()

    def began(self) -> int:
        """A round begins; its number."""
        self._began = self._clock.seconds()
        self._rounds += 1
        return self._rounds - 1

    @property
    def left(self) -> float:
        """Seconds until the round that is under way has overrun."""
        return self._every if self._began is None else self._began + self._every - self._clock.seconds()

    def ended(self) -> None:
        """It is over, also when it was cut short; it has overrun when it took longer than a round has."""
        if self._began is None:
            return
        usual = self._took is None or self._took <= self._every
        self._took, self._began = self._clock.seconds() - self._began, None
        if self._took > self._every:
            self._overruns += 1
            if usual:
                self._log.warn(
                    "a round of tests took {took:.1f} s, more than its {every:g} s", took=self._took, every=self._every
                )
        elif not usual:
            self._log.info("a round of tests took {took:.1f} s, no more than it has", took=self._took)

    def expect(self, layer: str, others: Iterable[str]) -> None:
        """These are all whom the layer has beside the own one."""
        self._of(layer).coverage.expect(others, self._clock.seconds())

    def found(self, layer: str, results: "Sequence[ConnectivityResult | None]") -> None:
        """What the tests of a round came to; None is one that could not be measured."""
        of = self._of(layer)
        told = [result for result in results if result is not None]
        of.tested, of.unmeasured = len(told), len(results) - len(told)
        unpinged = [result.reason for result in told if not result.sent and result.resolved is None]
        of.unpinged, of.why = len(unpinged), unpinged[0].partition("; ")[0] if unpinged else ""
        of.coverage.tested([result.target_ip for result in told], self._clock.seconds())

    def _of(self, layer: str) -> _Layer:
        return self._layers.setdefault(layer, _Layer())

    @property
    def alarms(self) -> Iterator[str]:
        """What an operator should know of the last round, or of the one under way."""
        running = 0.0 if self._began is None else self._clock.seconds() - self._began
        if running > self._every:
            yield f"checker: the round under way has taken {running:.0f} s, of {self._every:g} s that it has"
        elif self._took is not None and self._took > self._every:
            yield f"checker: the last round took {self._took:.0f} s, of {self._every:g} s that it has"
        for layer, of in self._layers.items():
            if of.unmeasured:
                yield f"checker: {of.unmeasured} tests of {layer} could not be measured from here"
            if of.unpinged:
                yield f"checker: {of.unpinged} tests of {layer} were done without a ping: {of.why!r}"

    def describe(self) -> "list[Metric]":
        return []

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("k3net_checker_rounds", "Rounds of tests.", value=self._rounds)
        yield CounterMetricFamily("k3net_checker_overruns", "Rounds that took longer than they have.", self._overruns)
        if self._took is not None:
            yield GaugeMetricFamily("k3net_checker_round_seconds", "Time that the last round took.", self._took)
        tests = GaugeMetricFamily("k3net_checker_round_tests", "Tests of the last round.", labels=["layer", "measured"])
        share = GaugeMetricFamily(
            "k3net_checker_agent_coverage_ratio",
            "Share of the others that were tested in the time in which all should be.",
            labels=["layer"],
        )
        age = GaugeMetricFamily(
            "k3net_checker_agent_oldest_pair_age_seconds",
            "Time since the other was tested that waits longest for it.",
            labels=["layer"],
        )
        now = self._clock.seconds()
        for layer, of in self._layers.items():
            tests.add_metric([layer, "true"], of.tested)
            tests.add_metric([layer, "false"], of.unmeasured)
            oldest = of.coverage.oldest(now)
            if oldest is not None:
                share.add_metric([layer], of.coverage.share(now, self._cycle(of)))
                age.add_metric([layer], oldest)
        yield from (tests, share, age)

    def _cycle(self, of: _Layer) -> float:
        """Seconds in which each of the others should have been tested once: all rounds of a cycle, and some slack."""
        return _SLACK * self._every * self._mesh.rounds_to_meet(len(of.coverage.targets) + 1)
