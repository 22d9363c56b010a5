"""`k3net store check` as its user sees it: real stores, and settings that are wrong."""

import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from contracts import node
from fixture_api import k3net

from k3net.cli.store import checked
from k3net.config.settings import StorageSettings
from k3net.errors import StoreUnavailable
from k3net.model.plan import Create
from k3net.store.memory import MemoryStore
from k3net.store.records import encode
from k3net.store.sqlite import SqliteStore

PASSWORD = "hunter2-S3cret"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "k3net.db"


def check(place: "Path | str", *args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    return k3net("store", "check", *args, NODE_NAME="n1", K3NET_STORAGE_SQLITE_PATH=str(place), **environ)


def filled(place: Path) -> str:
    """A store of two Nodes, one of them another's; its id."""
    store = SqliteStore(str(place))
    store.apply([Create(node("n1"))])
    identity = store.identity()
    store.close()
    with closing(sqlite3.connect(place)) as connection, connection:
        theirs = node("cp-1", managed=None)
        connection.execute("insert into nodes values ('cp-1', ?, 1)", (encode(theirs),))
    return identity


def test_a_store_that_can_be_used_is_one_line(place: Path) -> None:
    identity = filled(place)
    done = check(place)
    line = f"ok: sqlite at {place}, 2 Nodes (1 not managed), id {identity}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, line, "")


def test_looking_changes_no_record_and_leaves_nothing_beside_it(place: Path) -> None:
    filled(place)

    def content() -> object:
        with closing(sqlite3.connect(place)) as connection:
            return connection.execute("select * from nodes").fetchall(), connection.execute(
                "select * from meta"
            ).fetchall()

    before = content(), sorted(os.listdir(place.parent))
    assert check(place).returncode == 0
    assert (content(), sorted(os.listdir(place.parent))) == before


def test_a_file_that_is_still_to_be_made_is_not_made(place: Path) -> None:
    done = check(place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"ok: sqlite at {place}, which is not there yet: the daemon makes it\n"
    assert list(place.parent.iterdir()) == []


def test_the_memory_store_has_nothing_to_show(place: Path) -> None:
    done = check(place, K3NET_STORAGE_TYPE="memory")
    assert (done.returncode, done.stdout) == (0, "ok: memory, each daemon for itself and until it ends\n")


def test_the_file_of_the_option_wins_over_config_path(place: Path) -> None:
    config = place.with_name("k3net.yaml")
    config.write_text(f"role: x\nstorage: {{sqlite: {{path: {place}}}}}\n")
    identity = filled(place)
    done = k3net("store", "check", "--config", str(config), NODE_NAME="n1", CONFIG_PATH="/nowhere")
    assert (done.returncode, done.stderr) == (0, f"k3net: {config}: not for k3net, ignored: role\n")
    assert done.stdout.endswith(f"id {identity}\n")
    assert k3net("store", "check", NODE_NAME="n1", CONFIG_PATH=str(config)).stdout == done.stdout


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "no such file or directory"),
        ("storage: {type: oracle}\n", "storage.type: "),
        (f"storage: {{etcd: {{endpoints: ['http://root:{PASSWORD}@h:1']}}}}\n", "storage.etcd.endpoints[0]: "),
        ("storage: [\n", ""),
    ],
)
def test_settings_that_cannot_be_read_are_exit_code_2(place: Path, text: "str | None", reason: str) -> None:
    config = place.with_name("k3net.yaml")
    if text is not None:
        config.write_text(text)
    done = check(place, "--config", str(config))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"k3net: {config}: {reason}")
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize("args", [("store",), ("store", "mend"), ("store", "check", "x")])
def test_a_wrong_question_is_exit_code_2(args: tuple[str, ...]) -> None:
    assert k3net(*args).returncode == 2


def wrong(place: "Path | str", **environ: str) -> str:
    """The reason, of a check that failed as it is to fail."""
    done = check(place, **environ)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("k3net: storage: ")
    assert done.stderr[:-1].isprintable()
    return done.stderr[len("k3net: storage: ") : -1]


def test_a_file_that_is_something_else_is_named(place: Path) -> None:
    place.write_text("not a database, but long enough to be looked at as one\n" * 20)
    assert wrong(place).startswith(f"sqlite store {place}: the file is not a sqlite database")
    assert place.read_text().startswith("not a database")


def test_a_record_that_is_broken_is_named(place: Path) -> None:
    filled(place)
    with closing(sqlite3.connect(place)) as connection, connection:
        connection.execute("insert into nodes values ('bad', 'no JSON', 1)")
    assert "mend or delete 'bad'" in wrong(place)


def test_a_file_that_another_program_keeps_locked_is_one_line(place: Path) -> None:
    filled(place)
    with closing(sqlite3.connect(place, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        assert wrong(place).startswith(f"sqlite store {place}: locked by another process for too long")


class Hung(MemoryStore):
    """Answers nothing."""

    def check(self) -> str:
        time.sleep(5)
        return ""


class Broken(MemoryStore):
    """Fails as no driver should."""

    def check(self) -> str:
        raise RuntimeError(f"could not log in with {PASSWORD}")


class Closed(MemoryStore):
    """Counts how often it was closed."""

    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_the_deadline_is_for_everything() -> None:
    begun = time.monotonic()
    with pytest.raises(StoreUnavailable, match=r"^storage: sqlite at var/k3net\.db: no answer within 0\.2 s; "):
        checked(StorageSettings(), Hung, deadline=0.2)
    assert time.monotonic() - begun < 2


def test_a_driver_that_breaks_is_one_line_without_what_it_said() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        checked(StorageSettings(), Broken)
    assert str(caught.value) == "storage: sqlite at var/k3net.db: the driver failed with RuntimeError; report it"


def test_a_driver_whose_package_is_missing_says_which() -> None:
    def opened() -> MemoryStore:
        raise ImportError("x", name="pymysql")

    with pytest.raises(StoreUnavailable, match="needs the package pymysql; install it"):
        checked(StorageSettings(), opened)


def test_the_driver_is_closed() -> None:
    driver = Closed()
    checked(StorageSettings(), lambda: driver)
    assert driver.closed == 1


def test_one_node_is_not_several(place: Path) -> None:
    store = SqliteStore(str(place))
    store.apply([Create(node("n1"))])
    store.close()
    assert f"{place}, 1 Node (0 not managed), id " in check(place).stdout


def test_the_command_needs_no_twisted_and_no_other_driver() -> None:
    program = (
        "import sys, k3net.cli.store; from k3net.store.sqlite import SqliteStore;"
        "sys.exit(any(name in sys.modules for name in ('twisted', 'etcd3', 'grpc', 'pymysql')))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 0
