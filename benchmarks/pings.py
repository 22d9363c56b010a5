"""1,000 hosts of which 100 drop every packet: three echoes and a TCP connect to each, and `fping` on the same hosts."""

import re
import resource
import shutil
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from figure import MISSING, Figure, lan, measure, progress, stay_on_first_core
from listeners import Listeners, addresses
from twisted.internet.defer import Deferred, gatherResults

from k3net.probes import tcp
from k3net.probes.icmp import Pinger

ALIVE, DEAD = 900, 100
RUNS = 3
COUNT, INTERVAL, TIMEOUT = 3, 1.0, 1.0
IN_FLIGHT = 256
ECHOES = 200
DROP = """chain in { type filter hook input priority 0
    ip daddr 127.9.0.0/16 drop
}"""


async def one_round(
    reactor: Any, alive: Sequence[str], dead: Sequence[str], port: int
) -> tuple[float, float, list[float]]:
    """Seconds until all is known of all hosts, the processor's seconds in them, and the average rtt of each host."""
    hosts = [*alive, *dead]
    left = iter(hosts)
    opened: Counter[str] = Counter()

    async def worker() -> None:
        for host in left:
            opened[(await tcp.probe(reactor, (host, port), TIMEOUT)).reason] += 1

    pinger = Pinger(reactor)
    begun, used = time.perf_counter(), time.process_time()
    echoes = gatherResults([pinger.ping(host, COUNT, INTERVAL, TIMEOUT) for host in hosts])
    await gatherResults([Deferred.fromCoroutine(worker()) for _ in range(IN_FLIGHT)])
    found = await echoes
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    answered = Counter((each.reason, each.received) for each in found)
    if opened != {"": ALIVE, "timeout": DEAD} or answered != {("", COUNT): ALIVE, ("timeout", 0): DEAD}:
        raise RuntimeError(f"expected {ALIVE} to answer: {opened}, {answered}")
    return seconds, used, [each.rtt for each in found if each.ok]


def fping(hosts: Iterable[str], *flags: str) -> tuple[float, list[float]]:
    """Seconds from its start to its end, and the average rtt in seconds of each host that answered."""
    begun = time.perf_counter()
    done = subprocess.run(["fping", "-q", *flags], input="\n".join(hosts), capture_output=True, text=True, timeout=90)
    seconds = time.perf_counter() - begun
    return seconds, [float(average) / 1000 for average in re.findall(r"min/avg/max = [\d.]+/([\d.]+)/", done.stderr)]


async def figures(reactor: Any) -> list[Figure]:
    stay_on_first_core()
    told = []
    with Listeners("closing", ALIVE, second=7) as listeners:
        alive, port = [host for host, _ in listeners.targets], listeners.targets[0][1]
        dead = addresses(DEAD, second=9)
        rounds = [await one_round(reactor, alive, dead, port) for _ in range(RUNS)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        beside = {
            "fping -c3": [fping([*alive, *dead], "-c3")[0]],
            "fping -c3 -i1": [fping([*alive, *dead], "-c3", "-i1")[0] for _ in range(RUNS)],
        }
    name = "1,000 hosts, 100 dead: 3 echoes 1 s apart and a TCP connect"
    told.append(Figure(name, "s", [seconds for seconds, _, _ in rounds], at_most=8.0, references=beside))
    told.append(Figure(f"{name}: processor time", "s", [used for _, used, _ in rounds]))
    told.append(Figure(f"{name}: memory of the process", "MB", [peak], at_most=90.0))
    ours, theirs = [], []
    for _ in range(RUNS):
        found = await Pinger(reactor).ping("127.0.0.1", ECHOES, 0.005, 1.0)
        ours.append(found.rtt)
        theirs += fping(["127.0.0.1"], f"-c{ECHOES}", "-p5")[1]
    apart = [abs(our - their) * 1000 for our, their in zip(ours, theirs, strict=True)]
    averages = {"k3net": [rtt * 1000 for rtt in ours], "fping": [rtt * 1000 for rtt in theirs]}
    told.append(
        Figure(f"rtt on loopback, {ECHOES} echoes: apart from fping's", "ms", apart, at_most=0.1, references=averages)
    )
    busy = [statistics.fmean(rtts) * 1000 for _, _, rtts in rounds]
    told.append(Figure("rtt on loopback in a round over 1,000 hosts", "ms", busy))
    return told


def main() -> None:
    lan()  # the tests' network namespaces, and root
    from probes.entered import a_network, entered

    if missing := [command for command in ("fping", "nft") if not shutil.which(command)]:
        progress(f" skipped: needs {', '.join(missing)}")
        raise SystemExit(MISSING)
    with a_network("pings", DROP) as namespace, entered(namespace):
        measure(figures)


if __name__ == "__main__":
    main()
