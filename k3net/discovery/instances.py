"""The other instances of this service, as its environment, DNS and the peers tell (spec/5-clusters.md)."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore, inlineCallbacks, succeed

from k3net.log import make_logger
from k3net.model.peers import Peer

MOST_INSTANCES = 10_000
_USUAL_PORT = 8080
_AT_ONCE = 64
_REMEMBERED = 60.0
_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+)):([0-9]{1,5})")


@dataclass(frozen=True)
class Instance:
    """A process that serves the clusters API: `host` is a name, or an address in its shortest form without brackets.

    `identity` is the random `instance` of its `/info`, "" while that is not known.
    """

    host: str
    port: int
    identity: str = ""

    @property
    def address(self) -> str:
        """`host:port`, IPv6 in brackets: fit for a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Instances:
    """Finds the other instances anew each time it is asked, by the first method that yields one, or by all of them.

    `own_identity` is this process's; `own_places()` are its own (address, port) pairs, which need not be complete.
    `resolve(name)` gives the Deferred of a name's addresses, `identify(instance)` that of the identity an address
    answers with ("" or a failure: it does not say). `discovered()` are those that k3net knows as peers.
    """

    def __init__(
        self,
        clock: Any,
        *,
        environ: Mapping[str, str],
        own_identity: str,
        own_places: Callable[[], Collection["tuple[str, int]"]],
        resolve: "Callable[[str], Deferred[tuple[str, ...]]]",
        identify: "Callable[[Instance], Deferred[str]]",
        discovered: Callable[[], Iterable[Instance]] = tuple,
        discovery: str = "first",
        domain: str = "cluster.local.",
    ):
        self._clock = clock
        self._environ = environ
        self._own_identity = own_identity
        self._own_places = own_places
        self._resolve = resolve
        self._identify = identify
        self._discovered = discovered
        self._merges = discovery == "merge"
        self._domain = domain.rstrip(".")
        self._identities: dict[tuple[str, int], tuple[str, float]] = {}
        self._log = make_logger()

    def others(self) -> "Deferred[tuple[Instance, ...]]":
        """Instances, each once, this one left out, at most MOST_INSTANCES; never fails. Each is asked who it is."""
        return self._found(self._asked)

    def at_hand(self) -> "Deferred[tuple[Instance, ...]]":
        """As `others`, by what is known by now: nobody is asked, so that nobody who is slow is waited for.

        An unknown name of this instance, or a second one of another, may be among them, until `met` tells.
        """
        return self._found(succeed)

    def met(self, address: str, identity: str) -> None:
        """Who has answered at `host:port`."""
        place = parse_address(address)
        if place is not None and identity:
            self._identities[place.host, place.port] = (identity, self._clock.seconds())

    @inlineCallbacks
    def _found(self, asked: "Callable[[list[Instance]], Deferred[Any]]"):
        others: dict[str, Instance] = {}
        for method in (self._from_pod_ips, self._from_addresses, self._from_service, self._from_peers):
            try:
                source, found = yield method()
            except Exception as error:
                self._log.warn("instances not found: {error}", error=str(error))
                continue
            if not found:
                continue
            self._log.info("Found {count} instances from {source}", count=len(found), source=source)
            self._forget_identities()
            left = self._not_at_own_places(found)
            yield asked(left)
            for one in map(self._known, left):
                if one.identity != self._own_identity:
                    others.setdefault(one.identity or one.address, one)
            if others and not self._merges:
                break
        return tuple(others.values())[:MOST_INSTANCES]

    def _from_pod_ips(self) -> "Deferred[tuple[str, list[Instance]]]":
        texts = self._listed("POD_IPS")
        found = [self._addressed("POD_IPS", text) for text in texts]
        return succeed(("POD_IPS environment variable", _unique(one for one in found if one is not None)))

    def _from_addresses(self) -> "Deferred[tuple[str, list[Instance]]]":
        found = []
        for text in self._listed("INSTANCE_ADDRESSES"):
            instance = parse_address(text)
            if instance is None:
                self._log.warn("INSTANCE_ADDRESSES: {text!r} is not host:port, passed over", text=text[:300])
            else:
                found.append(instance)
        return succeed(("INSTANCE_ADDRESSES environment variable", _unique(found)))

    @inlineCallbacks
    def _from_service(self):
        service, namespace = (self._environ.get(name, "").strip() for name in ("SERVICE_NAME", "POD_NAMESPACE"))
        if not service or not namespace:
            return "Kubernetes Service DNS", []
        if not (_LABEL.fullmatch(service) and _LABEL.fullmatch(namespace)):
            self._log.warn("SERVICE_NAME {s!r} or POD_NAMESPACE {n!r} is no DNS label", s=service, n=namespace)
            return "Kubernetes Service DNS", []
        addresses = yield self._resolve(f"{service}.{namespace}.svc.{self._domain}.")
        port = self._port()
        return "Kubernetes Service DNS", _unique(Instance(str(ip_address(one)), port) for one in addresses)

    def _from_peers(self) -> "Deferred[tuple[str, list[Instance]]]":
        return succeed(("discovered peers", _unique(self._discovered())))

    def _listed(self, variable: str) -> "list[str]":
        texts = [text.strip() for text in self._environ.get(variable, "").split(",")]
        return [text for text in texts if text][:MOST_INSTANCES]

    def _addressed(self, variable: str, text: str) -> "Instance | None":
        try:
            return Instance(str(ip_address(text)), self._port())
        except ValueError:
            self._log.warn("{variable}: {text!r} is no IP address, passed over", variable=variable, text=text[:300])
            return None

    def _port(self) -> int:
        text = self._environ.get("POD_PORT", "").strip()
        if text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65536:
            return int(text)
        if text:
            self._log.warn("POD_PORT: {text!r} is no port, {port} is used", text=text[:50], port=_USUAL_PORT)
        return _USUAL_PORT

    def _not_at_own_places(self, found: "list[Instance]") -> "list[Instance]":
        own = {(str(ip_address(address)), port) for address, port in self._own_places()}
        pod_ip = self._environ.get("POD_IP", "").strip()
        if pod_ip:
            own |= {(one.host, one.port) for one in [self._addressed("POD_IP", pod_ip)] if one is not None}
        return [one for one in found if (one.host, one.port) not in own]

    def _asked(self, instances: "list[Instance]") -> "Deferred[Any]":
        """Those are asked who they are of whom it is not known."""
        turns = DeferredSemaphore(_AT_ONCE)
        return DeferredList([turns.run(self._ask, one) for one in instances if not self._known(one).identity])

    @inlineCallbacks
    def _ask(self, instance: Instance):
        try:
            identity = yield self._identify(instance)
        except Exception as error:
            self._log.debug("{address} does not say who it is: {error}", address=instance.address, error=str(error))
        else:
            self.met(instance.address, identity)

    def _known(self, instance: Instance) -> Instance:
        """With its identity, when it or somebody else there said it within a minute: addresses change hands."""
        identity, _ = self._identities.get((instance.host, instance.port), ("", 0.0))
        return instance if instance.identity else replace(instance, identity=identity)

    def _forget_identities(self) -> None:
        now = self._clock.seconds()
        old = [place for place, (_, at) in self._identities.items() if now - at > _REMEMBERED]
        for place in old:
            del self._identities[place]


