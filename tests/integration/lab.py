"""Several hosts on one machine: network namespaces joined by a bridge, each with real programs in it.

    with Lab(tmp_path) as lab:
        a = lab.host("a", ipv4="10.77.0.2/24")
        b = lab.host("b", ipv4="10.77.0.3/24")
        b.avahi("b", port=7946, txt={"node": "b"})
        daemon = a.k3net({"liveness": {"peer_ttl": "5s"}}, node_name="a")
        wait_for(lambda: "b" in daemon.nodes(), 5, "b's Node")
        b.cut()

The machine's own network is not touched: the bridge has a namespace of its own. Needs root.
"""

import itertools
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from integration import netns
from integration.avahi import BUS, BUS_CONFIG, Found, daemon_config, parse_browse, service_xml, start_command
from integration.daemon import K3net, clean_environment, command
from integration.netns import ip
from integration.process import Process

T = TypeVar("T")
LINK = "lan0"
serials = itertools.count(1)


def wait_for(predicate: Callable[[], T], timeout: float, what: str, every: float = 0.05) -> T:
    """The first true value of `predicate()`, which may raise until then; an AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            value = predicate()
            last = f"the last value was {value!r}"
            if value:
                return value
        except Exception as error:
            last = f"it last raised {error!r}"
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what}: not within {timeout} s; {last}")
        time.sleep(every)


class Lab:
    """Hosts on one LAN; leaving it ends every process in them and removes them all."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.processes: list[Process] = []
        self._namespaces: list[str] = []
        self._name = str(next(serials))
        self.switch = ""

    def __enter__(self) -> "Lab":
        netns.sweep()
        self.switch = self._namespace("switch")
        try:
            ip("-n", self.switch, "link", "add", "br0", "type", "bridge", "mcast_snooping", "0")
            ip("-n", self.switch, "link", "set", "br0", "up")
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            self.print_logs()
        self._close()

    def _close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
        for namespace in reversed(self._namespaces):
            with suppress(AssertionError):
                netns.delete(namespace)

    def _namespace(self, name: str) -> str:
        namespace = netns.create(f"{self._name}-{name}")
        self._namespaces.append(namespace)
        return namespace

    def host(self, name: str, ipv4: str = "", ipv6: str = "") -> "Host":
        """A new host with these addresses (`10.77.0.2/24`, `fd77::2/64`); without `ipv4` it has IPv6 only."""
        return Host(self, name, self._namespace(name), [address for address in (ipv4, ipv6) if address])

    def print_logs(self, lines: int = 120) -> None:
        for process in self.processes:
            print(f"---- {process.log.name} (pid {process.pid})")
            print("\n".join(process.output().splitlines()[-lines:]))


