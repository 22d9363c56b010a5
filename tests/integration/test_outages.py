"""A store that is away in every way a store can be: the daemon goes on, and heals by itself."""

import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

import pytest
from integration import netns
from integration.lab import wait_for
from integration.test_lan import listening

PEER = "peer"
QUICK = {
    "liveness": {"peer_ttl": "3s", "probe_interval": "500ms", "probe_timeout": "300ms"},
    "reconcile": {"report_every": "5s"},
    "node": {"heartbeat": "1s"},
}
LAPSES = 8.0
HEALS = 62.0
"""Two intervals of the reconciler and 60 s."""
STALLED = 0.2


class Pulse(threading.Thread):
    """Asks `/healthz` ten times a second; `slowest` and `failures` since the start."""

    def __init__(self, daemon: Any, namespace: str):
        super().__init__(daemon=True)
        self._daemon = daemon
        self._namespace = namespace
        self._ended = threading.Event()
        self.slowest = 0.0
        self.failures: list[str] = []
        self.beats = 0

    def run(self) -> None:
        netns.inside(self._namespace, self._beat)

    def _beat(self) -> None:
        while not self._ended.wait(0.1):
            begun = time.monotonic()
            try:
                with closing(socket.create_connection(("127.0.0.1", 7946), timeout=5)) as connection:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    answer = b"".join(iter(lambda: connection.recv(4096), b""))
                if not answer.endswith(b"ok\n"):
                    self.failures.append(repr(answer[:80]))
            except OSError as error:
                self.failures.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.beats += 1

    def end(self) -> None:
        self._ended.set()
        self.join(10)


class Sqlite:
    """A file in a small file system of its own, so that it can be full."""

    says = "sqlite store"

    def __init__(self, host: Any):
        self.folder = host.folder / "disk"
        self.folder.mkdir()
        self.path = self.folder / "k3net.db"
        self.settings = {"type": "sqlite", "sqlite": {"path": str(self.path)}}
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(self.folder)], check=True)

    def start(self) -> None:
        """The first daemon that comes makes it."""

    def end(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def ready(self) -> str:
        """What the store says of the peer."""
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=5)) as connection:
            row = connection.execute(
                "select manifest ->> '$.status.conditions[0].status' from nodes where name = ?", [PEER]
            ).fetchone()
        return row[0] if row else ""

    @contextmanager
    def locked(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("begin exclusive")
            yield
            connection.execute("rollback")

    @contextmanager
    def read_only(self) -> Iterator[None]:
        subprocess.run(["chattr", "+i", str(self.folder)], check=True)  # which stops root too
        yield
        subprocess.run(["chattr", "-i", str(self.folder)], check=True)

    @contextmanager
    def replaced_by_garbage(self) -> Iterator[None]:
        for path in self.folder.glob("k3net.db*"):
            path.unlink()
        self.path.write_bytes(b"no database " * 1000)
        yield
        self.path.unlink()

    @contextmanager
    def full(self) -> Iterator[None]:
        filler = self.folder / "filler"
        with filler.open("wb") as file, suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(512))
        yield
        filler.unlink()


class Etcd:
    """A server on the daemon's host."""

    says = "etcd store"

    def __init__(self, host: Any):
        from etcd import Member

        self._inside = host.inside
        self._server = host.inside(lambda: Member("--quota-backend-bytes=16777216"))
        url = self._server.url
        self._port = int(url.rpartition(":")[2])
        self.settings = {"type": "etcd", "etcd": {"endpoints": [url], "dial_timeout": "2s"}}

    def start(self) -> None:
        self._inside(self._server.start)

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self._server.kill()
        shutil.rmtree(self._server.directory, ignore_errors=True)

    def ready(self) -> str:
        text = self._ctl("get", "--print-value-only", f"/kubernetes//v1/Node/{PEER}")
        return next((status for status in ("True", "False") if f'"Ready","status":"{status}"' in text), "")

    def _ctl(self, *args: str) -> str:
        return str(self._inside(lambda: self._server.ctl(*args)))

    @contextmanager
    def away(self) -> Iterator[None]:
        self._server.kill()
        yield
        self.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        with self._server.frozen():
            yield

    @contextmanager
    def something_else(self) -> Iterator[None]:
        self._server.kill()
        with babbling(self._inside, self._port):
            yield
        self.start()

    @contextmanager
    def full(self) -> Iterator[None]:
        for i in range(400):
            said = self._inside(lambda i=i: self._server.ctl("put", f"/filler/{i}", "x" * 120_000, check=False))
            if "space exceeded" in said:
                break
        else:
            raise AssertionError("etcd took it all")
        yield
        revision = self._ctl("endpoint", "status", "--write-out=json").split('"revision":')[1].split(",")[0]
        self._ctl("del", "--prefix", "/filler/")
        self._ctl("compact", revision)
        self._ctl("defrag")
        self._ctl("alarm", "disarm")


