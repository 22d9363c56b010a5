"""Several instances in one process: one store in memory, a network and a clock for each, and what befalls them."""

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from clusters.world import config
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock

from k3net.clusters.broadcast import Broadcast
from k3net.clusters.calls import CannotTell
from k3net.clusters.client import Unreachable, Version
from k3net.clusters.loading import Loading
from k3net.clusters.registry import Registry
from k3net.clusters.secrets import KeyRing
from k3net.clusters.service import Clusters
from k3net.errors import K3netError, NotFound, StoreUnavailable
from k3net.store.memory import MemoryStore, Shared

CATCH_UP = 5.0
CALL_TIMEOUT = 1.0
STEP = 0.25
CONFIGS = [config(f"https://10.0.0.{at}:6443") for at in range(3)]


class SlowStore:
    """A driver as ThreadedStore gives it: one call after another, each with its time; some fail, done or not."""

    def __init__(self, clock: Clock, driver: Any, chance: random.Random, trouble: "Callable[[], float]"):
        self._clock = clock
        self._driver = driver
        self._chance = chance
        self._trouble = trouble
        self._calls: deque[tuple[str, Any, Deferred[Any]]] = deque()

    def __getattr__(self, verb: str) -> Any:
        return lambda *args: self._call(verb, args)

    def _call(self, verb: str, args: Any) -> "Deferred[Any]":
        done: Deferred[Any] = Deferred()
        self._calls.append((verb, args, done))
        if len(self._calls) == 1:
            self._begin()
        return done

    def _begin(self) -> None:
        self._clock.callLater(self._chance.choice((0.0, 0.01, 0.2)), self._do)

    def _do(self) -> None:
        verb, args, _ = self._calls[0]
        troubled = self._chance.random() < self._trouble()
        lost = troubled and self._chance.random() < 0.5
        result = fail(StoreUnavailable("away")) if lost else maybeDeferred(getattr(self._driver, verb), *args)
        if troubled and not lost:
            result.addCallback(lambda _: fail(StoreUnavailable("outcome unknown")))
        result.addBoth(self._answer_later)  # an answer that is still on its way at the end is nobody's error

    def _answer_later(self, value: Any) -> None:
        self._clock.callLater(self._chance.choice((0.0, 0.01, 0.2)), self._answer, value)

    def _answer(self, value: Any) -> None:
        done = self._calls.popleft()[2]
        if self._calls:
            self._begin()
        done.callback(value)


class SomeServer:
    """Stands for a Client: the API server behind each kubeconfig answers, mostly."""

    def __init__(self, schedule: "Schedule"):
        self._schedule = schedule

    def version(self, *, timeout: float) -> "Deferred[Version]":
        if self._schedule.chance.random() < self._schedule.trouble():
            return fail(Unreachable("no answer"))
        return succeed(Version("v1.31.2"))


class Instance:
    """One of them; `down` is crashed, or stopped and to be continued."""

    def __init__(self, schedule: "Schedule", at: int):
        self.at = at
        self.schedule = schedule
        self.clock = Clock()
        self.clock.rightNow = schedule.now
        self.down = ""
        self.held_up: list[Callable[[], None]] = []
        store = SlowStore(self.clock, MemoryStore(schedule.shared), schedule.chance, schedule.trouble)
        registry = Registry(store, schedule.ring, in_thread=schedule.in_thread, wall=self.clock.seconds)
        self.loading = Loading(
            self.clock,
            registry,
            in_thread=schedule.in_thread,
            interval=CATCH_UP,
            connect=lambda clock, kubeconfig: SomeServer(schedule),
        )
        broadcast = Broadcast(
            self.clock,
            instances=lambda: succeed(tuple(str(other) for other in range(schedule.size) if other != at)),
            ask=self.ask,
            keep=registry.add_receipts,
            wall=self.clock.seconds,
            own=str(at),
            fan_out=2,
            timeout=CALL_TIMEOUT,
            deadline=10.0,
            chance=schedule.chance.random,
        )
        self.clusters = Clusters(self.clock, registry, self.loading, broadcast, catch_up=CATCH_UP)
        self.clusters.startService()

    def ask(self, address: str, name: str, change: str) -> "Deferred[str]":
        """A call over a network that loses requests and answers, and delivers some long after nobody waits for them."""
        schedule = self.schedule
        schedule.told.add((self.at, name))
        done: Deferred[str] = Deferred(lambda _: None)
        fate, trouble = schedule.chance.random(), schedule.trouble()
        if fate >= trouble / 3:
            delay = schedule.chance.choice((0.0, 0.1, 3 * CALL_TIMEOUT if fate < trouble else 0.3))
            schedule.later(delay, lambda: schedule.deliver(int(address), name, change).addBoth(self.answered, done))
        return done

    def answered(self, result: Any, done: "Deferred[str]") -> None:
        if self.schedule.chance.random() >= self.schedule.trouble() / 3:
            self.hear(lambda: None if done.called else done.callback(result))

    def hear(self, f: "Callable[[], None]") -> None:
        """As soon as this process runs; never, when it has crashed."""
        if not self.down:
            f()
        elif self.down == "stopped":
            self.held_up.append(f)

    def advance(self) -> None:
        if self.down:
            return
        heard, self.held_up = self.held_up, []
        for f in heard:
            f()
        self.clock.advance(max(0.0, self.schedule.now - self.clock.seconds()))

    def knows(self) -> "dict[str, tuple[int, int]]":
        return {state.name: (state.generation, state.serving) for state in self.loading.states()}


