"""Real etcd servers for tests: on free ports of 127.0.0.1, in directories of their own, ended by their pids."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from store.controllers import text_of

from k3net.store.etcd import NODES, EtcdStore
from k3net.store.etcd_rpc import etcd3

_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Member:
    """One server; `url` is for clients. TLS when `tls` is (ca, certificate, key), mutual with `mutual`."""

    def __init__(self, *args: str, name: str = "m0", tls: "Sequence[str]" = (), mutual: bool = False):
        self.name = name
        self.directory = Path(tempfile.mkdtemp(prefix="k3net-etcd-", dir=_FAST))
        client, peer = free_ports(2)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{client}"
        self.peer_url = f"http://127.0.0.1:{peer}"
        self._args = [*args, f"--data-dir={self.directory}/data", f"--name={name}", "--log-level=error"]
        self._args += [f"--{kind}-client-urls={self.url}" for kind in ("listen", "advertise")]
        self._args += [f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}"]
        self._ctl: list[str] = []
        if tls:
            ca, certificate, key = tls
            self._args += [f"--cert-file={certificate}", f"--key-file={key}"]
            self._args += [f"--trusted-ca-file={ca}", "--client-cert-auth"] if mutual else []
            self._ctl = [f"--cacert={ca}", f"--cert={certificate}", f"--key={key}"]
        self.cluster = f"{name}={self.peer_url}"
        self._process: Any = None

    def start(self, *, wait: bool = True) -> "Member":
        command = [shutil.which("etcd") or "etcd", *self._args, f"--initial-cluster={self.cluster}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        if wait:
            self.wait()
        return self

    def wait(self, seconds: float = 20) -> None:
        """Until it serves, with a leader, though not us: not everybody may ask."""
        until = monotonic() + seconds
        while not any(text in self.ctl("endpoint", "health", check=False) for text in ("is healthy", "user name")):
            if self._process.poll() is not None or monotonic() > until:
                raise RuntimeError((self.directory / "log").read_text())
            sleep(0.05)

    def ctl(self, *args: str, user: str = "", check: bool = True) -> str:
        """What etcdctl says."""
        who = [f"--user={user}"] if user else []
        command = [shutil.which("etcdctl") or "etcdctl", f"--endpoints={self.url}", *self._ctl, *who, *args]
        environ = {**os.environ, "ETCDCTL_API": "3"}
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=30)
        if check and done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout + done.stderr

    def signal(self, number: int) -> None:
        os.kill(self._process.pid, number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def wipe(self) -> None:
        client = connected(self.url)
        client.delete_prefix("/")
        client.close()

    def __enter__(self) -> "Member":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()


def cluster(size: int = 3) -> "list[Member]":
    """Members that know of each other, not started; elections are quick."""
    members = [Member("--heartbeat-interval=50", "--election-timeout=500", name=f"m{i}") for i in range(size)]
    together = ",".join(member.cluster for member in members)
    for member in members:
        member.cluster = together
    return members


def connected(url: str) -> Any:
    """etcd3's own client, as a program that is not k3net has it."""
    port = int(url.rpartition(":")[2])
    return etcd3.client("127.0.0.1", port, timeout=5, grpc_options=[("grpc.enable_http_proxy", 0)])


def free_ports(count: int) -> "list[int]":
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class EtcdController:
    """A controller that works on the records by a client of its own, without asking k3net."""

    def __init__(self, url: str):
        self._client = connected(url)

    def put(self, manifest: "dict[str, Any]") -> None:
        self.put_raw(manifest["metadata"]["name"], text_of(manifest))

    def put_raw(self, name: str, text: bytes) -> None:
        self._client.put(NODES + name.encode(), text)

    def edit_without_version_bump(self, name: str, manifest: "dict[str, Any]") -> None:
        """etcd knows no such thing: every change has a revision of its own."""
        self.put_raw(name, text_of(manifest))

    def delete(self, name: str) -> None:
        self._client.delete(NODES + name.encode())

    def raw(self, name: str) -> "bytes | None":
        return self._client.get(NODES + name.encode())[0]

    def close(self) -> None:
        self._client.close()


_idle: "list[Member]" = []


def make_etcd(case: Any) -> "tuple[Any, ...]":
    """For the contract suites: an empty store of its own, on a server that was used before or a new one."""
    member = _idle.pop() if _idle else Member().start()
    case.addCleanup(_idle.append, member)
    member.wipe()
    controller = EtcdController(member.url)
    case.addCleanup(controller.close)

    def another() -> EtcdStore:
        store = EtcdStore([member.url])
        case.addCleanup(store.close)
        return store

    return another(), controller, another


def end_idle() -> None:
    """End the servers of `make_etcd`."""
    while _idle:
        _idle.pop().end()
