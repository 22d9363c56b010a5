"""The connectivity checker's server with 1,000 agents, each of which tests all the others."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec
from checker_load import Bystander, address, drive, get, post
from figure import CORES, RUNS, Figure, progress, stay_on_last_core, tell
from msgspec.structs import replace

from k3net.checker.findings import connectivity
from k3net.checker.wire import ConnectivityResult, SentReport
from k3net.model.result import ProbeResult

AGENTS = 1000
HEARTBEATS = 15_000
REPORTS = 500
DOWN = 500
HOSTS, PODS = (10, 0), (10, 1)
SETTINGS = """
mdns: {{enabled: false}}
node: {{register_self: false}}
listen: "127.0.0.1:0"
storage: {storage}
api: {{listen: "127.0.0.1:{port}"}}
checker: {{server: {{expiry: 1h}}}}
"""


class Server:
    """The daemon, on the first core."""

    def __init__(self, directory: Path, storage: str = "{type: memory}"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        file = directory / "k3net.yaml"
        file.write_text(SETTINGS.format(port=self.port, storage=storage))
        twistd = str(Path(sys.executable).with_name("twistd"))
        self._process = subprocess.Popen(
            [twistd, "-n", "k3net", "--config", str(file)],
            cwd=directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.sched_setaffinity(self._process.pid, {min(CORES)})
        deadline = time.monotonic() + 20
        while True:
            try:
                get(self.port, "/api/v1/health")
                return
            except OSError:
                assert time.monotonic() < deadline, "the daemon did not start"
                assert self._process.poll() is None, "the daemon ended"
                time.sleep(0.1)

    @property
    def pid(self) -> int:
        return self._process.pid

    def peak(self) -> float:
        """The most memory it ever had, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM:"))

    def cpu(self) -> float:
        """Seconds of a core that it has used."""
        after_name = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")

    def rates(self, requests: Sequence[bytes], connections: int, runs: int = 3) -> tuple[list[float], list[float]]:
        """Requests in a second of its core, and in a second of the clock, which others may have had a share of."""
        by_core, by_clock = [], []
        for _ in range(runs):
            before = self.cpu()
            by_clock.append(drive(self.port, requests, connections))
            by_core.append(len(requests) / (self.cpu() - before))
        return by_core, by_clock

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)


def heartbeats(count: int) -> Iterator[bytes]:
    for i in range(count):
        at = i % AGENTS
        said = {
            "namespace": "lab",
            "node_ip": address(HOSTS, at),
            "pod_ip": address(PODS, at),
            "pod_name": f"agent-{at}",
            "node_name": f"node-{at}",
            "timestamp": "2026-11-20T18:15:47.123456789Z",
        }
        yield post("/api/v1/heartbeat", json.dumps(said).encode())


def results(form: str, *, down: bool = False) -> bytes:
    """A report of all hosts by SOURCE: `ours`, or with what a Go client tells, or with the `least` that counts."""
    return msgspec.json.encode(SentReport("SOURCE", [_result(form, i, dead=down and i == DOWN) for i in range(AGENTS)]))


def _result(form: str, i: int, *, dead: bool) -> ConnectivityResult:
    target = address(HOSTS, i)
    rtt = None if dead else (0.3 + i % 50 / 100) / 1e3
    ping = ProbeResult(target, "icmp", not dead, 0.0, rtt, sent=3, received=0 if dead else 3)
    tcp = ProbeResult(target, "tcp", not dead, 0.0, rtt, reason="timeout" if dead else "")
    at = datetime(2026, 11, 20, 18, 15, 47, 123 + 7 * i, tzinfo=timezone.utc)
    found = connectivity("SOURCE", target, 22, ping, tcp, 0.5 + i % 300 / 1e5, at)
    assert found is not None
    if form == "least":
        return replace(found, source_ip="", latency="", timestamp=None, sent=0, received=0)
    return found if form == "ours" else replace(found, sent=0, received=0)


def reports(count: int, form: str, *, down: bool = False) -> Iterator[bytes]:
    body = results(form, down=down)
    for i in range(count):
        yield post("/api/v1/test-results/hosts", body.replace(b"SOURCE", address(HOSTS, i % AGENTS).encode()))


def main() -> None:
    stay_on_last_core()
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory))
        try:
            figures = list(measured(server))
        finally:
            server.stop()
    tell(figures)


def measured(server: Server) -> Iterator[Figure]:
    port = server.port
    sent = list(heartbeats(HEARTBEATS))
    drive(port, sent[:AGENTS], 16)
    by_core, by_clock = server.rates(sent, 32)
    yield Figure(
        "checker: heartbeats in a second of a core", "/s", by_core, at_least=5000, references={"by the clock": by_clock}
    )
    drive(port, reports(AGENTS, "least"), 8)
    yield from _large(port, "the least")
    yield Figure("checker: its memory then, at the most", "MB", [server.peak()], at_most=400)
    for form, told in (("least", "the least that counts"), ("go", "what a Go client tells"), ("ours", "all ours tell")):
        by_core, by_clock = server.rates(list(reports(REPORTS, form)), 8)
        yield Figure(
            f"checker: reports of 1,000 results in a second of a core, {told}",
            "/s",
            by_core,
            at_least=800,
            references={"by the clock": by_clock},
        )
    with Bystander(port, "/api/v1/health") as bystander:
        drive(port, reports(AGENTS, "ours"), 8)
        yield from _large(port, "all ours tell")
        yield Figure("checker: its memory then, at the most", "MB", [server.peak()], at_most=400)
        drive(port, reports(AGENTS, "ours", down=True), 8)
        times = []
        for report in reports(RUNS, "ours", down=True):
            time.sleep(2)
            drive(port, [report], 1)
            took, told = get(port, "/api/v1/report")
            times.append(took)
        found = [verdict["nodes"] for verdict in json.loads(told)["verdicts"]]
        progress(f" verdicts {found}")
        yield Figure("checker: summaries and verdicts", "s", times, at_most=1)
    longest = 1000 * bystander.longest
    yield Figure("checker: longest wait of another request", "ms", [longest], at_most=200)


def _large(port: int, told: str) -> Iterator[Figure]:
    answers = [get(port, "/api/v1/results") for _ in range(RUNS)]
    size = len(answers[0][1]) / 1e6
    name = f"checker: GET results, 1,000 x 1,000, {told}, {size:.0f} MB"
    yield Figure(name, "s", [took for took, _ in answers], at_most=0.25)


if __name__ == "__main__":
    main()
