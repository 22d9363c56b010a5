"""A part of the daemon: what it is made of, and what it finds around it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from k3net.host import Host
from k3net.metrics import Metrics
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.reconciler.view import View
from k3net.sd_notify import Notifier
from k3net.services import Periodic


class Part(NamedTuple):
    """A service to be made by `make()`; when `made_of` (settings) differs after a reload, it is made anew."""

    name: str
    made_of: Any
    make: Callable[[], Any]


class Surroundings(Protocol):
    """What outlives the parts, and the other parts by name (`surroundings["listen"]`)."""

    reactor: Any
    wall: Callable[[], float]
    instance: str
    host: Host
    table: PeerTable
    metrics: Metrics
    notifier: Notifier
    view: View

    def __getitem__(self, name: str) -> Any: ...

    def observe(self, o: Observation) -> bool: ...

    def look_at_host(self) -> None: ...

    def loops(self) -> Iterator[Periodic]: ...

    def alarms(self) -> Iterator[str]: ...
