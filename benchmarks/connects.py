"""Connect probes a second on one core, against 4,000 listeners on the other."""

import re
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from figure import RUNS, Figure, measure, stay_on_first_core
from listeners import Listeners, Target
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from k3net.probes import tcp

PEERS = 4000
IN_FLIGHT = 256
TIMEOUT = 0.7


async def each(targets: Iterable[Target], connect: Callable[[Target], Awaitable[bool]]) -> tuple[float, float]:
    """Connects a second, and a second of processor time, `IN_FLIGHT` of them at a time.

    RuntimeError when one failed.
    """
    left = iter(targets)
    outcomes: dict[Target, bool] = {}

    async def worker() -> None:
        for target in left:
            outcomes[target] = await connect(target)

    begun, used = time.perf_counter(), time.process_time()
    await gatherResults([Deferred.fromCoroutine(worker()) for _ in range(IN_FLIGHT)], consumeErrors=True)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    if not all(outcomes.values()):
        raise RuntimeError(f"{list(outcomes.values()).count(False)} of {len(outcomes)} listeners were not reached")
    return len(outcomes) / seconds, len(outcomes) / used


def nmap(targets: Iterable[Target]) -> float:
    """The same by `nmap -sT`, from its start to its end."""
    hosts, [port] = [host for host, _ in targets], {port for _, port in targets}
    argv = ["nmap", "-sT", "-n", "-Pn", "-p", str(port), "-iL", "-", "-oG", "-"]
    begun = time.perf_counter()
    done = subprocess.run(argv, input="\n".join(hosts), capture_output=True, text=True, timeout=60, check=True)
    seconds = time.perf_counter() - begun
    found = len(re.findall(r"Ports: \d+/open/", done.stdout))
    if found != len(hosts):
        raise RuntimeError(f"nmap found {found} of {len(hosts)}")
    return found / seconds


async def figures(reactor: Any) -> list[Figure]:
    stay_on_first_core()

    async def ours(target: Target) -> bool:
        return bool((await tcp.probe(reactor, target, TIMEOUT)).ok)

    async def endpoint(target: Target) -> bool:
        there: Any = TCP4ClientEndpoint(reactor, *target, timeout=10 * TIMEOUT)
        connection = await there.connect(Factory.forProtocol(Protocol))
        connection.transport.abortConnection()
        return True

    runs, beside, scans = [], [], []
    with Listeners("closing", PEERS) as listeners:
        for _ in range(RUNS):
            runs.append(await each(listeners.targets, ours))
            beside.append(await each(listeners.targets, endpoint))
            if shutil.which("nmap"):
                scans.append(nmap(listeners.targets))
    told = []
    for at, title in enumerate(("a second", "a second of processor time")):
        references = {"TCP4ClientEndpoint": [run[at] for run in beside]}
        if scans and at == 0:
            references["nmap -sT"] = scans
        name = f"connect probes {title}, {PEERS:,} listeners, one core"
        told.append(Figure(name, "/s", [run[at] for run in runs], at_least=6000, references=references))
    return told


if __name__ == "__main__":
    measure(figures)
