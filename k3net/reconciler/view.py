"""What is known now, as the API shows it: to the second, from memory."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

from k3net.errors import NotFound
from k3net.model.explain import explain
from k3net.model.node import Node
from k3net.model.peers import Peer
from k3net.model.result import ProbeResult
from k3net.reconciler.adoption import seen_at
from k3net.reconciler.differences import NOT_ITS_OWN_WORD
from k3net.reconciler.service import Reconciler


class View:
    """Nodes and peers as JSON objects; ages in seconds."""

    def __init__(
        self,
        reconciler: Callable[[], Reconciler],
        clock: Any,
        wall: Callable[[], float],
        last_probe: Callable[[str], "ProbeResult | None"],
    ):
        self._known = reconciler
        self._clock = clock
        self._wall = wall
        self._last_probe = last_probe

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Every `v1` Node that is stored or about to be, by name."""
        known = self._known()
        names = known.stored.keys() | {p.name for p in known.table if p.verified and p.name not in known.corrupt}
        return (self._manifest(name) for name in sorted(names) if self._is_known(name))

    def node(self, name: str) -> dict[str, Any]:
        """One Node; NotFound when there is none."""
        known = self._known()
        corrupt = known.corrupt.get(name)
        if corrupt is not None:
            raise NotFound(f"the stored record is no Node: {corrupt.reason}")
        peer = known.table.get(name)
        if name not in known.stored and (peer is None or not peer.verified):
            raise NotFound(f'nodes "{name}" not found')
        return self._manifest(name)

    def count(self) -> Counter[str]:
        """How many Nodes have each status of Ready."""
        now = self._clock.seconds()
        known = self._known()
        statuses = {name: node.ready.status for name, node in known.stored.items()}
        for peer in known.table:
            have = known.stored.get(peer.name)
            if peer.verified and peer.name not in known.corrupt and not self._stands(peer, have, now):
                statuses[peer.name] = peer.desired(now).ready.status
        return Counter(statuses.values())

    def peers(self) -> Iterator[dict[str, Any]]:
        """Every peer in the table with its observations, by name."""
        now = self._clock.seconds()
        return (self._peer(peer, now) for peer in sorted(self._known().table, key=lambda peer: peer.name))

    def explain(self, name: str) -> dict[str, Any]:
        """Why a Node is what it is; NotFound when there is none.

        `writer` is "" for a Node of others, `left_alone` that the writer has long been silent, `held` that the brake
        holds the Node's demotion.
        """
        known, now = self._known(), self._clock.seconds()
        shown = Node(name, self.node(name))
        stored, peer, own = known.stored.get(name), known.table.get(name), known.share.name
        managed = stored is None or stored.managed
        writer = known.share.writer(name) if managed else ""
        because = explain(shown, peer.observations if peer is not None else {}, stored, now, observer=own)
        return {
            "name": name,
            "observer": own,
            "managed": managed,
            "writer": writer,
            "left_alone": managed and writer != own and known.share.mine(name),
            "members": sorted(known.share.members),
            "stored": stored is not None,
            "stored_ready": stored.ready.status if stored is not None else "",
            "resourceVersion": shown.manifest["metadata"]["resourceVersion"],
            "held": name in known.brake.held,
            "fields": [asdict(row) for row in because],
            "observations": self._peer(peer, now)["observations"] if peer is not None else [],
            "transitions": known.history.of(name),
        }

    def brake(self) -> dict[str, Any]:
        """Whether demotions are held back, since when, and whose."""
        brake, now = self._known().brake, self._clock.seconds()
        return {
            "enabled": brake.enabled,
            "held": sorted(brake.held),
            "held_seconds": None if brake.held_since is None else round(now - brake.held_since, 3),
        }

    def release_brake(self) -> dict[str, Any]:
        """Let go through what is held; the names."""
        known = self._known()
        released = sorted(known.brake.release())
        known.kick()
        return {"released": released}

    def _is_known(self, name: str) -> bool:
        known = self._known()
        return name in known.stored or name in known.table

    def _node(self, name: str, now: float) -> Node:
        have = self._known().stored.get(name)
        peer = self._known().table.get(name)
        if peer is None or self._stands(peer, have, now):
            assert have is not None  # a name comes from one or the other
            return have
        want = replace(peer.desired(now), last_seen=seen_at(peer, now, self._wall()))
        return want if have is None else want.carrying(have)

    def _stands(self, peer: Peer, have: "Node | None", now: float) -> bool:
        """Whether the record is shown as it is stored: it is another's, or its demotion is held or not yet agreed."""
        if have is None or not have.managed:
            return have is not None
        if have.ready.status != "True" or peer.desired(now).ready.reason not in NOT_ITS_OWN_WORD:
            return False
        known = self._known()
        return known.brake.held_since is not None or (known.failing_since is None and known.share.mine(peer.name))

    def _manifest(self, name: str) -> dict[str, Any]:
        now = self._clock.seconds()
        node = self._node(name, now)
        have = self._known().stored.get(name)
        if node is not have and node.last_seen is not None:
            node = node.stamped(node.last_seen)
        manifest = dict(node.manifest)
        manifest["metadata"] = {**manifest["metadata"], "resourceVersion": have.version if have else ""}
        return manifest

    def _peer(self, peer: Peer, now: float) -> dict[str, Any]:
        ready = peer.desired(now).ready
        addresses, port = peer.whereabouts(now)
        share = self._known().share
        probed = self._last_probe(peer.name)
        return {
            "name": peer.name,
            "addresses": list(addresses),
            "port": port,
            "verified": peer.verified,
            "member": peer.name in share.members,
            "own": "own" in peer.observations,
            "ready": ready.status if peer.verified else "Unknown",
            "reason": ready.reason,
            "message": ready.message,
            "observations": [
                {
                    "source": o.source,
                    "age_seconds": round(now - o.seen_at, 3),
                    "ttl_seconds": o.ttl,
                    "ready": o.ready and not o.lapsed(now),
                    "reason": o.reason,
                    "message": o.message,
                    "addresses": list(o.addresses),
                    "port": o.port,
                }
                for o in peer.observations.values()
            ],
            "last_probe": None
            if probed is None
            else {
                "ok": probed.ok,
                "reason": probed.reason,
                "rtt_seconds": probed.rtt,
                "age_seconds": round(now - probed.at, 3),
            },
        }
