"""This machine in Consul: registered with an HTTP check, registered again when lost, deregistered at the end."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks, maybeDeferred

from k3net.discovery.consul_api import ConsulApi, ConsulError, Denied, Found, Unreachable
from k3net.discovery.trouble import Trouble
from k3net.host import Host
from k3net.model.duration import format_duration
from k3net.services import Dependency, Periodic

CONSULS_LEAST = 60.0
_FAREWELL = 2.0
_UNSEEN = 2
_FILTERED = "the agent has this registration and Consul's answers do not: the Consul ACL token lacks node:read"


class ConsulRegistration(Periodic):
    """Keeps `service` with the id `service_id` registered at the agent (spec/2-consul.md), and says so by `changed()`.

    The address is the one that Consul is reached from, if others reach it too, else the first that they reach; the
    check asks `/healthz` there. `seen(False)` from the watch makes it ask the agent, and `seen(True)` saves it that;
    `look` says that the watch never sees it. With `goodbye` False it stays registered at the end.
    """

    def __init__(
        self,
        reactor: Any,
        api: ConsulApi,
        *,
        service: str,
        service_id: str,
        node: str,
        pid: int,
        port: Callable[[], int],
        host: Callable[[], Host],
        listen_host: str = "",
        tags: Sequence[str] = (),
        interval: float = 15.0,
        check_interval: float = 10.0,
        check_timeout: float = 3.0,
        deregister_after: float = 30.0,
        look: bool = False,
        goodbye: bool = True,
        changed: Callable[[], None] = lambda: None,
    ):
        super().__init__(reactor, interval, self._keep, name="consul")
        self._api = api
        self._service = service
        self.id = service_id
        self._node = node
        self._pid = pid
        self._port = port
        self._host = host
        self._listen_host = "" if listen_host in ("0.0.0.0", "::") else listen_host  # noqa: S104 - compared, not bound
        self._tags = tuple(tags)
        self._check_interval = check_interval
        self._check_timeout = check_timeout
        self._deregister_after = deregister_after
        self._look = look
        self._goodbye = goodbye
        self._changed = changed
        self._told: Mapping[str, Any] | None = None
        self._doubted = True
        self._unseen_since: float | None = None
        self._asking: Deferred[Any] | None = None
        self.trouble = Trouble(reactor, interval, "Consul")
        self.registered = False

    @property
    def told(self) -> Mapping[str, Any]:
        """What Consul was last told of this machine, api.AgentServiceRegistration; {} before."""
        return self._told or {}

    @property
    def dependencies(self) -> tuple[Dependency, ...]:
        return self.trouble.told_as("consul registration")

    def startService(self) -> None:
        if self._deregister_after < CONSULS_LEAST:
            self._log.info(
                "consul.deregister_after is {asked}, which Consul raises to its own least, {least}",
                asked=format_duration(self._deregister_after),
                least=format_duration(CONSULS_LEAST),
            )
        super().startService()

    @inlineCallbacks
    def stopService(self):
        stopped = maybeDeferred(super().stopService)
        if self._asking is not None:
            self._asking.cancel()
        yield stopped
        if self._told is None or not self._goodbye:
            return
        try:
            yield self._api.deregister(self.id, timeout=_FAREWELL)
        except ConsulError as error:
            self._log.warn("{id!r} stays registered: {error}", id=self.id, error=error)
        self.registered = False

    def seen(self, there: bool) -> None:
        """Whether Consul's answers have this registration; the agent is asked when they do not."""
        if there:
            self._unseen_since = None
            self._doubted = self.trouble.since is not None
        elif not self._doubted:
            self._doubted = True
            self.kick()

    @inlineCallbacks
    def _keep(self):
        wait = self.trouble.wait
        if wait > 0:
            self.again_in(wait)
            return
        if self.registered and self.trouble.since is None and not (self._doubted or self._look or self._moved()):
            return
        try:
            self._asking = self._api.registered(self.id)
            found = yield self._asking
            wanted = self._wanted(found.local)
            if self._told is None or not _holds(found, wanted):
                self._told = wanted
                self._asking = self._api.register(wanted)
                yield self._asking
                self._log.info(
                    "registered in Consul as {id!r} at {at} port {port}",
                    id=self.id,
                    at=wanted["Address"],
                    port=wanted["Port"],
                )
        except ConsulError as error:
            if self.running:
                self.again_in(self.trouble.begin(error, aloud=not isinstance(error, Unreachable)))
        except CancelledError:
            pass
        else:
            self._confirmed()
        finally:
            self._asking = None

    def _confirmed(self) -> None:
        """The agent has it; Consul filters its answers without a word where the token may not read them."""
        now = self._clock.seconds()
        if self._doubted and self.registered and not self._look and self._unseen_since is None:
            self._unseen_since = now
        self._doubted = False
        if self._unseen_since is not None and now - self._unseen_since >= _UNSEEN * self._interval:
            self.again_in(self.trouble.begin(Denied(_FILTERED)))
        else:
            self.trouble.end()
        if not self.registered:
            self.registered = True
            self._changed()

    def _moved(self) -> bool:
        """Whether others no longer reach the address that was registered, or the port is another."""
        address, reachable = self.told.get("Address"), self._host().addresses
        lost = not self._listen_host and bool(reachable) and address not in reachable
        return lost or self.told.get("Port") != self._port()

    def _wanted(self, local: str) -> dict[str, Any]:
        """api.AgentServiceRegistration."""
        reachable = self._host().addresses
        address = self._listen_host or (local if local in reachable or not reachable else reachable[0])
        port = self._port()
        host = f"[{address}]" if ":" in address else address
        return {
            "Name": self._service,
            "ID": self.id,
            "Tags": list(self._tags),
            "Address": address,
            "Port": port,
            "Meta": {"node": self._node, "pid": str(self._pid)},
            "Check": {
                "HTTP": f"http://{host}:{port}/healthz",
                "Interval": format_duration(self._check_interval),
                "Timeout": format_duration(self._check_timeout),
                "DeregisterCriticalServiceAfter": format_duration(self._deregister_after),
            },
        }


def _holds(found: Found, wanted: Mapping[str, Any]) -> bool:
    """Whether the agent has what it is to have."""
    have = found.service
    return have is not None and (have.address, have.port, list(have.tags or ()), have.meta or {}) == (
        wanted["Address"],
        wanted["Port"],
        wanted["Tags"],
        wanted["Meta"],
    )
