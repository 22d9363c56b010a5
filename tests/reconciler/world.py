"""A small world for reconcilers: one clock, one memory store, daemons on it, and machines that live or die."""

from collections import Counter
from typing import Any

from store.controllers import MemoryController
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock

from k3net.errors import StoreUnavailable
from k3net.model.brake import Brake, Reach
from k3net.model.node import Node
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.reconciler.service import Reconciler
from k3net.store import records
from k3net.store.memory import MemoryStore, Shared

PEER_TTL = 90.0
REPORT_EVERY = 60.0
STORE = "the-store"
EPOCH = 1_800_000_000.0


class Wire:
    """A MemoryStore as Deferreds that have fired already; it remembers the calls, and fails when it is told to."""

    def __init__(self, shared: Shared):
        self._driver = MemoryStore(shared)
        self.calls: list[str] = []
        self.written: list[str] = []
        self.outcomes: Counter[str] = Counter()
        self.down = False
        self.loses_answers = False
        self.meanwhile: Any = None

    def list(self) -> "Deferred[Any]":
        return self._call("list")

    def get(self, name: str) -> "Deferred[Any]":
        return self._call("get", name)

    def identity(self) -> "Deferred[Any]":
        return self._call("identity")

    def apply(self, steps: Any) -> "Deferred[Any]":
        return execute(self._apply, steps)

    def _apply(self, steps: Any) -> Any:
        self.calls.append("apply")
        if self.down:
            raise StoreUnavailable("cut before the write")
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        outcomes = self._driver.apply(steps)
        kinds = [type(outcome).__name__ for outcome in outcomes]
        self.outcomes.update(kinds)
        self.written += [step.name for step, kind in zip(steps, kinds, strict=True) if kind == "Done"]
        if self.loses_answers:
            raise StoreUnavailable("cut after the write")
        return outcomes

    def _call(self, verb: str, *args: Any) -> "Deferred[Any]":
        self.calls.append(verb)
        if self.down:
            return execute(self._fail)
        return execute(getattr(self._driver, verb), *args)

    def _fail(self) -> None:
        raise StoreUnavailable("cut")


class Daemon:
    """A Reconciler, and the observations of the sources around it; `through(wire)` is the store that it is given."""

    def __init__(self, world: "World", name: str, **settings: Any):
        self.world = world
        self.name = name
        self.wire = Wire(world.shared)
        self.store = settings.pop("through", lambda wire: wire)(self.wire)
        self.table = PeerTable()
        self.reach: Any = None
        self.sees: set[str] = set()
        self.registers = settings.pop("registers", True)
        brake = Brake(PEER_TTL, silence=45.0, enabled=settings.pop("brake", True))
        self.reconciler = Reconciler(
            world.clock,
            self.store,
            self.table,
            name=name,
            instance=f"instance-of-{name}",
            registers=self.registers,
            wall=world.wall,
            brake=brake,
            reach=lambda: self.reach or Reach(last_answer=world.clock.seconds()),
            report_every=REPORT_EVERY,
            peer_ttl=PEER_TTL,
            **settings,
        )

    def start(self) -> "Daemon":
        self.reconciler.startService()
        self.world.clock.advance(0)
        return self

    def observe(self, peer: str, source: str, ttl: float = PEER_TTL, **claim: Any) -> bool:
        now = self.world.clock.seconds()
        return self.reconciler.observe(Observation(peer=peer, source=source, seen_at=now, ttl=ttl, **claim))

    def hears(self, peer: str, ttl: float = PEER_TTL, **claim: Any) -> bool:
        """By multicast."""
        word = {"reason": "LANDiscovery", "message": "discovered via mDNS", "addresses": (address_of(peer),)}
        return self.observe(peer, "mdns", ttl, **{**word, "port": 7946, "meta": {"pid": "7"}, **claim})

    def hears_goodbye(self, peer: str) -> bool:
        return self.observe(peer, "mdns", 0.0, reason="PeerGoodbye", message="said goodbye")

    def reaches(self, peer: str, **meta: str) -> bool:
        """By a probe that succeeded; `meta` is what `/info` said."""
        return self.observe(peer, "liveness", reason="PeerAlive", message="tcp probe ok", meta=meta)

    def speaks(self, beats: int = 3) -> bool:
        """Of itself."""
        word = {"reason": "LANDiscovery", "message": "discovered via mDNS"} if beats else {"reason": "PeerGoodbye"}
        address = address_of(self.name)
        return self.observe(self.name, "own", beats * 30.0, addresses=(address,), port=7946, **word)

    def look_round(self) -> None:
        """What the sources say of everybody this daemon sees, and of itself."""
        if self.registers:
            self.speaks()
        for peer in sorted(self.sees & self.world.up - {self.name}):
            self.hears(peer)
            self.reaches(peer, **self.world.info_of(peer))

    @property
    def stored(self) -> dict[str, Node]:
        return self.reconciler.stored


