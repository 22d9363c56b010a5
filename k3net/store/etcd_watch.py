"""A hint from etcd that clusters have changed, sooner than they would be looked for."""

import random
from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from k3net.errors import StoreUnavailable
from k3net.log import make_logger

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_LASTING = 10.0


class EtcdWatch(Service):
    """Calls `hint()` in the reactor when clusters may have changed: at each change, and at each beginning of a watch.

    A watch may end, or miss something, at any time, so it is no more than a hint to look earlier. It has a thread and a
    connection of its own, and begins again with pauses that double, up to 2 s. Hints that come before the one before
    them was taken are one hint. `settings` are those under `storage`.
    """

    def __init__(
        self, reactor: Any, settings: Any, hint: Callable[[], Any], *, name: str = "etcd-watch", grace: float = 2.0
    ):
        self._reactor = reactor
        self._settings = settings
        self._hint = hint
        self._grace = grace
        self._log = make_logger()
        self._watching: _Watching | None = None
        self.name = name
        self.lost = ""
        """Why there is no watch now, or ""."""

    def startService(self) -> None:
        super().startService()
        self._watching = _Watching(self._reactor, self._settings, self._changed, self._ended)
        self._watching.start()

    def stopService(self) -> "Deferred[None] | None":
        super().stopService()
        watching, self._watching = self._watching, None
        if watching is None:
            return None
        watching.stop()
        return watching.done.addTimeout(self._grace, self._reactor, self._left_behind)

    def _changed(self) -> None:
        if self.lost:
            self._log.info("etcd tells of changes at once again")
        self.lost = ""
        if self.running:
            self._hint()

    def _ended(self, why: str) -> None:
        if why != self.lost and self.running:
            self._log.warn("etcd does not tell of changes at once: {why}", why=why)
        self.lost = why

    def _left_behind(self, _failure: Any, _timeout: float) -> None:
        self._log.warn("{watch} did not end; left behind", watch=self.name)


class _Watching(Thread):
    """One watch after another until it is stopped; `changed` and `ended` are called in the reactor."""

    def __init__(self, reactor: Any, settings: Any, changed: Callable[[], None], ended: Callable[[str], None]):
        super().__init__(name="etcd-watch", daemon=True)
        self._reactor = reactor
        self._settings = settings.etcd
        self._changed = changed
        self._ended = ended
        self._stopping = Event()
        self._untaken = Event()
        self._wire: Any = None
        self._call: Any = None
        self.done: Deferred[None] = Deferred()

    def run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stopping.is_set():
            begun = self._reactor.seconds()
            try:
                for response in self._responses():
                    if response.canceled:
                        raise StoreUnavailable(f"etcd store: it ended the watch: {response.cancel_reason[:200]!r}")
                    self._tell()
            except StoreUnavailable as error:
                self._reactor.callFromThread(self._ended, str(error))
            except Exception as error:  # its library cannot be used, or is not what it was
                self._reactor.callFromThread(self._ended, f"etcd store: {error!r}"[:300])
            lasted = self._reactor.seconds() - begun > _LASTING
            pause = _FIRST_PAUSE if lasted else min(2 * pause, _LONGEST_PAUSE)
            self._stopping.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311 - timing, not a secret
        self._reactor.callFromThread(self.done.callback, None)

    def _responses(self) -> "Iterator[Any]":
        from k3net.store.etcd_clusters import watch_requests  # not before it is known that etcd is used
        from k3net.store.etcd_rpc import Login, Wire

        if self._wire is None:
            s = self._settings
            login = Login(s.username, s.password, s.ca, s.cert, s.key)
            self._wire = Wire(s.endpoints, s.dial_timeout, login)
        over = Event()
        try:
            yield from self._wire.watch(watch_requests(over), self._began)
        finally:
            over.set()

    def stop(self) -> None:
        self._stopping.set()
        if self._call is not None:
            self._call.cancel()

    def _began(self, call: Any) -> None:
        self._call = call
        if self._stopping.is_set():
            call.cancel()

    def _tell(self) -> None:
        if not self._untaken.is_set():
            self._untaken.set()
            self._reactor.callFromThread(self._taken)

    def _taken(self) -> None:
        self._untaken.clear()
        self._changed()
