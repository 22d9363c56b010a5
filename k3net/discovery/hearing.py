"""What is heard by multicast: each instance is an Observation, breaks a rule, or is an alarm."""

from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from k3net.discovery.dnssd import Instance
from k3net.model.observation import Observation, usable_address, valid_name
from k3net.model.peers import Peer

Network = IPv4Network | IPv6Network
_MOST_ADDRESSES = 16
_NAMES_AT_ONE_ADDRESS = 16


class Here(NamedTuple):
    """This machine: the networks whose addresses count, its own addresses, and those that it announced last."""

    networks: Sequence[Network]
    addresses: frozenset[str]
    announced: Sequence[str]


class Hearing:
    """Observes whom the instances of `service_type` name (spec/1).

    The first instance that speaks for a name keeps it until it is silent or gone; that another one claims it, or the
    name of this node, `own`, is an alarm. `refused(reason)` is told what breaks a rule.
    """

    def __init__(
        self,
        observe: Callable[[Observation], bool],
        alarm: Callable[[str], None],
        *,
        own: str,
        service_type: str,
        peer_ttl: float,
        peer_of: Callable[[str], "Peer | None"],
        refused: Callable[[str], None],
    ):
        self._observe = observe
        self._alarm = alarm
        self._own = own
        self._type = service_type
        self._peer_ttl = peer_ttl
        self._peer_of = peer_of
        self._refused = refused
        self._owners: dict[str, Instance] = {}
        self._names_at: Counter[str] = Counter()

    def take(self, instance: Instance, here: Here) -> None:
        """Observe the peer that this instance speaks for, or say why not; InvalidObservation."""
        label = instance.name[: -len(self._type) - 1]
        name = instance.txt.get("node", "").strip() or label
        if not valid_name(name):
            self._refused("name")
            return
        if name == self._own or label == self._own:
            self._check_own(instance, here)
            return
        addresses = tuple(
            dict.fromkeys(a for a in instance.addresses if _counts(a, here.networks) and a not in here.addresses)
        )
        if not addresses and not instance.goodbye:
            self._refused("addresses")
            return
        port = _port(instance.txt.get("port", "")) or _port(str(instance.port))
        if not port:
            self._refused("port")
            return
        if not self._owns(name, instance):
            return
        if name not in self._owners and self._is_crowded(instance):
            self._refused("address crowded")
            return
        pid = instance.txt.get("pid", "").strip()
        taken = self._observe(
            Observation(
                peer=name,
                source="mdns",
                seen_at=instance.heard_at,
                ttl=0.0 if instance.goodbye else self._peer_ttl,
                addresses=addresses[:_MOST_ADDRESSES],
                port=port,
                reason="PeerGoodbye" if instance.goodbye else "LANDiscovery",
                message="goodbye via mDNS" if instance.goodbye else "discovered via mDNS",
                meta={"pid": pid} if pid.isascii() and pid.isdecimal() and len(pid) <= 10 else {},
            )
        )
        self._disown(name)
        if not taken:
            self._refused("table full")
        elif not instance.goodbye:
            self._owners[name] = instance
            self._names_at[instance.addresses[0]] += 1

    def _is_crowded(self, instance: Instance) -> bool:
        """Whether so many names are at this address that more of them are an invention."""
        return any(self._names_at[address] >= _NAMES_AT_ONE_ADDRESS for address in instance.addresses[:1])

    def forget_gone(self) -> None:
        """Names whose peer is forgotten are anybody's."""
        for name in [name for name in self._owners if self._peer_of(name) is None]:
            self._disown(name)

    def _disown(self, name: str) -> None:
        owner = self._owners.pop(name, None)
        if owner is not None:
            self._names_at[owner.addresses[0]] -= 1
            if not self._names_at[owner.addresses[0]]:
                del self._names_at[owner.addresses[0]]

    def _check_own(self, instance: Instance, here: Here) -> None:
        """Our own words come back to us, of a moment ago too; the same name from elsewhere is an alarm."""
        if instance.goodbye or not instance.addresses:
            return
        if here.addresses.union(here.announced).isdisjoint(instance.addresses):
            self._alarm(f"{instance.addresses[0]} announces this node's name {self._own!r} too, as {instance.name!r}")

    def _owns(self, name: str, instance: Instance) -> bool:
        """Whether this instance may speak for the peer: the first that did may, until it is silent or gone."""
        owner = self._owners.get(name)
        if owner is None or owner.name.lower() == instance.name.lower():
            return True
        if set(owner.addresses) & set(instance.addresses):
            return True
        peer = self._peer_of(name)
        if peer is None or peer.lapsed(instance.heard_at):
            return True
        if not instance.goodbye:
            self._alarm(f"{name!r} is announced by two machines: {owner.name!r} and {instance.name!r}")
        return False


def _counts(text: str, networks: Sequence[Network]) -> bool:
    """Whether a peer can have this address: a usable one, in one of the networks."""
    address = usable_address(text)
    return address is not None and any(address in network for network in networks if network.version == address.version)


def _port(text: str) -> int:
    """The port a text names, or 0."""
    text = text.strip()
    port = int(text) if text.isascii() and text.isdecimal() and len(text) <= 5 else 0
    return port if port <= 65535 else 0