class World:
    """Time of day is EPOCH plus `ahead` plus the clock; `up` are the machines that live."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.shared = Shared(identity=STORE)
        self.foreign = MemoryController(self.shared)
        self.daemons: dict[str, Daemon] = {}
        self.up: set[str] = set()
        self.ahead = 0.0
        self._look_at = 0.0

    def wall(self) -> float:
        return EPOCH + self.ahead + self.clock.seconds()

    def daemon(self, name: str = "d1", *, sees: Any = (), **settings: Any) -> Daemon:
        """Started, and seeing these machines while they are up."""
        daemon = self.daemons[name] = Daemon(self, name, **settings)
        daemon.sees = set(sees)
        self.up |= {name}
        return daemon.start()

    def fleet(self, *names: str, machines: Any = (), **settings: Any) -> "list[Daemon]":
        """Daemons that all see each other and the machines."""
        self.up |= set(machines)
        fleet = [self.daemon(name, sees={*names, *machines}, **settings) for name in names]
        self.look_round()
        return fleet

    def info_of(self, name: str) -> dict[str, str]:
        daemon = self.daemons.get(name)
        if daemon is None:
            return {"node": name}
        self_up = "true" if daemon.registers else "false"
        return {"node": name, "store": STORE, "instance": f"instance-of-{name}", "selfUp": self_up}

    def kill(self, name: str) -> None:
        """Its last word stays unsaid: nothing of it reaches the store any more."""
        self.up.discard(name)
        daemon = self.daemons.pop(name, None)
        if daemon is not None:
            daemon.wire.down = True

    def advance(self, seconds: float, by: float = 1.0) -> None:
        """Time passes; every 15 seconds all daemons look round."""
        for _ in range(round(seconds / by)):
            self.clock.advance(by)
            if self.clock.seconds() >= self._look_at:
                self.look_round()

    def look_round(self) -> None:
        self._look_at = self.clock.seconds() + 15.0
        for daemon in self.daemons.values():
            daemon.look_round()

    def node(self, name: str) -> "Node | None":
        """As the store has it."""
        text = self.foreign.raw(name)
        return None if text is None else records.decode(name, text, 0)

    def ready(self, name: str) -> tuple[str, str] | None:
        """Status and reason, as the store has them; None without such a record."""
        node = self.node(name)
        return None if node is None else (node.ready.status, node.ready.reason)

    def written(self) -> "Counter[str]":
        """How often each record was written by a daemon; forgotten by asking."""
        found: Counter[str] = Counter()
        for daemon in self.daemons.values():
            found.update(daemon.wire.written)
            daemon.wire.written.clear()
        return found

    def calls(self) -> "Counter[str]":
        """How often each verb was called; forgotten by asking."""
        found: Counter[str] = Counter()
        for daemon in self.daemons.values():
            found.update(daemon.wire.calls)
            daemon.wire.calls.clear()
        return found


def address_of(name: str) -> str:
    """Every machine has one, of TEST-NET or its like."""
    number = sum(ord(letter) * 131**i for i, letter in enumerate(name)) % 60000
    return f"198.18.{number // 250}.{number % 250 + 1}"
