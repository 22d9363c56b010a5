"""Demotions: before silence takes Ready from a Node, other members are asked, and the brake is."""

from collections.abc import Callable, Set
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks, maybeDeferred

from k3net.log import make_logger
from k3net.model.brake import Brake, Opinion, Reach
from k3net.model.peers import PeerTable

_ASKED_AT_ONCE = 64
_SAMPLE = 3


class Demotions:
    """Which of the Nodes that fell silent may go NotReady in this pass.

    `reach()` gives a Reach, `ask(name)` an Opinion (or Deferreds of them); `reached(name, member)` is told when a
    member still reaches the machine. Without members this daemon's own word counts.
    """

    def __init__(
        self,
        clock: Any,
        table: PeerTable,
        brake: Brake,
        *,
        own: str,
        peer_ttl: float,
        reach: Callable[[], Any],
        ask: Callable[[str], Any],
        reached: Callable[[str, str], None],
    ):
        self._clock = clock
        self._table = table
        self.brake = brake
        self._own = own
        self._peer_ttl = peer_ttl
        self._reach = reach
        self._ask = ask
        self._reached = reached
        self._log = make_logger()

    @inlineCallbacks
    def allowed(self, wanting: Set[str], told: Set[str] = frozenset()):
        """The names that may fall now; of the others some wait for the brake, the rest for the next pass.

        Those in `told` did not fall silent: a registry says that they are gone. No member is asked about them, and
        unless they are many the brake lets them pass.
        """
        crowd = bool(told) and self.brake.many(wanting, *self._falling(self._clock.seconds()))
        few = frozenset() if crowd else frozenset(told)
        wanting = frozenset(wanting) - few
        if not wanting and self.brake.held_since is None:
            return few
        released = self.brake.released & wanting
        passing = yield self._braked(wanting)
        asked = sorted(passing - released - told)[:_ASKED_AT_ONCE]
        opinions = yield gatherResults([self._opinion(name) for name in asked])
        fallen = {*released, *few, *(passing & told)}
        for name, opinion in zip(asked, opinions, strict=True):
            if opinion.reached_by:
                self._reached(name, opinion.reached_by)
            else:
                fallen.add(name)
        return frozenset(fallen)

    @inlineCallbacks
    def _braked(self, wanting: frozenset[str]):
        reach = yield maybeDeferred(self._reach)
        if self.brake.held:
            agrees = yield self._members_agree(sorted(self.brake.held)[:_SAMPLE])
            reach = replace(reach, member_agrees=agrees)
        now, was = self._clock.seconds(), self.brake.held_since
        passing = self.brake.allow(wanting, *self._falling(now), now, reach)
        if self.brake.held_since is not None and was is None:
            self._log.warn(
                "brake: {held} Nodes would go NotReady at once; this daemon may be the one that is cut off",
                held=len(self.brake.held),
            )
        elif self.brake.held_since is None and was is not None:
            self._log.warn("brake: off again")
        return passing

    @inlineCallbacks
    def _members_agree(self, names: list[str]):
        """Whether members that this daemon reaches do not reach these machines either."""
        opinions = yield gatherResults([self._opinion(name) for name in names])
        return all(opinion.denied_by and not opinion.reached_by for opinion in opinions)

    def _opinion(self, name: str) -> "Deferred[Opinion]":
        def failed(failure: Any) -> Opinion:
            self._log.failure("the members could not be asked about {name!r}", failure=failure, name=name)
            return Opinion()

        return maybeDeferred(self._ask, name).addErrback(failed)

    def _falling(self, now: float) -> tuple[set[str], int]:
        """The machines lost lately, or silent for so long that they are about to be; and how many stand."""
        falling, standing = set(), 0
        for peer in self._table:
            if not peer.verified or peer.last_seen is None:
                continue
            silent = now - peer.last_seen
            want = peer.desired(now)
            ready = want.ready.status == "True"
            if peer.name == self._own:
                standing += 1
            elif want.live and not ready:
                continue  # denied, and so not lost
            elif silent <= 2 * self._peer_ttl and (not ready or silent > self.brake.silence):
                falling.add(peer.name)
            elif ready:
                standing += 1
        return falling, standing


def nobody(name: str) -> Opinion:
    """What members say where there are none."""
    return Opinion()


def unknown() -> Reach:
    """What a daemon can show of its network that has not looked."""
    return Reach()
