"""Members: the k3net daemons that share one store, and which of them writes what."""

from collections.abc import Iterable
from hashlib import blake2b

from k3net.model.peers import Peer


def is_member(peer: Peer, store: str, instance: str, now: float) -> bool:
    """Whether the peer's `/info` (spec/1-nodes-and-mdns.md) named the same `store` and another `instance`, lately."""
    answer = peer.live("liveness", now)
    return (
        answer is not None and answer.meta.get("store") == store and answer.meta.get("instance", instance) != instance
    )


def writes_itself(peer: Peer, now: float) -> bool:
    """Whether a member keeps its own Node (`/info` `selfUp`)."""
    answer = peer.live("liveness", now)
    return answer is not None and answer.meta.get("selfUp") == "true"


def writer_of(name: str, members: Iterable[str]) -> str:
    """Who of `members` writes the Node `name`: rendezvous hash, so that one who leaves hands over only its own share.

    A member writes its own Node. ValueError without members.
    """
    named = set(members)
    if name in named:
        return name
    return max(named, key=lambda member: (blake2b(f"{name}/{member}".encode(), digest_size=8).digest(), member))
