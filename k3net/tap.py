"""`twistd k3net`: the command line, and what it makes."""

import gc
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet._resolver import GAIResolver
from twisted.internet.defer import inlineCallbacks
from twisted.internet.error import ReactorNotRunning
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.threadpool import ThreadPool
from twisted.python.usage import Options as BaseOptions
from twisted.python.usage import UsageError

from k3net.config import Loaded, Settings, load
from k3net.config.load import config_path
from k3net.daemon import Daemon
from k3net.errors import ConfigError, K3netError
from k3net.log import make_logger, observer

_LAST_GRACE = 15.0
_LOOKUPS = 8
_COLLECTIONS = (10_000, 5, 100)


class Options(BaseOptions):
    """The flags of spec/1 and spec/2; every other setting is in the file or the environment."""

    synopsis = "[options]"
    longdesc = "Finds this network's machines and keeps a Kubernetes-style Node record for each."
    optParameters = [  # noqa: RUF012 - Twisted's way to say it
        ["config", "c", None, "YAML file (also CONFIG_PATH); none means the defaults"],
        ["listen", None, None, "address of the health server, announced by mDNS (:7946)"],
        ["service", None, None, "DNS-SD service type (_k3._tcp)"],
        ["domain", None, None, "DNS-SD domain (local.)"],
        ["node-name", None, None, "name of the own node (also NODE_NAME; else the host name)"],
        ["peer-ttl", None, None, "no evidence for so long makes a Node NotReady (90s)"],
        ["register-self", None, None, "also keep a Node for this machine: true or false (true)"],
        ["consul-addr", None, None, "Consul's HTTP API (localhost:8500; also CONSUL_HTTP_ADDR); turns Consul on"],
        ["consul-token", None, None, "ACL token; CONSUL_HTTP_TOKEN and consul.token_file keep it out of ps"],
        ["service-name", None, None, "service in Consul (k3-node)"],
        ["service-id", None, None, "its id there (service name, '-', node name)"],
        ["service-port", None, None, "port of the health server in Consul (7946)"],
        ["watch-interval", None, None, "longest time between two full answers of Consul (15s)"],
        ["health-check-interval", None, None, "how often Consul checks this machine (10s)"],
        ["health-check-timeout", None, None, "how long it waits then (3s)"],
        ["deregister-after", None, None, "how long critical before it is forgotten (30s; Consul's least is 1m)"],
    ]
    optFlags = [["no-mdns", None, "neither announce nor look for others by mDNS"]]  # noqa: RUF012

    def parseOptions(self, options: Any = None) -> None:
        """One line on standard error and exit status 2 for whatever is wrong with the words or the settings."""
        try:
            super().parseOptions(_go_style(list(sys.argv[1:] if options is None else options)))
        except (UsageError, K3netError) as error:
            print(f"k3net: {error}", file=sys.__stderr__)
            raise SystemExit(2) from None

    def postOptions(self) -> None:
        self.loaded = self.load()
        for warning in self.loaded.warnings:
            print(f"k3net: {warning}", file=sys.__stderr__)
        parent = self.parent
        if parent is not None and parent["nodaemon"] and parent["pidfile"] == "twistd.pid":
            parent["pidfile"] = ""  # a read-only directory would keep the daemon from starting
        self.log_observer = self._open_log()

    @property
    def foreground(self) -> bool:
        """Whether this process stays where it was started (`twistd -n`)."""
        return self.parent is None or bool(self.parent["nodaemon"])

    def load(self) -> Loaded:
        """The settings that file, environment and flags give now; ConfigError."""
        flags = {name.replace("-", "_"): self[name] for name in self.defaults if name != "config"}
        return load(config_path(self["config"], os.environ), os.environ, flags)

    def _open_log(self) -> Any:
        """What writes the log, or None when twistd's own flags say how; ConfigError."""
        parent: Any = self.parent or {}
        log = self.loaded.settings.log
        if any(parent.get(flag) for flag in ("logger", "logfile", "syslog")):
            return None
        path = log.path or ("" if self.foreground else "twistd.log")
        try:
            return observer(log.level, log.format, path)
        except OSError as error:
            reason = f"{path!r}: {(error.strerror or str(error)).lower()}"
            raise ConfigError("log.path", reason, self.loaded.origins.get("log.path", "")) from None


