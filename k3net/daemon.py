"""The daemon: its parts started in order, stopped in reverse, and made anew when a reload changes their settings."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredLock, inlineCallbacks, maybeDeferred

from k3net import __version__, host
from k3net.config import Settings
from k3net.log import make_logger, set_level
from k3net.metrics import Metrics
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable
from k3net.model.result import ProbeResult
from k3net.parts import Part, told
from k3net.reconciler.view import View
from k3net.sd_notify import Notifier
from k3net.services import Dependency, Periodic
from k3net.wiring import open_doors, parts


class Daemon(Service):
    """What outlives its parts (the peer table, the metrics, this machine as last seen), and the parts by name.

    `reactor.seconds` is to be monotonic; `wall()` is the time of day. `startService` raises what a part raises that
    cannot start.
    """

    def __init__(self, reactor: Any, settings: Settings, *, wall: Callable[[], float], environ: Mapping[str, str]):
        self.reactor = reactor
        self.wall = wall
        self.settings = settings
        self.instance = secrets.token_hex(8)
        self.host = host.look()
        self.table = PeerTable()
        self.metrics = Metrics(reactor, __version__)
        self.notifier = Notifier(reactor, environ)
        self._running: dict[str, tuple[Part, Any]] = {}
        self._one_at_a_time = DeferredLock()
        self._log = make_logger()
        self.view = View(lambda: self["reconcile"], reactor, wall, self._last_probe)
        self.metrics.watch_nodes(self.view.count)
        self.metrics.watch_peers(lambda: len(self.table))
        self.metrics.watch_loops(self.loops)
        self.metrics.watch_alarms(lambda: {"brake": bool(self["reconcile"].brake.held), "any": any(self.alarms())})

    def __getitem__(self, name: str) -> Any:
        """The part of this name, running or about to be replaced; KeyError."""
        return self._running[name][1]

    def startService(self) -> None:
        super().startService()
        set_level(self.settings.log.level)
        for part in parts(self, self.settings):
            self._start(part)
        for warning in open_doors(self.settings):
            self._log.warn("{warning}", warning=warning)
        self._log.info(
            "k3net {version} is node {node!r}: health on port {port}, API on {api}, store {store}",
            version=__version__,
            node=self.settings.node.name,
            port=self["listen"].port,
            api=self.settings.api.listen,
            store=self.settings.storage.type,
        )
        self.notifier.ready()

    @inlineCallbacks
    def stopService(self):
        super().stopService()
        self.notifier.stopping()
        yield self._one_at_a_time.run(lambda: self._stop(set(self._running)))

    def reload(self, settings: Settings) -> "Deferred[None]":
        """Follow new settings, after what is under way; a daemon that stops does not.

        When a new part cannot start, its error is raised and the old settings are in force.
        """
        return self._one_at_a_time.run(self._reload, settings)

    @inlineCallbacks
    def _reload(self, settings: Settings):
        if not self.running:
            return
        before = self.settings
        self.notifier.reloading()
        try:
            yield self._become(settings)
        except Exception:
            yield self._become(before)
            raise
        finally:
            self.notifier.ready()

    def observe(self, o: Observation) -> bool:
        """What the sources are given: False when there is no room for the peer."""
        taken = self["reconcile"].observe(o)
        if taken:
            self.metrics.observed(o.source)
        else:
            self.metrics.peer_refused()
        return taken

    def look_at_host(self) -> None:
        self.host = host.look()
        nodes = self.view.count()
        self.notifier.status(f"{nodes['True']} of {nodes.total()} Nodes Ready")

    def loops(self) -> Iterator[Periodic]:
        """Every loop there is, for `/readyz` and the metrics."""
        return self._told("loops")

    def alarms(self) -> Iterator[str]:
        """What an operator has to look at, a line each."""
        return self._told("alarms")

    def dependencies(self) -> Iterator[Dependency]:
        """Everything outside this process that it needs, for `/readyz`."""
        return self._told("dependencies")

    def _told(self, what: str) -> Iterator[Any]:
        for _, service in self._running.values():
            yield from told(service, what)

    def _last_probe(self, name: str) -> "ProbeResult | None":
        return self["liveness"].last(name)

    @inlineCallbacks
    def _become(self, settings: Settings):
        before, self.settings = self.settings, settings
        set_level(settings.log.level)
        wanted = {part.name: part for part in parts(self, settings)}
        stale = {name for name, (part, _) in self._running.items() if not _same(part, wanted.get(name))}
        if "own-node" in stale and "own-node" in wanted and settings.node.name == before.node.name:
            self["own-node"].goodbye = False
        yield self._stop(stale)
        for part in wanted.values():
            if part.name not in self._running:
                self._start(part)

    def _start(self, part: Part) -> None:
        service = part.make()
        self._running[part.name] = (part, service)
        try:
            for collector in told(service, "collectors"):
                self.metrics.register(collector)
            service.startService()
        except Exception:
            self._remove(part.name)
            raise

    @inlineCallbacks
    def _stop(self, names: set[str]):
        order = [part.name for part in parts(self, self.settings)]
        ranked = sorted(names, key=lambda name: order.index(name) if name in order else len(order), reverse=True)
        for name in ranked:
            try:
                yield maybeDeferred(self[name].stopService)
            except Exception as error:
                self._log.warn("{name} did not stop cleanly: {error!r}", name=name, error=error)
        for name in ranked:  # only now, for those that stop may still ask one another
            self._remove(name)

    def _remove(self, name: str) -> None:
        _, service = self._running.pop(name)
        for collector in told(service, "collectors"):
            self.metrics.unregister(collector)


def _same(part: Part, wanted: "Part | None") -> bool:
    return wanted is not None and part.made_of == wanted.made_of
