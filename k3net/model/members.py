"""Members: the k3net daemons that share one store, and which of them writes what."""

from collections.abc import Collection, Iterable, Set
from hashlib import blake2b

from k3net.model.peers import Peer


def is_member(peer: Peer, store: str, instance: str, now: float) -> bool:
    """Whether the peer's `/info` (spec/1-nodes-and-mdns.md) named the same `store` and another `instance`, lately."""
    answer = peer.observations.get("liveness")
    if answer is None or answer.meta.get("store") != store or not store:
        return False
    if any(o.goodbye and o.seen_at >= answer.seen_at for o in peer.observations.values()):
        return False
    return not answer.lapsed(now) and answer.meta.get("instance", instance) != instance


def writes_itself(peer: Peer, now: float) -> bool:
    """Whether a member keeps its own Node (`/info` `selfUp`)."""
    answer = peer.live("liveness", now)
    return answer is not None and answer.meta.get("selfUp") == "true"


def writer_of(name: str, members: Collection[str]) -> str:
    """Who of `members` writes the Node `name`: rendezvous hash, so that one who leaves hands over only its own share.

    A member writes its own Node. ValueError without members.
    """
    if name in members:
        return name
    return max(members, key=lambda member: _score(name, member))


class Writers:
    """`writer_of` for many names, remembered: one who joins costs one hash a name, one who leaves its own share."""

    def __init__(self, members: Iterable[str]):
        self.members = frozenset(members)
        self._of: dict[str, str] = {}

    def of(self, name: str) -> str:
        writer = self._of.get(name)
        if writer is None:
            writer = self._of[name] = writer_of(name, self.members)
        return writer

    def change(self, members: Set[str]) -> list[str]:
        """Take the new members; the names that another one writes from now on."""
        joined, left = members - self.members, self.members - members
        self.members = frozenset(members)
        moved = []
        for name, writer in self._of.items():
            if writer in left or name in joined or name in left:
                now = writer_of(name, self.members)
            elif writer == name or not joined:
                continue
            else:
                now = max((writer, *joined), key=lambda member, name=name: _score(name, member))  # type: ignore[misc]
            if now != writer:
                self._of[name] = now
                moved.append(name)
        return moved

    def forget(self, name: str) -> None:
        self._of.pop(name, None)


def _score(name: str, member: str) -> tuple[bytes, str]:
    return blake2b(f"{name}/{member}".encode(), digest_size=8).digest(), member
