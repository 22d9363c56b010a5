"""A fleet on one clock and one memory store: every Reconciler is the real one, what the daemons see is made by hand."""

import random
from collections import Counter
from typing import Any

from reconciler.world import PEER_TTL, REPORT_EVERY, STORE
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from k3net.errors import StoreUnavailable
from k3net.model.brake import Brake, Opinion, Reach
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.reconciler.service import Reconciler
from k3net.store import records
from k3net.store.interface import Listing
from k3net.store.memory import MemoryStore, Shared

EPOCH = 1_800_000_000.0
PROBE_INTERVAL = 15
STEP = 0.25


class Ledger:
    """What the whole fleet asks of its store: `calls` by verb, `outcomes` of steps by kind, `written` by Node.

    A text that is listed many times is decoded once: Nodes are immutable, and the daemons here share them.
    """

    def __init__(self) -> None:
        self.shared = Shared(identity=STORE)
        self.driver = MemoryStore(self.shared)
        self.calls: Counter[str] = Counter()
        self.outcomes: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.writers: dict[str, list[tuple[str, float]]] = {}
        self._read: dict[str, Any] = {}

    def forget(self) -> None:
        for counts in (self.calls, self.outcomes, self.written, self.writers):
            counts.clear()

    def list(self) -> Listing:
        return [self._node(name, *found) for name, found in self.shared.texts.items()]

    def _node(self, name: str, number: int, text: bytes) -> Any:
        known = self._read.get(name)
        if known is None or known[0] != number:
            known = self._read[name] = (number, records.read(name, text, number))
        return known[1]


class Wire:
    """One daemon's way to the store, as Deferreds that have fired already; cut when the daemon is killed."""

    def __init__(self, name: str, ledger: Ledger, clock: Clock):
        self._name = name
        self._ledger = ledger
        self._clock = clock
        self.cut = False

    def list(self) -> "Deferred[Any]":
        return self._call("list", self._ledger.list)

    def get(self, name: str) -> "Deferred[Any]":
        return self._call("get", self._ledger.driver.get, name)

    def identity(self) -> "Deferred[Any]":
        return self._call("identity", self._ledger.driver.identity)

    def apply(self, steps: Any) -> "Deferred[Any]":
        return self._call("apply", self._apply, steps)

    def _call(self, verb: str, f: Any, *args: Any) -> "Deferred[Any]":
        return execute(self._counted, verb, f, *args)

    def _counted(self, verb: str, f: Any, *args: Any) -> Any:
        if self.cut:
            raise StoreUnavailable("killed")
        self._ledger.calls[verb] += 1
        return f(*args)

    def _apply(self, steps: Any) -> Any:
        outcomes = self._ledger.driver.apply(steps)
        for step, outcome in zip(steps, outcomes, strict=True):
            kind = type(outcome).__name__.lower()
            self._ledger.outcomes[kind] += 1
            if kind == "done":
                self._ledger.written[step.name] += 1
                self._ledger.writers.setdefault(step.name, []).append((self._name, self._clock.seconds()))
        return outcomes


class Steps(Clock):
    """task.Clock, sorted once a step: a thousand loops would have it sort at each of their calls."""

    def _sortCalls(self) -> None:
        """Left to `advance`."""

    def advance(self, amount: float) -> None:
        self.calls.sort(key=lambda call: call.getTime())
        super().advance(amount)


class Fleet:
    """`daemons` members (d0, d1, ...) that all see one another and `machines` that are no members (m0, ...).

    Daemons of one of the `views` share one PeerTable, a daemon that is started later has its own. Each machine is
    observed in each view once a probe interval, in another second in each: by multicast and by a probe that proved it.
    """

    def __init__(self, daemons: int, machines: int, views: int = 5, reconciler: "type[Reconciler]" = Reconciler):
        self._reconciler = reconciler
        self.clock = Steps()
        self.ledger = Ledger()
        self.asked = 0
        self.names = [f"d{i}" for i in range(daemons)]
        self.machines = [f"m{i}" for i in range(machines)]
        self.instances = {name: f"{name}-1" for name in self.names}  # by member, another after each restart
        self.up: set[str] = set()
        self.daemons: dict[str, Reconciler] = {}
        self.tables = [self._table() for _ in range(views)]
        self._addresses = {n: f"198.18.{i // 250}.{i % 250 + 1}" for i, n in enumerate([*self.names, *self.machines])}
        self._place = {name: i for i, name in enumerate(self._addresses)}
        self._seconds = 0
        self._rng = random.Random(3)

    def _table(self) -> PeerTable:
        return PeerTable(newcomers=12_000)

    def wall(self) -> float:
        return EPOCH + self.clock.seconds()

    def switch_on(self) -> None:
        """All are there and see one another; the daemons begin their passes one after another within a second."""
        self.up |= {*self.names, *self.machines}
        for table in self.tables:
            for name in self.up:
                self._observe(table, name)
        for i, name in enumerate(self.names):
            self.clock.callLater(i / len(self.names), self.start, name, self.tables[i % len(self.tables)])

    def start(self, name: str, table: "PeerTable | None" = None) -> Reconciler:
        self.up.add(name)
        if table is None:
            table = self._table()
            self.tables.append(table)
            self.instances[name] += "1"
        daemon = self.daemons[name] = self._reconciler(
            self.clock,
            Wire(name, self.ledger, self.clock),
            table,
            name=name,
            instance=self.instances[name],
            wall=self.wall,
            brake=Brake(PEER_TTL, silence=3 * PROBE_INTERVAL),
            reach=lambda: Reach(last_answer=self.clock.seconds()),
            ask=self._ask,
            report_every=REPORT_EVERY,
            peer_ttl=PEER_TTL,
        )
        self._observe(table, name)
        daemon.startService()
        return daemon

    def kill(self, name: str) -> None:
        """No goodbye, and nothing of it reaches the store any more."""
        self.up.discard(name)
        daemon = self.daemons.pop(name)
        daemon._store.cut = True
        daemon.stopService().addErrback(lambda _: None)

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self._look()
            for _ in range(round(1 / STEP)):
                self.clock.advance(STEP)

    def ready(self, name: str) -> str:
        return str(self.ledger.driver.get(name).ready.status)

    def _look(self) -> None:
        for number, table in enumerate(self.tables):
            for name in self.up:
                if (self._place[name] + 4 * number + self._seconds) % PROBE_INTERVAL == 0:
                    self._observe(table, name)
        self._seconds += 1

    def _observe(self, table: PeerTable, name: str) -> None:
        for observation in self._observations(name):
            table.observe(observation)

    def _observations(self, name: str) -> "list[Observation]":
        now = self.clock.seconds()
        meta = {"node": name}
        if name in self.instances:
            meta |= {"store": STORE, "instance": self.instances[name], "selfUp": "true", "version": "1"}
        heard = Observation(
            peer=name,
            source="mdns",
            seen_at=now,
            ttl=PEER_TTL,
            addresses=(self._addresses[name],),
            port=7946,
            reason="LANDiscovery",
            message="discovered via mDNS",
            meta={"pid": "7"},
        )
        return [
            heard,
            Observation(name, "liveness", now, PEER_TTL, reason="PeerAlive", message="tcp probe ok", meta=meta),
        ]

    def _ask(self, name: str) -> Opinion:
        """Three members try the machine."""
        self.asked += 1
        members = self._rng.sample(sorted(self.daemons), min(3, len(self.daemons)))
        return Opinion(reached_by=members[0]) if name in self.up else Opinion(denied_by=tuple(members))
