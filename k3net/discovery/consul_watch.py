"""Consul's word about the others: blocking queries become Observations (spec/2-consul.md)."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks

from k3net.discovery.consul_api import Check, ConsulApi, ConsulError, Health, Throttled
from k3net.discovery.consul_claims import Claim, claims
from k3net.discovery.trouble import Trouble
from k3net.errors import InvalidObservation
from k3net.model.observation import Observation
from k3net.model.peers import Peer
from k3net.services import Dependency, Periodic

_AT_ONCE = 5.0
_A_SECOND = 2.0
_LONGEST_SLACK = 5.0
_PROOFS = 3
_SLICE = 200
_NOT_QUITE = 0.9
_GONE = "is no longer registered in Consul"

T = TypeVar("T")


class ConsulWatch(Periodic):
    """Asks for the instances of `service` and waits for changes; a full answer comes at least once an `interval`.

    An answer holds for three intervals. A machine that is gone from a good answer is observed as a goodbye, unless the
    answer is doubted: after an error, an index that went back or an empty answer where there were machines, what is
    missing must be missing from three good answers over three intervals. While Consul gives no good answer, what it
    said last is held. `peers()` are those of the table; `own_is_there(bool)` is told whether `own_id` is in an answer.
    """

    def __init__(
        self,
        reactor: Any,
        observe: Callable[[Observation], bool],
        api: ConsulApi,
        *,
        service: str,
        own_name: str,
        own_id: str,
        peers: Callable[[], Iterable[Peer]],
        tags: Sequence[str] = (),
        interval: float = 15.0,
        own_is_there: Callable[[bool], None] = lambda there: None,
        refused: Callable[[str], None] = lambda reason: None,
    ):
        super().__init__(reactor, interval, self._look, name="consul-watch")
        self._observe = observe
        self._api = api
        self._service = service
        self._own_name = own_name
        self._own_id = own_id
        self._peers = peers
        self._tags = tuple(tags)
        self._own_is_there = own_is_there
        self._refused = refused
        self._slack = min(interval / 2, _LONGEST_SLACK)
        self._wait = interval * 16 / 17  # Consul waits up to a sixteenth longer
        self._asking: Deferred[Health] | None = None
        self._tokens, self._refilled_at = _AT_ONCE, 0.0
        self._proofs, self._proved_at = _PROOFS, float("-inf")
        self._doubles: dict[str, tuple[str, ...]] = {}
        self.trouble = Trouble(reactor, interval, "Consul")
        self.index = 0
        self.instances: int | None = None
        self.own_checks: tuple[Check, ...] = ()
        self.last_answer: float | None = None

    def stopService(self) -> "Deferred[None] | None":
        stopped = super().stopService()
        if self._asking is not None:
            self._asking.cancel()
        return stopped

    @property
    def alarms(self) -> tuple[str, ...]:
        """Names that several instances claim."""
        return tuple(
            f"Consul has several instances that are node {n!r}: {', '.join(o)}" for n, o in self._doubles.items()
        )

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        return self.trouble.told_as("consul")

    @inlineCallbacks
    def _look(self):
        wait = self.trouble.wait
        if wait > 0:
            self.again_in(wait)
            yield self._hold()
            return
        self._asking = self._api.health(
            self._service, index=self.index, wait=self._wait, slack=self._slack, tags=self._tags
        )
        try:
            listed = self._read((yield self._asking))
        except (ConsulError, CancelledError) as error:
            if self.running:
                yield self._failed(error)
        else:
            yield self._take(listed)
        finally:
            self._asking = None

    def _failed(self, error: Exception) -> "Deferred[None]":
        if not isinstance(error, Throttled):
            self._proofs, self.index = 0, 0
        self.again_in(self.trouble.begin(error))
        return self._hold()

    def _hold(self) -> "Deferred[None]":
        """What Consul said stays true while it says nothing: the claims last longer, and are no newer for that."""
        return self._in_turns([o for peer in self._peers() for o in _by_consul(peer)], self._hold_one)

    def _hold_one(self, o: Observation) -> None:
        now = self._clock.seconds()
        if not o.lapsed(now):
            self._observe(replace(o, ttl=now - o.seen_at + self._ttl, meta={**o.meta, "held": "true"}))

    @property
    def _ttl(self) -> float:
        return 3 * self._interval

    def _read(self, answer: Health) -> dict[str, Claim]:
        """What it claims; the answer itself, which may be large, is then let go."""
        now = self._clock.seconds()
        self._weigh(answer, now)
        self.trouble.end()
        self.last_answer, self.instances = now, len(answer.entries)
        self._note_own(answer)
        found, unnamed = claims(answer.entries, self._service, self._own_id)
        for _ in range(unnamed):
            self._refused("name")
        self._doubles = {c.name: (c.service_id, *c.others) for c in found.values() if c.others}
        return found

    @inlineCallbacks
    def _take(self, found: dict[str, Claim]):
        now = self._clock.seconds()
        yield self._in_turns(list(found.values()), lambda claim: self._tell(claim, now))
        missing = [
            o for peer in self._peers() for o in _by_consul(peer) if o.source == "consul" and o.peer not in found
        ]
        yield self._in_turns(missing, lambda o: self._miss(o, now))

    def _weigh(self, answer: Health, now: float) -> None:
        """Follow the index, decide how soon to ask again, and count the answers that prove what is missing."""
        went_back = answer.index < self.index
        if went_back or (not answer.entries and self.instances != 0 and self._knows_any()):
            self._proofs, self._proved_at = 0, float("-inf")
        if self._proofs < _PROOFS and now - self._proved_at >= _NOT_QUITE * self._interval:
            self._proofs, self._proved_at = self._proofs + 1, now
        self.index = 0 if went_back else answer.index
        if self.index or went_back:
            self.again_in(self._pause(now))

    def _knows_any(self) -> bool:
        return any(True for peer in self._peers() for _ in _by_consul(peer))

    def _pause(self, now: float) -> float:
        """None at first; when answers come fast, so long that they are two a second, more or less."""
        self._tokens = min(_AT_ONCE, self._tokens + (now - self._refilled_at) * _A_SECOND) - 1
        self._refilled_at = now
        return 0.0 if self._tokens >= 0 else -self._tokens / _A_SECOND * random.uniform(0.7, 1.3)  # noqa: S311

    def _note_own(self, answer: Health) -> None:
        own = [entry for entry in answer.entries if entry.service.id == self._own_id]
        self.own_checks = tuple(own[0].checks or ()) if own else ()
        self._own_is_there(bool(own))

    def _tell(self, claim: Claim, now: float) -> None:
        if claim.name == self._own_name and claim.service_id != self._own_id:
            self._doubles[claim.name] = (claim.service_id, self._own_id)
            return
        try:
            taken = self._observe(
                Observation(
                    peer=claim.name,
                    source="consul",
                    seen_at=now,
                    ttl=self._ttl,
                    addresses=claim.addresses,
                    port=claim.port,
                    ready=claim.ready,
                    reason="ConsulHealthCheck",
                    message=claim.message,
                    meta={
                        "discovery": "consul",
                        "hostname": claim.hostname,
                        **({"pid": claim.pid} if claim.pid else {}),
                    },
                )
            )
        except InvalidObservation as error:
            self._refused(error.field)
            return
        if not taken:
            self._refused("table full")

    def _miss(self, o: Observation, now: float) -> None:
        """Consul had it and has it no more."""
        if self._proofs < _PROOFS:
            self._hold_one(o)
            return
        gone = replace(o, seen_at=now, ttl=0.0, ready=False, reason="ConsulDeregistered", message=_GONE)
        self._observe(gone)

    @inlineCallbacks
    def _in_turns(self, items: Sequence[T], f: Callable[[T], None]):
        """Call `f` with each, a slice at a time, so that thousands of them hold nothing up."""
        for at in range(0, len(items), _SLICE):
            if at:
                turn: Deferred[None] = Deferred()
                self._clock.callLater(0, turn.callback, None)
                yield turn
            for item in items[at : at + _SLICE]:
                f(item)


def _by_consul(peer: Peer) -> Iterator[Observation]:
    """What of the peer is Consul's word: said to this daemon, or stored by an earlier one."""
    for source in ("consul", "store"):
        o = peer.observations.get(source)
        if o is not None and not o.goodbye and o.meta.get("discovery") == "consul":
            yield o
