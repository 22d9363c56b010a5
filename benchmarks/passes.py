"""Passes of the reconciler over 10,000 peers, and their first way into sqlite."""

import gc
import sqlite3
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from figure import Figure, measure, stay_on_first_core
from listeners import addresses
from stalls import Stalls, stall_figure
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import deferLater
from world import hear

from k3net.model.brake import Brake
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.reconciler.service import Reconciler
from k3net.store import records
from k3net.store.sqlite import SqliteStore
from k3net.store.threaded import ThreadedStore
from k3net.tap import collect_rarely

PEERS = 10_000
RUNS = 3
PASSES = 20
REPORT_EVERY = 60.0

Found = dict[str, list[float]]
Stalled = dict[str, list[Stalls]]


class Counting:
    """A driver whose calls are counted."""

    def __init__(self, driver: Any, calls: Counter[str]):
        self._driver = driver
        self._calls = calls

    def __getattr__(self, verb: str) -> Any:
        self._calls[verb] += 1
        return getattr(self._driver, verb)


class Later:
    """The reactor's clock, `ahead` seconds ahead."""

    def __init__(self, reactor: Any):
        self._reactor = reactor
        self.callLater = reactor.callLater
        self.ahead = 0.0

    def seconds(self) -> float:
        return float(self._reactor.seconds()) + self.ahead


class World:
    """A reconciler that has heard of 10,000 peers and got their answers, unless it is to be `empty`."""

    def __init__(self, reactor: Any, folder: str, *, empty: bool = False):
        self.calls = Counter[str]()
        self.clock = Later(reactor)
        self.path = Path(folder) / "nodes.db"
        self.store = ThreadedStore(reactor, lambda: Counting(SqliteStore(str(self.path)), self.calls))
        self.table = PeerTable(newcomers=PEERS)
        self.reconciler = Reconciler(
            self.clock,
            self.store,
            self.table,
            name="own",
            instance="1",
            wall=lambda: time.time() + self.clock.ahead,
            brake=Brake(90.0, silence=45.0),
            report_every=REPORT_EVERY,
        )
        self.store.startService()
        self.names: list[str] = []
        if empty:
            return
        self.addresses = addresses(PEERS, 1)
        hear(self.table, [(address, 7946) for address in self.addresses], self.clock.seconds())
        self.names = [peer.name for peer in self.table]
        self.answer()

    def answer(self) -> None:
        """Every peer answers a probe, as it does each 15 s."""
        for name in self.names:
            self.reconciler.observe(alive(name, self.clock.seconds()))

    def move(self, at: int) -> None:
        """One peer has another port."""
        hear(self.table, [(self.addresses[at], 8000)], self.clock.seconds())

    async def timed_pass(self) -> float:
        begun = time.perf_counter()
        await self.reconciler.reconcile()
        return time.perf_counter() - begun


def alive(name: str, now: float) -> Observation:
    return Observation(
        peer=name,
        source="liveness",
        seen_at=now,
        ttl=3600.0,
        reason="PeerAlive",
        message="tcp probe ok",
        meta={"node": name, "store": "another", "instance": "b", "version": "1", "selfUp": "true"},
    )


async def once(reactor: Any, found: Found, stalled: Stalled) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await filling(World(reactor, folder), reactor, found, stalled)
        await nothing_left(reactor)
        again = World(reactor, folder, empty=True)
        with Stalls(reactor) as stalls:
            found["adopt"].append(await again.timed_pass())
        stalled["adopt"].append(stalls)
        assert len(again.table) == PEERS
        await maybeDeferred(again.store.stopService)
    del again
    await nothing_left(reactor)


async def nothing_left(reactor: Any) -> None:
    """A daemon starts with no other world behind it, whose objects every garbage collection would visit."""
    await deferLater(reactor, 0)  # out of what the last world called us from
    gc.collect()


async def filling(world: World, reactor: Any, found: Found, stalled: Stalled) -> None:
    """From an empty store to one that holds all, and the passes after that."""
    with Stalls(reactor) as stalls:
        found["create"].append(await world.timed_pass())
    stalled["create"].append(stalls)
    assert stored(world.path) == PEERS
    found["plain sqlite"].append(plainly(world))
    await quiet(world, found["nothing new"], found["calls"], lambda: None)
    await quiet(world, found["all answered"], found["calls"], world.answer)
    for at in range(PASSES):
        world.move(at)
        found["one moved"].append(await world.timed_pass())
    assert world.calls == {"apply": PASSES}
    world.clock.ahead += REPORT_EVERY + 1
    with Stalls(reactor) as stalls:
        found["report"].append(await world.timed_pass())
    stalled["report"].append(stalls)
    assert world.calls["apply"] >= PEERS / 500
    await maybeDeferred(world.store.stopService)


async def quiet(world: World, seconds: list[float], calls: list[float], before: Callable[[], None]) -> None:
    """Passes in which there is nothing to write."""
    world.calls.clear()
    for _ in range(PASSES):
        before()
        seconds.append(await world.timed_pass())
    calls.append(world.calls.total())


def stored(path: Path) -> int:
    connection = sqlite3.connect(path)
    [[count]] = connection.execute("select count(*) from nodes").fetchall()
    connection.close()
    return int(count)


def plainly(world: World) -> float:
    """Seconds to encode the same Nodes and insert them, 500 a transaction, with no thread and no guard."""
    nodes = list(world.reconciler.stored.values())
    connection = sqlite3.connect(world.path.with_name("plain.db"), isolation_level=None)
    connection.executescript("pragma journal_mode = wal; pragma synchronous = normal")
    connection.execute("create table nodes (name text primary key, manifest text, version integer)")
    begun = time.perf_counter()
    for at in range(0, len(nodes), 500):
        connection.execute("begin immediate")
        rows = [(node.name, records.encode(node), 1) for node in nodes[at : at + 500]]
        connection.executemany("insert into nodes values (?, ?, ?)", rows)
        connection.execute("commit")
    seconds = time.perf_counter() - begun
    connection.close()
    return seconds


async def figures(reactor: Any) -> list[Figure]:
    stay_on_first_core()
    collect_rarely()
    found: Found = defaultdict(list)
    stalled: Stalled = defaultdict(list)
    for _ in range(RUNS):
        await once(reactor, found, stalled)
    millis = {name: [1000 * value for value in values] for name, values in found.items()}
    plain = {"sqlite3 alone": [round(median(found["plain sqlite"]), 3)]}
    n = f"{PEERS:,}"
    return [
        Figure(f"a pass over {n} peers, nothing new", "ms", millis["nothing new"], at_most=50),
        Figure(f"a pass over {n} peers that have all just answered", "ms", millis["all answered"], at_most=50),
        Figure(f"a pass in which one of {n} has moved, its Node written", "ms", millis["one moved"], at_most=50),
        Figure("calls of the store where nothing changed", "", found["calls"], at_most=0),
        Figure(f"{n} Nodes created in sqlite", "s", found["create"], at_most=3, references=plain),
        stall_figure("longest stall of the reactor meanwhile", stalled["create"]),
        Figure(f"{n} reports due at once", "s", found["report"]),
        stall_figure("longest stall of the reactor meanwhile", stalled["report"]),
        Figure(f"start over a store of {n} Nodes", "s", found["adopt"]),
        stall_figure("longest stall of the reactor meanwhile", stalled["adopt"]),
    ]


if __name__ == "__main__":
    measure(figures)
