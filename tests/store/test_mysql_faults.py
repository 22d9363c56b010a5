"""Servers that fail the MySQL store, and what it says."""

import os
import socket
from contextlib import contextmanager, suppress
from threading import Event, Thread
from time import monotonic

import pytest
from contracts import node
from mariadb import PASSWORD, MariaDb
from store.mysql_steps import kinds, refusal

from k3net.errors import StoreUnavailable
from k3net.model.plan import Create, Update
from k3net.store.interface import Done
from k3net.store.mysql import MysqlStore
from k3net.store.mysql_server import Login

pytestmark = pytest.mark.requires("mariadbd", "mariadb-install-db")


def test_a_read_only_server_is_named_reading_goes_on_and_it_heals(mariadb, open_mysql):
    store = open_mysql()
    store.apply([Create(node("n1"))])
    mariadb.sql("set global read_only = 1")
    try:
        said = "the server is read-only; point storage.mysql.host at one that takes writes"
        assert refusal(store, Create(node("n2"))).endswith(said)
        assert [record.name for record in store.list()] == ["n1"]
        assert store.check().endswith(said)
    finally:
        mariadb.sql("set global read_only = 0")
    assert kinds(store.apply([Create(node("n2"))])) == [Done]


def test_a_server_that_is_not_there_is_named(open_mysql):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = open_mysql(Login("127.0.0.1", port, "k3net", PASSWORD, "k3"))
    assert refusal(store) == f"mysql store 127.0.0.1:{port}/k3: cannot be reached: Connection refused"
    nowhere = open_mysql(Login("k3net.invalid", 3306, "k3net", PASSWORD, "k3"))
    assert "mysql store k3net.invalid:3306/k3: cannot be reached: " in nowhere.check()


def test_a_connection_that_was_killed_is_opened_anew_and_nobody_notices(mariadb, database, open_mysql):
    store = open_mysql()
    [done] = store.apply([Create(node("n1"))])
    for verb in (store.list, store.identity, lambda: store.get("n1")):
        for (thread,) in mariadb.sql(f"select id from information_schema.processlist where db = '{database}'"):
            mariadb.sql(f"kill {thread}")
        assert verb()
    for (thread,) in mariadb.sql(f"select id from information_schema.processlist where db = '{database}'"):
        mariadb.sql(f"kill {thread}")
    assert kinds(store.apply([Update(node("n1", a="b"), done.version), Create(node("n2"))])) == [Done, Done]


def test_a_server_that_hangs_or_restarts_is_given_up_in_time_and_found_again(tmp_path):
    with MariaDb() as mariadb:
        store = MysqlStore(mariadb.login(), connect_timeout=0.5, timeout=0.5, patience=1.5)
        [done] = store.apply([Create(node("n1"))])
        with mariadb.frozen():
            begun = monotonic()
            assert "does not answer" in refusal(store, Update(node("n1", a="b"), done.version))
            assert "does not answer" in store.check()
            assert monotonic() - begun < 5
        [have] = store.list()
        mariadb.stop()
        assert "cannot be reached" in refusal(store)
        mariadb.start()
        assert [(record.name, record.version) for record in store.list()] == [("n1", have.version)]
        mariadb.kill()
        mariadb.start()
        assert kinds(store.apply([Update(node("n1", a="c"), have.version)])) == [Done]
        store.close()


@contextmanager
def talker(talk):
    """A port where something else speaks: `talk(connection, stop)` for each connection."""
    stop = Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                talk(connection, stop)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        listener.close()
        thread.join(1)


def drip(connection, stop):
    connection.sendall(b"\xff\xff\xff\x00")
    while not stop.wait(0.1):
        connection.sendall(b"\x0a")


GARBAGE = {
    "http": lambda c, _: c.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + b"x" * 1000),
    "nothing": lambda c, stop: stop.wait(5),
    "hangs up": lambda c, _: None,
    "zeros": lambda c, _: c.sendall(bytes(1000)),
    "an empty greeting": lambda c, _: c.sendall(b"\x01\x00\x00\x00\x0a"),
    "half a greeting": lambda c, _: c.sendall(b"\x40\x00\x00\x00\x0a8.0.1\x00" + b"\x01" * 20),
    "a strange greeting": lambda c, _: c.sendall(b"\x09\x00\x00\x00\x0axyz\x00\x01\x02\x03"),
    "drips": drip,
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_what_is_no_mysql_server_is_given_up_in_time(open_mysql, kind):
    with talker(GARBAGE[kind]) as port:
        store = open_mysql(Login("127.0.0.1", port, "k3net", PASSWORD, "k3"), timeout=0.5, patience=1.0)
        begun = monotonic()
        said = refusal(store)
        assert monotonic() - begun < 3
    assert said.startswith(f"mysql store 127.0.0.1:{port}/k3: ")
    assert "\n" not in said
    print(said)


def test_random_bytes_are_no_mysql_server(open_mysql):
    with talker(lambda c, _: c.sendall(os.urandom(300))) as port:
        store = open_mysql(Login("127.0.0.1", port, "k3net", PASSWORD, "k3"), timeout=0.2, patience=0.5)
        for _ in range(30):
            assert refusal(store)


def test_a_full_disk_is_named_reading_goes_on_and_it_heals():
    limit, no_limit = (f"--innodb-data-file-path=ibdata1:12M{more}" for more in ("", ":autoextend"))
    with MariaDb("--skip-innodb-file-per-table", limit) as mariadb:
        store = MysqlStore(mariadb.login())
        done, said = 0, ""
        while done < 400 and not said:
            try:
                store.apply([Create(node(f"n{done}", blob="x" * 100_000))])
                done += 1
            except StoreUnavailable as error:
                said = str(error)
        assert said.endswith("/k3: the disk of the server is full")
        assert {record.name for record in store.list()} == {f"n{i}" for i in range(done)}
        mariadb.stop()
        mariadb.start(no_limit)
        assert kinds(store.apply([Create(node("after", blob="x" * 100_000))])) == [Done]
        store.close()