class Schedule:
    """What happens to `size` instances, by chance; `told` is who told whom of what, `changed` who changed what."""

    def __init__(self, seed: int, ring: KeyRing, in_thread: Any, *, size: int = 4):
        self.chance = random.Random(seed)
        self.shared = Shared()
        self.ring = ring
        self.in_thread = in_thread
        self.size = size
        self.now = 0.0
        self.healed = False
        self.troubled = self.chance.choice((0.0, 0.1, 0.4))
        self.told: set[tuple[int, str]] = set()
        self.changed: set[tuple[int, str]] = set()
        self._wires: list[tuple[float, Callable[[], None]]] = []
        self.instances = [Instance(self, at) for at in range(size)]

    def trouble(self) -> float:
        return 0.0 if self.healed else self.troubled

    def later(self, delay: float, f: "Callable[[], None]") -> None:
        self._wires.append((self.now + delay, f))

    def deliver(self, at: int, name: str, change: str) -> "Deferred[str]":
        """What an instance answers to a reload call; CannotTell."""
        instance = self.instances[at]
        if instance.down == "crashed":
            return fail(CannotTell("refused", True))
        answer: Deferred[str] = Deferred()

        def failed(failure: Any) -> str:
            if failure.check(NotFound) and change == "deletion":
                return ""
            raise CannotTell(str(failure.value), not failure.check(NotFound))

        def reload() -> None:
            instance.clusters.reload(name).addCallbacks(lambda _: str(at), failed).chainDeferred(answer)

        instance.hear(reload)
        return answer

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP)):
            self.now += STEP
            due = [f for at, f in self._wires if at <= self.now]
            self._wires = [wire for wire in self._wires if wire[0] > self.now]
            for f in due:
                f()
            for instance in self.instances:
                instance.advance()

    def befall(self) -> None:
        """One thing."""
        at = self.chance.randrange(self.size)
        instance = self.instances[at]
        what = self.chance.choice(("create", "create", "update", "update", "delete", "crash", "stop", "go on", "hint"))
        if what == "go on" or (what in ("crash", "stop") and instance.down):
            self.go_on(at)
        elif what in ("crash", "stop"):
            instance.down = {"crash": "crashed", "stop": "stopped"}[what]
        elif not instance.down:
            self.change(instance, what)

    def change(self, instance: Instance, what: str) -> None:
        name, text = self.chance.choice("abc"), self.chance.choice(CONFIGS)
        if what == "hint":
            instance.clusters.hint()
            return
        verbs = {
            "create": lambda: instance.clusters.create(name, "", text),
            "update": lambda: instance.clusters.update(name, kube_config=text),
            "delete": lambda: instance.clusters.delete(name),
        }
        self.changed.add((instance.at, name))
        verbs[what]().addErrback(lambda failure: failure.trap(K3netError))

    def go_on(self, at: int) -> None:
        if self.instances[at].down == "crashed":
            self.instances[at] = Instance(self, at)
        self.instances[at].down = ""

    def heal(self) -> None:
        """Nothing bad happens any more, and time passes: a round of catching up and one of loading."""
        self.healed = True
        for at in range(self.size):
            self.go_on(at)
        self.advance(3 * CATCH_UP)

    def stored(self) -> "dict[str, tuple[int, int]]":
        page = MemoryStore(self.shared).clusters("", 100)
        return {one.name: (one.generation, one.generation) for one in page.clusters}
