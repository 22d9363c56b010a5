"""How many Nodes say a pod CIDR that another says, too."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from k3net.model.conflicts import Conflicts


class ConflictMetric:
    """Read at each scrape; for `Part.collectors`."""

    def __init__(self, conflicts: Conflicts):
        self._conflicts = conflicts

    def describe(self) -> "list[Metric]":
        return []

    def collect(self) -> Iterator[Metric]:
        text = "Nodes whose pod CIDR overlaps another Node's."
        yield GaugeMetricFamily("k3net_pod_cidr_conflicts", text, value=len(self._conflicts))
