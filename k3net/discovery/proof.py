"""Who answers at a peer's port: what `/info` says there, for how long that is believed, and when to ask again."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twisted.internet.defer import Deferred, DeferredSemaphore, inlineCallbacks, succeed

from k3net.log import make_logger
from k3net.model.peers import Peer

_IDENTITY = ("node", "store", "instance", "version", "clusters")
_LONGEST = 128
_LONGEST_NAME = 253
_MOST_DOUBLINGS = 8

Claim = Mapping[str, str]


class Questions:
    """Asks ports who they are, at most `most` at a time; the others wait, and hold nothing else up meanwhile.

    `ask(url)` is a Deferred of the `/info` object, or of None when the port answered with something else; it fails when
    nothing answered.
    """

    def __init__(self, ask: Callable[[str], "Deferred[Mapping[str, Any] | None]"], most: int):
        self._ask = ask
        self._places = DeferredSemaphore(most)
        self._log = make_logger()

    def put(self, address: str, port: int, still: Callable[[], bool]) -> "Deferred[Claim]":
        """What `/info` says of itself; {} when the port proves nothing, or nobody wants to know any more."""
        return self._places.run(lambda: self._put(address, port) if still() else succeed({}))

    @inlineCallbacks
    def _put(self, address: str, port: int):
        host = f"[{address}]" if ":" in address else address
        try:
            info = yield self._ask(f"http://{host}:{port}/info")
        except Exception as error:
            self._log.debug("{host}:{port} gave no /info: {error}", host=host, port=port, error=error)
            info = None
        if not isinstance(info, dict) or not isinstance(info.get("node"), str):
            return {}
        claimed = {key: info[key] for key in _IDENTITY if _is_word(info.get(key))}
        claimed["node"] = info["node"][: _LONGEST_NAME + 1]
        claimed["selfUp"] = "true" if info.get("selfUp") is True else "false"
        return claimed


@dataclass(slots=True)
class Proof:
    """What is known of who answers for one peer: `claim` is {} when its port proves nothing. Times are monotonic."""

    claim: Claim = field(default_factory=dict)
    _via: str = ""
    _at: float = float("-inf")
    _ask_at: float = float("-inf")
    _misses: int = 0

    def wanted(self, peer: Peer, address: str, now: float) -> bool:
        """Whether to ask the port at this address now."""
        return now >= self._ask_at or left(peer) or self._via != address

    def learn(self, peer: Peer, address: str, claim: Claim, at: float, *, interval: float, peer_ttl: float) -> None:
        """Keep what was answered; one that fails now and then is not lost at once, so that a busy member stays one.

        The next question is due after half a `peer_ttl`; where nothing was proven it is after one probe `interval`,
        then two, and so on up to that.
        """
        lately = self._via == address and "node" in self.claim and at - self._at <= peer_ttl
        if not claim and lately and self._at > _left_at(peer):
            return
        self.claim, self._via, self._at = claim, address, at
        self._misses = 0 if claim else min(self._misses + 1, _MOST_DOUBLINGS)
        wait = peer_ttl / 2 if claim else min(peer_ttl / 2, (2 ** (self._misses - 1) - 0.5) * interval)
        self._ask_at = at + wait

    def lose(self) -> None:
        """Nobody answers there now: who does so next has to prove itself."""
        self._at = self._ask_at = float("-inf")
        self._misses = 0


def left(peer: Peer) -> bool:
    """Whether the peer said goodbye, and that is the last that its source heard."""
    return any(o.goodbye for o in peer.observations.values())


def _left_at(peer: Peer) -> float:
    """When the peer last said goodbye."""
    return max((o.seen_at for o in peer.observations.values() if o.goodbye), default=float("-inf"))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST and value.isascii() and value.isprintable()