def parse_address(text: str) -> "Instance | None":
    """`host:port` or `[IPv6]:port`; None when it is neither."""
    form = _ADDRESS.fullmatch(text)
    if form is None or not 0 < int(form[3]) < 65536:
        return None
    host = form[1] or form[2]
    try:
        address = ip_address(host)
    except ValueError:
        return Instance(host.lower(), int(form[3])) if not form[1] and _is_host(host) else None
    return Instance(str(address), int(form[3])) if (address.version == 6) == bool(form[1]) else None


def instances_among(peers: Iterable[Peer], store: str, now: float) -> Iterator[Instance]:
    """The peers whose `/info` says who they are, that they share `store`, and where they serve this API (`clusters`).

    Those of another store are instances of another service, and are shown no token of this one.
    """
    for peer in peers:
        answer = peer.live("liveness", now)
        if answer is None or not store or answer.meta.get("store") != store:
            continue
        port, identity = answer.meta.get("clusters", ""), answer.meta.get("instance", "")
        addresses, _ = peer.whereabouts(now)
        if addresses and identity and port.isdigit() and 0 < int(port[:6]) < 65536:
            yield Instance(addresses[0], int(port), identity)


def _is_host(text: str) -> bool:
    return _HOST.fullmatch(text) is not None and not re.fullmatch(r"[0-9.]+", text)


def _unique(found: Iterable[Instance]) -> "list[Instance]":
    return list(dict.fromkeys(found))[:MOST_INSTANCES]
