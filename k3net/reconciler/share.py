"""Whose Nodes this daemon writes."""

from k3net.model.members import Writers, is_member, writer_of, writes_itself
from k3net.model.node import Node
from k3net.model.peers import PeerTable


class Share:
    """This daemon's share of the Nodes: its own, those that the rendezvous hash gives it, and those left alone.

    A record that its writer leaves alone for `patience` seconds may be written by anyone; how long it has been left is
    counted from when its version was first seen here, so that no other machine's clock matters. Times are monotonic.
    A daemon that does not register itself leaves its own Node to the other members.
    """

    def __init__(self, name: str, instance: str, *, patience: float, registers: bool = True):
        self.name = name
        self._instance = instance
        self._patience = patience
        self._writers = Writers([name])
        self._self_kept = frozenset([name] if registers else [])
        self._keepers = self._self_kept
        self._moved_at: dict[str, float] = {}
        self._doubts: dict[str, float] = {}
        self._left_alone: set[str] = set()

    @property
    def members(self) -> frozenset[str]:
        """The live members by Node name, this daemon among them."""
        return self._writers.members

    def update(self, table: PeerTable, store: str, now: float) -> list[str]:
        """Find the members anew; the names whose writer changed by that."""
        peers = [peer for peer in table if is_member(peer, store, self._instance, now)]
        members = frozenset([self.name, *(peer.name for peer in peers)])
        keepers = self._self_kept.union(peer.name for peer in peers if writes_itself(peer, now))
        if members == self.members and keepers == self._keepers:
            return []
        changed = [*self._writers.change(members), *(members - keepers | keepers ^ self._keepers)]
        self._keepers = keepers
        return changed

    def writer(self, name: str) -> str:
        """Who writes this Node: a member's name."""
        if name in self.members and name not in self._keepers:
            return writer_of(name, self.members - {name} or {name})
        return self._writers.of(name)

    def mine(self, name: str) -> bool:
        return name in self._left_alone or self.writer(name) == self.name

    def moved(self, name: str, now: float) -> None:
        """Somebody wrote the record."""
        self._moved_at[name] = now
        self._doubts.pop(name, None)
        self._left_alone.discard(name)

    def silent(self, name: str, now: float) -> bool:
        """Whether the record has not moved for longer than patience; from then on it is anyone's."""
        if now - self._moved_at.setdefault(name, now) <= self._patience:
            return False
        self._left_alone.add(name)
        return True

    @property
    def doubts(self) -> int:
        """How many records are in doubt."""
        return len(self._doubts)

    def doubt(self, name: str, now: float) -> bool:
        """Whether the writer has had its time to write what is seen here to be due."""
        return now >= self._doubts.setdefault(name, now + self._patience)

    def doubted_at(self, name: str) -> float:
        return self._doubts[name]

    def read(self, name: str, node: "Node | None", planned_against: "Node | None", now: float) -> None:
        """The record was read again: if it is still what it was while in doubt, it is anyone's."""
        doubted = self._doubts.pop(name, None)
        if (node and node.version) != (planned_against and planned_against.version):
            self.moved(name, now)
        elif doubted is not None and now >= doubted:
            self._left_alone.add(name)

    def forget(self, name: str) -> None:
        self._moved_at.pop(name, None)
        self._doubts.pop(name, None)
        self._left_alone.discard(name)
        self._writers.forget(name)
