"""A reactor of two parts, a Clock and `callFromThread`, which the test turns; and a store that turns it itself."""

from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from k3net.store.interface import IStore
from k3net.store.threaded import ThreadedStore


class Turns(Clock):
    """Threads are real, time is the test's."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Any] = SimpleQueue()

    def callFromThread(self, f: Any, *args: Any, **kw: Any) -> None:
        self._calls.put((f, args, kw))

    def turn(self) -> None:
        """Wait for one call from a thread, and make it."""
        f, args, kw = self._calls.get(timeout=20)
        f(*args, **kw)

    def wait(self, d: "Deferred[Any]") -> Any:
        """The result of `d`; raises what it failed with."""
        results: list[Any] = []
        d.addBoth(results.append)
        while not results:
            self.turn()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


@implementer(IStore)
class Blocking:
    """A ThreadedStore as a driver again, for the contract suite."""

    def __init__(self, open_driver: Any):
        self._turns = Turns()
        self._store = ThreadedStore(self._turns, open_driver)

    def _wait(self, verb: str, *args: Any) -> Any:
        if not self._store.running:
            self._store.startService()
        return self._turns.wait(getattr(self._store, verb)(*args))

    def list(self) -> Any:
        return self._wait("list")

    def get(self, name: str) -> Any:
        return self._wait("get", name)

    def apply(self, steps: Any) -> Any:
        return self._wait("apply", steps)

    def identity(self) -> Any:
        return self._wait("identity")

    def look(self) -> Any:
        return self._wait("look")

    def check(self) -> str:
        return self._wait("check")

    def close(self) -> None:
        stopped = self._store.stopService()
        if stopped is not None:
            self._turns.wait(stopped)
