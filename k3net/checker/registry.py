"""The agents that live, the bit each has in the masks, and which of them speaks from an address."""

import heapq
from collections import OrderedDict
from collections.abc import Iterator

from k3net.checker.client import Client
from k3net.checker.pods import Pods
from k3net.checker.wire import Heartbeat
from k3net.errors import RequestError

MOST_CLIENTS = 10_000
MOST_STRANGERS = 1000
SILENT_FOR = 900.0
"""A client that fell silent without a goodbye may be broken: so long it is still worth a test, and then forgotten."""

_PLACES = ("host", "pod")


class CacheError(RequestError):
    """There is no room for what was sent."""


class Registry:
    """Clients that were heard within `expiry` seconds. `expire(now)` is called before anything is asked."""

    def __init__(self, expiry: float, *, most: int = MOST_CLIENTS):
        self.expiry = expiry
        self._most = most
        self._heard: OrderedDict[Client, None] = OrderedDict()
        self._at: dict[str, dict[str, list[Client]]] = {place: {} for place in _PLACES}
        self.pods = Pods(expiry)
        self._strangers: dict[str, Client] = {}
        self._silent: dict[Client, None] = {}
        self._names: dict[str, Client] = {}
        self._by_bit: list[Client | None] = []
        self._free: list[int] = []
        self._sorted: dict[str, list[str]] = {}
        self.bits: dict[str, dict[str, int]] = {place: {} for place in _PLACES}
        """By layer: the bit of the target at an address."""
        self.generation = 0
        """Goes up with whatever changes a bit."""

    def __len__(self) -> int:
        """How many have a heartbeat."""
        return len(self.pods)

    def __contains__(self, client: Client) -> bool:
        """Whether its bit is still its own."""
        return 0 <= client.bit < len(self._by_bit) and self._by_bit[client.bit] is client

    def __iter__(self) -> Iterator[Client]:
        """Those with a heartbeat, by bit."""
        return (client for client in self._by_bit if client is not None and not client.silent)

    @property
    def silent(self) -> "list[Client]":
        """Those that fell silent, the first of them first."""
        return list(self._silent)

    @property
    def size(self) -> int:
        """No bit is as high as that."""
        return len(self._by_bit)

    @property
    def by_bit(self) -> "list[Client | None]":
        return list(self._by_bit)

    def beat(self, said: Heartbeat, now: float, wall: float) -> "tuple[Client, list[Client]]":
        """Who is heard, and those it replaces: the same pod elsewhere, and who fell silent on its node or address.

        The same addresses are the same client, begun anew when the pod is another.
        """
        client = self._same_place(said.node_ip, said.pod_ip)
        replaced: list[Client] = []
        if client is None or client.pod != said.pod:
            replaced = self.pods.moved(said, now)
            for other in replaced:
                self._remove(other)
            if client is None:
                client, gone = self._newcomer(said)
                replaced += gone
            else:
                self.pods.remove(client)
                client.namespace, client.pod_name = said.pod
                client.version = 0
            self.pods.add(client)
        self._rename(client, said.node_name)
        client.version += 1
        client.heard, client.last_heartbeat = now, wall
        self._heard[client] = None
        self._heard.move_to_end(client)
        return client, replaced

    def adopt(
        self, said: Heartbeat, heard: float, wall: float, *, version: int, silent: bool = False
    ) -> "tuple[Client | None, list[Client]]":
        """One that was known before a restart, and those it replaces; it is as it says itself if it has spoken since.

        None when there is no room, or another has its place. Of a silent one `heard` is when it was last heard.
        """
        known = self._same_place(said.node_ip, said.pod_ip)
        if known is not None and not silent:
            return known, []
        places = (said.node_ip, said.pod_ip)
        taken = bool(self.pods.named(said)) or len(self) >= self._most
        if silent:
            taken |= any(ip in self._at["host"] or ip in self._at["pod"] or ip in self._strangers for ip in places)
            taken |= said.node_name in self._names
        if taken:
            return None, []
        client, replaced = self.beat(said, heard, wall)
        client.version = version
        if silent:
            self._remove(client, keep_bit=True)
        return client, replaced

    def source(self, address: str, layer: str, now: float) -> Client:
        """Who reports from there; somebody new is a stranger, and gone again after `expiry` without a heartbeat."""
        for place in (layer, *_PLACES):
            if found := self._at.get(place, {}).get(address):
                return found[0]
        stranger = self._strangers.get(address)
        if stranger is None:
            if len(self._strangers) >= MOST_STRANGERS:
                raise CacheError("too many sources without a heartbeat")
            stranger = self._strangers[address] = Client(address, address, address)
        stranger.heard = now
        self._heard[stranger] = None
        self._heard.move_to_end(stranger)
        return stranger

    def goodbye(self, said: Heartbeat) -> "list[Client]":
        """Forget who says so, and who they were."""
        client = self._same_place(said.node_ip, said.pod_ip)
        if client is None or client.pod != said.pod:
            return []
        self._remove(client)
        return [client]

    def expire(self, now: float) -> "tuple[list[Client], list[Client]]":
        """Those that just fell silent, and those that are forgotten: strangers, replaced ones, and long silent ones."""
        fell_silent: list[Client] = []
        forgotten: list[Client] = []
        while self._heard:
            client = next(iter(self._heard))
            if now - client.heard < self.expiry:
                break
            alone = not client.stranger and len(self._at["host"][client.node_ip]) == 1
            self._remove(client, keep_bit=alone)
            (fell_silent if alone else forgotten).append(client)
        while self._silent:
            client = next(iter(self._silent))
            if now - client.heard < SILENT_FOR and len(self._silent) <= MOST_STRANGERS:
                break
            self._free_bit(client)
            forgotten.append(client)
        return fell_silent, forgotten

    def addresses(self, layer: str) -> "list[str]":
        """Those of the live clients as targets, sorted, each once."""
        if layer not in self._sorted:
            self._sorted[layer] = sorted(self._at[layer])
        return self._sorted[layer]

    def elsewhere(self, said: Heartbeat) -> "list[Client]":
        """Who has the name of its pod or of its node, on another host; the silent too."""
        known = [*self.pods.named(said), self._names.get(said.node_name)]
        return [client for client in known if client is not None and client.node_ip != said.node_ip]

    def _same_place(self, node_ip: str, pod_ip: str) -> "Client | None":
        return next((c for c in self._at["pod"].get(pod_ip, ()) if c.node_ip == node_ip), None)

    def _newcomer(self, said: Heartbeat) -> "tuple[Client, list[Client]]":
        if len(self) >= self._most:
            raise CacheError(f"no room for more than {self._most} clients")
        replaced = [silent for silent in self._silent if _follows(said, silent)]
        for silent in replaced:
            self._free_bit(silent)
        known = [c for ip in dict.fromkeys((said.pod_ip, said.node_ip)) if (c := self._strangers.pop(ip, None))]
        client = known[0] if known else Client("", "", "")
        for other in known[1:]:
            del self._heard[other]
        client.node_ip, client.pod_ip = said.node_ip, said.pod_ip
        client.namespace, client.pod_name = said.pod
        client.name = ""
        if self._free:
            client.bit = heapq.heappop(self._free)
            self._by_bit[client.bit] = client
        else:
            client.bit = len(self._by_bit)
            self._by_bit.append(client)
        for place in _PLACES:
            address = client.address(place)
            self._at[place].setdefault(address, []).append(client)
            self.bits[place].setdefault(address, client.bit)
        self._sorted.clear()
        self.generation += 1
        return client, [*replaced, *known[1:]]

    def _rename(self, client: Client, node_name: str) -> None:
        """The name of its node, else the node's address; where several share that, the others have more beside it.

        No two have the same name: only one is at both addresses.
        """
        wanted = node_name or client.node_ip
        if client.name == wanted:
            return
        for name in (wanted, f"{wanted}/{client.pod_name}", f"{wanted}/{client.node_ip}/{client.pod_ip}"):
            if self._names.get(name, client) is client:
                break
        if name != client.name:
            self._names.pop(client.name, None)
            self._names[name] = client
            client.name = name

    def _remove(self, client: Client, *, keep_bit: bool = False) -> None:
        self._heard.pop(client, None)
        if client.stranger:
            self._strangers.pop(client.node_ip, None)
            return
        self.pods.remove(client)
        for place in _PLACES:
            address = client.address(place)
            here = self._at[place][address]
            here.remove(client)
            if here:
                self.bits[place][address] = here[0].bit
            else:
                del self._at[place][address]
        self._sorted.clear()
        self.generation += 1
        client.silent = True
        self._silent[client] = None
        if not keep_bit:
            self._free_bit(client)

    def _free_bit(self, client: Client) -> None:
        """Forget one that is silent."""
        del self._silent[client]
        if self._names.get(client.name) is client:
            del self._names[client.name]
        self._by_bit[client.bit] = None
        heapq.heappush(self._free, client.bit)
        for place in _PLACES:
            address = client.address(place)
            if self.bits[place].get(address) == client.bit:
                del self.bits[place][address]
        self.generation += 1


def _follows(said: Heartbeat, silent: Client) -> bool:
    """Whether who says this is there in the place of one that fell silent."""
    return (
        silent.node_ip == said.node_ip
        or silent.pod_ip == said.pod_ip
        or silent.name == said.node_name
        or silent.pod == said.pod
    )
