"""Telling every other instance that a cluster was created, changed or deleted, and keeping what each of them got."""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.python.failure import Failure

from k3net.clusters.calls import why_untold
from k3net.clusters.delivery import Delivery
from k3net.clusters.slots import Slots
from k3net.log import make_logger
from k3net.model.cluster import Cluster, Receipt

TRIES = 3
_FIRST_PAUSE = 0.5
_LIST_IS_FRESH = 1.0
_AT_ONCE = 50
_QUICK = 0.25
_ASIDE = 10


@dataclass(eq=False, slots=True)
class _Telling:
    """One change of one cluster on its way: of the addresses `found`, `open` are not done with.

    `met` is where each identity has answered.
    """

    name: str
    generation: int
    change: str
    deadline: float
    done: "Deferred[None]"
    delivery: Delivery
    found: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    met: dict[str, str] = field(default_factory=dict)
    ended: bool = False


class Broadcast:
    """`tell` begins a telling; `fan_out` instances are asked at once, by all tellings together.

    One that has not answered after a quarter of a second is waited for aside, up to ten times `fan_out` of them.
    What can pass is tried three times, each of `timeout` seconds, with pauses that double and are jittered, at those
    instances that are still found then. A newer change of the same cluster replaces what is under way of an older one.
    Whoever is not reached within `deadline` seconds catches up from the store.

    `instances()` gives a Deferred of addresses, `ask(address, name, change)` that of the identity of who answered ("":
    it did not say) or fails with CannotTell, and `keep(name, receipts)` stores; `wall()` is the time of day. An address
    where this instance itself answers (`own`) is none, and then the others are looked for again; of two addresses of
    one instance the first to answer counts.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        instances: Callable[[], Any],
        ask: "Callable[[str, str, str], Deferred[str]]",
        keep: Callable[[str, Collection[Receipt]], Any],
        wall: Callable[[], float],
        own: str = "",
        fan_out: int = 10,
        timeout: float = 5.0,
        deadline: float = 60.0,
        chance: Callable[[], float] = random.random,
    ):
        self._reactor = reactor
        self._instances = instances
        self._ask = ask
        self._keep = keep
        self._wall = wall
        self._own = own
        self._slots = Slots(reactor, fan_out, slow=_ASIDE * fan_out, patience=_QUICK)
        self._timeout = timeout
        self._deadline = deadline
        self._chance = chance
        self._log = make_logger()
        self._tellings: dict[str, _Telling] = {}
        self._waiting: dict[str, tuple[Cluster, str, Deferred[None]]] = {}
        self._timers: set[Any] = set()
        self._listed: tuple[float, frozenset[str]] = (float("-inf"), frozenset())
        self._stopped = False

    def tell(self, cluster: Cluster, change: str) -> "Deferred[None]":
        """Tell of a `change` (creation, update, deletion) of a cluster that is stored; fires when all is said."""
        done: Deferred[None] = Deferred()
        older = self._tellings.get(cluster.name)
        waiting = self._waiting.get(cluster.name)
        known = [older.generation] if older else [waiting[0].generation] if waiting else []
        if self._stopped or any(generation > cluster.generation for generation in known):
            done.callback(None)
            return done
        if older is not None:
            self._end(older)
        if waiting is not None:
            waiting[2].callback(None)
        self._waiting[cluster.name] = (cluster, change, done)
        self._next()
        return done

    def stop(self) -> None:
        """Let go of everything; what was not told is caught up with by those it concerns."""
        self._stopped = True
        for timer in list(self._timers):
            timer.cancel()
        self._timers.clear()
        for telling in list(self._tellings.values()):
            self._end(telling)
        self._slots.stop()
        waiting, self._waiting = self._waiting, {}
        for _, _, done in waiting.values():
            done.callback(None)

    # A telling

    def _next(self) -> None:
        while self._waiting and not self._stopped and len(self._tellings) < _AT_ONCE:
            self._begin(*self._waiting.pop(next(iter(self._waiting))))

    @inlineCallbacks
    def _begin(self, cluster: Cluster, change: str, done: "Deferred[None]"):
        deadline = self._reactor.seconds() + self._deadline
        delivery = Delivery(
            self._reactor, cluster, keep=self._keep, later=self._later, wall=self._wall, deadline=deadline
        )
        telling = _Telling(cluster.name, cluster.generation, change, deadline, done, delivery)
        self._tellings[cluster.name] = telling
        found = yield self._found_now()
        if telling.ended:
            return
        if not found:
            self._log.info("No other instances found for broadcasting cluster {change}", change=change)
            self._end(telling)
            return
        self._log.info(
            "Broadcasting cluster {name} {change} to {count} instances",
            name=cluster.name,
            change=change,
            count=len(found),
        )
        self._address(telling, found)

    def _address(self, telling: _Telling, found: Collection[str]) -> None:
        """Begin with those of the addresses found that are new."""
        new = set(found) - telling.found
        telling.found |= new
        telling.open |= new
        for address in sorted(new):
            telling.delivery.note(address, "pending", 0)
        for address in sorted(new):
            self._try(telling, address, 1)

    @inlineCallbacks
    def _found_now(self):
        try:
            found = yield self._instances()
        except Exception as error:
            self._log.warn("the other instances could not be found: {error!r}", error=error)
            return self._listed[1]
        self._listed = (self._reactor.seconds(), frozenset(found))
        return self._listed[1]

    def _end(self, telling: _Telling) -> None:
        telling.ended = True
        del self._tellings[telling.name]
        telling.delivery.end()
        telling.done.callback(None)
        self._next()

    # Attempts

    def _try(self, telling: _Telling, address: str, tries: int) -> None:
        self._slots.run(lambda: self._asked(telling, address)).addCallbacks(
            lambda who: self._told(telling, address, tries, who), lambda why: self._missed(telling, address, tries, why)
        )

    def _asked(self, telling: _Telling, address: str) -> "Deferred[str] | None":
        if telling.ended:
            return None
        return maybeDeferred(self._ask, address, telling.name, telling.change).addTimeout(self._timeout, self._reactor)

    def _told(self, telling: _Telling, address: str, tries: int, identity: "str | None") -> None:
        if telling.ended:
            return
        if identity and (identity == self._own or telling.met.setdefault(identity, address) != address):
            self._is_no_other(telling, address, identity)
            return
        self._log.info(
            "Successfully broadcasted cluster {name} to instance {address}", name=telling.name, address=address
        )
        self._done_with(telling, address, "delivered", tries)

    @inlineCallbacks
    def _is_no_other(self, telling: _Telling, address: str, identity: str):
        if identity == self._own:
            self._log.info("{address} is this instance itself", address=address)
            found = yield self._found_now()
            if telling.ended:
                return
            self._address(telling, found)
        telling.delivery.drop(address)
        self._close(telling, address)

    def _missed(self, telling: _Telling, address: str, tries: int, failure: Failure) -> None:
        if telling.ended:
            return
        reason, may_pass = why_untold(failure, self._timeout)
        pause = _FIRST_PAUSE * 2 ** (tries - 1) * (0.5 + self._chance())
        if may_pass and tries < TRIES and self._reactor.seconds() + pause < telling.deadline:
            telling.delivery.note(address, "pending", tries, reason)
            self._later(pause, self._again, telling, address, tries + 1)
        else:
            self._log.warn("Failed to broadcast to {address}: {reason}", address=address, reason=reason)
            self._done_with(telling, address, "failed", tries, reason)

    @inlineCallbacks
    def _again(self, telling: _Telling, address: str, tries: int):
        """Once more, if the instance is still one; the list of instances may be a second old."""
        found_at, found = self._listed
        if not telling.ended and self._reactor.seconds() - found_at > _LIST_IS_FRESH:
            found = yield self._found_now()
        if telling.ended:
            return
        if address in found:
            self._try(telling, address, tries)
        else:
            self._log.info("{address} is no instance any more", address=address)
            self._done_with(telling, address, "failed", tries - 1, "no instance any more")

    def _done_with(self, telling: _Telling, address: str, state: str, tries: int, error: str = "") -> None:
        telling.delivery.note(address, state, tries, error)
        self._close(telling, address)

    def _close(self, telling: _Telling, address: str) -> None:
        telling.open.discard(address)
        if not telling.open:
            self._log.info("Completed broadcasting cluster {name} {change}", name=telling.name, change=telling.change)
            self._end(telling)

    def _later(self, delay: float, f: Callable[..., Any], *args: Any) -> None:
        if self._stopped:
            return

        def call() -> None:
            self._timers.discard(timer)
            f(*args)

        timer = self._reactor.callLater(delay, call)
        self._timers.add(timer)
