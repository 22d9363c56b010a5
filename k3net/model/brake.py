"""The brake: when most Nodes would go NotReady at once, the likelier news is that this daemon is cut off."""

from collections.abc import Set
from dataclasses import dataclass

SHARE = 0.55
LEAST = 3


@dataclass(frozen=True)
class Reach:
    """What a daemon can show of its own network: when (monotonic) a peer last answered it, whether a member it asked
    agrees with the demotions, and whether some peer or the default gateway answers it now."""

    last_answer: float | None = None
    member_agrees: bool = False
    network_works: bool = False


@dataclass(frozen=True)
class Opinion:
    """What members say of a machine: one that reached it just now, and those that tried and did not."""

    reached_by: str = ""
    denied_by: tuple[str, ...] = ()


@dataclass
class Brake:
    """Holds demotions by lapse while `SHARE` of the Nodes (at least `LEAST`) would fall within one `peer_ttl`.

    So does silence from everybody: no answer from anyone for `silence` seconds, in a world of `LEAST` Nodes or more.
    All times are monotonic seconds; `held_since` is None while the brake is off.
    """

    peer_ttl: float
    silence: float
    enabled: bool = True
    held_since: float | None = None
    held: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    _free_until: float = float("-inf")

    def allow(self, wanting: Set[str], falling: Set[str], standing: int, now: float, reach: Reach) -> frozenset[str]:
        """Which of the Nodes in `wanting` may go NotReady now.

        `falling` are those that lapsed or said goodbye within the last `peer_ttl`; `standing` counts those that live.
        """
        self.released &= wanting
        held = frozenset(wanting) - self.released
        of = self._down(wanting, falling) + standing
        deaf = of >= LEAST and (reach.last_answer is None or now - reach.last_answer > self.silence)
        many = self.many(wanting, falling, standing)
        let_go = self.held_since is not None and self._lets_go(now, reach)
        if let_go or (many and now <= self._free_until):  # as long as there is more to let through
            self._free_until = now + self.peer_ttl
        if not self.enabled or not held or now <= self._free_until or not (many or deaf):
            self.held_since, self.held = None, frozenset()
            return frozenset(wanting)
        if self.held_since is None:
            self.held_since = now
        self.held = held
        return frozenset(wanting) - held

    def many(self, wanting: Set[str], falling: Set[str], standing: int) -> bool:
        """Whether so many go NotReady that this daemon is the likelier one to be wrong."""
        down = self._down(wanting, falling)
        return down >= LEAST and down / (down + standing) >= SHARE

    def _down(self, wanting: Set[str], falling: Set[str]) -> int:
        return len((wanting - self.released) | falling | self.held & wanting)

    def release(self) -> frozenset[str]:
        """The operator's word: what is held goes through at the next pass; the names that were held."""
        self.released |= self.held
        return self.held

    def _lets_go(self, now: float, reach: Reach) -> bool:
        waited = self.held_since is not None and now - self.held_since >= 2 * self.peer_ttl
        return reach.member_agrees or (waited and reach.network_works)
