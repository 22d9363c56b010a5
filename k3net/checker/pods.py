"""Which agents bear the name of a pod: one, unless two say so at the same time."""

from collections import OrderedDict
from collections.abc import Iterator

from k3net.checker.client import Client
from k3net.checker.wire import Heartbeat

_MOST_REMEMBERED = 10_000

Name = tuple[str, str]
"""A namespace and a pod in it."""


class Pods:
    """Clients by what they call themselves.

    A pod that speaks from another place has moved, and who it was there lives no more. When that one speaks again
    within `window` seconds, two agents have one name, and both are.
    """

    def __init__(self, window: float):
        self._window = window
        self._of: dict[Name, list[Client]] = {}
        self._count = 0
        self._moved: OrderedDict[tuple[Name, tuple[str, str]], float] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def named(self, said: Heartbeat) -> "list[Client]":
        """Those of the name that is said."""
        return list(self._of.get(said.pod, ()))

    def moved(self, said: Heartbeat, now: float) -> "list[Client]":
        """Those that a newcomer who says this name was until now; none when it is one that they replaced."""
        while self._moved and now - next(iter(self._moved.values())) >= self._window:
            self._moved.popitem(last=False)
        if self._moved.pop((said.pod, (said.node_ip, said.pod_ip)), None) is not None:
            return []
        others = self.named(said)
        for other in others:
            self._moved[said.pod, (other.node_ip, other.pod_ip)] = now
        while len(self._moved) > _MOST_REMEMBERED:
            self._moved.popitem(last=False)
        return others

    def add(self, client: Client) -> None:
        self._of.setdefault(client.pod, []).append(client)
        self._count += 1

    def remove(self, client: Client) -> None:
        here = self._of[client.pod]
        here.remove(client)
        if not here:
            del self._of[client.pod]
        self._count -= 1

    def shared(self) -> "Iterator[tuple[Name, list[Client]]]":
        """Each name that several have, and who."""
        return ((name, list(here)) for name, here in self._of.items() if len(here) > 1)
