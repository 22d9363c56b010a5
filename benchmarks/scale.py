"""Liveness and the reconciler over 5,000 peers at the defaults: the share of a core, and the longest stall."""

import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from figure import Figure, measure, stay_on_first_core
from listeners import Listeners
from stalls import Stalls, stall_figure
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import deferLater
from world import hear, liveness

from k3net.model.brake import Brake
from k3net.model.peers import PeerTable
from k3net.model.result import ProbeResult
from k3net.reconciler.service import Reconciler
from k3net.store.sqlite import SqliteStore
from k3net.store.threaded import ThreadedStore
from k3net.tap import collect_rarely

PEERS = 5000
FIRST = 15.0
WINDOW = 60.0  # holds four probes of each peer, a proof or two by /info, and one report


async def figures(reactor: Any) -> list[Figure]:
    stay_on_first_core()
    collect_rarely()
    with tempfile.TemporaryDirectory() as folder, Listeners("info", PEERS) as listeners:
        table, reasons = PeerTable(newcomers=PEERS), Counter[str]()

        def counted(result: ProbeResult) -> None:
            reasons[result.reason or "ok"] += 1

        store = ThreadedStore(reactor, lambda: SqliteStore(str(Path(folder) / "nodes.db")))
        reconciler = Reconciler(
            reactor, store, table, name="own", instance="1", wall=time.time, brake=Brake(90.0, silence=45.0)
        )
        prober = liveness(reactor, table, reconciler.observe, counted=counted)
        hear(table, listeners.targets, reactor.seconds())
        services = (store, reconciler, prober)
        for service in services:
            service.startService()
        with Stalls(reactor) as first:
            await sleep(reactor, FIRST)
        reasons.clear()
        used, begun = time.process_time(), time.perf_counter()
        with Stalls(reactor) as later:
            await sleep(reactor, WINDOW)
        share = 100 * (time.process_time() - used) / (time.perf_counter() - begun)
        for service in reversed(services):
            await maybeDeferred(service.stopService)
        if set(reasons) != {"ok"} or reasons.total() < 3 * PEERS or len(reconciler.stored) < PEERS:
            raise RuntimeError(f"expected the answers of all: {reasons}, {len(reconciler.stored)} Nodes")
    return [
        Figure(f"of a core, {PEERS:,} peers probed each 15 s", "%", [share]),
        stall_figure("longest stall of the reactor meanwhile", [later]),
        stall_figure(f"longest stall when {PEERS:,} peers are new at once", [first]),
    ]


def sleep(reactor: Any, seconds: float) -> "Deferred[None]":
    return deferLater(reactor, seconds, lambda: None)


if __name__ == "__main__":
    measure(figures)