class MariaDb:
    """A server on the daemon's host."""

    says = "mysql store"

    def __init__(self, host: Any):
        from mariadb import PASSWORD, MariaDb

        self._inside = host.inside
        self._server = host.inside(MariaDb)
        login = {"host": "127.0.0.1", "port": self._server.port, "user": "k3net", "password": PASSWORD}
        self.settings = {"type": "mysql", "mysql": {**login, "database": "k3"}}

    def start(self) -> None:
        self._inside(self._server.start)

    def end(self) -> None:
        self._server.end()

    def ready(self) -> str:
        rows = self._server.sql(
            f"select json_value(status, '$.conditions[0].status') from k8s_core_v1_node where name = '{PEER}'"
        )
        return rows[0][0] if rows else ""

    @contextmanager
    def away(self) -> Iterator[None]:
        self._server.kill()
        yield
        self.start()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        with self._server.frozen():
            yield

    @contextmanager
    def something_else(self) -> Iterator[None]:
        self._server.kill()
        with babbling(self._inside, self._server.port):
            yield
        self.start()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._server.sql("set global read_only = 1")
        yield
        self._server.sql("set global read_only = 0")


@contextmanager
def babbling(inside: Callable[[Any], Any], port: int) -> Iterator[None]:
    """Something listens there that speaks another protocol."""
    with inside(lambda: socket.create_server(("127.0.0.1", port))) as server:
        ended = threading.Event()
        server.settimeout(0.1)

        def accept() -> None:
            while not ended.is_set():
                with suppress(OSError), closing(server.accept()[0]) as connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + bytes(200))
                    time.sleep(0.05)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


STORES = {"sqlite": Sqlite, "etcd": Etcd, "mariadb": MariaDb}
NEEDS = {"sqlite": ("chattr",), "etcd": ("etcd", "etcdctl"), "mariadb": ("mariadbd", "mariadb-install-db")}
MID_RUN = {
    "sqlite": ("locked", "replaced_by_garbage", "full"),
    "etcd": ("away", "hanging", "something_else", "full"),
    "mariadb": ("away", "hanging", "something_else", "read_only"),
}
AT_START = {"sqlite": ("read_only",), "etcd": ("away", "something_else"), "mariadb": ("away", "something_else")}


def cases(table: dict[str, tuple[str, ...]]) -> list[Any]:
    return [
        pytest.param(kind, how, marks=pytest.mark.requires("avahi-daemon", *NEEDS[kind]), id=f"{kind}-{how}")
        for kind, hows in table.items()
        for how in hows
    ]


class Scene:
    """A daemon, its store, and a peer that Avahi announces from another host."""

    def __init__(self, lab: Any, kind: str):
        self.here = lab.host("here", ipv4="10.77.0.2/24")
        self.there = lab.host("there", ipv4="10.77.0.3/24")
        self.store = STORES[kind](self.here)
        self.daemon: Any = None
        self.pulse: Any = None

    def start_daemon(self) -> None:
        self.daemon = self.here.k3net({**QUICK, "storage": self.store.settings}, node_name="here")
        wait_for(lambda: self.daemon.health().status == 200, 10, "the daemon")
        self.pulse = Pulse(self.daemon, self.here.namespace)
        self.pulse.start()

    def shown(self) -> str:
        """What the API says of the peer."""
        return (self.daemon.ready(PEER) or ("",))[0]

    def dependency(self) -> dict[str, Any]:
        report = self.daemon.get("/readyz").json()
        return next(row for row in report["dependencies"] if row["name"] == "store")

    def is_ready(self) -> bool:
        return self.daemon.get("/readyz").status == 200

    def metric(self, name: str) -> float:
        lines = self.daemon.get("/metrics").body.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def log(self) -> list[str]:
        return [line for line in self.daemon.output().splitlines() if "k3net" in line]


