"""The addresses of a host name, as this machine resolves it (/etc/hosts too)."""

from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IResolutionReceiver
from zope.interface import implementer

_USUAL = 16


def is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def addresses_of(reactor: Any, host: str, most: int = _USUAL) -> "Deferred[list[str]]":
    """At most so many, IPv4 first; none when the name is not known, or no server says. An address is its own."""
    if is_address(host):
        return succeed([host])
    found = _Found(most)
    reactor.nameResolver.resolveHostName(found, host)
    return found.done


@implementer(IResolutionReceiver)
class _Found:
    def __init__(self, most: int) -> None:
        self._most = most
        self.done: Deferred[list[str]] = Deferred()
        self._addresses: dict[str, None] = {}

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """Nothing is known yet."""

    def addressResolved(self, address: Any) -> None:
        if len(self._addresses) < self._most:
            self._addresses[address.host] = None

    def resolutionComplete(self) -> None:
        if not self.done.called:
            self.done.callback(sorted(self._addresses, key=lambda address: ":" in address))
