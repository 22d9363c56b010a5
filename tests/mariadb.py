"""Real MariaDB servers for tests: on free ports of 127.0.0.1, in directories of their own, ended by their pids."""

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.parse import urlsplit

import pymysql
from store.controllers import text_of

from k3net.store.mysql import MysqlStore
from k3net.store.mysql_server import Login

GO_TABLE = (Path(__file__).parent / "data/go/k8s_core_v1_node.sql").read_text()
PASSWORD = "päss%word'"

_LOCKED = (1205, 1213)
_LIVES = re.compile(r"\.[0-9a-f]{8}$")
_FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_SIZES = ["--innodb-log-file-size=32M", "--innodb-buffer-pool-size=64M"]


class MariaDb:
    """One server, with user k3net, who may do everything in databases k3 and k3_*; its first start makes the data."""

    def __init__(self, *args: str, directory: "Path | None" = None):
        self.directory = directory or Path(tempfile.mkdtemp(prefix="k3net-mariadb-", dir=_FAST))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._args = args
        self._process: Any = None

    def start(self, *args: str) -> "MariaDb":
        data = self.directory / "data"
        if not data.exists():
            shutil.copytree(_template(), data)
        command = [shutil.which("mariadbd", path=_PATH) or "mariadbd", "--no-defaults", f"--datadir={data}", *_SIZES]
        command += [f"--socket={self.directory}/socket", f"--port={self.port}", "--bind-address=127.0.0.1"]
        command += [*_as_whom(), *self._args, *args]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory)
        self._wait()
        return self

    def _wait(self) -> None:
        until = monotonic() + 30
        while True:
            try:
                self.root().close()
                return
            except pymysql.MySQLError:
                if self._process.poll() is not None or monotonic() > until:
                    raise RuntimeError((self.directory / "log").read_text()) from None
                sleep(0.02)

    def root(self) -> Any:
        """A connection of the superuser, without a database."""
        return pymysql.connect(
            unix_socket=str(self.directory / "socket"),
            user="root",
            charset="utf8mb4",
            autocommit=True,
            ssl_disabled=True,
        )

    def sql(self, *statements: str, database: str = "k3") -> "list[Any]":
        """Run them as the superuser; the rows of the last."""
        connection = self.root()
        try:
            connection.select_db(database)
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())
        finally:
            connection.close()

    def user_with(self, rights: str, where: str) -> str:
        """The name of a new user, with the usual password and these rights."""
        name = f"u{next(_numbers)}"
        self.sql(f"create user {name}", f"grant {rights} on {where} to {name}", database="mysql")
        connection = self.root()
        connection.cursor().execute(f"set password for {name} = password(%s)", (PASSWORD,))
        connection.close()
        return name

    def login(self, database: str = "k3", **parts: Any) -> Login:
        return Login(
            **{"host": "127.0.0.1", "port": self.port, "user": "k3net", "password": PASSWORD} | parts, database=database
        )

    def place(self, database: str = "k3") -> str:
        return f"mysql://127.0.0.1:{self.port}/{database}"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        os.kill(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self._process.pid, signal.SIGCONT)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> "MariaDb":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.end()


def login_at(place: str) -> Login:
    """The login that `MariaDb.place` names."""
    url = urlsplit(place)
    return Login("127.0.0.1", url.port or 0, "k3net", PASSWORD, url.path[1:])


def _as_whom() -> "list[str]":
    return ["--user=root"] if os.geteuid() == 0 else []


