"""The connectivity checker's server with 1,000 agents, each of which tests all the others."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from checker_load import Bystander, address, drive, get, post
from figure import CORES, RUNS, Figure, progress, stay_on_last_core, tell

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


def results(source: str, *, full: bool, down: bool) -> bytes:
    """A report of all hosts: with no more than the Go client tells, or `full` as our agent has it."""

    def result(i: int) -> "dict[str, object]":
        dead = down and i == DOWN
        told: dict[str, object] = {
            "target_ip": address(HOSTS, i),
            "ping_status": "unreachable" if dead else "reachable",
            "port_status": {"22": "closed" if dead else "open"},
            "test_duration": f"{1 + i % 70 / 100:.2f}ms",
        }
        if full:
            told |= {
                "source_ip": source,
                "latency": f"{0.3 + i % 50 / 100:.2f}ms",
                "timestamp": "2026-11-20T18:15:47.123456789Z",
                "loss": 1 if dead else 0,
                "sent": 3,
                "received": 0 if dead else 3,
            }
        return told

    return json.dumps(
        {"source_ip": source, "results": [result(i) for i in range(AGENTS)]}, separators=(",", ":")
    ).encode()


def reports(count: int, *, full: bool = True, down: bool = False) -> Iterator[bytes]:
    form = results("SOURCE", full=full, down=down)
    for i in range(count):
        yield post("/api/v1/test-results/hosts", form.replace(b"SOURCE", address(HOSTS, i % AGENTS).encode()))


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
    drive(port, reports(AGENTS, full=False), 8)
    answers = [get(port, "/api/v1/results") for _ in range(RUNS)]
    size = len(answers[0][1]) / 1e6
    name = f"checker: GET results, 1,000 x 1,000, {size:.0f} MB"
    yield Figure(name, "s", [took for took, _ in answers], at_most=0.25)
    yield Figure("checker: its memory then, at the most", "MB", [server.peak()], at_most=400)
    del answers
    ready = list(reports(REPORTS))
    with Bystander(port, "/api/v1/health") as bystander:
        by_core, by_clock = server.rates(ready, 8)
    del ready
    yield Figure(
        "checker: reports of 1,000 results in a second of a core",
        "/s",
        by_core,
        at_least=800,
        references={"by the clock": by_clock},
    )
    drive(port, reports(AGENTS), 8)
    with Bystander(port, "/api/v1/health") as other:
        full = [get(port, "/api/v1/results") for _ in range(RUNS)]
        size = len(full[0][1]) / 1e6
        yield Figure(f"checker: GET results, all that our agents tell, {size:.0f} MB", "s", [took for took, _ in full])
        del full
        yield Figure("checker: its memory then, at the most", "MB", [server.peak()], at_most=400)
        drive(port, reports(AGENTS, down=True), 8)
        times = []
        for report in reports(RUNS, down=True):
            time.sleep(2)
            drive(port, [report], 1)
            took, told = get(port, "/api/v1/report")
            times.append(took)
        found = [verdict["nodes"] for verdict in json.loads(told)["verdicts"]]
        progress(f" verdicts {found}")
        yield Figure("checker: summaries and verdicts", "s", times, at_most=1)
    longest = 1000 * max(bystander.longest, other.longest)
    yield Figure("checker: longest wait of another request", "ms", [longest], at_most=200)


if __name__ == "__main__":
    main()
