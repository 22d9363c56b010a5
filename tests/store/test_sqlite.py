"""What only the sqlite store does: files, faults of files, foreign rows, and its own guard."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from time import perf_counter

import pytest
from contracts import manifest_of, node
from store.controllers import SqliteController, text_of

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.model.node import Node
from k3net.model.plan import Create, Update
from k3net.store.interface import Done, Found, Refused
from k3net.store.sqlite import SqliteStore

NOBODY = 65534


@pytest.fixture
def path(tmp_path):
    return tmp_path / "k3net.db"


@pytest.fixture
def open_store(path):
    stores = []

    def open_store(**settings):
        stores.append(SqliteStore(str(path), **settings))
        return stores[-1]

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def a_home():
    """A directory whose permissions count, for root too: the test goes on as nobody."""
    root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as directory:
        if root:
            os.chown(directory, NOBODY, NOBODY)
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        try:
            yield Path(directory)
        finally:
            if root:
                os.seteuid(0)
                os.setegid(0)


def refusal(store, *steps):
    with pytest.raises(StoreUnavailable) as caught:
        store.apply(steps or [Create(node("n1"))])
    return str(caught.value)


def mode_of(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_only_the_user_can_read_the_files_and_the_directory_it_makes(tmp_path):
    path = tmp_path / "a" / "var" / "k3net.db"
    store = SqliteStore(str(path))
    store.apply([Create(node("n1"))])
    assert mode_of(path.parent) == 0o700
    assert {file.name: mode_of(file) for file in path.parent.iterdir()} == {
        "k3net.db": 0o600,
        "k3net.db-wal": 0o600,
        "k3net.db-shm": 0o600,
    }
    store.close()


def test_a_file_that_is_there_keeps_its_mode(path, open_store):
    path.touch()
    path.chmod(0o640)
    open_store().apply([Create(node("n1"))])
    assert mode_of(path) == 0o640


def test_many_that_open_a_new_file_at_once_agree_on_one_identity(tmp_path):
    for number in range(10):
        path, at_once = str(tmp_path / f"{number}.db"), Barrier(8)

        def first_call(worker, path=path, at_once=at_once):
            store = SqliteStore(path)
            at_once.wait()
            [outcome] = store.apply([Create(node(f"n{worker}"))])
            identity = store.identity()
            store.close()
            return identity, type(outcome)

        with ThreadPoolExecutor(8) as pool:
            answers = set(pool.map(first_call, range(8)))
        assert len(answers) == 1
        assert answers.pop()[1] is Done


def test_a_lock_held_too_long_is_named_and_reading_goes_on(path, open_store):
    store = open_store(busy_timeout=0.1)
    store.apply([Create(node("n1"))])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")
    assert refusal(store) == f"sqlite store {path}: locked by another process for too long"
    assert [n.name for n in store.list()] == ["n1"]
    holder.execute("rollback")
    holder.close()
    assert isinstance(store.apply([Create(node("n2"))])[0], Done)


def test_a_file_that_is_no_database_is_left_as_it_is(path, open_store):
    path.write_bytes(b"minutes of the meeting\n" * 100)
    store = open_store()
    assert refusal(store) == f"sqlite store {path}: the file is not a sqlite database"
    assert path.read_bytes() == b"minutes of the meeting\n" * 100
    path.unlink()
    assert isinstance(store.apply([Create(node("n1"))])[0], Done)


def test_a_damaged_file_is_named(path, open_store):
    store = open_store()
    store.apply([Create(node(f"n{i}")) for i in range(200)])
    store.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StoreUnavailable, match="the file is damaged"):
        store.list()


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    store = SqliteStore(str(tmp_path / "file" / "k3net.db"))
    assert "directory" in refusal(store) or "exists" in refusal(store)
    assert str(tmp_path) in refusal(store)
    (tmp_path / "file").unlink()
    assert isinstance(store.apply([Create(node("n1"))])[0], Done)
    store.close()


def test_a_directory_in_the_files_place_is_named(path, open_store):
    path.mkdir()
    assert refusal(open_store()).startswith(f"sqlite store {path}: the file cannot be opened")


def test_a_missing_right_to_write_is_named_reading_goes_on_and_it_heals(a_home):
    path = a_home / "k3net.db"
    store = SqliteStore(str(path))
    a_home.chmod(0o555)
    assert refusal(store) == f"sqlite store {path}: Permission denied"
    a_home.chmod(0o755)
    assert isinstance(store.apply([Create(node("n1"))])[0], Done)
    store.close()
    path.chmod(0o444)
    assert refusal(store) == f"sqlite store {path}: the file, its -wal or -shm, or its directory is read-only"
    reader = SqliteStore(str(path))
    assert [n.name for n in reader.list()] == ["n1"]
    reader.close()
    for file in a_home.iterdir():
        file.chmod(0o644)
    assert isinstance(store.apply([Create(node("n2"))])[0], Done)
    store.close()


FULL = """
import os, sys
sys.path.insert(0, sys.argv[2])
from contracts import node
from k3net.errors import StoreUnavailable
from k3net.model.plan import Create
from k3net.store.sqlite import SqliteStore
directory = sys.argv[1]
with open(directory + "/filler", "wb") as filler:
    filler.write(bytes(300_000))
