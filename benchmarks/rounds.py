"""A whole round of liveness over 1,000 peers of which 500 drop every packet."""

import random
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from figure import Figure, measure, stay_on_first_core
from listeners import Listeners, Target
from twisted.internet.defer import Deferred, maybeDeferred
from world import asking, asking_nothing, hear, liveness

from k3net.model.peers import PeerTable
from k3net.model.result import ProbeResult

HALF = 500
RUNS = 3
WANTED = 2.0


async def one_round(reactor: Any, targets: Sequence[Target], ask: Any) -> tuple[float, float]:
    """Seconds from the start until every peer has its result, and the processor's seconds in them."""
    table, reasons = PeerTable(), dict[str, str]()
    hear(table, targets, reactor.seconds())
    done: Deferred[None] = Deferred()

    def counted(result: ProbeResult) -> None:
        reasons[result.target] = result.reason or "ok"
        if len(reasons) == len(targets) and not done.called:
            done.callback(None)

    service = liveness(reactor, table, table.observe, ask=ask, counted=counted)
    begun, used = time.perf_counter(), time.process_time()
    service.startService()
    await done.addTimeout(30, reactor)
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    await maybeDeferred(service.stopService)
    found = Counter(reasons.values())
    if found != {"ok": HALF, "timeout": HALF}:
        raise RuntimeError(f"expected half to answer: {found}")
    return seconds, used


def nmap(targets: Sequence[Target]) -> float:
    """`nmap -sT` over the same, told to wait 700 ms and not to try again."""
    hosts, [port] = "\n".join(host for host, _ in targets), {port for _, port in targets}
    waits = [f"--{which}-rtt-timeout=700ms" for which in ("min", "initial", "max")]
    argv = ["nmap", "-sT", "-n", "-Pn", "-p", str(port), "-iL", "-", "--max-retries", "0", *waits]
    begun = time.perf_counter()
    subprocess.run(argv, input=hosts, capture_output=True, text=True, timeout=60, check=True)
    return time.perf_counter() - begun


async def figures(reactor: Any) -> list[Figure]:
    stay_on_first_core()
    kinds = (
        ("TCP alone", "closing", asking_nothing, WANTED),
        ("500 answer /info", "info", asking(reactor), WANTED),
        ("500 hang up on HTTP", "closing", asking(reactor), WANTED),
        ("500 are mute on HTTP", "mute", asking(reactor), None),
    )
    told, used = [], {}
    with Listeners("full", HALF, second=2) as silent:
        for title, kind, ask, wanted in kinds:
            with Listeners(kind, HALF, second=3, port=silent.targets[0][1]) as others:
                targets = [*silent.targets, *others.targets]
                random.Random(1).shuffle(targets)
                runs = [await one_round(reactor, targets, ask) for _ in range(RUNS if wanted else 1)]
                references = {"nmap -sT": [nmap(targets)]} if ask is asking_nothing and shutil.which("nmap") else {}
            used[title] = min(processor for _, processor in runs)
            name = f"one round, 1,000 peers, 500 silent: {title}"
            told.append(Figure(name, "s", [seconds for seconds, _ in runs], at_most=wanted, references=references))
    proof = (used["500 answer /info"] - used["TCP alone"]) / HALF
    return [*told, Figure("processor time to verify one peer by /info", "ms", [proof * 1000])]


if __name__ == "__main__":
    measure(figures)
