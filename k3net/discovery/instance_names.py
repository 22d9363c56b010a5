"""The addresses behind the DNS name of a headless Service: all of them, also when there are thousands."""

from typing import Any

from twisted.internet.defer import Deferred

from k3net.errors import K3netError
from k3net.probes.names import addresses_of


class NoAnswer(K3netError):
    """DNS did not say in time which addresses a name has."""


def addresses_of_service(
    reactor: Any, name: str, *, timeout: float = 4.0, most: int = 10_000
) -> "Deferred[tuple[str, ...]]":
    """The addresses of `name`, IPv4 first, at most `most`; () when there is none; NoAnswer.

    Asked by the system's resolver in a thread of the reactor's. (twisted.names gives up a message after about five
    hundred records, and does not say so.) A last dot keeps a name from being looked for in search domains.
    """

    def late(_failure: Any, _timeout: float) -> Any:
        raise NoAnswer(f"{name}: no DNS server answered within {timeout:g} s")

    return addresses_of(reactor, name, most).addCallback(tuple).addTimeout(timeout, reactor, late)