@cache
def _template() -> Path:
    """A data directory with the user and the database, made once by each process that needs one."""
    directory = Path(tempfile.mkdtemp(prefix="k3net-mariadb-", dir=_FAST))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    install = shutil.which("mariadb-install-db", path=_PATH) or "mariadb-install-db"
    command = [install, "--no-defaults", f"--datadir={directory}/data", "--auth-root-authentication-method=normal"]
    done = subprocess.run(
        [*command, "--skip-test-db", *_SIZES[:1], *_as_whom()], capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    server = MariaDb(directory=directory).start()
    connection = server.root()
    cursor = connection.cursor()
    cursor.execute("create user k3net@'%%' identified by %s", (PASSWORD,))
    cursor.execute("grant all on `k3`.* to k3net@'%'")
    cursor.execute("grant all on `k3\\_%`.* to k3net@'%'")
    cursor.execute("create database k3")
    connection.close()
    server.stop()
    return directory / "data"


class MysqlController:
    """A controller that works on the rows by SQL of its own, without asking k3net; it deletes in two ways, in turn."""

    def __init__(self, login: Login):
        self._connection = pymysql.connect(
            host=login.host,
            port=login.port,
            user=login.user,
            password=login.password.encode(),
            database=login.database,
            charset="utf8mb4",
            autocommit=True,
            ssl_disabled=True,
        )
        self._numbers = count(1)
        self._do("set session check_constraint_checks = off")

    def put(self, manifest: "dict[str, Any]") -> None:
        name = manifest["metadata"]["name"]
        self._write(name, columns_of(manifest), "resource_version = cast(resource_version as unsigned) + 1")

    def edit_without_version_bump(self, name: str, manifest: "dict[str, Any]") -> None:
        self._write(name, columns_of(manifest), "id = id")

    def put_raw(self, name: str, text: bytes) -> None:
        """A text that is no Node stands where the labels do."""
        self._write(name, columns_of({"metadata": {"uid": f"node-{name}"}}) | {"labels": text.decode()}, "id = id")

    def put_columns(self, name: str, **columns: Any) -> None:
        self._write(name, columns_of({"metadata": {"uid": f"node-{name}"}}) | columns, "id = id")

    def delete(self, name: str) -> None:
        which = "where name = %s and binary name = %s and deleted_at is null"
        if next(self._numbers) % 2:
            self._do(f"update k8s_core_v1_node set deleted_at = now(3) {which}", name, name)
        else:
            self._do(f"delete from k8s_core_v1_node {which}", name, name)

    def raw(self, name: str) -> "bytes | None":
        """As `text_of` writes the Node of the row; what is none in another way."""
        rows = self._do(
            "select uid, labels, annotations, spec, status,"
            " date_format(created_at, '\"%%Y-%%m-%%dT%%H:%%i:%%sZ\"'), namespace, phase, resource_version"
            " from k8s_core_v1_node where name = %s and binary name = %s and deleted_at is null",
            name,
            name,
        )
        if not rows:
            return None
        uid, labels, annotations, spec, status, created, *_ = rows[0]
        try:
            if len(rows) > 1:
                raise ValueError("a Node in two rows")
            for text in (labels, annotations, spec, status):
                json.loads(text or "{}")
        except ValueError:
            return repr(rows).encode()
        uid = json.dumps(_LIVES.sub("", uid)) if uid else None
        metadata = {"annotations": annotations, "creationTimestamp": created, "labels": labels}
        metadata |= {"name": json.dumps(name), "uid": uid}
        parts = {"apiVersion": '"v1"', "kind": '"Node"', "metadata": _joined(metadata), "spec": spec, "status": status}
        return _joined(parts).encode()

    def row(self, name: str) -> "list[Any]":
        """All of it."""
        return self._do("select * from k8s_core_v1_node where binary name = %s order by id", name)

    def close(self) -> None:
        if self._connection.open:
            self._connection.close()

    def _write(self, name: str, columns: "dict[str, Any]", bump: str) -> None:
        content = {key: columns[key] for key in columns if key != "uid"}
        sets = ", ".join(f"{column} = %s" for column in content)
        which = "name = %s and binary name = %s and deleted_at is null"
        update = f"update k8s_core_v1_node set {sets}, {bump} where {which}"
        row = columns | {"name": name, "namespace": "", "resource_version": "1"}
        insert = f"insert into k8s_core_v1_node ({', '.join(row)}) values ({', '.join(['%s'] * len(row))})"
        for _ in range(1000):
            try:
                self._once("begin")  # at the server's own isolation, where looking locks the gap that is seen
                if not self._once(f"select 1 from k8s_core_v1_node where {which} for update", name, name):
                    self._once(insert, *row.values())
                else:
                    self._once(update, *content.values(), name, name)
                self._once("commit")
                return
            except pymysql.IntegrityError:  # a row that was deleted has the uid
                row["uid"] = f"{columns['uid']}.{os.urandom(4).hex()}"
            except pymysql.OperationalError as error:
                if error.args[0] not in _LOCKED:
                    raise
            self._once("rollback")
        raise RuntimeError(f"{name} cannot be written")

    def _do(self, statement: str, *values: Any) -> Any:
        for _ in range(1000):
            try:
                return self._once(statement, *values)
            except pymysql.OperationalError as error:
                if error.args[0] not in _LOCKED:
                    raise
        raise RuntimeError("locked for ever")

    def _once(self, statement: str, *values: Any) -> Any:
        cursor = self._connection.cursor()
        count = cursor.execute(statement, values)
        return list(cursor.fetchall()) if cursor.description else count


def columns_of(manifest: "dict[str, Any]") -> "dict[str, Any]":
    """The columns that the Go programs write from a manifest."""
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    parts = {"labels": metadata, "annotations": metadata, "spec": manifest, "status": manifest}
    return {
        "uid": metadata.get("uid"),
        "created_at": None,
        "phase": status.get("phase", ""),
        **{key: text_of(part[key]).decode() if key in part else None for key, part in parts.items()},
    }


def _joined(texts: "dict[str, str | None]") -> str:
    return "{" + ",".join(f'"{key}":{text}' for key, text in texts.items() if text is not None) + "}"


_servers: "list[MariaDb]" = []
_numbers = count()


def shared_server() -> MariaDb:
    """One for all the tests of a module, until `end_shared`."""
    if not _servers:
        _servers.append(MariaDb().start())
    return _servers[0]


def end_shared() -> None:
    while _servers:
        _servers.pop().end()


def make_mysql(case: Any, *, go: bool = False) -> "tuple[Any, ...]":
    """For the contract suites: a store in a database of its own, its table made by k3net or, with `go`, before it."""
    server = shared_server()
    database = f"k3_{next(_numbers)}"
    server.sql(f"create database {database} character set utf8mb4", database="mysql")
    case.addCleanup(server.sql, f"drop database {database}", database="mysql")
    login = server.login(database)

    def another() -> MysqlStore:
        store = MysqlStore(login)
        case.addCleanup(store.close)
        return store

    store = another()
    if go:
        server.sql(GO_TABLE.partition(";")[0], database=database)
    else:
        store.list()
    controller = MysqlController(login)
    case.addCleanup(controller.close)
    return store, controller, another


def make_mysql_go(case: Any) -> "tuple[Any, ...]":
    return make_mysql(case, go=True)
