"""Liveness: is each known peer there, and is it who it says it is."""

import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks, succeed

from k3net.discovery.proof import Proof, Questions, left
from k3net.log import make_logger
from k3net.model.observation import Observation
from k3net.model.peers import Peer
from k3net.model.result import ProbeResult
from k3net.services import Periodic

_MOST_ADDRESSES = 4
_FRESH = 1.0


Where = tuple[tuple[str, ...], int]


@dataclass(slots=True)
class _Round:
    """What liveness remembers of one peer between probes."""

    due: float
    changes: int = -1
    where: Where = ((), 0)
    proof: Proof = field(default_factory=Proof)
    waiting: list["Deferred[ProbeResult | None]"] = field(default_factory=list)
    last: ProbeResult | None = None
    under_way: bool = False


class Liveness(Periodic):
    """Probes every peer once an `interval`, at most `max_in_flight` at a time, starts spread over the interval.

    First a TCP connect to the peer's addresses (IPv4 first, none of this machine's own); then, unless lately done,
    `GET /info`, which must name the same node; at most half as many of these are under way, and a port that is slow to
    answer keeps no other from being probed. A port that speaks no HTTP, or has no `/info`, is alive without proof.
    A success is observed for `peer_ttl`; a miss says nothing. `ask` is for `Questions`.
    """

    def __init__(
        self,
        reactor: Any,
        observe: Callable[[Observation], object],
        *,
        peers: Callable[[], Iterable[Peer]],
        own_addresses: Callable[[], Collection[str]],
        connect: Callable[[Any, tuple[str, int], float], "Deferred[ProbeResult]"],
        ask: Callable[[str], "Deferred[Mapping[str, Any] | None]"],
        own_name: str,
        peer_ttl: float = 90.0,
        interval: float = 15.0,
        timeout: float = 0.7,
        max_in_flight: int = 256,
        counted: Callable[[ProbeResult], None] = lambda result: None,
    ):
        super().__init__(reactor, min(0.25, interval / 8), self._look_round, name="liveness")
        self._observe = observe
        self._peers = peers
        self._own_addresses = own_addresses
        self._connect = connect
        self._questions = Questions(ask, max(1, max_in_flight // 2))
        self._own_name = own_name
        self._peer_ttl = peer_ttl
        self._every = interval
        self._timeout = timeout
        self._max_in_flight = max_in_flight
        self._counted = counted
        self._rounds: dict[str, _Round] = {}
        self._queue: deque[tuple[Peer, _Round]] = deque()
        self._in_flight = 0
        self._filling = False
        self._log = make_logger()
        self.impostors: dict[str, str] = {}

    def last(self, name: str) -> "ProbeResult | None":
        """The newest result for this peer."""
        known = self._rounds.get(name)
        return known.last if known else None

    @property
    def last_answer(self) -> "float | None":
        """When (monotonic) any peer last answered."""
        return max((r.last.at for r in self._rounds.values() if r.last and r.last.ok), default=None)

    @property
    def alarms(self) -> Iterator[str]:
        """Ports that say they are another node than was announced there."""
        for name, claimed in sorted(self.impostors.items()):
            yield f"{name!r} was announced at a port that says it is {claimed!r}"

    def probe_now(self, name: str) -> "Deferred[ProbeResult | None]":
        """The result of a probe of this peer that is not older than a second; None for one that is not known.

        None too when it is forgotten, the probe breaks, or this stops before there is a result.
        """
        known = self._rounds.get(name)
        peer = next((peer for peer in self._peers() if peer.name == name), None) if known is not None else None
        if known is None or peer is None or not self.running:
            return succeed(None)
        if known.last is not None and self._clock.seconds() - known.last.at <= _FRESH:
            return succeed(known.last)
        wait: Deferred[ProbeResult | None] = Deferred()
        known.waiting.append(wait)
        if not known.under_way:
            known.under_way = True
            self._queue.appendleft((peer, known))
            self._fill()
        return wait

    def stopService(self) -> "Deferred[None] | None":
        stopped = super().stopService()
        for known in self._rounds.values():
            _answer(known, None)
        return stopped

    def _look_round(self) -> None:
        now = self._clock.seconds()
        present = set()
        for peer in self._peers():
            present.add(peer.name)
            if peer.name == self._own_name:
                continue
            known = self._rounds.get(peer.name)
            if known is None:
                known = self._rounds[peer.name] = _Round(due=now + self._first_delay(peer))
            if not known.under_way and (now >= known.due or self._has_news(peer, known, now)):
                known.under_way = True
                self._queue.append((peer, known))
        for name in self._rounds.keys() - present:
            _answer(self._rounds.pop(name), None)
            self.impostors.pop(name, None)
        self._fill()

    def _first_delay(self, peer: Peer) -> float:
        adopted = peer.observations.keys() == {"store"}
        return random.random() * self._every if adopted else 0.0  # noqa: S311 - a phase, not a secret

    def _has_news(self, peer: Peer, known: _Round, now: float) -> bool:
        """Whether the peer moved, or said goodbye, since it was last asked."""
        if known.changes == peer.changes:
            return False
        return left(peer) or (known.changes >= 0 and known.where != peer.whereabouts(now))

    def _fill(self) -> None:
        if self._filling:  # a probe that ends at once must not begin the next from within its own begin
            return
        self._filling = True
        try:
            while self._queue and self._in_flight < self._max_in_flight and self.running:
                peer, known = self._queue.popleft()
                if self._knows(peer, known):
                    self._in_flight += 1
                    self._begin(peer, known)
        finally:
            self._filling = False

    def _knows(self, peer: Peer, known: _Round) -> bool:
        """Whether the peer has not been forgotten meanwhile."""
        return self._rounds.get(peer.name) is known

    def _begin(self, peer: Peer, known: _Round) -> None:
        now = self._clock.seconds()
        first = known.changes < 0
        known.changes = peer.changes
        known.where = peer.whereabouts(now)
        known.due = now + self._every * random.uniform(0.1 if first else 0.9, 1.0)  # noqa: S311

        def connected(result: Any) -> Any:
            self._in_flight -= 1
            self._fill()
            return result

        def ended(result: Any) -> None:
            known.under_way = False
            if isinstance(result, ProbeResult):
                known.last = result
                self._counted(result)
                _answer(known, result)
            else:
                self._log.failure("the probe of {name!r} broke", failure=result, name=peer.name)
                _answer(known, None)

        self._reach(peer, known, now).addBoth(connected).addCallback(self._judge, peer, known).addBoth(ended)

    @inlineCallbacks
    def _reach(self, peer: Peer, known: _Round, now: float):
        """The result of the connects, and the address that the last one went to."""
        addresses, port = known.where
        own = self._own_addresses()
        others = [address for address in addresses if address not in own][:_MOST_ADDRESSES]
        result, address = ProbeResult(peer.name, "tcp", None, now, reason="no address to probe"), ""
        for address in others if port else ():
            result = yield self._connect(self._clock, (address, port), self._timeout)
            if result.ok:
                break
        return result, address

    @inlineCallbacks
    def _judge(self, reached: tuple[ProbeResult, str], peer: Peer, known: _Round):
        """The result when it is known, as far as it can be, who answered."""
        result, address = reached
        if not result.ok:
            known.proof.lose()
            return result

        def still() -> bool:
            return bool(self.running) and self._knows(peer, known)

        if known.proof.wanted(peer, address, result.at):
            claim = yield self._questions.put(address, known.where[1], still)
            if claim.get("node", peer.name) != peer.name:
                return self._impostor(peer.name, claim["node"], result)
            known.proof.learn(peer, address, claim, result.at, interval=self._every, peer_ttl=self._peer_ttl)
        self.impostors.pop(peer.name, None)
        if still():
            self._observe(
                Observation(
                    peer=peer.name,
                    source="liveness",
                    seen_at=result.at,
                    ttl=self._peer_ttl,
                    reason="PeerAlive",
                    message="tcp probe ok",
                    meta=known.proof.claim,
                )
            )
        return result

    def _impostor(self, name: str, claimed: str, result: ProbeResult) -> ProbeResult:
        if self.impostors.get(name) != claimed:
            self._log.warn(
                "{target} was announced as {name!r}, but says it is {claimed!r}",
                target=result.target,
                name=name,
                claimed=claimed,
            )
        self.impostors[name] = claimed
        return replace(result, ok=False, rtt=None, reason="names another node")


def _answer(known: _Round, result: "ProbeResult | None") -> None:
    """To all who wait for this peer's probe."""
    waiting, known.waiting = known.waiting, []
    for wait in waiting:
        wait.callback(result)
