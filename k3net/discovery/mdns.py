"""mDNS: this machine announced on the LAN, and the others heard, as validated Observations."""

from collections.abc import Callable, Iterator, Sequence
from threading import Thread
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.python.failure import Failure

from k3net.discovery.alarms import Alarms
from k3net.discovery.dnssd import Announcement, DnsSd, Instance, NameTaken
from k3net.discovery.hearing import Hearing, Here, Network
from k3net.errors import InvalidObservation, K3netError
from k3net.host import Host
from k3net.log import make_logger
from k3net.model.observation import Observation
from k3net.model.peers import Peer
from k3net.services import Periodic

_Way = tuple[int, str | int]
_LOOK = 5.0
_BROWSE = 300.0
_CLAIM_AGAIN = 30.0
_SLICE = 200
_LONGEST_CALL = 12.0
_CLOSING = 4.0


class Mdns(Service):
    """Announces `name` at `port()` as an instance of `service_type`, and observes who else does (spec/1).

    `host()` is looked at every five seconds: interfaces and addresses that change are followed. Of a peer's addresses
    those in `allowed` count; none given means the networks this machine is on. A name that two machines announce is an
    alarm (`alarms`), and the one who had it first keeps it. `name_is_free` is None while that is being found out.
    """

    def __init__(
        self,
        reactor: Any,
        observe: Callable[[Observation], bool],
        *,
        name: str,
        port: Callable[[], int],
        pid: int,
        host: Callable[[], Host],
        service_type: str = "_k3._tcp.local.",
        interfaces: Sequence[str] = (),
        allowed: Sequence[Network] = (),
        peer_ttl: float = 90.0,
        peer_of: Callable[[str], "Peer | None"] = lambda name: None,
        refused: Callable[[str], None] = lambda reason: None,
    ):
        self._reactor = reactor
        self._own = name
        self._port = port
        self._pid = pid
        self._host = host
        self._type = service_type
        self._chosen = tuple(interfaces)
        self._allowed = tuple(allowed)
        self._refused = refused
        self._log = make_logger()
        self._dnssd: DnsSd | None = None
        self._speaking_on: tuple[_Way, ...] = ()
        self._announced: Announcement | None = None
        self._claim_at = 0.0
        self._browse_at = 0.0
        self._alarm = Alarms(reactor)
        self._hearing = Hearing(
            observe,
            self._alarm,
            own=name,
            service_type=service_type,
            peer_ttl=peer_ttl,
            peer_of=peer_of,
            refused=refused,
        )
        self.name_is_free: bool | None = None
        self.loop = Periodic(reactor, _LOOK, self._keep_up, name="mdns")

    def startService(self) -> None:
        super().startService()
        self.loop.startService()

    @inlineCallbacks
    def stopService(self):
        super().stopService()
        yield self.loop.stopService()
        yield self._close()

    @property
    def loops(self) -> tuple[Periodic, ...]:
        return (self.loop,)

    @property
    def alarms(self) -> tuple[str, ...]:
        """What an operator has to look at: names that two machines announce."""
        return self._alarm.standing()

    def waited(self, seconds: float) -> bool:
        """Whether so long has passed since the start."""
        return self.loop.started_at is not None and self._reactor.seconds() - self.loop.started_at >= seconds

    @property
    def dropped(self) -> int:
        """How many instances were passed over because too many came at once."""
        return self._dnssd.dropped if self._dnssd is not None else 0

    @inlineCallbacks
    def _keep_up(self):
        """Speak on the interfaces there are, and announce what is true now."""
        host = self._host()
        where = tuple(_ways(host, self._chosen))
        now = self._reactor.seconds()
        if not where or _made_anew(where, self._speaking_on):
            yield self._close()
        if not where:
            raise K3netError("no interface is up that can multicast")
        if self._dnssd is None:
            self._dnssd, self._speaking_on, self._browse_at = self._fresh(), where, now + _BROWSE
            try:
                yield in_thread(self._reactor, self._dnssd.open, [way for _, way in where])
            except Exception:
                yield self._close()
                raise
        elif where != self._speaking_on:
            yield in_thread(self._reactor, self._dnssd.follow, [way for _, way in where])
            self._speaking_on = where
        elif now >= self._browse_at:
            self._browse_at = now + _BROWSE
            self._hearing.forget_gone()
            yield in_thread(self._reactor, self._dnssd.browse)
        yield self._announce(host, now)

    def _fresh(self) -> DnsSd:
        return DnsSd(self._type, self._hear, self._reactor.callFromThread)

    @inlineCallbacks
    def _close(self):
        """Say goodbye, if that can be said soon; what was open, or still opens, is open no more."""
        dnssd, self._dnssd = self._dnssd, None
        self._announced, self._speaking_on = None, ()
        if dnssd is not None:
            try:
                yield in_thread(self._reactor, dnssd.close, timeout=_CLOSING)
            except Exception as error:
                self._log.warn("mDNS did not say goodbye: {error!r}", error=error)

    @inlineCallbacks
    def _announce(self, host: Host, now: float):
        announcement = self._announcement(host)
        if self._announced is None:
            if now < self._claim_at:
                return
            try:
                yield in_thread(self._reactor, self._dnssd.announce, announcement)  # type: ignore[union-attr]
            except NameTaken:
                self.name_is_free = False
                self._claim_at = now + _CLAIM_AGAIN
                self._alarm(f"another machine announces this node's name {self._own!r}; its Node is left to it")
                return
            self.name_is_free = True
            self._announced = announcement
            self._log.info("announced as {name!r}", name=announcement.name)
        elif _told(announcement) != _told(self._announced):
            yield in_thread(self._reactor, self._dnssd.renew, announcement)  # type: ignore[union-attr]
            self._announced = announcement

    def _announcement(self, host: Host) -> Announcement:
        reachable = [a for a in host.addresses if not self._chosen or a in self._of_chosen(host)]
        return Announcement(
            self._type,
            f"{self._own}.{self._type}",
            port=self._port(),
            properties={"node": self._own, "port": str(self._port()), "pid": str(self._pid)},
            parsed_addresses=reachable or sorted(self._of_chosen(host)),
        )

    def _of_chosen(self, host: Host) -> set[str]:
        return {str(a.ip) for i in host.multicast_interfaces(self._chosen) for a in i.addresses}

    def _hear(self, instances: Sequence[Instance]) -> None:
        """Take in what was heard, a slice at a time, so that a flood of it holds nothing up."""
        if not self.running:
            return
        host = self._host()
        announced = self._announced.parsed_addresses() if self._announced is not None else ()
        here = Here(self._allowed or host.networks, host.own_addresses, announced)
        for instance in instances[:_SLICE]:
            try:
                self._hearing.take(instance, here)
            except InvalidObservation as error:
                self._refused(error.field)
        if len(instances) > _SLICE:
            self._reactor.callLater(0, self._hear, instances[_SLICE:])


