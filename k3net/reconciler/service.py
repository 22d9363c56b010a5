"""The passes: what is observed is compared with what is stored, and the difference is written."""

import random
from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from typing import Any

from twisted.internet.defer import inlineCallbacks, maybeDeferred
from twisted.internet.task import deferLater

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.log import make_logger
from k3net.model.brake import Brake
from k3net.model.node import Node
from k3net.model.observation import Observation
from k3net.model.peers import Peer, PeerTable
from k3net.model.plan import Step, plan
from k3net.reconciler.adoption import adopted, reported, seen_at, vouched
from k3net.reconciler.demotions import Demotions, nobody, unknown
from k3net.reconciler.history import History
from k3net.reconciler.share import Share
from k3net.services import Periodic
from k3net.store.interface import Conflict, Done, Outcome

_BATCH = 500
_TRIES = 4
_READ_SINGLY = 16
_SOON = 0.1
_FAREWELL = 5.0
_TURN = 0.05
NOT_ITS_OWN_WORD = ("PeerExpired", "ConsulDeregistered")


class Reconciler(Periodic):
    """Makes the store say what the table holds: lists it once, and then writes differences only.

    `store` is a ThreadedStore, `wall()` the time of day; `reach` and `ask` are for `Demotions`. `observe` is what the
    sources are given. Nodes of others are never written (`plan`), and of the machines' Nodes those only whose writer
    this daemon is (`Share`).
    """

    def __init__(
        self,
        clock: Any,
        store: Any,
        table: PeerTable,
        *,
        name: str,
        instance: str,
        registers: bool = True,
        wall: Callable[[], float],
        brake: Brake,
        reach: Callable[[], Any] = unknown,
        ask: Callable[[str], Any] = nobody,
        interval: float = 1.0,
        report_every: float = 60.0,
        peer_ttl: float = 90.0,
        counted: Callable[[str], None] = lambda outcome: None,
    ):
        super().__init__(clock, interval, self.reconcile, name="reconcile")
        self._store = store
        self.table = table
        self._wall = wall
        self.brake = brake
        self._report_every = report_every
        self._peer_ttl = peer_ttl
        self._counted = counted
        self._log = make_logger()
        self._list_at = float("-inf")
        self._settled: dict[str, tuple[Node, float]] = {}
        self._planned: dict[str, Node] = {}
        self._rests_until = float("-inf")
        self._rests_at = -1
        self._trusts_itself_at = float("-inf")
        self._patience = report_every + peer_ttl
        self.share = Share(name, instance, patience=self._patience, registers=registers)
        self.stored: dict[str, Node] = {}
        self.corrupt: dict[str, CorruptRecord] = {}
        self.store_id = ""
        self.history = History()
        self._demotions = Demotions(
            clock, table, brake, own=name, peer_ttl=peer_ttl, reach=reach, ask=ask, reached=self._reached
        )

    def observe(self, o: Observation) -> bool:
        """Take an observation in; False when the table has no room for the peer."""
        peer = self.table.get(o.peer)
        changes = peer.changes if peer is not None else -1
        taken = self.table.observe(o)
        if taken and self.table.get(o.peer).changes != changes:  # type: ignore[union-attr]
            self.kick(within=_SOON)
        return taken

    @inlineCallbacks
    def stopService(self):
        """After the last pass the goodbyes are in the store, or the store had its time."""
        ends = self._clock.seconds() + _FAREWELL
        try:
            yield maybeDeferred(super().stopService).addTimeout(_FAREWELL, self._clock)
            yield self.reconcile().addTimeout(max(0.0, ends - self._clock.seconds()), self._clock)
        except Exception as error:
            self._log.warn("the last pass did not end: {error!r}", error=error)

    @inlineCallbacks
    def reconcile(self):
        """One pass; StoreUnavailable when the store did not answer, and then all is read anew."""
        if self._rests():
            return
        changes, self._rests_until = self.table.changes, float("-inf")
        try:
            if self._clock.seconds() >= self._list_at:
                yield self._adopt()
                self._doubt_itself()
            for name in self.table.forget_hearsay(self._clock.seconds()):
                self._settled.pop(name, None)
            for name in self.share.update(self.table, self.store_id, self._clock.seconds()):
                self._settled.pop(name, None)
            yield self._look()
            wanting = self._wanting()
            allowed: Set[str] = frozenset()
            if self._clock.seconds() >= self._trusts_itself_at:
                allowed = yield self._demotions.allowed(wanting, self._told(wanting))
            tries = 0
            while tries < _TRIES:
                steps = yield self._steps(allowed)
                if not steps:
                    self._look_sooner()
                    self._rest(changes)
                    return
                conflicts = yield self._apply(steps)
                if conflicts:
                    tries += 1
                    yield self._read(conflicts)
        except StoreUnavailable:
            self._list_at = float("-inf")
            raise

    @inlineCallbacks
    def _look(self):
        """Find out what is desired of each peer, which the pass then has at hand; others get their turn in between."""
        now = begun = self._clock.seconds()
        for peer in list(self.table):
            peer.desired(now)
            if self._clock.seconds() - begun > _TURN:
                yield deferLater(self._clock, 0)
                begun = self._clock.seconds()

    def _rests(self) -> bool:
        """Whether this pass would find all as the last one left it."""
        if self.table.changes != self._rests_at or self.brake.held_since is not None:
            return False
        return self._clock.seconds() < self._rests_until

    def _rest(self, changes: int) -> None:
        """Nothing is left to do until something differs, lapses or is due; a demotion that waits is left."""
        if self._wanting():
            return
        now = self._clock.seconds()
        due = (self._settled[peer.name][1] for peer in self.table if peer.name in self._settled)
        self._rests_at = changes
        self._rests_until = min(self._list_at, self.table.holds_until(now), *due)

    def _doubt_itself(self) -> None:
        """Who did not reach the store for long may have reached nobody: before it demotes it looks round again."""
        now = self._clock.seconds()
        if self.failing_since is not None and now - self.failing_since > self.brake.silence:
            self._trusts_itself_at = now + self.brake.silence

    def _look_sooner(self) -> None:
        """Many records in doubt are read by one listing before their writers' time is up; no herd of listings."""
        now = self._clock.seconds()
        if self.share.doubts > _READ_SINGLY and self._list_at - now > 2 * self._patience:
            self._list_at = now + self._patience * random.uniform(0.5, 0.9)  # noqa: S311

    def _sees(self, name: str, now: float) -> bool:
        """Whether the machine is seen here now, so that its writer has something to report."""
        peer = self.table.get(name)
        return peer is not None and peer.desired(now).live

    @inlineCallbacks
    def _adopt(self):
        """List the store; a managed Node that nobody here has seen is taken in as the store's word, to be probed."""
        if not self.store_id:
            self.store_id = yield self._store.identity()
        listing = yield self._store.list()
        now = self._clock.seconds()
        before, broken = self.stored, self.corrupt
        self.stored = {r.name: r for r in listing if isinstance(r, Node)}
        self.corrupt = {r.name: r for r in listing if isinstance(r, CorruptRecord)}
        for count, (name, node) in enumerate(list(self.stored.items()), 1):
            if count % _BATCH == 0:
                yield deferLater(self._clock, 0)  # ten thousand in one go would hold the reactor up
            known = before.get(name)
            if known is None or known.version != node.version:
                self._settled.pop(name, None)
                self.share.moved(name, now)
                self._heed(known, node, now)
            elif self._sees(name, now) and self.share.silent(name, now):
                self._settled.pop(name, None)
            if node.managed and name not in self.table:
                word = adopted(node, now, self._peer_ttl)
                if word is not None and self.table.observe(word):
                    self.table.get(name).desired(now)  # type: ignore[union-attr] # kept for the pass
        for name in (before.keys() | broken.keys()) - self.stored.keys():
            self._settled.pop(name, None)
            self.share.forget(name)
            self._let_go(name, now)
        self.history.keep(self.table)
        self._list_at = now + 10 * self._report_every * random.uniform(0.9, 1.1)  # noqa: S311 - no herd of listings

    def _let_go(self, name: str, now: float) -> None:
        """Somebody deleted the record of a machine that is not there any more: it is not made anew."""
        peer = self.table.get(name)
        if peer is not None and peer.lapsed(now):
            self.table.forget(name)

    @inlineCallbacks
    def _steps(self, allowed: Set[str]):
        """The next steps of this pass, at most a batch; of the demotions by lapse only those allowed."""
        while True:
            now, wall = self._clock.seconds(), self._wall()
            wanted, doubted = self._batch(allowed, now, wall)
            if doubted:
                yield self._read(doubted)
                continue
            steps = list(plan(wanted, self.stored, wall, report_every=self._report_every))
            for name in wanted.keys() - {step.name for step in steps}:
                self._settle(name, now, wall)
            if steps or not wanted:
                return steps

    def _batch(self, allowed: Set[str], now: float, wall: float) -> tuple[dict[str, Node], list[str]]:
        """Nodes that may have to be written, and names whose record has to be read first."""
        wanted: dict[str, Node] = {}
        doubted: list[str] = []
        self._planned.clear()
        for peer in self.table:
            want = peer.desired(now)
            name = peer.name
            if self._is_settled(name, want, now):
                continue
            if name not in allowed and self._is_demotion(name, want) and self.share.mine(name):
                continue
            if not self._concerns(peer, want, now, doubted) or (name not in allowed and self._is_demotion(name, want)):
                continue
            self._planned[peer.name] = want
            wanted[peer.name] = replace(want, last_seen=seen_at(peer, now, wall))
            if len(wanted) >= _BATCH:
                break
        return wanted, doubted

    def _concerns(self, peer: Peer, want: Node, now: float, doubted: list[str]) -> bool:
        """Whether this daemon has to see that `want` is stored; a record that its writer left alone is doubted."""
        name = peer.name
        have = self.stored.get(name)
        if peer.verified and not (self._is_demotion(name, want) and self.share.mine(name)):
            self.history.note(name, want.ready, self._wall())
        if name not in self.corrupt and have is not None and not have.managed and want.beats and self.share.mine(name):
            return True
        if name in self.corrupt or (have is not None and not have.managed):
            self._settled[name] = (want, float("inf"))
            return False
        if have is None and not peer.verified:
            return False
        if self.share.mine(name):
            return have is None or have.ready.status != want.ready.status or self._identified(peer)
        if have is not None and want.carrying(have).manifest == have.manifest:
            self._settled[name] = (want, float("inf"))
        elif self.share.doubt(name, now):
            doubted.append(name)
        else:
            self._settled[name] = (want, self.share.doubted_at(name))
        return False

    def _identified(self, peer: Peer) -> bool:
        """Whether it is known if the peer is a member itself; until then its standing record is left to it."""
        return peer.name == self.share.name or bool(peer.observations.keys() - {"mdns", "store"})

    def _is_settled(self, name: str, want: Node, now: float) -> bool:
        settled = self._settled.get(name)
        return settled is not None and settled[0] is want and now < settled[1]

    def _is_demotion(self, name: str, want: Node) -> bool:
        """Whether this takes Ready from a Node by silence, or by Consul's word, which is not the machine's own."""
        have = self.stored.get(name)
        return have is not None and have.ready.status == "True" and want.ready.reason in NOT_ITS_OWN_WORD

    def _told(self, names: Set[str]) -> frozenset[str]:
        """Those of these machines that Consul says are gone."""
        now = self._clock.seconds()
        peers = [peer for peer in map(self.table.get, names) if peer is not None]
        return frozenset(peer.name for peer in peers if peer.desired(now).ready.reason == "ConsulDeregistered")

    def _wanting(self) -> frozenset[str]:
        """The Nodes of this daemon's share that would lose Ready without a word of the machine's own."""
        now = self._clock.seconds()
        return frozenset(
            peer.name
            for peer in self.table
            if peer.name in self.stored
            and not self._is_settled(peer.name, want := peer.desired(now), now)
            and self._is_demotion(peer.name, want)
            and self.share.mine(peer.name)
        )

    def _reached(self, name: str, member: str) -> None:
        """A member reaches what this daemon does not."""
        peer = self.table.get(name)
        if peer is not None:
            self.observe(vouched(peer, member, self._clock.seconds(), self._peer_ttl))

    @inlineCallbacks
    def _apply(self, steps: list[Step]):
        """Write; the names whose record was not what it was planned against."""
        outcomes = yield self._store.apply(steps)
        now, wall = self._clock.seconds(), self._wall()
        conflicts = set()
        for step, outcome in zip(steps, outcomes, strict=True):
            self._counted(type(outcome).__name__.lower())
            if isinstance(outcome, Done):
                self._wrote(step, outcome, now, wall)
            elif isinstance(outcome, Conflict):
                conflicts.add(step.name)
            else:
                yield self._refused(step, outcome)
        return conflicts

    def _wrote(self, step: Step, done: Done, now: float, wall: float) -> None:
        before = self.stored.get(step.name)
        self.stored[step.name] = after = replace(step.node, version=done.version, last_seen=None)
        self.share.moved(step.name, now)
        self._settle(step.name, now, wall)
        self.history.note(step.name, after.ready, wall)
        if before is None or before.ready.status != after.ready.status:
            ready = after.ready
            word = {"True": "Ready", "False": "NotReady"}[ready.status]
            self._log.info(
                "node {name} is {word} ({reason}: {message})",
                name=step.name,
                word=word,
                reason=ready.reason,
                message=ready.message,
            )

    @inlineCallbacks
    def _refused(self, step: Step, outcome: Outcome):
        """Not ours, as it stands in the store now."""
        self._log.info("node {name} is left alone: {outcome!r}", name=step.name, outcome=outcome)
        yield self._read([step.name])
        peer = self.table.get(step.name)
        if peer is not None:
            self._settled[step.name] = (peer.desired(self._clock.seconds()), self._list_at)

    @inlineCallbacks
    def _read(self, names: Iterable[str]):
        """Read these records again, as they are."""
        for name in list(names):
            before = self.stored.get(name)
            try:
                node = yield self._store.get(name)
            except CorruptRecord as error:
                self.corrupt[name], node = error, None
            else:
                self.corrupt.pop(name, None)
            self._settled.pop(name, None)
            if node is None:
                self.stored.pop(name, None)
            else:
                self.stored[name] = node
                self._heed(before, node, self._clock.seconds())
            self.share.read(name, node, before, self._clock.seconds())

    def _heed(self, before: "Node | None", node: Node, now: float) -> None:
        """Who reports a machine that is silent here is believed for a while."""
        peer = self.table.get(node.name)
        word = reported(peer, node, before, now, self._patience) if peer is not None and before is not None else None
        if word is not None:
            self.table.observe(word)

    def _settle(self, name: str, now: float, wall: float) -> None:
        """Nothing to do for this Node until it is to differ from what was planned, or its report is due."""
        want, have = self._planned.get(name), self.stored.get(name)
        if want is None or have is None:
            return
        beat = have.ready.last_heartbeat
        due = float("inf") if not want.live or beat is None else now + max(1.0, beat + self._report_every - wall)
        self._settled[name] = (want, due)