class Place:
    """Where programs run: a namespace with a host name and a folder of its own (`folder`, the working directory)."""

    def __init__(self, lab: Lab, name: str, namespace: str):
        self.name = name
        self.namespace = namespace
        self.folder = lab.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lab = lab
        self._browser: Process | None = None

    def inside(self, f: Callable[[], T]) -> T:
        """The result of `f()`, called on this network: sockets it makes are in it."""
        return netns.inside(self.namespace, f)

    def _command(self, argv: tuple[str, ...]) -> list[str]:
        """`argv` on this network, under its name, with mounts of its own; the pid is the program's."""
        named = ["unshare", "--uts", "--mount", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return ["ip", "netns", "exec", self.namespace, *named, *argv]

    def run(
        self, *argv: str, timeout: float = 20.0, check: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs to its end; an AssertionError when it fails, unless `check` is False."""
        environment = clean_environment(env)
        done = subprocess.run(
            self._command(argv), capture_output=True, text=True, timeout=timeout, cwd=self.folder, env=environment
        )
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.returncode}: {done.stdout}{done.stderr}"
        return done

    def popen(self, *argv: str, env: Mapping[str, str] | None = None, log: str = "") -> Process:
        """Starts a program; its output is in the file `log` of the lab's folder."""
        return self._started(Process, argv, log or Path(argv[0]).name, env or {})

    def _started(
        self, kind: Callable[..., T], argv: tuple[str, ...], log: str, env: Mapping[str, str], **more: Any
    ) -> T:
        file = self._lab.folder / f"{self.name}-{len(self._lab.processes)}-{log}.log"
        environment = clean_environment(env)
        process = kind(argv=self._command(argv), log=file, env=environment, cwd=self.folder, **more)
        self._lab.processes.append(process)
        return process

    def avahi(
        self, name: str, *, port: int = 7946, txt: Mapping[str, object] | None = None, service: str = "_k3._tcp"
    ) -> Process:
        """The real avahi-daemon, publishing this instance; `stop()` lets it say goodbye, `kill()` does not."""
        services = [service_xml(name, service, port, txt or {})]
        return self.avahi_services(services)

    def avahi_services(self, services: list[str]) -> Process:
        """The same for any avahi.service(5) files."""
        return self._avahi(services, dbus=False, env={})

    def _avahi(self, services: list[str], *, dbus: bool, env: Mapping[str, str]) -> Process:
        folder = self.folder / f"avahi-{len(self._lab.processes)}"
        argv = start_command(folder, services, daemon_config(self.name, dbus=dbus))
        return self._started(Process, tuple(argv), "avahi", env)

    def avahi_browse(self, service: str = "_k3._tcp") -> list[Found]:
        """What Avahi sees from here now; the first call starts a browser (a bus and a daemon), which remembers."""
        env = {"DBUS_SYSTEM_BUS_ADDRESS": BUS}
        browse = ("avahi-browse", "--parsable", "--resolve", "--terminate", service)
        if self._browser is None:
            config = self.folder / "bus.conf"
            config.write_text(BUS_CONFIG)
            self.popen("dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile", "--nosyslog", env=env)
            wait_for(lambda: BUS.partition("=")[2] in self.inside(unix_sockets), 5, "the bus")
            self._browser = self._avahi([], dbus=True, env=env)
            wait_for(lambda: self.run(*browse, check=False, **env).returncode == 0, 10, "avahi-browse")
        return parse_browse(self.run(*browse, **env).stdout)

    def k3net(
        self, config: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None, **flags: Any
    ) -> K3net:
        """`twistd -n k3net --config FILE` in this host's folder; `flags` as `node_name="a"`."""
        config = config or {}
        listen = str(flags.get("listen", config.get("listen", ":7946")))
        api = str(config.get("api", {}).get("listen", "127.0.0.1:8080"))
        ports = {"listen_port": int(listen.rpartition(":")[2]), "api_port": int(api.rpartition(":")[2])}
        argv = command(self.folder / f"k3net-{len(self._lab.processes)}.yaml", config, flags)
        return self._started(K3net, tuple(argv), "k3net", env or {}, namespace=self.namespace, **ports)


class Host(Place):
    """One machine of the lab, with the link `lan0`."""

    def __init__(self, lab: Lab, name: str, namespace: str, addresses: list[str]):
        super().__init__(lab, name, namespace)
        self._port = f"to-{name}"
        self._table = f"bridge lab_{name.replace('-', '_')}"
        self._blackholed = False
        ip("-n", lab.switch, "link", "add", self._port, "type", "veth", "peer", LINK, "netns", namespace)
        ip("-n", lab.switch, "link", "set", self._port, "master", "br0", "up")
        ip("-n", namespace, "link", "set", LINK, "up")
        for address in addresses:
            self.add_address(address)

    def add_address(self, address: str) -> None:
        """Also makes the link the default route of the address's family, without which multicast goes nowhere."""
        family = "-6" if ":" in address else "-4"
        ip("-n", self.namespace, family, "address", "add", address, "dev", LINK, *(["nodad"] if ":" in address else []))
        ip("-n", self.namespace, family, "route", "replace", "default", "dev", LINK)

    def set_address(self, old: str, new: str) -> None:
        """What a DHCP server does at its worst: the old address is gone, the new one is there."""
        self.add_address(new)
        ip("-n", self.namespace, "address", "del", old, "dev", LINK)

    def cut(self) -> None:
        """Pulls the cable; nothing that the host still says gets out."""
        ip("-n", self._lab.switch, "link", "set", self._port, "down")

    def blackhole(self, direction: str = "both") -> None:
        """Drops frames without a trace, the link stays up: those to the host ("in"), from it ("out") or "both"."""
        words = {"in": ["oifname"], "out": ["iifname"], "both": ["oifname", "iifname"]}[direction]
        rules = " ".join(f'{word} "{self._port}" drop;' for word in words)
        self._nft(f"table {self._table} {{ chain forward {{ type filter hook forward priority 0; {rules} }}; }}")
        self._blackholed = True

    def restore(self) -> None:
        """Undoes `cut` and `blackhole`."""
        ip("-n", self._lab.switch, "link", "set", self._port, "up")
        if self._blackholed:
            self._nft(f"delete table {self._table}")
            self._blackholed = False

    def _nft(self, script: str) -> None:
        command = ["ip", "netns", "exec", self._lab.switch, "nft", "-f", "-"]
        done = subprocess.run(command, input=script, capture_output=True, text=True)
        assert done.returncode == 0, f"nft {script!r}: {done.stderr}"


def unix_sockets() -> str:
    """unix(7), of the calling thread's network namespace."""
    return Path("/proc/thread-self/net/unix").read_text()
