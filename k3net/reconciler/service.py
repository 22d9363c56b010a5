"""The passes: what is observed is compared with what is stored, and the difference is written."""

from collections.abc import Callable, Iterator, Set
from itertools import islice
from typing import Any

from twisted.internet.defer import inlineCallbacks, maybeDeferred

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.log import make_logger
from k3net.model.brake import Brake
from k3net.model.node import Node
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.model.plan import Step, plan
from k3net.reconciler.adoption import vouched
from k3net.reconciler.conflict_metric import ConflictMetric
from k3net.reconciler.demotions import Demotions, nobody, unknown
from k3net.reconciler.differences import Differences
from k3net.reconciler.history import History
from k3net.reconciler.share import Share
from k3net.reconciler.stored import Stored
from k3net.reconciler.turns import SLICE, turn
from k3net.services import Periodic
from k3net.store.interface import Conflict, Done, Outcome

_TRIES = 4
_SOON = 0.1
_FAREWELL = 5.0
_MOST_ALARMS = 10


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
        self._rests_until = float("-inf")
        self._rests_at = -1
        self._trusts_itself_at = float("-inf")
        self.history = History()
        self.share = Share(name, instance, patience=report_every + peer_ttl, registers=registers)
        self._known = Stored(clock, store, table, self.share, report_every=report_every, peer_ttl=peer_ttl)
        self.collectors = (ConflictMetric(self._known.conflicts),)
        self._differences = Differences(clock, table, self._known, self.share, self.history, wall=wall)
        self._demotions = Demotions(
            clock, table, brake, own=name, peer_ttl=peer_ttl, reach=reach, ask=ask, reached=self._reached
        )

    @property
    def stored(self) -> dict[str, Node]:
        """The Nodes in the store, as far as is known here."""
        return self._known.nodes

    @property
    def corrupt(self) -> dict[str, CorruptRecord]:
        """The records in the store that are no Nodes."""
        return self._known.corrupt

    @property
    def store_id(self) -> str:
        """The id that is kept in the store itself; "" until it was read."""
        return self._known.identity

    @property
    def alarms(self) -> Iterator[str]:
        """A brake that holds, records that are no Nodes, and Nodes that say the same pod CIDR."""
        if self.brake.held:
            yield f"brake: {len(self.brake.held)} Nodes would go NotReady at once; held back"
        for record in self.corrupt.values():
            yield f"the stored record {record.name!r} is no Node ({record.reason}); left alone"
        conflicts = self._known.conflicts
        for name, conflict in islice(conflicts, _MOST_ALARMS):
            yield f"pod CIDR of node {name}: {conflict}"
        if len(conflicts) > _MOST_ALARMS:
            yield f"pod CIDRs of {len(conflicts) - _MOST_ALARMS} more nodes overlap"

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
            if self._clock.seconds() >= self._known.list_at:
                yield self._known.list()
                self.history.keep(self.table)
                self._doubt_itself()
            for name in self.table.forget_hearsay(self._clock.seconds()):
                self._known.unsettle(name)
            for name in self.share.update(self.table, self.store_id, self._clock.seconds()):
                self._known.unsettle(name)
            for name in self._known.conflicts.changed():
                self._known.unsettle(name)
            yield self._look()
            now = self._clock.seconds()
            wanting = self._differences.demotions(now)
            allowed: Set[str] = frozenset()
            if now >= self._trusts_itself_at:
                allowed = yield self._demotions.allowed(wanting, self._differences.deregistered(wanting, now))
            tries = 0
            while tries < _TRIES:
                steps = yield self._steps(allowed)
                if not steps:
                    self._known.list_sooner()
                    self._rest(changes)
                    return
                conflicts = yield self._apply(steps)
                if conflicts:
                    tries += 1
                    yield self._known.read(conflicts)
        except StoreUnavailable:
            self._known.list_at = float("-inf")
            raise

    @inlineCallbacks
    def _look(self):
        """Find out what is desired of each peer, which the pass then has at hand; others get their turn in between."""
        now = self._clock.seconds()
        for count, peer in enumerate(list(self.table), 1):
            peer.desired(now)
            if count % SLICE == 0:
                yield turn(self._clock)

    def _rests(self) -> bool:
        """Whether this pass would find all as the last one left it."""
        if self.table.changes != self._rests_at or self.brake.held_since is not None or self._known.conflicts.pending:
            return False
        return self._clock.seconds() < self._rests_until

    def _rest(self, changes: int) -> None:
        """Nothing is left to do until something differs, lapses or is due; a demotion that waits is left."""
        now = self._clock.seconds()
        if self._differences.demotions(now):
            return
        self._rests_at = changes
        self._rests_until = min(self._known.settled_until(), self.table.holds_until(now))

    def _doubt_itself(self) -> None:
        """Who did not reach the store for long may have reached nobody: before it demotes it looks round again."""
        now = self._clock.seconds()
        if self.failing_since is not None and now - self.failing_since > self.brake.silence:
            self._trusts_itself_at = now + self.brake.silence

    @inlineCallbacks
    def _steps(self, allowed: Set[str]):
        """The next steps of this pass, at most a batch; of the demotions by lapse only those allowed."""
        while True:
            now, wall = self._clock.seconds(), self._wall()
            wanted, doubted = yield self._differences.batch(allowed, now, wall)
            if doubted:
                yield self._known.read(doubted)
                continue
            steps = list(plan(wanted, self.stored, wall, report_every=self._report_every))
            for name in wanted.keys() - {step.name for step in steps}:
                self._differences.settle(name, now, wall)
            if steps or not wanted:
                return steps

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
        after = self._known.wrote(step, done, now)
        self._differences.settle(step.name, now, wall)
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
        yield self._known.read([step.name])
        peer = self.table.get(step.name)
        if peer is not None:
            self._known.settle_until(self._known.list_at, step.name, peer.desired(self._clock.seconds()))
