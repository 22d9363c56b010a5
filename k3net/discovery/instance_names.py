"""The addresses behind the DNS name of a headless Service: all of them, also when there are thousands."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

from k3net.errors import K3netError


class NoAnswer(K3netError):
    """DNS did not say in time which addresses a name has."""


def addresses_of_service(
    reactor: Any, name: str, *, timeout: float = 4.0, most: int = 10_000
) -> "Deferred[tuple[str, ...]]":
    """The addresses of `name`, IPv4 first, at most `most`; () when there is none; NoAnswer.

    Asked by the system's resolver in a thread of the reactor's. (twisted.names gives up a message after about five
    hundred records, and does not say so.) A last dot keeps a name from being looked for in search domains.
    """
    found = _Found(most)
    reactor.nameResolver.resolveHostName(found, name)

    def late(_failure: Any, _timeout: float) -> Any:
        raise NoAnswer(f"{name}: no DNS server answered within {timeout:g} s")

    return found.done.addTimeout(timeout, reactor, late)


@implementer(IResolutionReceiver)
class _Found:
    def __init__(self, most: int) -> None:
        self.done: Deferred[tuple[str, ...]] = Deferred()
        self._most = most
        self._addresses: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """Nothing is known yet."""

    def addressResolved(self, address: Any) -> None:
        if len(self._addresses) < self._most:
            self._addresses[address.host] = None

    def resolutionComplete(self) -> None:
        if not self.done.called:
            self.done.callback(tuple(sorted(self._addresses, key=lambda address: ":" in address)))
