"""The report: what all results come to, every so often in the log, and whenever it is asked for."""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import inlineCallbacks

from k3net.checker.server import CheckerServer
from k3net.checker.wire import print_duration
from k3net.model import rfc3339
from k3net.model.matrix import Summary
from k3net.model.percent import rounded_percent
from k3net.model.verdict import LAYERS, state
from k3net.services import Periodic

_MOST_LINES = 20


class Reporter(Periodic):
    """Logs a report every `interval` seconds; `report()` is one now."""

    def __init__(self, clock: Any, server: CheckerServer, *, wall: Callable[[], float], interval: float):
        super().__init__(clock, interval, self.log, name="checker-report", first=interval)
        self._server = server
        self._wall = wall

    @inlineCallbacks
    def report(self):
        """A Deferred of the report of spec/3-checker.md, and ours: state, verdicts, coverage."""
        found = yield self._server.verdicts()
        server = self._server
        hosts, pods = server.addresses("host"), server.addresses("pod")
        coverage = {layer: round(server.results.coverage(layer)[0], 4) for layer in LAYERS}
        return {
            "timestamp": rfc3339.format_nanos(self._wall()),
            "active_client_count": len(server.registry),
            "host_ips": hosts,
            "pod_ips": pods,
            "host_test_summary": summary(server.results.summary("host")),
            "pod_test_summary": summary(server.results.summary("pod")),
            "service_test_summary": self._service_summary(),
            "state": state(found),
            "coverage": coverage,
            "verdicts": [verdict.as_json() for verdict in found],
        }

    def _service_summary(self) -> "dict[str, Any]":
        findings = [finding for finding in self._server.results.service_findings() if finding.ok is not None]
        failed = sum(not finding.ok for finding in findings)
        of_all = Summary(len(findings), failed, sum(finding.seconds for finding in findings))
        names = sorted({finding.service for finding in findings})
        return {"service_name": ", ".join(names[:3]), **summary(of_all)}

    @inlineCallbacks
    def log(self):
        report = yield self.report()
        for line in lines(report):
            self._log.info("{line}", line=line)


def summary(of: Summary) -> "dict[str, Any]":
    """spec/3-checker.md: the rate in percent, the durations as texts."""
    return {
        "total_tests": of.tests,
        "successful_tests": of.tests - of.failed,
        "failed_tests": of.failed,
        "success_rate": rounded_percent(of.success_rate / 100, 2),
        "avg_test_duration": print_duration(of.average),
        "total_test_duration": print_duration(of.seconds),
    }


def lines(report: "dict[str, Any]") -> Iterator[str]:
    """A report for the log: one line of numbers, and one for each verdict."""
    sums = []
    for layer in (*LAYERS, "service"):
        of = report[f"{layer}_test_summary"]
        if of["total_tests"]:
            rate = f"{of['success_rate']:g} % of {of['total_tests']}"
            sums.append(f"{layer} tests {rate} passed, {of['avg_test_duration']} on average")
    count = report["active_client_count"]
    yield f"checker report: {report['state']}; {count} agents; {'; '.join(sums) or 'no results yet'}"
    found = report["verdicts"]
    for verdict in found[:_MOST_LINES]:
        yield f"checker report: {verdict['text']!r}"
    if len(found) > _MOST_LINES:
        yield f"checker report: and {len(found) - _MOST_LINES} verdicts more"
