"""A fleet of hosts that each have a network of pods, with a checker's agent in a pod of each, and the server beside.

    with Fleet(tmp_path, 12) as fleet:
        wait_for(lambda: fleet.verdicts() == [], 30, "health")
        fleet["n3"].host.cut()

A pod sends to other pods by VXLAN between their hosts, and to all else under its host's address, as flannel has it. One
host more serves DNS, a web page behind a service address, and the checker's server.
"""

import http.client
import json
import selectors
import socket
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from integration.daemon import K3net
from integration.dns_server import DnsServer, answer
from integration.lab import Host, Lab, Place, wait_for

VXLAN = 4789
SERVICE, SERVICE_ADDRESS, SERVICE_PORT = "web.lab", "10.96.0.10", 80
BACKEND_PORT = 8000
CONTROL = "10.78.0.100"
ROUND = 2.0
TOKEN = "s3cret-of-the-fleet"
_COMMON = {
    "mdns": {"enabled": False},
    "storage": {"type": "memory"},
    "node": {"register_self": False},
}
_BACKLOG = 1024


class Ports:
    """Takes TCP connections on many addresses, of any namespace, and hangs up on each."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def open(self, place: Place, address: str, port: int) -> socket.socket:
        """Listens until it is shut."""
        listener = place.inside(lambda: socket.create_server((address, port), backlog=_BACKLOG))
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)
        return listener

    def shut(self, listener: socket.socket) -> None:
        self._selector.unregister(listener)
        listener.close()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        for key in list(self._selector.get_map().values()):
            self.shut(key.fileobj)  # type: ignore[arg-type]

    def _serve(self) -> None:
        while not self._stop.is_set():
            for key, _ in self._selector.select(0.1):
                try:
                    connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                except OSError:  # it went away, or its listener was shut
                    continue
                connection.close()


class Pod(Place):
    """A namespace behind a host's, with a resolv.conf of its own; programs are run by `runner`, if there is one."""

    runner: tuple[str, ...] = ()

    def _command(self, argv: tuple[str, ...]) -> list[str]:
        resolv = self.folder / "resolv.conf"
        resolv.write_text(f"nameserver {CONTROL}\n")
        start = 'hostname "$0" && mount --bind "$1" /etc/resolv.conf && shift && exec "$@"'
        named = ["unshare", "--uts", "--mount", "sh", "-c", start, self.name, str(resolv)]
        return ["ip", "netns", "exec", self.namespace, *named, *self.runner, *argv]


