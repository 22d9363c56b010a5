"""The peer table: what is held true of each peer now, bounded."""

from collections.abc import Iterator

from k3net.model.desired import lapses_next, node_from, whereabouts
from k3net.model.node import Node
from k3net.model.observation import Observation

_WORD_OF_MOUTH = frozenset({"mdns"})


class Peer:
    """One machine and the newest observation of it from each source; `changes` counts the claims that differed."""

    __slots__ = ("_desired", "_valid_until", "changes", "name", "observations")

    def __init__(self, name: str):
        self.name = name
        self.observations: dict[str, Observation] = {}
        self.changes = 0
        self._desired: Node | None = None
        self._valid_until = 0.0

    @property
    def verified(self) -> bool:
        """Whether more than a multicast anyone can send speaks for it."""
        return any(source not in _WORD_OF_MOUTH for source in self.observations)

    @property
    def last_seen(self) -> float | None:
        """When (monotonic) a source of this daemon last saw it; a goodbye and a denial are also its word."""
        return max((o.seen_at for o in self.observations.values() if o.source != "store"), default=None)

    def lapsed(self, now: float) -> bool:
        return all(o.lapsed(now) for o in self.observations.values())

    def live(self, source: str, now: float) -> "Observation | None":
        """The observation of `source`, while it holds."""
        o = self.observations.get(source)
        return None if o is None or o.lapsed(now) else o

    def desired(self, now: float) -> Node:
        """The Node that the observations ask for, without times; the same object until the answer may differ."""
        if self._desired is None or now > self._valid_until:
            fresh = node_from(self.name, self.observations, now)
            if fresh != self._desired:
                self._desired = fresh
            self._valid_until = lapses_next(self.observations, now)
        return self._desired

    def whereabouts(self, now: float) -> tuple[tuple[str, ...], int]:
        return whereabouts(self.observations, now)

    def observe(self, o: Observation) -> None:
        held = self.observations.get(o.source)
        if held is not None and not o.newer_than(held):
            return
        self.observations[o.source] = o
        late = held is not None and (held.lapsed(o.seen_at) or held.lapses_at < self._valid_until)
        if held is None or late or not o.same_claim(held) or self._left():
            self._valid_until = float("-inf")
            self.changes += 1

    def _left(self) -> bool:
        return any(o.goodbye for o in self.observations.values())


class PeerTable:
    """At most `limit` peers, of which at most `newcomers` are known by hearsay alone; who is refused is counted.

    A newcomer that nothing but a multicast speaks for never takes the place of a verified peer, and that of another
    newcomer only when that one has had `patience` seconds to be verified. `changes` counts the claims that differed,
    and the peers forgotten.
    """

    def __init__(self, limit: int = 12_000, newcomers: int = 2_000, patience: float = 5.0):
        self._limit = limit
        self._newcomers = newcomers
        self._patience = patience
        self._peers: dict[str, Peer] = {}
        self._unverified: dict[str, float] = {}
        self.refused = 0
        self.changes = 0

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Peer]:
        return iter(self._peers.values())

    def __contains__(self, name: str) -> bool:
        return name in self._peers

    def get(self, name: str) -> "Peer | None":
        return self._peers.get(name)

    def observe(self, o: Observation) -> bool:
        """Take the observation in; False when there is no room for this peer."""
        peer = self._peers.get(o.peer)
        if peer is None:
            hearsay = o.source in _WORD_OF_MOUTH
            if hearsay and o.goodbye:
                return False
            if not self._has_room(hearsay, o.seen_at):
                self.refused += 1
                return False
            peer = self._peers[o.peer] = Peer(o.peer)
            self._unverified[o.peer] = o.seen_at
        before = peer.changes
        peer.observe(o)
        self.changes += peer.changes - before
        if o.source not in _WORD_OF_MOUTH:
            self._unverified.pop(o.peer, None)
        return True

    def holds_until(self, now: float) -> float:
        """Until when (monotonic) all that is asked of these peers stays as it is, if `changes` does."""
        lapses = (o.lapses_at for peer in self for o in peer.observations.values() if not o.lapsed(now))
        return min(lapses, default=float("inf"))

    def forget(self, name: str) -> None:
        self.changes += 1
        self._peers.pop(name, None)
        self._unverified.pop(name, None)

    def forget_hearsay(self, now: float) -> list[str]:
        """Forget the unverified peers whose every claim has lapsed; their names."""
        gone = [name for name in self._unverified if self._peers[name].lapsed(now)]
        for name in gone:
            self.forget(name)
        return gone

    def _has_room(self, hearsay: bool, now: float) -> bool:
        """Whether there is room for one more, made if need be."""
        if len(self._peers) < self._limit and not (hearsay and len(self._unverified) >= self._newcomers):
            return True
        gone = next(iter(self._unverified), None)
        if hearsay and gone is not None and now - self._unverified[gone] < self._patience:
            return False
        if gone is None and not hearsay:
            gone = self._longest_silent(now)
        if gone is not None:
            self.forget(gone)
        return gone is not None

    def _longest_silent(self, now: float) -> "str | None":
        silent = [peer for peer in self if peer.lapsed(now)]
        return min(silent, key=lambda peer: peer.last_seen or 0.0).name if silent else None
