"""A driver as Deferreds: its calls run one after another in a thread of their own, each with a deadline."""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock, Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from k3net.errors import CorruptRecord, StoreOverloaded, StoreUnavailable
from k3net.log import make_logger
from k3net.model.node import Node
from k3net.model.plan import Step
from k3net.services import Dependency
from k3net.store.interface import Found, Listing, OpenDriver, Outcomes
from k3net.store.threaded_claims import ThreadedClaims
from k3net.store.threaded_clusters import ThreadedClusters
from k3net.store.threaded_snapshots import ThreadedSnapshots

_WRITES = frozenset({"apply", "write_cluster", "add_receipts"})
_UNREPEATED = 10.0


class ThreadedStore(ThreadedClusters, ThreadedClaims, ThreadedSnapshots, Service):
    """The verbs of IStore as Deferreds; `open_driver()` is called in the thread, again by each call until it succeeds.

    A call that takes longer than `deadline` seconds fails with StoreUnavailable, its outcome unknown; while it hangs,
    further calls fail at once, as they do with StoreOverloaded when `queue` calls are under way or waiting.
    `last_success` and `unavailable_since` are times of `reactor`, or None; `last_error` is a text or "". A store that
    does not take a write is unavailable, however well it reads, until it takes one or nobody asked again for 10 s.
    `took(verb, seconds)` is told of each call that was answered, `missed()` of each that was not.
    Stopping waits `grace` seconds for what was asked before, then leaves the thread to the end of the process.
    """

    def __init__(
        self,
        reactor: Any,
        open_driver: OpenDriver,
        *,
        queue: int = 64,
        deadline: float = 10.0,
        grace: float = 5.0,
        name: str = "store",
        took: Callable[[str, float], None] = lambda verb, seconds: None,
        missed: Callable[[], None] = lambda: None,
    ):
        self._reactor = reactor
        self._open_driver = open_driver
        self._queue = queue
        self._deadline = deadline
        self._grace = grace
        self._took = took
        self._missed = missed
        self._thread: _DriverThread | None = None
        self._calls: dict[_Call, None] = {}
        self._log = make_logger()
        self.name = name
        self.last_success: float | None = None
        self.unavailable_since: float | None = None
        self._refuses_writes = False
        self._forgets: Any = None
        self.last_error = ""

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        return (Dependency("store", self.unavailable_since, self.last_error),)

    def list(self) -> "Deferred[Listing]":
        return self._call("list")

    def get(self, name: str) -> "Deferred[Node | None]":
        return self._call("get", name)

    def apply(self, steps: Sequence[Step]) -> "Deferred[Outcomes]":
        return self._call("apply", tuple(steps))

    def identity(self) -> "Deferred[str]":
        return self._call("identity")

    def look(self) -> "Deferred[Found]":
        return self._call("look")

    def check(self) -> "Deferred[str]":
        return self._call("check")

    def startService(self) -> None:
        super().startService()
        self._thread = _DriverThread(self._open_driver, self.name)
        self._calls = {}

    def stopService(self) -> "Deferred[None] | None":
        super().stopService()
        self._remember()
        thread, self._thread = self._thread, None
        if thread is None:
            return None
        stopped: Deferred[None] = Deferred()
        calls = self._calls

        def give_up() -> None:
            self._log.warn("{store} does not answer; left behind", store=self.name)
            for call in tuple(calls):
                call.expire(f"{self.name}: stopped before it answered")
            stopped.callback(None)

        def closed(result: Any) -> None:
            if isinstance(result, Failure):
                self._log.warn("{store} did not close: {error}", store=self.name, error=result.getErrorMessage())
            thread.join()
            if timer.active():
                timer.cancel()
                stopped.callback(None)

        timer = self._reactor.callLater(self._grace, give_up)
        deferToThreadPool(self._reactor, thread.pool, thread.close).addBoth(closed)
        return stopped

    def _call(self, verb: str, *args: Any) -> "Deferred[Any]":
        begun = self._reactor.seconds()

        def answered(result: Any) -> Any:
            if isinstance(result, Failure) and not result.check(CorruptRecord):
                self._missed()
            else:
                self._took(verb, self._reactor.seconds() - begun)
            return result

        return self._asked(verb, args).addBoth(answered)

    def _asked(self, verb: str, args: "tuple[Any, ...]") -> "Deferred[Any]":
        if self._thread is None:
            return fail(StoreUnavailable(f"{self.name}: not running"))
        if any(call.hung for call in self._calls):
            return fail(StoreUnavailable(f"{self.name}: still busy with a call that timed out; not begun"))
        if len(self._calls) >= self._queue:
            return fail(StoreOverloaded(f"{self.name} overloaded: {self._queue} calls are waiting; not begun"))
        if verb in _WRITES:
            self._remember()
        calls = self._calls

        def late() -> None:
            call.expire(f"{self.name}: {verb} timed out after {self._deadline:g} s")
            self._failed(verb, f"{verb} timed out")

        def ended(result: Any) -> None:
            del calls[call]
            if verb == "check" and not isinstance(result, Failure):
                pass  # that the store is down may be what it says
            elif not isinstance(result, Failure) or result.check(CorruptRecord):
                self._succeeded(verb)
            elif not result.check(_Expired):
                self._failed(verb, result.getErrorMessage())
            call.answer(result)

        call = _Call(self._reactor.callLater(self._deadline, late))
        calls[call] = None
        work = partial(call.run, self._thread, verb, args)
        deferToThreadPool(self._reactor, self._thread.pool, work).addBoth(ended)
        return call.result

    def _succeeded(self, verb: str) -> None:
        if verb in _WRITES or not self._refuses_writes:
            self._is_well()
        elif self._forgets is None:
            self._forgets = self._reactor.callLater(_UNREPEATED, self._is_well)

    def _is_well(self) -> None:
        self._remember()
        self._refuses_writes = False
        if self.unavailable_since is not None:
            self._log.info("{store} answers again", store=self.name)
        self.last_success = self._reactor.seconds()
        self.unavailable_since = None
        self.last_error = ""

    def _remember(self) -> None:
        """A refused write is not to be forgotten yet."""
        timer, self._forgets = self._forgets, None
        if timer is not None and timer.active():
            timer.cancel()

    def _failed(self, verb: str, error: str) -> None:
        self._remember()
        self._refuses_writes |= verb in _WRITES
        if self.unavailable_since is None:
            self.unavailable_since = self._reactor.seconds()
        if error != self.last_error:
            self._log.warn("{store} is unavailable: {error}", store=self.name, error=error)
        self.last_error = error