store = SqliteStore(directory + "/k3net.db")
done = 0
try:
    while done < 2000:
        store.apply([Create(node(f"n{done}"))])
        done += 1
except StoreUnavailable as error:
    print(error)
print(0 < done < 2000, sorted(n.name for n in store.list()) == sorted(f"n{i}" for i in range(done)))
try:
    SqliteStore(directory + "/other.db").list()
except StoreUnavailable as error:
    print(error)
os.unlink(directory + "/filler")
print(type(store.apply([Create(node("after"))])[0]).__name__)
"""


@pytest.mark.requires("netns", "unshare")
def test_a_full_disk_is_named_reading_goes_on_and_it_heals(tmp_path):
    script = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1" "$4"'
    tests = str(Path(__file__).parent.parent)
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FULL, tests]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [
        f"sqlite store {tmp_path}/k3net.db: the disk is full",
        "True True",
        f"sqlite store {tmp_path}/other.db: the disk is full",
        "Done",
    ], done.stderr


def test_a_newer_layout_is_refused_and_left_alone(path, open_store):
    store = open_store()
    store.identity()
    with sqlite3.connect(path) as connection:
        connection.execute("update meta set value = 2 where key = 'layout'")
    connection.close()
    assert isinstance(store.apply([Create(node("n1"))])[0], Done)
    store.close()
    assert refusal(store).endswith("its layout is 2, and this k3net knows 1; use a newer one")
    with pytest.raises(StoreUnavailable, match="layout"):
        store.list()


def test_a_table_that_a_controller_made_first_is_used_as_it_is(path, open_store):
    controller = SqliteController(str(path))
    controller.put(manifest_of("n1", managed=None))
    store = open_store()
    [have] = store.list()
    assert have.manifest == manifest_of("n1", managed=None)
    assert isinstance(store.apply([Create(node("n2"))])[0], Done)
    controller.close()


def test_a_file_that_was_replaced_is_opened_anew(path, open_store, tmp_path):
    store, spare = open_store(), SqliteStore(str(tmp_path / "spare.db"))
    store.apply([Create(node("old"))])
    spare.apply([Create(node("new"))])
    spare.close()
    (tmp_path / "spare.db").replace(path)
    for rest in ("k3net.db-wal", "k3net.db-shm"):
        (tmp_path / rest).unlink()
    assert [n.name for n in store.list()] == ["new"]
    assert isinstance(store.apply([Create(node("n1"))])[0], Done)
    assert sorted(n.name for n in open_store().list()) == ["n1", "new"]


def test_a_file_that_was_deleted_is_made_again(path, open_store):
    store = open_store()
    store.apply([Create(node("n1"))])
    identity = store.identity()
    for file in path.parent.glob("k3net.db*"):
        file.unlink()
    assert store.list() == []
    assert store.identity() != identity


def test_rows_of_other_types_are_corrupt_or_read_for_what_they_say(path, open_store):
    store = open_store()
    store.identity()
    rows = [
        ("null", None, 1),
        ("number", 17, 1),
        (None, text_of(manifest_of("n0")).decode(), 1),
        ("blob", text_of(manifest_of("blob")), 1),
        ("word", text_of(manifest_of("word")).decode(), "seven"),
        ("none", text_of(manifest_of("none")).decode(), None),
    ]
    with sqlite3.connect(path) as connection:
        connection.executemany("insert into nodes values (?, ?, ?)", rows)
    connection.close()
    listed = {record.name: record for record in store.list()}
    assert {name: type(record) for name, record in listed.items()} == {
        **dict.fromkeys(("null", "number", "None"), CorruptRecord),
        **dict.fromkeys(("blob", "word", "none"), Node),
    }
    steps = [Update(node(name), listed[name].version) for name in ("blob", "word", "none")]
    assert [type(o) for o in store.apply([*steps, Create(node("null"))])] == [Done, Done, Done, Refused]


@pytest.mark.parametrize(
    "statement",
    [
        "update nodes set manifest = '{}'",
        "update nodes set version = 9 where name = 'n1'",
        "delete from nodes",
        "insert or replace into nodes values ('n1', '{}', 9)",
        "insert into nodes values ('n1', '{}', 9) on conflict (name) do update set manifest = excluded.manifest",
    ],
)
@pytest.mark.parametrize("text", [text_of(manifest_of("n1", managed=None)), b"corrupt", b"\xff"])
def test_its_own_connection_cannot_change_what_is_not_managed(path, open_store, statement, text):
    store, controller = open_store(), SqliteController(str(path))
    controller.put_raw("n1", text)
    with pytest.raises(StoreUnavailable), store._opened() as connection:
        connection.execute(statement)
    assert controller.raw("n1") == text
    controller.close()


def test_ten_thousand_nodes_are_created_within_3_s_and_listed_within_half_a_second(open_store):
    store = open_store()
    steps = [Create(node(f"n{i}", port="7946")) for i in range(10_000)]
    begun = perf_counter()
    outcomes = store.apply(steps)
    created = perf_counter() - begun
    assert all(isinstance(outcome, Done) for outcome in outcomes)
    listed = min(timed(store.list) for _ in range(3))
    print(f"created in {created:.2f} s, listed in {listed:.2f} s")
    assert created < 3.0
    assert listed < 0.5


def timed(f):
    begun = perf_counter()
    f()
    return perf_counter() - begun


def test_a_check_and_a_look_before_the_first_start_make_no_file(tmp_path):
    store = SqliteStore(str(tmp_path / "var" / "k3net.db"))
    assert (store.check(), store.look()) == ("", Found([], ""))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tables", ["", "create table nodes (name text primary key, manifest text, version integer);"])
def test_a_check_and_a_look_make_no_table_in_a_file_that_is_there(path, tables):
    path.touch()
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(tables)
    before = path.read_bytes()
    store = SqliteStore(str(path))
    assert (store.check(), store.look()) == ("", Found([], ""))
    assert (path.read_bytes(), list(path.parent.iterdir())) == (before, [path])


def test_a_check_says_who_may_not_write_where(a_home):
    a_home.chmod(0o500)
    said = SqliteStore(str(a_home / "var" / "k3net.db")).check()
    assert said == f"sqlite store {a_home}/var/k3net.db: {a_home} is not this user's to write; change its owner"


def test_a_check_says_what_a_call_would_raise(path, open_store):
    open_store().identity()
    path.parent.joinpath("other.db").write_bytes(b"no database" * 100)
    assert SqliteStore(str(path.parent / "other.db")).check().endswith("the file is not a sqlite database")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin immediate")
    assert open_store(busy_timeout=0.1).check().endswith("locked by another process for too long")
    holder.close()
