"""`k3net export --watch`: the neighbours, and then each change of them as the kernel tells it (netlink)."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from k3net.cli.export_forms import Changes as Printed
from k3net.cli.export_run import Named, in_hosts, networks_of, reverse_dns, with_reactor
from k3net.errors import K3netError
from k3net.export.devices import Device, devices, selected
from k3net.export.request import Request
from k3net.export.vendor import vendor
from k3net.neighbors.entry import Address, Neighbor
from k3net.neighbors.netlink import Changes, rows

_GATHER = 0.2
_PASSING = frozenset({"delay", "probe"})
"""The kernel asks a neighbour whether it is still there; the next state says what came of it."""

Key = tuple[str, Address]


def watch(request: Request, _: str) -> None:
    """Print until a signal ends it; K3netError when the kernel does not tell changes."""
    with_reactor(lambda reactor: Watch(reactor, request).begin())


@implementer(IReadDescriptor)
class Reader:
    """Tells `gone(reason)` when whoever reads standard output, a pipe, reads it no more."""

    def __init__(self, gone: "Callable[[Failure], object]"):
        self.connectionLost = gone

    def fileno(self) -> int:
        return sys.stdout.fileno()

    def logPrefix(self) -> str:
        return "standard output"

    def doRead(self) -> None:
        """Nothing comes from there."""


@implementer(IReadDescriptor)
class Watch:
    """Changes within 0.2 s are one look at the table, and looks do not overlap."""

    def __init__(self, reactor: Any, request: Request):
        self._reactor = reactor
        self._request = request
        self._resolver = reverse_dns(reactor, request) if request.resolve_dns else None
        self._printed = Printed(request.format)
        self._names: Named = {}
        self._nameless: set[Address] = set()
        self._shown: dict[Key, Device] = {}
        self._looking = self._again = False
        self._ended: Deferred[None] = Deferred()

    def begin(self) -> "Deferred[None]":
        """Fires with the failure that ends it."""
        with _said():
            self._changes = Changes()
            self._rows = rows(self._request.families, self._request.timeout)
        self._reactor.addReader(self)
        if _is_pipe(sys.stdout):
            self._reactor.addReader(Reader(lambda _: self.connectionLost(Failure(BrokenPipeError()))))
        self._look()
        return self._ended

    def fileno(self) -> int:
        return self._changes.fileno()

    def logPrefix(self) -> str:
        return "neighbours"

    def doRead(self) -> None:
        with _said():
            taken = self._changes.take()
            if taken is None:
                self._rows = rows(self._request.families, self._request.timeout)
        for each in taken or ():
            if each.gone:
                self._rows.pop(each.key, None)
            elif each.neighbor.address.version in self._request.families:
                self._rows[each.key] = each.neighbor
        if self._looking:
            self._again = True
        else:
            self._looking = True
            self._reactor.callLater(_GATHER, self._look)

    def connectionLost(self, reason: Failure) -> None:
        """What the reactor makes of an exception in doRead, or of its own end."""
        if not self._ended.called:
            self._ended.errback(reason)

    def _look(self) -> None:
        self._looking, self._again = True, False
        self._show().addCallbacks(self._looked, self.connectionLost)

    def _looked(self, _: None) -> None:
        self._looking = self._again
        if self._again:
            self._reactor.callLater(_GATHER, self._look)

    @inlineCallbacks
    def _show(self):
        wanted = selected(self._rows.values(), networks_of(self._request))
        yield self._name(wanted)
        found = {(d.neighbor.interface, d.neighbor.address): d for d in devices(wanted, self._names, vendor)}
        changes = [("removed", gone) for key, gone in self._shown.items() if key not in found]
        for key, device in found.items():
            before = self._shown.get(key)
            if before is None:
                changes.append(("added", device))
            elif _differ(before, device):
                changes.append(("changed", device))
            else:
                found[key] = before
        self._shown = found
        if changes:
            self._printed.write(changes)

    @inlineCallbacks
    def _name(self, wanted: "list[Neighbor]"):
        """Ask for the names of addresses that are new; those that are gone are forgotten."""
        present = {row.address for row in wanted}
        self._names = {address: name for address, name in self._names.items() if address in present}
        self._nameless &= present
        new = present - self._names.keys() - self._nameless
        if self._resolver is None or not new:
            return
        self._names.update(in_hosts(new))
        rest = new - self._names.keys()
        deadline = self._reactor.seconds() + self._request.timeout
        found = yield self._resolver.names(rest, deadline)
        self._names.update((address, (name, "dns")) for address, name in found.items())
        self._nameless |= rest - found.keys()


def _is_pipe(stream: Any) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
    except (AttributeError, OSError, ValueError):  # there is none
        return False


@contextmanager
def _said() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise K3netError(f"the neighbour table cannot be watched: {(error.strerror or str(error)).lower()}") from None


def _differ(before: Device, after: Device) -> bool:
    if after.neighbor.state in _PASSING:
        was, now = before.neighbor, after.neighbor
        return (before.name, before.duplicate, was.mac) != (after.name, after.duplicate, now.mac)
    return before != after
