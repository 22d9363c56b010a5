"""The word of others, as observations of this daemon: what is stored, and what a member says."""

from contextlib import suppress

from k3net.errors import InvalidObservation
from k3net.model.node import Node
from k3net.model.observation import Observation, usable_address
from k3net.model.peers import Peer

_MOST_ADDRESSES = 16


def adopted(node: Node, now: float, ttl: float) -> "Observation | None":
    """The store's word for a machine that nobody here has seen; None when its name can be no peer's.

    A reason or message that a condition cannot have is left out of it.
    """
    ready = node.ready
    for reason, message in ((ready.reason, ready.message), ("", "")):
        with suppress(InvalidObservation):
            return Observation(
                peer=node.name,
                source="store",
                seen_at=now,
                ttl=ttl,
                addresses=tuple(a for a in node.internal_ips if usable_address(a))[:_MOST_ADDRESSES],
                port=node.port,
                ready=ready.status == "True",
                reason=reason,
                message=message,
                meta={"discovery": "consul"} if node.labels.get("discovery") == "consul" else {},
            )
    return None


def reported(peer: Peer, node: Node, before: Node, now: float, ttl: float) -> "Observation | None":
    """The store's word for a machine that is silent here, but not to who reports it; None when there is none.

    It begins when another daemon makes a Node Ready that was written off, and goes on while the record moves. So two
    sides of a broken network, each with its way to the store, do not take turns with a Node.
    """
    seen = any(not o.lapsed(now) for o in peer.observations.values() if o.source != "store")
    if seen or node.version == before.version or node.ready.status != "True":
        return None
    newest = max(peer.observations.values(), key=lambda o: o.seen_at)
    return adopted(node, now, ttl) if newest.source == "store" or before.ready.status == "False" else None


def vouched(peer: Peer, member: str, now: float, ttl: float) -> Observation:
    """A member's word that it reaches a peer which this daemon does not."""
    before = peer.observations.get("liveness")
    return Observation(
        peer=peer.name,
        source="liveness",
        seen_at=now,
        ttl=ttl,
        reason="PeerAlive",
        message=f"reached by {member}",
        meta=before.meta if before is not None else {},
    )


def seen_at(peer: Peer, now: float, wall: float) -> float | None:
    """The time of day when a source of this daemon last saw the peer."""
    return None if peer.last_seen is None else wall - (now - peer.last_seen)
