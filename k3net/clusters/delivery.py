"""What came of one change of a cluster at each address, kept in the store as receipts while it is told."""

from collections.abc import Callable, Collection
from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.python.failure import Failure

from k3net.log import make_logger
from k3net.model.cluster import Cluster, Receipt

_KEEP_EVERY = 0.5
_TRY_AGAIN = 10.0
_LONGEST_ERROR = 200


class Delivery:
    """Receipts of one generation, given to `keep(name, receipts)` twice a second and once at the end.

    What the store does not take is given to it again, until `clock` says `deadline`. `later(seconds, f)` calls `f()`
    then, unless all stops before.
    """

    def __init__(
        self,
        clock: Any,
        cluster: Cluster,
        *,
        keep: Callable[[str, Collection[Receipt]], Any],
        later: Callable[[float, Callable[[], None]], None],
        wall: Callable[[], float],
        deadline: float,
    ):
        self._clock = clock
        self._name = cluster.name
        self._generation = cluster.generation
        self._keep = keep
        self._later = later
        self._wall = wall
        self._deadline = deadline
        self._new: dict[str, Receipt] = {}
        self._kept: set[str] = set()
        self._ended = False
        self._log = make_logger()
        later(_KEEP_EVERY, self._keep_at_times)

    def note(self, address: str, state: str, tries: int, error: str = "") -> None:
        error = error[:_LONGEST_ERROR]
        self._new[address] = Receipt(address, self._generation, state, tries, error, self._wall())

    def drop(self, address: str) -> None:
        """There is no other instance there, so there is to be no receipt; one that is stored says what is true."""
        del self._new[address]
        if address in self._kept:
            self.note(address, "delivered", 1)

    def end(self) -> None:
        self._ended = True
        self._keep_now()

    def _keep_at_times(self) -> None:
        if not self._ended:
            self._keep_now()
            self._later(_KEEP_EVERY, self._keep_at_times)

    def _keep_now(self) -> None:
        new, self._new = self._new, {}
        self._kept.update(new)

        def lost(failure: Failure) -> None:
            why = failure.getErrorMessage()
            self._log.warn("receipts of cluster {name} were not kept: {why}", name=self._name, why=why)
            self._new = {**new, **self._new}
            if self._ended and self._clock.seconds() < self._deadline:
                self._later(_TRY_AGAIN, self._keep_now)

        if new:
            maybeDeferred(self._keep, self._name, tuple(new.values())).addErrback(lost)
