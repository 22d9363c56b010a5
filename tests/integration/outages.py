"""What can become of a store, done to real ones on a host of the lab: each outage lasts as long as its `with`."""

import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from etcd import Member
from integration.lab import Host
from mariadb import PASSWORD
from mariadb import MariaDb as MariaDbServer

PEER = "peer"
"""The Node that `ready` tells of."""


class Sqlite:
    """A file in a small file system of its own, so that it can be full."""

    says = "sqlite store"

    def __init__(self, host: Host, _how: str):
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
        """What the store says of the peer; "" when there is no such Node."""
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
    def something_else(self) -> Iterator[None]:
        """Another program's file stands there, until the backup is put in its place."""
        backup = self.folder / "backup"
        with closing(sqlite3.connect(self.path)) as here, closing(sqlite3.connect(backup)) as there:
            here.backup(there)
        with self.replaced():
            yield
        backup.rename(self.path)

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """The same without a backup."""
        for path in self.folder.glob("k3net.db*"):
            path.unlink()
        self.path.write_bytes(b"no database " * 1000)
        yield
        self.path.unlink()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Another program takes all the room, also that which sqlite gives back when it closes its log."""
        ended = threading.Event()
        filler = self.folder / "filler"

        def fill() -> None:
            with filler.open("wb", buffering=0) as file:
                while not ended.wait(0.02):
                    with suppress(OSError):
                        while file.write(bytes(512)):
                            pass

        thread = threading.Thread(target=fill)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        filler.unlink()


class _Server:
    """What is done in the same way to every store that is a server."""

    def __init__(self, host: Host, server: Any, port: int):
        self._inside = host.inside
        self._server = server
        self._port = port

    def start(self) -> None:
        self._inside(self._server.start)

    def end(self) -> None:
        self._server.end()

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


class Etcd(_Server):
    """With users, if it is to be read-only."""

    says = "etcd store"

    def __init__(self, host: Host, how: str):
        member = host.inside(lambda: Member("--quota-backend-bytes=4194304"))
        super().__init__(host, member, int(member.url.rpartition(":")[2]))
        self.settings: dict[str, Any] = {"type": "etcd", "etcd": {"endpoints": [member.url], "dial_timeout": "2s"}}
        self._users = how == "read_only"
        if self._users:
            self.settings["etcd"] |= {"username": "k3net", "password": PASSWORD}

    def start(self) -> None:
        super().start()
        if self._users:
            self._ctl("user", "add", f"root:{PASSWORD}")
            self._ctl("user", "add", f"k3net:{PASSWORD}")
            self._ctl("role", "add", "k3net")
            for keys in ("/kubernetes//v1/Node/", "/k3net/"):
                self._ctl("role", "grant-permission", "k3net", "--prefix=true", "readwrite", keys)
            self._ctl("user", "grant-role", "k3net", "k3net")
            self._ctl("auth", "enable")

    def ready(self) -> str:
        text = self._ctl("get", "--print-value-only", f"/kubernetes//v1/Node/{PEER}", user=self._root)
        return next((status for status in ("True", "False") if f'"Ready","status":"{status}"' in text), "")

    @property
    def _root(self) -> str:
        return f"root:{PASSWORD}" if self._users else ""

    def _ctl(self, *args: str, **more: Any) -> str:
        return str(self._inside(lambda: self._server.ctl(*args, **more)))

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._grant("read")
        yield
        self._grant("readwrite")

    def _grant(self, right: str) -> None:
        keys = "/kubernetes//v1/Node/"
        self._ctl("role", "grant-permission", "k3net", "--prefix=true", right, keys, user=self._root)

    @contextmanager
    def full(self) -> Iterator[None]:
        for i in range(200):
            if "space exceeded" in self._ctl("put", f"/filler/{i}", "x" * 120_000, check=False):
                break
        else:
            raise AssertionError("etcd took it all")
        yield
        revision = self._ctl("endpoint", "status", "--write-out=json").split('"revision":')[1].split(",")[0]
        self._ctl("del", "--prefix", "/filler/")
        self._ctl("compact", revision)
        self._ctl("defrag")
        self._ctl("alarm", "disarm")


class MariaDb(_Server):
    says = "mysql store"

    def __init__(self, host: Host, _how: str):
        server = host.inside(MariaDbServer)
        super().__init__(host, server, server.port)
        login = {"host": "127.0.0.1", "port": server.port, "user": "k3net", "password": PASSWORD}
        self.settings = {"type": "mysql", "mysql": {**login, "database": "k3"}}

    def ready(self) -> str:
        rows = self._server.sql(
            f"select json_value(status, '$.conditions[0].status') from k8s_core_v1_node where name = '{PEER}'"
        )
        return rows[0][0] if rows else ""

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._server.sql("set global read_only = 1")
        yield
        self._server.sql("set global read_only = 0")

    @contextmanager
    def full(self) -> Iterator[None]:
        """Every write is answered as by a server whose disk is full (tests/store/test_mysql_faults.py fills one)."""
        full = "signal sqlstate 'HY000' set mysql_errno = 1114, message_text = 'The table is full'"
        verbs = ("insert", "update")
        self._server.sql(*(f"create trigger no_{v} before {v} on k8s_core_v1_node for each row {full}" for v in verbs))
        yield
        self._server.sql(*(f"drop trigger no_{verb}" for verb in verbs))


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


STORES: dict[str, Any] = {"sqlite": Sqlite, "etcd": Etcd, "mariadb": MariaDb}
