"""An Observation: one source's claim about one peer, held for a time."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from k3net.errors import InvalidObservation

SOURCES = ("own", "mdns", "consul", "checker", "liveness", "store")
"""Every source there is, the most telling about addresses first."""

_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_REASON = re.compile(r"[A-Za-z](?:[A-Za-z0-9_,:]{0,126}[A-Za-z0-9_])?")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]*")
_MOST_ADDRESSES = 16
_MOST_META = 16
_MOST_CIDRS = 8
_LONGEST_TEXT = 255


def valid_name(name: object) -> bool:
    """Whether this is a Node name: a DNS-1123 subdomain (RFC 1123, at most 253 characters)."""
    return isinstance(name, str) and len(name) <= 253 and _NAME.fullmatch(name) is not None


def usable_address(text: object) -> "IPv4Address | IPv6Address | None":
    """The address, if a peer can be reached by it from another machine; else None.

    Loopback, multicast, unspecified, broadcast and reserved addresses are not, nor are IPv6 link-local
    ones (they name no machine without an interface) and IPv4 ones in IPv6 clothes.
    """
    try:
        address = ip_address(text) if isinstance(text, str) else None
    except ValueError:
        return None
    if address is None or address.is_loopback or address.is_multicast or address.is_unspecified:
        return None
    if isinstance(address, IPv6Address):
        unreachable = address.is_link_local or address.is_reserved or address.ipv4_mapped or address.scope_id
        return None if unreachable else address
    return None if address.is_reserved or address.packed[0] == 0 else address


def _is_network(text: str) -> bool:
    try:
        return bool(ip_network(text))
    except ValueError:
        return False


def in_family_order(addresses: Iterable[str]) -> tuple[str, ...]:
    """IPv4 first, then IPv6, otherwise as given, each once."""
    return tuple(sorted(dict.fromkeys(addresses), key=lambda address: ":" in address))


@dataclass(frozen=True, slots=True)
class Observation:
    """Source `source` saw `peer` at `seen_at`, and the claim holds for `ttl` seconds; `ttl=0` is a goodbye.

    `seen_at` is monotonic seconds. `addresses` are texts of usable addresses, kept in canonical form; `port` is 0 when
    unknown, `ready=False` is a live denial; `pod_cidrs` are () for a node that has none, None when that is not told. A
    broken rule raises InvalidObservation, which names the field.
    """

    peer: str
    source: str
    seen_at: float
    ttl: float
    addresses: tuple[str, ...] = ()
    port: int = 0
    ready: bool = True
    reason: str = ""
    message: str = ""
    pod_cidrs: tuple[str, ...] | None = None
    meta: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_claim()
        self._check_texts()

    def _check_claim(self) -> None:
        if not valid_name(self.peer):
            raise InvalidObservation("peer", "not a DNS-1123 name")
        if self.source not in SOURCES:
            raise InvalidObservation("source", "unknown")
        if not math.isfinite(self.seen_at):
            raise InvalidObservation("seen_at", "not a time")
        if not (math.isfinite(self.ttl) and self.ttl >= 0):
            raise InvalidObservation("ttl", "not a time to live")
        if len(self.addresses) > _MOST_ADDRESSES:
            raise InvalidObservation("addresses", "too many")
        usable = [usable_address(address) for address in self.addresses]
        if None in usable:
            raise InvalidObservation("addresses", "not usable from another machine")
        object.__setattr__(self, "addresses", tuple(map(str, usable)))
        if type(self.port) is not int or not 0 <= self.port <= 65535:
            raise InvalidObservation("port", "not 0 to 65535")

    def _check_texts(self) -> None:
        if self.reason and not _REASON.fullmatch(self.reason):
            raise InvalidObservation("reason", "not a condition reason")
        if len(self.meta) > _MOST_META:
            raise InvalidObservation("meta", "too many entries")
        cidrs = self.pod_cidrs or ()
        if len(cidrs) > _MOST_CIDRS or not all(map(_is_network, cidrs)):
            raise InvalidObservation("pod_cidrs", "not a few networks")
        for key, texts in (("message", (self.message,)), ("meta", (*self.meta, *self.meta.values()))):
            if any(len(text) > _LONGEST_TEXT or not _PRINTABLE.fullmatch(text) for text in texts):
                raise InvalidObservation(key, "too long, or not printable")

    def lapsed(self, now: float) -> bool:
        """Whether the claim no longer holds at `now`: a ttl's last moment still counts, a goodbye never did."""
        return self.ttl == 0 or now > self.seen_at + self.ttl

    @property
    def goodbye(self) -> bool:
        return self.ttl == 0

    @property
    def lapses_at(self) -> float:
        return self.seen_at + self.ttl

    def same_claim(self, other: "Observation") -> bool:
        """Whether the two differ in their time at most."""
        return self._claim() == other._claim()

    def newer_than(self, other: "Observation") -> bool:
        """A total order, so that any order of arrival ends in the same observation.

        Of one sighting the goodbye is the last word, else the claim that holds longest.
        """
        mine, others = (self.seen_at, self.goodbye, self.ttl), (other.seen_at, other.goodbye, other.ttl)
        if mine != others:
            return mine > others
        return repr(self._claim()) > repr(other._claim())

    def _claim(self) -> tuple[object, ...]:
        return (
            self.goodbye,
            self.ttl,
            self.addresses,
            self.port,
            self.ready,
            self.reason,
            self.message,
            self.pod_cidrs,
            sorted(self.meta.items()),
        )
