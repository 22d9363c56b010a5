"""What is desired and not yet stored: the Nodes to write, and those that writing would take Ready from."""

from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

from twisted.internet.defer import inlineCallbacks

from k3net.model.node import Node
from k3net.model.peers import Peer, PeerTable
from k3net.reconciler.adoption import seen_at
from k3net.reconciler.history import History
from k3net.reconciler.share import Share
from k3net.reconciler.stored import Stored
from k3net.reconciler.turns import SLICE, turn

BATCH = 500
NOT_ITS_OWN_WORD = ("PeerExpired", "ConsulDeregistered")


class Differences:
    """The peers of the table against what is known to be stored; of the Nodes those only of this daemon's share."""

    def __init__(
        self,
        clock: Any,
        table: PeerTable,
        known: Stored,
        share: Share,
        history: History,
        *,
        wall: Callable[[], float],
    ):
        self._clock = clock
        self._table = table
        self._known = known
        self._share = share
        self._history = history
        self._wall = wall
        self._planned: dict[str, Node] = {}

    @inlineCallbacks
    def batch(self, allowed: Set[str], now: float, wall: float):
        """Nodes that may have to be written by name, at most a batch, and names whose record has to be read first.

        Of the demotions by lapse only those in `allowed`.
        """
        wanted: dict[str, Node] = {}
        doubted: list[str] = []
        self._planned.clear()
        for count, peer in enumerate(list(self._table), 1):
            if count % SLICE == 0:
                yield turn(self._clock)
            want = peer.desired(now)
            name = peer.name
            if self._known.is_settled(name, want, now) or self._table.get(name) is not peer:
                continue
            if name not in allowed and self._is_demotion(name, want) and self._share.mine(name):
                continue
            if not self._concerns(peer, want, now, doubted) or (name not in allowed and self._is_demotion(name, want)):
                continue
            self._planned[name] = want
            marked = self._known.conflicts.marked(want, self._known.nodes.get(name))
            wanted[name] = replace(marked, last_seen=seen_at(peer, now, wall))
            if len(wanted) >= BATCH:
                break
        return wanted, doubted

    def settle(self, name: str, now: float, wall: float) -> None:
        """What the last batch asked for this Node is stored."""
        want = self._planned.get(name)
        if want is not None:
            self._known.settle(name, want, now, wall)

    def demotions(self, now: float) -> frozenset[str]:
        """The Nodes of this daemon's share that would lose Ready without a word of the machine's own."""
        return frozenset(
            peer.name
            for peer in self._table
            if peer.name in self._known.nodes
            and not self._known.is_settled(peer.name, want := peer.desired(now), now)
            and self._is_demotion(peer.name, want)
            and self._share.mine(peer.name)
        )

    def deregistered(self, names: Set[str], now: float) -> frozenset[str]:
        """Those of these machines that Consul says are gone."""
        peers = [peer for peer in map(self._table.get, names) if peer is not None]
        return frozenset(peer.name for peer in peers if peer.desired(now).ready.reason == "ConsulDeregistered")

    def _concerns(self, peer: Peer, want: Node, now: float, doubted: list[str]) -> bool:
        """Whether this daemon has to see that `want` is stored; a record that its writer left alone is doubted."""
        name = peer.name
        have, corrupt = self._known.nodes.get(name), name in self._known.corrupt
        if peer.verified and not (self._is_demotion(name, want) and self._share.mine(name)):
            self._history.note(name, want.ready, self._wall())
        if not corrupt and have is not None and not have.managed and want.beats and self._share.mine(name):
            return True
        if corrupt or (have is not None and not have.managed):
            self._known.settle_until(float("inf"), name, want)
            return False
        if have is None and not peer.verified:
            return False
        if self._share.mine(name):
            return have is None or have.ready.status != want.ready.status or self._identified(peer)
        if have is not None and want.carrying(have).manifest == have.manifest:
            self._known.settle_until(float("inf"), name, want)
        elif self._share.doubt(name, now):
            doubted.append(name)
        else:
            self._known.settle_until(self._share.doubted_at(name), name, want)
        return False

    def _identified(self, peer: Peer) -> bool:
        """Whether it is known if the peer is a member itself; until then its standing record is left to it."""
        return peer.name == self._share.name or bool(peer.observations.keys() - {"mdns", "store"})

    def _is_demotion(self, name: str, want: Node) -> bool:
        """Whether this takes Ready from a Node by silence, or by Consul's word, which is not the machine's own."""
        have = self._known.nodes.get(name)
        return have is not None and have.ready.status == "True" and want.ready.reason in NOT_ITS_OWN_WORD
