"""The server's state outlives its process: snapshots of it in the store, one loaded at the start."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from k3net.checker.adoption import AWAY, adopt
from k3net.checker.registry import SILENT_FOR
from k3net.checker.server import CheckerServer
from k3net.checker.snapshot import decoded, encoding
from k3net.errors import StoreUnavailable
from k3net.services import Periodic

SAVE_EVERY = 30.0
MOST_BYTES = 40 << 20
"""A snapshot that would be larger has the agents and no results."""

_LOOK = 2.0
"""Also between two tries to load."""
_BYTES_PER_SECOND = 256 << 10
_TRY_FOR = 30.0
_LONGEST_REST = 600.0
_PATIENCE = 5.0


class Keeping(Periodic):
    """Loads the newest snapshot, then saves one when something changed, SAVE_EVERY at the most, and on a clean stop.

    The store's own failures are the loop's, and delay nobody: `loaded()` fires after a few seconds at the latest, and
    so does a stop. A snapshot of this `name` is loaded rather than a newer one of another server, unless it is older
    than AWAY. How long one rests after a save grows with what it wrote, and with failures. `store()` gives the verbs of
    ISnapshotStore as Deferreds; `in_thread` and `wall` are as in CheckerServer.
    """

    def __init__(
        self,
        clock: Any,
        server: CheckerServer,
        store: Callable[[], Any],
        *,
        name: str,
        wall: Callable[[], float],
        in_thread: Callable[[Callable[[], Any]], "Deferred[Any]"],
        most_bytes: int = MOST_BYTES,
    ):
        super().__init__(clock, _LOOK, self._turn, name="checker-snapshots")
        self._server = server
        self._store = store
        self._name_of_ours = name
        self._wall = wall
        self._in_thread = in_thread
        self._most_bytes = most_bytes
        self._settled = False
        self._waiting: list[Deferred[None]] | None = []
        self._patience: Any = None
        self._saved = self._now_known()
        self._not_before = float("-inf")
        self._failed_saves = 0
        self._told_of_size = False
        self.last_bytes = 0

    def startService(self) -> None:
        super().startService()
        self._patience = self._clock.callLater(_PATIENCE, self._wait_no_more)

    @inlineCallbacks
    def stopService(self):
        """Waits a few seconds for a last save."""
        stopped = maybeDeferred(super().stopService)
        last = stopped.addCallback(lambda _: self._save() if self._settled and self._changed() else None)
        last.addErrback(lambda failure: self._log.warn("checker: {why}", why=failure.getErrorMessage()))
        yield _within(self._clock, _PATIENCE, last)
        self._wait_no_more()
        if self._patience is not None and self._patience.active():
            self._patience.cancel()

    def loaded(self) -> "Deferred[None]":
        """Fires when what was known before is known again, or nobody should wait for it any more."""
        waits: Deferred[None] = Deferred()
        if self._waiting is None:
            waits.callback(None)
        else:
            self._waiting.append(waits)
        return waits

    def _wait_no_more(self) -> None:
        waiting, self._waiting = self._waiting, None
        for waits in waiting or ():
            waits.callback(None)

    @inlineCallbacks
    def _turn(self):
        if not self._settled:
            yield self._begin()
        elif self._changed() and self._clock.seconds() >= self._not_before:
            yield self._save()

    @inlineCallbacks
    def _begin(self):
        """Load; again while the store may still be coming up, and never after any other failure."""
        again = False
        try:
            yield self._load()
        except StoreUnavailable:
            again = self._clock.seconds() - self.started_at < _TRY_FOR
            raise
        finally:
            self._settled = not again
            self._wait_no_more()

    @inlineCallbacks
    def _load(self):
        store, wall = self._store(), self._wall()
        fresh = [one for one in (yield store.snapshots()) if wall - one.at < SILENT_FOR]
        own = [one for one in fresh if one.name == self._name_of_ours and wall - one.at < AWAY]
        if not fresh:
            return
        name = (own or fresh)[0].name
        body = yield store.snapshot(name)
        if body is None:
            return
        try:
            known, rows = yield self._in_thread(lambda: decoded(body))
        except (ValueError, RecursionError) as error:
            self._log.warn("checker: the snapshot of {name!r} is none: {error!r}", name=name, error=str(error))
            return
        server = self._server
        for _ in adopt(known, rows, server.registry, server.results, self._clock.seconds(), self._wall()):
            yield deferLater(self._clock, 0, lambda: None)
        server.sweep()
        self._saved = self._now_known()
        yield server.read_anew()
        self._log.info(
            "checker: {agents} agents and {rows} rows of results are known again, saved {age:.0f} s ago by {name!r}",
            agents=len(server.registry),
            rows=len(rows),
            name=name,
            age=max(0.0, self._wall() - known.saved_at),
        )

    @inlineCallbacks
    def _save(self):
        server = self._server
        now, known = server.sweep(), self._now_known()
        encode = encoding(server.registry, server.results, now, self._wall())
        body, whole = yield self._in_thread(lambda: encode(self._most_bytes))
        if not whole and not self._told_of_size:
            self._log.warn(
                "checker: its results are more than {most} bytes, compressed: snapshots have the agents only",
                most=self._most_bytes,
            )
            self._told_of_size = True
        try:
            yield self._store().save_snapshot(self._name_of_ours, body, self._wall())
        except Exception:
            self._failed_saves += 1
            self._rest(SAVE_EVERY * 2.0 ** min(self._failed_saves, 10))
            raise
        self._saved, self._failed_saves, self.last_bytes = known, 0, len(body)
        self._rest(max(SAVE_EVERY, len(body) / _BYTES_PER_SECOND))

    def _rest(self, seconds: float) -> None:
        self._not_before = self._clock.seconds() + min(seconds, _LONGEST_REST)

    def _changed(self) -> bool:
        return self._saved != self._now_known()

    def _now_known(self) -> tuple[int, int]:
        return self._server.results.changes, self._server.heartbeats


def _within(clock: Any, seconds: float, asked: "Deferred[Any]") -> "Deferred[None]":
    """Fires when `asked` does, and after so many seconds in any case; then what comes of it is nobody's."""
    done: Deferred[None] = Deferred()
    timer = clock.callLater(seconds, done.callback, None)

    def answered(result: "Any | Failure") -> None:
        if timer.active():
            timer.cancel()
            done.callback(None)

    asked.addBoth(answered)
    return done