def _go_style(words: list[str]) -> list[str]:
    """`--register-self` alone means true, as Go's flags have it."""
    return ["--register-self=true" if word == "--register-self" else word for word in words]


class Root(Service):
    """The daemon and what it needs of the process: a monotonic clock, SIGHUP, and an end that comes."""

    def __init__(self, reactor: Any, options: Options):
        self._reactor = reactor
        self._options = options
        self._log = make_logger()
        self._daemon: Any = None
        self._asked = self._reloading = False
        self._names = ThreadPool(0, _LOOKUPS, "k3net-names")
        self._names.threadFactory = partial(threading.Thread, daemon=True)  # type: ignore[assignment]

    def setServiceParent(self, parent: Any) -> None:
        writes = self._options.log_observer
        if writes is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, writes)
        super().setServiceParent(parent)

    def startService(self) -> None:
        super().startService()
        self._reactor.seconds = time.monotonic  # before the first timer: a clock set back stops them otherwise
        self._names.start()  # look-ups that hang hold up other look-ups only
        self._reactor.installNameResolver(GAIResolver(self._reactor, lambda: self._names))
        settings = self._options.loaded.settings
        self._guard_secrets(settings)
        self._daemon = Daemon(self._reactor, settings, wall=time.time, environ=os.environ)
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reload))
        for number in (signal.SIGTERM, signal.SIGINT):  # twistd would die of it again: a clean stop is exit status 0
            self._reactor.callWhenRunning(signal.signal, number, self._end)
        try:
            self._daemon.startService()
        except Exception as error:
            self._log.error("{error}", error=error)
            if not self._options.foreground:
                raise  # twistd tells the process that waits in the foreground, which would wait for ever otherwise
            print(f"k3net: {error}", file=sys.__stderr__)
            raise SystemExit(1) from None
        collect_rarely()

    def stopService(self) -> Any:
        super().stopService()
        last = threading.Timer(_LAST_GRACE, os._exit, [1])  # a thread that hangs would keep the process for ever
        last.daemon = True
        last.start()
        return self._daemon.stopService()

    def _end(self, number: int, frame: Any) -> None:
        def stop() -> None:
            self._log.info("{signal}: stopping", signal=signal.Signals(number).name)
            with suppress(ReactorNotRunning):
                self._reactor.stop()

        self._reactor.callFromThread(stop)

    @inlineCallbacks
    def _reload(self):
        """Follow the settings as they are now, and once more when asked to meanwhile."""
        self._asked = True
        while self._asked and not self._reloading:
            self._asked, self._reloading = False, True
            try:
                loaded = yield deferToThread(self._options.load)
                self._guard_secrets(loaded.settings)
                yield self._daemon.reload(loaded.settings)
                for warning in self._left_out(loaded):
                    self._log.warn("{warning}", warning=warning)
                self._log.info("reloaded")
            except Exception as error:
                self._log.error("not reloaded, the old settings stay: {error}", error=error)
            finally:
                self._reloading = False

    def _guard_secrets(self, settings: Settings) -> None:
        if settings.clusters.enabled:
            try:
                leave_no_core()
            except OSError as error:
                self._log.warn("a crash may leave kubeconfigs in a core dump: {error}", error=error)

    def _left_out(self, loaded: Loaded) -> Iterator[str]:
        yield from loaded.warnings
        old, new = self._options.loaded.settings.log, loaded.settings.log
        if (old.format, old.path) != (new.format, new.path):
            yield "log.format and log.path are followed at the next start"


def leave_no_core() -> None:
    """From now on a crash leaves no image of this process's memory; OSError. core(5).

    The limit does not hold for cores that are piped to a program: of those the filter takes all memory away.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path("/proc/self/coredump_filter").write_text("0")


def collect_rarely() -> None:
    """Garbage collections that hold no turn of the reactor up; for a process that has started.

    One of the oldest generation visits all there is: 0.2 to 0.5 s at 10,000 Nodes and peers, and by Python's own
    thresholds each growth by a quarter brings one about. Little here is garbage that only a collection finds, and that
    dies young: 10,000 objects, a MiB or two, are visited in 10 ms. What the imports made stays and is visited no more.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTIONS)


def makeService(options: Options) -> IService:
    from twisted.internet import reactor

    return Root(reactor, options)  # type: ignore[return-value]