@contextmanager
def scene(lab: Any, kind: str) -> Iterator[Scene]:
    made = Scene(lab, kind)
    try:
        with listening(made.there):
            made.there.avahi(PEER, port=7946, txt={"node": PEER})
            yield made
            assert made.pulse.failures == []
            assert made.pulse.slowest < STALLED, f"/healthz took {made.pulse.slowest:.3f} s"
    finally:
        if made.pulse is not None:
            made.pulse.end()
        if made.daemon is not None:
            made.daemon.kill()
        made.store.end()


def lives_without(it: Scene) -> None:
    """What holds of a daemon whose store is away: it shows what it sees, says what is wrong, and does not pile up."""
    wait_for(lambda: not it.dependency()["ok"], 20, "the store's loss is known")
    first = it.dependency()
    assert it.store.says in first["error"], first
    assert first["since_seconds"] >= 0
    errors, begun, probes = it.metric("k3net_store_errors_total"), time.monotonic(), it.metric("k3net_probes_total")
    logged = len(it.log())
    for status in ("False", "True", "False"):
        it.there.cut() if status == "False" else it.there.restore()
        wait_for(lambda status=status: it.shown() == status, LAPSES, f"{status} in the API")
    time.sleep(max(0.0, 12 - (time.monotonic() - begun)))
    assert not it.is_ready()
    assert it.metric("k3net_store_errors_total") > errors
    assert it.metric("k3net_probes_total") > probes + 8
    after = it.dependency()
    assert after["since_seconds"] > first["since_seconds"] + 11, (first, after)
    assert len(it.log()) - logged <= 8, "a log line for each change, not for each try"


def heals(it: Scene, stored: str = "False") -> None:
    """All is as if nothing had been, and the peer was written once, as it is now."""
    done, begun = it.metric("k3net_store_steps_total"), time.monotonic()
    wait_for(lambda: it.is_ready() and it.store.ready() == stored, HEALS, "ready, and the latest state stored")
    took = time.monotonic() - begun
    assert it.metric("k3net_store_steps_total") - done <= 4 + took, "the latest state of two Nodes, and reports"
    it.there.restore()
    wait_for(lambda: it.shown() == "True" and it.store.ready() == "True", LAPSES, "Ready again, in the store too")
    told = [line for line in it.log() if "answers again" in line]
    assert 1 <= len(told) <= 2, told
    print(f"healed in {took:.1f} s; slowest /healthz {1000 * it.pulse.slowest:.0f} ms of {it.pulse.beats}")


@pytest.mark.parametrize(("kind", "how"), cases(MID_RUN))
def test_a_store_lost_in_mid_run(lab, kind, how):
    with scene(lab, kind) as it:
        it.store.start()
        it.start_daemon()
        wait_for(lambda: it.shown() == "True" and it.store.ready() == "True", 15, "the peer, stored")
        with getattr(it.store, how)():
            lives_without(it)
            if how == "replaced_by_garbage":  # a new store knows nothing of the dead
                it.there.restore()
                wait_for(lambda: it.shown() == "True", LAPSES, "the peer again")
        heals(it, stored="True" if how == "replaced_by_garbage" else "False")


@pytest.mark.parametrize(("kind", "how"), cases(AT_START))
def test_a_store_that_is_not_there_at_the_start(lab, kind, how):
    with scene(lab, kind) as it:
        if how != "read_only":
            it.store.start()
        with getattr(it.store, how)():
            it.start_daemon()
            wait_for(lambda: it.shown() == "True", 15, "the peer, from memory")
            lives_without(it)
        heals(it)
