"""A part of the daemon: what it is made of, and what it finds around it."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from k3net.host import Host
from k3net.metrics import Metrics
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.reconciler.view import View
from k3net.sd_notify import Notifier
from k3net.services import Dependency, Periodic, Sequential


class Part(NamedTuple):
    """A service to be made by `make()`; when `made_of` (settings) differs after a reload, it is made anew.

    What is made may tell how it does. The daemon asks each part for these attributes or properties, and no part by its
    name; a `Sequential` tells what its children do. All are iterables, read when they are asked for:

    - `loops`: each `Periodic` in it, for `/readyz` and the metrics; a `Periodic` has itself there already.
    - `alarms`: what an operator has to look at, a line each; they change nothing in `/readyz` but its list.
    - `dependencies`: a `Dependency` for each thing outside this process that it needs; one that is lost is not ready.
    - `collectors`: what `Metrics.register` takes; shown from before the part starts until it has stopped.
    """

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

    def dependencies(self) -> Iterator[Dependency]: ...


def told(service: Any, what: str) -> Iterator[Any]:
    """What a service tells of this kind (see `Part`), and after it what its children do."""
    yield from getattr(service, what, ())
    if isinstance(service, Sequential):
        for child in service:
            yield from told(child, what)
