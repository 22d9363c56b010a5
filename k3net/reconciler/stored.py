"""What the store holds, as far as is known here: listed, read again, adopted, and settled for a while."""

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from twisted.internet.defer import inlineCallbacks

from k3net.errors import CorruptRecord
from k3net.model.conflicts import Conflicts
from k3net.model.node import Node
from k3net.model.peers import PeerTable
from k3net.model.plan import Step
from k3net.reconciler.adoption import adopted, reported
from k3net.reconciler.share import Share
from k3net.reconciler.turns import SLICE, turn
from k3net.store.interface import Done

_READ_SINGLY = 16


class Stored:
    """The records by name: `nodes`, and `corrupt` for those that are none; `identity` is the store's id, or "".

    A Node is settled when there is nothing to do for it as long as the same is desired, and until its time is up; who
    moves its record ends that. `list_at` is when (monotonic) the store is to be listed again; `conflicts` are those
    of the Nodes' pod CIDRs.
    """

    def __init__(self, clock: Any, store: Any, table: PeerTable, share: Share, *, report_every: float, peer_ttl: float):
        self._clock = clock
        self._store = store
        self._table = table
        self._share = share
        self._report_every = report_every
        self._peer_ttl = peer_ttl
        self._patience = report_every + peer_ttl
        self._settled: dict[str, tuple[Node, float]] = {}
        self.nodes: dict[str, Node] = {}
        self.corrupt: dict[str, CorruptRecord] = {}
        self.conflicts = Conflicts()
        self.identity = ""
        self.list_at = float("-inf")

    @inlineCallbacks
    def list(self):
        """List the store; a managed Node that nobody here has seen is taken in as the store's word, to be probed."""
        if not self.identity:
            self.identity = yield self._store.identity()
        listing = yield self._store.list()
        now = self._clock.seconds()
        before, broken = self.nodes, self.corrupt
        self.nodes = {r.name: r for r in listing if isinstance(r, Node)}
        self.corrupt = {r.name: r for r in listing if isinstance(r, CorruptRecord)}
        for count, (name, node) in enumerate(list(self.nodes.items()), 1):
            if count % SLICE == 0:
                yield turn(self._clock)
            known = before.get(name)
            if known is None or known.version != node.version:
                self.conflicts.note(name, node)
                self.unsettle(name)
                self._share.moved(name, now)
                self._heed(known, node, now)
            elif self._sees(name, now) and self._share.silent(name, now):
                self.unsettle(name)
            if node.managed and name not in self._table:
                word = adopted(node, now, self._peer_ttl)
                if word is not None and self._table.observe(word):
                    self._table.get(name).desired(now)  # type: ignore[union-attr] # kept for the pass
        for name in (before.keys() | broken.keys()) - self.nodes.keys():
            self.unsettle(name)
            self._share.forget(name)
            self.conflicts.note(name, None)
            self._let_go(name, now)
        self.list_at = now + 10 * self._report_every * random.uniform(0.9, 1.1)  # noqa: S311 - no herd of listings

    @inlineCallbacks
    def read(self, names: Iterable[str]):
        """Read these records again, as they are."""
        for name in list(names):
            before = self.nodes.get(name)
            try:
                node = yield self._store.get(name)
            except CorruptRecord as error:
                self.corrupt[name], node = error, None
            else:
                self.corrupt.pop(name, None)
            self.unsettle(name)
            self.conflicts.note(name, node)
            if node is None:
                self.nodes.pop(name, None)
            else:
                self.nodes[name] = node
                self._heed(before, node, self._clock.seconds())
            self._share.read(name, node, before, self._clock.seconds())

    def wrote(self, step: Step, done: Done, now: float) -> Node:
        """This daemon's step is in the store; the Node that is there now."""
        self.nodes[step.name] = after = replace(step.node, version=done.version, last_seen=None)
        self._share.moved(step.name, now)
        self.conflicts.note(step.name, after)
        return after

    def list_sooner(self) -> None:
        """Many records in doubt are read by one listing before their writers' time is up; no herd of listings."""
        now = self._clock.seconds()
        if self._share.doubts > _READ_SINGLY and self.list_at - now > 2 * self._patience:
            self.list_at = now + self._patience * random.uniform(0.5, 0.9)  # noqa: S311

    def settle(self, name: str, want: Node, now: float, wall: float) -> None:
        """Nothing to do for this Node until something else is desired, or its report is due."""
        have = self.nodes.get(name)
        if have is None:
            return
        beat = have.ready.last_heartbeat
        due = float("inf") if not want.live or beat is None else now + max(1.0, beat + self._report_every - wall)
        self.settle_until(due, name, want)

    def settle_until(self, until: float, name: str, want: Node) -> None:
        self._settled[name] = (want, until)

    def unsettle(self, name: str) -> None:
        self._settled.pop(name, None)

    def is_settled(self, name: str, want: Node, now: float) -> bool:
        settled = self._settled.get(name)
        return settled is not None and settled[0] is want and now < settled[1]

    def settled_until(self) -> float:
        """When (monotonic) the time of the first settled Node that is a peer is up, or the next listing is due."""
        due = (self._settled[peer.name][1] for peer in self._table if peer.name in self._settled)
        return min([self.list_at, *due])

    def _sees(self, name: str, now: float) -> bool:
        """Whether the machine is seen here now, so that its writer has something to report."""
        peer = self._table.get(name)
        return peer is not None and peer.desired(now).live

    def _let_go(self, name: str, now: float) -> None:
        """Somebody deleted the record of a machine that is not there any more: it is not made anew."""
        peer = self._table.get(name)
        if peer is not None and peer.lapsed(now):
            self._table.forget(name)

    def _heed(self, before: "Node | None", node: Node, now: float) -> None:
        """Who reports a machine that is silent here is believed for a while."""
        peer = self._table.get(node.name)
        word = reported(peer, node, before, now, self._patience) if peer is not None and before is not None else None
        if word is not None:
            self._table.observe(word)
