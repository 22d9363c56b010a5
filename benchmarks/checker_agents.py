"""500 agents, simulated by this process, at one server: heartbeats, lists and reports at their usual pace, for a while.

    benchmarks/checker_agents.py [SECONDS]

Each has its heartbeat every 5 s and its round every 60 s, and opens a connection for each request. A round tells of all
the others, as the Go client's does.
"""

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from checker_load import address, post
from checker_server import Server
from figure import CORES, Figure, progress, stay_on_last_core, tell

AGENTS = 500
SECONDS = 60.0
HEARTBEAT, ROUND = 5.0, 60.0
WARM = 0.3
"""The share of the time after which memory should be flat: every agent has reported then, or will have soon."""

HOSTS, PODS = (10, 0), (10, 1)
BARE = """
import asyncio
async def answer(reader, writer):
    await reader.read(4096)
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
"""What the machine itself makes one wait: a server beside ours, on the same core, that does nothing."""


class Fleet:
    def __init__(self, port: int, bare_port: int, seconds: float):
        self._ports = {"bare": bare_port}
        self._port = port
        self._seconds = seconds
        self.waits: dict[str, list[float]] = {"heartbeat": [], "list": [], "report": [], "bare": []}
        self.refused = 0

    async def live(self) -> None:
        loops = [self._bare(), *(f(i) for i in range(AGENTS) for f in (self._beats, self._rounds))]
        await asyncio.wait([asyncio.ensure_future(loop) for loop in loops], timeout=self._seconds)

    async def _bare(self) -> None:
        while True:
            await self._ask("bare", b"GET / HTTP/1.1\r\n\r\n")
            await asyncio.sleep(HEARTBEAT / AGENTS)

    async def _beats(self, i: int) -> None:
        said = {
            "namespace": "lab", "node_ip": address(HOSTS, i), "pod_ip": address(PODS, i), "pod_name": f"agent-{i}",
            "node_name": f"node-{i}", "timestamp": "2026-11-20T18:15:47.123456789Z",
        }  # fmt: skip
        request = post("/api/v1/heartbeat", json.dumps(said).encode())
        await asyncio.sleep(random.uniform(0, HEARTBEAT))
        while True:
            begun = time.perf_counter()
            await self._ask("heartbeat", request)
            await asyncio.sleep(HEARTBEAT * random.uniform(0.9, 1.1) - (time.perf_counter() - begun))

    async def _rounds(self, i: int) -> None:
        await asyncio.sleep(random.uniform(0, min(ROUND, WARM * self._seconds)))
        while True:
            begun = time.perf_counter()
            for layer, ours in (("hosts", HOSTS), ("pods", PODS)):
                await self._ask("list", f"GET /api/v1/{layer} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                await self._ask("report", post(f"/api/v1/test-results/{layer}", report(i, ours)))
            await asyncio.sleep(ROUND * random.uniform(0.9, 1.1) - (time.perf_counter() - begun))

    async def _ask(self, kind: str, request: bytes) -> None:
        begun = time.perf_counter()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._ports.get(kind, self._port))
        try:
            writer.write(request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1))
            answer = await reader.read()
            while more := await reader.read():
                answer += more
        finally:
            writer.close()
        self.waits[kind].append(time.perf_counter() - begun)
        self.refused += not answer.startswith(b"HTTP/1.1 200")


def report(i: int, ours: tuple[int, int]) -> bytes:
    """As our agent tells it."""
    results = ",".join(
        f'{{"source_ip":"{address(ours, i)}","target_ip":"{address(ours, j)}","ping_status":"reachable",'
        f'"port_status":{{"22":"open"}},"latency":"{0.3 + random.random():.2f}ms","test_duration":"500.00ms",'
        '"timestamp":"2026-11-20T18:15:47.123456Z","loss":0.0,"sent":3,"received":3}'
        for j in range(AGENTS)
        if j != i
    )
    return f'{{"source_ip":"{address(ours, i)}","results":[{results}]}}'.encode()


def p99_of(waits: "list[float]") -> float:
    return waits[int(0.99 * len(waits))]


async def watch(pid: int, seconds: float) -> list[tuple[float, float]]:
    """The server's memory in MB, each second."""
    seen = []
    begun = time.monotonic()
    while (now := time.monotonic() - begun) < seconds:
        status = Path(f"/proc/{pid}/status").read_text()
        kilobytes = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        seen.append((now, kilobytes / 1000))
        await asyncio.sleep(1)
    return seen


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    stay_on_last_core()
    with tempfile.TemporaryDirectory() as directory:
        server = Server(Path(directory))
        bare = subprocess.Popen([sys.executable, "-c", BARE], stdout=subprocess.PIPE, text=True)
        os.sched_setaffinity(bare.pid, {min(CORES)})
        try:
            used = server.cpu()
            assert bare.stdout is not None
            fleet = Fleet(server.port, int(bare.stdout.readline()), seconds)

            async def both() -> list[tuple[float, float]]:
                _, seen = await asyncio.gather(fleet.live(), watch(server.pid, seconds))
                return seen

            seen = asyncio.run(both())
            used = server.cpu() - used
        finally:
            server.stop()
            bare.kill()
            bare.wait()
    waits = {kind: sorted(1000 * wait for wait in waits) for kind, waits in fleet.waits.items()}
    progress(f" {', '.join(f'{len(each)} x {kind}' for kind, each in waits.items())}; {fleet.refused} refused")
    bare_waits = waits.pop("bare")
    for kind, each in waits.items():
        beside = {"a server that does nothing": [p99_of(bare_waits)], "median": [statistics.median(each)]}
        p99 = p99_of(each)
        at_most = 50.0 if kind == "heartbeat" else None
        name = f"checker, 500 agents for {seconds:.0f} s: a {kind}, the 99th of 100"
        tell([Figure(name, "ms", [p99], at_most=at_most, references=beside)])
    warm = [memory for at, memory in seen if 1.5 * WARM * seconds <= at]
    growth = statistics.fmean(warm[-3:]) - statistics.fmean(warm[:3])
    tell(
        [
            Figure("... memory of the server at the end", "MB", [seen[-1][1]]),
            Figure("... grown since every agent had reported", "MB", [growth], at_most=5.0),
            Figure("... of a core", "%", [100 * used / seconds]),
        ]
    )


if __name__ == "__main__":
    main()