def in_thread(reactor: Any, f: Callable[..., Any], *args: Any, timeout: float = _LONGEST_CALL) -> "Deferred[Any]":
    """`f(*args)` in a thread of its own, which the end of the process does not wait for; fails after `timeout` seconds.

    zeroconf may block for ever when its sockets cannot be made, so none of the reactor's threads is risked on it.
    """
    done: Deferred[Any] = Deferred()

    def answer(result: Any) -> None:
        if not done.called:
            done.callback(result)

    def work() -> None:
        try:
            result = f(*args)
        except Exception:
            result = Failure()
        reactor.callFromThread(answer, result)

    Thread(target=work, daemon=True, name="k3net-mdns").start()
    return done.addTimeout(timeout, reactor)


def _ways(host: Host, chosen: Sequence[str]) -> Iterator[_Way]:
    """The index of each interface, and how zeroconf names it: IPv4 by address, IPv6 by index."""
    for interface in host.multicast_interfaces(chosen):
        yield from ((interface.index, str(a.ip)) for a in interface.addresses if a.version == 4)
        if any(a.version == 6 and not a.is_loopback for a in interface.addresses):
            yield interface.index, interface.index


def _made_anew(where: Sequence[_Way], before: Sequence[_Way]) -> bool:
    """Whether an address is on another interface than before, where zeroconf's sockets have not joined the group."""
    index_of = {way: index for index, way in before}
    return any(index_of.get(way, index) != index for index, way in where)


def _told(announcement: Announcement) -> tuple[object, ...]:
    return announcement.port, announcement.parsed_addresses()