class _Expired(Exception):
    """The caller has been told "not begun", so it must not begin."""


class _Call:
    """One call on its way: `result` fires once, from the thread or by the deadline, whichever is first."""

    def __init__(self, timer: Any) -> None:
        self.result: Deferred[Any] = Deferred()
        self._timer = timer
        self.hung = False
        self._told = False
        self._begun = Lock()

    def run(self, thread: "_DriverThread", verb: str, args: "tuple[Any, ...]") -> Any:
        if not self._begun.acquire(blocking=False):
            raise _Expired
        return thread.call(verb, args)

    def expire(self, why: str) -> None:
        if not self._tell():
            return
        self.hung = not self._begun.acquire(blocking=False)
        self.result.errback(StoreUnavailable(f"{why}; {'outcome unknown' if self.hung else 'not begun'}"))

    def answer(self, value: Any) -> None:
        if self._tell():
            self.result.callback(value)

    def _tell(self) -> bool:
        told, self._told = self._told, True
        if self._timer.active():
            self._timer.cancel()
        return not told


class _DaemonPool(ThreadPool):
    """Threads that do not keep the process from ending."""

    threadFactory: Any = partial(Thread, daemon=True)


class _DriverThread:
    """One thread and the driver that it opens, uses and closes; used in the thread, but for `pool` and `join`."""

    def __init__(self, open_driver: OpenDriver, name: str | None):
        self.pool = _DaemonPool(0, 1, name)
        self.pool.start()
        self._open_driver = open_driver
        self._driver: Any = None

    def call(self, verb: str, args: "tuple[Any, ...]") -> Any:
        if self._driver is None:
            self._driver = self._open_driver()
        return getattr(self._driver, verb)(*args)

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()

    def join(self) -> None:
        """End the thread, which has nothing left to do."""
        self.pool.stop()