class Member:
    """A host of the fleet, its pod and the agent in it."""

    def __init__(self, fleet: "Fleet", number: int):
        self.name = f"n{number}"
        self.number = number
        self.node_ip, self.pod_ip = f"10.78.0.{number}", f"10.200.{number}.2"
        self._fleet = fleet
        self.host = fleet.host(self.name, ipv4=f"{self.node_ip}/24")
        self.pod = Pod(fleet, f"pod{number}", fleet.namespace(f"pod{number}"))
        self.agent: K3net | None = None
        self.listener = fleet.ports.open(self.host, "0.0.0.0", 22)
        self._wire_pod()

    def _wire_pod(self) -> None:
        gateway = f"10.200.{self.number}.1"
        batch(
            self.host.namespace,
            f"link add pod0 mtu 1450 type veth peer eth0 netns {self.pod.namespace}",
            f"address add {gateway}/24 dev pod0",
            "link set pod0 up",
            f"link add vxlan0 mtu 1450 type vxlan id 1 dstport {VXLAN} local {self.node_ip} nolearning",
            f"link set vxlan0 address {mac(self.number)}",
            f"address add 10.200.{self.number}.0/32 dev vxlan0",
            "link set vxlan0 up",
        )
        batch(
            self.pod.namespace,
            f"address add {self.pod_ip}/24 dev eth0",
            "link set eth0 mtu 1450 up",
            f"route add default via {gateway}",
        )
        self.host.inside(lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1"))
        nft(
            self.host,
            "table ip nat {"
            " chain out { type nat hook postrouting priority 100;"
            '  oifname "lan0" ip saddr 10.200.0.0/16 masquerade; }; }',
        )
        self.serve()

    def serve(self) -> None:
        """What kube-proxy does for the service."""
        nft(
            self.host,
            "table ip service { chain to { type nat hook prerouting priority -100;"
            f" ip daddr {SERVICE_ADDRESS} tcp dport {SERVICE_PORT} dnat to {CONTROL}:{BACKEND_PORT}; }}; }}",
        )

    def unserve(self) -> None:
        nft(self.host, "delete table ip service")

    def meet(self, others: "Iterable[Member]") -> None:
        """Knows where the pods of the others are."""
        rest = [other for other in others if other is not self]
        batch(
            self.host.namespace,
            *(f"neigh add 10.200.{other.number}.0 lladdr {mac(other.number)} dev vxlan0" for other in rest),
            *(f"route add 10.200.{other.number}.0/24 via 10.200.{other.number}.0 dev vxlan0 onlink" for other in rest),
        )
        batch(
            self.host.namespace,
            *(f"fdb append {mac(other.number)} dev vxlan0 dst {other.node_ip}" for other in rest),
            program="bridge",
        )

    def start(self, *runner: str) -> None:
        """An agent, as a DaemonSet would start it; `runner` is a program that runs it."""
        self.pod.runner = runner
        agent = {
            "server_url": f"http://{CONTROL}:8080",
            "token_file": str(self._fleet.token),
            "node_ip": self.node_ip,
            "pod_ip": self.pod_ip,
            "pod_name": f"agent-{self.number}-{len(self._fleet.processes)}",
            "namespace": "lab",
            "heartbeat": "1s",
            "round": f"{ROUND:g}s",
            "service_name": SERVICE,
            "service_port": SERVICE_PORT,
        }
        self.agent = self.pod.k3net({**_COMMON, "checker": {"agent": agent}}, node_name=self.name)

    def kill(self) -> None:
        assert self.agent is not None
        self.agent.kill()

    def shut(self) -> None:
        self._fleet.ports.shut(self.listener)

    def reopen(self) -> None:
        self.listener = self._fleet.ports.open(self.host, "0.0.0.0", 22)


class Fleet(Lab):
    """`size` members named n1, n2, ... on one LAN, and the host `control`; all of them started."""

    def __init__(self, folder: Path, size: int, *, expiry: float = 4.0):
        super().__init__(folder)
        self._size = size
        self._expiry = expiry
        self._dns: DnsServer | None = None
        self.token = folder / "token"
        self.token.write_text(f"{TOKEN}\n")

    def __enter__(self) -> "Fleet":
        super().__enter__()
        self.ports = Ports()
        try:
            self._build()
        except BaseException:
            self.print_logs()
            self._close()
            raise
        return self

    def _build(self) -> None:
        self.control: Host = self.host("control", ipv4=f"{CONTROL}/24")
        self._dns = self.control.inside(lambda: DnsServer(CONTROL, reply))
        self._dns.__enter__()
        self.backend = self.ports.open(self.control, CONTROL, BACKEND_PORT)
        self.start_server()
        self.members = {f"n{number}": Member(self, number) for number in range(1, self._size + 1)}
        for member in self.members.values():
            member.meet(self.members.values())
            member.start()
        wait_for(lambda: self.ask("clients/count") == {"active_client_count": self._size}, 60, "all agents")

    def _close(self) -> None:
        super()._close()
        self.ports.close()
        if self._dns is not None:
            self._dns.__exit__()

    def __getitem__(self, name: str) -> Member:
        return self.members[name]

    def namespace(self, name: str) -> str:
        return self._namespace(name)

    def ask(self, path: str) -> Any:
        """The JSON of a 200 answer of the server, at `path` below /api/v1/."""

        def fetch() -> Any:
            connection = http.client.HTTPConnection(CONTROL, 8080, timeout=5)
            try:
                connection.request("GET", f"/api/v1/{path}", headers={"Authorization": f"Bearer {TOKEN}"})
                response = connection.getresponse()
                body = response.read()
                assert response.status == 200, f"GET {path}: {response.status} {body[:300]!r}"
                return json.loads(body)
            finally:
                connection.close()

        return self.control.inside(fetch)

    def start_server(self) -> None:
        """A checker's server whose store outlives it."""
        server = {"token_files": [str(self.token)], "expiry": f"{self._expiry:g}s"}
        config = {
            **_COMMON,
            "api": {"listen": ":8080", "token_files": [str(self.token)]},
            "storage": {"type": "sqlite", "sqlite": {"path": str(self.folder / "server.db")}},
            "checker": {"server": server},
        }
        self.server = self.control.k3net(config, node_name="control")


def reply(query: bytes, name: str) -> bytes:
    """The service's name has its address, and no other name is known."""
    if name != SERVICE:
        return answer(query, code=3)
    wants_ipv4 = query[-4:-2] == b"\0\1"
    return answer(query, (1, b"", socket.inet_aton(SERVICE_ADDRESS))) if wants_ipv4 else answer(query)


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


def batch(namespace: str, *lines: str, program: str = "ip") -> None:
    """Runs lines of ip(8) or bridge(8)."""
    done = subprocess.run(
        [program, "-n", namespace, "-batch", "-"], input="\n".join(lines), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{program}: {done.stderr}"


def nft(place: Place, script: str) -> None:
    command = ["ip", "netns", "exec", place.namespace, "nft", "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    assert done.returncode == 0, f"nft {script!r}: {done.stderr}"
