"""`twistd k3net` as a process: what it says and how it ends, on loopback ports and without mDNS."""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from integration.daemon import TWISTD, clean_environment
from integration.process import Process


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return probe.getsockname()[1]


def until(what, within: float = 8.0, why: str = ""):
    """Wait for `what()` to be true, and return it."""
    end = time.monotonic() + within
    while not (found := what()):
        assert time.monotonic() < end, f"not within {within} s: {why or what}"
        time.sleep(0.03)
    return found


class Home:
    """A folder with a configuration, in which k3net is started."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.listen, self.api = free_port(), free_port()
        self.database = folder / "k3net.db"
        self.file = folder / "k3net.yaml"
        self.config = {
            "node": {"name": "n1"},
            "listen": f"127.0.0.1:{self.listen}",
            "api": {"listen": f"127.0.0.1:{self.api}"},
            "mdns": {"enabled": False},
            "storage": {"type": "sqlite", "sqlite": {"path": str(self.database)}},
        }
        self.write()
        self.started: list[Process] = []

    def write(self, **sections) -> None:
        self.file.write_text(yaml.safe_dump({**self.config, **sections}))

    def argv(self, *flags: str) -> list[str]:
        return [TWISTD, "-n", "k3net", "--config", str(self.file), *flags]

    def run(self, *argv: str, env=(), cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
        """Wait for the end of it."""
        return subprocess.run(
            argv, env=clean_environment(dict(env)), cwd=cwd or self.folder, capture_output=True, text=True, timeout=20
        )

    def start(self, *flags: str, env=(), cwd: Path | None = None) -> Process:
        """Started, and its health server answers."""
        log = self.folder / f"out{len(self.started)}"
        environ = clean_environment(dict(env))
        process = Process(self.argv(*flags), log=log, env=environ, cwd=cwd or self.folder)
        self.started.append(process)
        until(lambda: self.healthy() or not process.running, why="healthy")
        assert process.running, process.output()
        return process

    def healthy(self) -> bool:
        try:
            return self.get("/healthz", self.listen) == b"ok\n"
        except OSError:
            return False

    def get(self, path: str, port: int = 0) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{port or self.api}{path}", timeout=5) as answer:
            return answer.read()

    def ready(self, name: str = "n1") -> "tuple[str, str] | None":
        """Status and reason in the file."""
        with closing(sqlite3.connect(self.database)) as connection:
            try:
                row = connection.execute("select manifest from nodes where name = ?", (name,)).fetchone()
            except sqlite3.OperationalError:
                return None
        conditions = json.loads(row[0])["status"]["conditions"] if row else []
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready"), None)


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path)
    yield home
    for process in home.started:
        if process.running:
            process.kill()


WRONG = {
    "unknown flag": (["--bogus"], {}, "--bogus"),
    "bad duration": (["--peer-ttl", "soon"], {}, "--peer-ttl: liveness.peer_ttl: expected a duration"),
    "a newline in a flag": (["--node-name", "a\nb"], {}, "--node-name: node.name"),
    "bad truth value": (["--register-self=maybe"], {}, "--register-self"),
    "no value": (["--node-name"], {}, "node-name"),
    "a word too many": (["please"], {}, "rguments"),
    "missing file": (["--config", "missing.yaml"], {}, "missing.yaml: no such file or directory"),
    "missing CONFIG_PATH": ([], {"CONFIG_PATH": "gone.yaml"}, "gone.yaml: no such file or directory"),
    "broken YAML": (["--config", "broken.yaml"], {}, "broken.yaml: line 2"),
    "unknown key": (["--config", "unknown.yaml"], {}, "unknown.yaml: liveness.peer_tll: unknown key"),
    "bad variable": ([], {"K3NET_LIVENESS_PEER_TTL": "x"}, "K3NET_LIVENESS_PEER_TTL: liveness.peer_ttl"),
    "bad node name": ([], {"NODE_NAME": "Not_A_Name"}, "NODE_NAME: node.name: expected a DNS-1123 name"),
    "a log nowhere": ([], {"K3NET_LOG_PATH": "/proc/none/log"}, "K3NET_LOG_PATH: log.path: '/proc/none/log'"),
}


@pytest.mark.parametrize(("flags", "env", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line_and_status_2(home, flags, env, said):
    (home.folder / "broken.yaml").write_text("node: [\n")
    (home.folder / "unknown.yaml").write_text("liveness: {peer_tll: 1s}\n")
    ended = home.run(TWISTD, "-n", "k3net", *flags, env=env)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert ended.stderr.startswith("k3net: ")
    assert len(ended.stderr.splitlines()) == 1
    assert not list(home.folder.glob("twistd*")), "nothing is left behind"


@pytest.mark.parametrize("which", ["listen", "api"])
def test_a_port_that_is_taken_is_one_line_and_status_1(home, which):
    with closing(socket.create_server(("127.0.0.1", getattr(home, which)))):
        ended = home.run(*home.argv())
    assert ended.returncode == 1
    [line] = ended.stderr.splitlines()
    assert line.startswith(f"k3net: Couldn't listen on 127.0.0.1:{getattr(home, which)}: ")


def test_flags_and_variables_are_followed(home):
    home.write(node={"name": "from-file"}, liveness={"peer_ttl": "60s"})
    env = {"CONFIG_PATH": str(home.file), "NODE_NAME": "from-variable"}
    process = Process(
        [TWISTD, "-n", "k3net", "--register-self", "--peer-ttl", "1m30s"],
        log=home.folder / "out",
        env=clean_environment(env),
        cwd=home.folder,
    )
    home.started.append(process)
    until(home.healthy)
    info = json.loads(home.get("/info", home.listen))
    assert (info["node"], info["selfUp"], info["port"]) == ("from-variable", True, home.listen)
    until(lambda: home.ready("from-variable") == ("True", "LANDiscovery"))
    peers = json.loads(home.get("/api/v1/peers"))["items"]
    assert [peer["name"] for peer in peers] == ["from-variable"]


def test_a_daemon_that_does_not_register_itself_has_no_node(home):
    home.start("--register-self=false")
    assert json.loads(home.get("/info", home.listen))["selfUp"] is False
    until(lambda: json.loads(home.get("/readyz"))["status"] == "ready")
    assert json.loads(home.get("/api/v1/nodes"))["items"] == []


def test_it_runs_where_nothing_can_be_written(home):
    home.write(storage={"type": "memory"})
    process = home.start(cwd=Path("/proc"))
    until(lambda: json.loads(home.get("/api/v1/nodes"))["items"])
    assert process.stop(3) == 0


def test_no_pid_file_is_made_in_the_foreground(home):
    home.start()
    until(home.ready)
    assert {path.name for path in home.folder.iterdir()} <= {
        "k3net.yaml",
        "out0",
        "k3net.db",
        "k3net.db-wal",
        "k3net.db-shm",
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stop_is_quick_clean_and_leaves_the_own_node_not_ready(home, number):
    process = home.start()
    until(lambda: home.ready() == ("True", "LANDiscovery"))
    begun = time.monotonic()
    process.signal(number)
    until(lambda: not process.running, 3.0)
    assert time.monotonic() - begun < 3.0
    assert process.kill() == 0
    assert home.ready() == ("False", "PeerGoodbye")
    assert "Traceback" not in process.output()


def test_two_signals_are_one_stop(home):
    process = home.start()
    until(home.ready)
    process.signal(signal.SIGHUP)
    for _ in range(3):
        process.signal(signal.SIGTERM)
    until(lambda: not process.running, 3.0)
    assert process.kill() == 0
    assert home.ready() == ("False", "PeerGoodbye")
    assert "Traceback" not in process.output()


def test_a_reload_is_followed_and_a_bad_one_is_one_line_and_changes_nothing(home):
    process = home.start()
    pid, old = process.pid, home.api
    home.api = free_port()
    home.write(api={"listen": f"127.0.0.1:{home.api}"})
    process.signal(signal.SIGHUP)
    until(lambda: "reloaded" in process.output())
    assert json.loads(home.get("/info", home.listen))["pid"] == pid
    assert json.loads(home.get("/api/v1/nodes"))["items"]
    with pytest.raises(OSError, match="refused"):
        home.get("/api/v1/nodes", old)

    said = process.output()
    home.file.write_text("api: {listen: 'nowhere'}\n")
    process.signal(signal.SIGHUP)
    until(lambda: "the old settings stay" in process.output())
    [line] = [line for line in process.output().removeprefix(said).splitlines() if "#info]" not in line]
    assert f"not reloaded, the old settings stay: {home.file}: api.listen: " in line
    assert json.loads(home.get("/readyz"))["status"] == "ready"
    until(lambda: home.ready() == ("True", "LANDiscovery"))


def test_the_log_level_is_followed_by_a_reload(home):
    home.write(log={"level": "warn"})
    process = home.start()
    until(home.ready)
    assert process.output() == "", "warn is quiet"
    home.write(log={"level": "info"})
    process.signal(signal.SIGHUP)
    until(lambda: "reloaded" in process.output())


def test_the_last_of_many_reloads_counts(home):
    process = home.start()
    for port in [free_port() for _ in range(5)]:
        home.api = port
        home.write(api={"listen": f"127.0.0.1:{port}"})
        process.signal(signal.SIGHUP)
        time.sleep(0.02)

    def answers():
        with contextlib.suppress(OSError):
            return home.get("/readyz")

    until(answers)
    assert "not reloaded" not in process.output()


def test_json_logs_are_one_object_a_line(home):
    home.write(log={"format": "json", "level": "debug"})
    process = home.start()
    until(home.ready)
    home.file.write_text("node: {name: [\n")
    process.signal(signal.SIGHUP)
    until(lambda: "old settings stay" in process.output())
    assert process.stop(3) == 0
    rows = [json.loads(line) for line in process.output().splitlines()]
    assert len(rows) > 5
    assert all({"time", "level", "logger", "message"} <= row.keys() for row in rows)
    assert {"info", "error"} <= {row["level"] for row in rows}


def test_a_log_file_is_written_and_standard_output_is_not(home):
    log = home.folder / "k3net.log"
    home.write(log={"path": str(log)})
    process = home.start()
    until(lambda: "is Ready" in log.read_text())
    assert process.stop(3) == 0
    assert process.output() == ""
    assert "is NotReady" in log.read_text()


def test_in_the_background_it_runs_until_its_pid_is_told_to_stop(home):
    pidfile, log = home.folder / "k3net.pid", home.folder / "twistd-says.log"
    ended = home.run(TWISTD, f"--pidfile={pidfile}", f"--logfile={log}", "k3net", "--config", str(home.file))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    pid = int(pidfile.read_text())
    try:
        until(home.healthy)
        until(lambda: home.ready() == ("True", "LANDiscovery"))
        os.kill(pid, signal.SIGTERM)
        until(lambda: not pidfile.exists(), 4.0)
        assert home.ready() == ("False", "PeerGoodbye")
        assert "k3net 0." in log.read_text()
        until(lambda: not Path(f"/proc/{pid}").exists(), 4.0)
    finally:
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGKILL)


def test_in_the_background_a_port_that_is_taken_is_told_to_who_started_it(home):
    pidfile = home.folder / "k3net.pid"
    with closing(socket.create_server(("127.0.0.1", home.api))):
        ended = home.run(TWISTD, f"--pidfile={pidfile}", "k3net", "--config", str(home.file))
    assert ended.returncode == 1
    assert f"Couldn't listen on 127.0.0.1:{home.api}" in ended.stderr
    until(lambda: not pidfile.exists(), 4.0)
    assert "Couldn't listen on" in (home.folder / "twistd.log").read_text()


def test_the_service_manager_hears_of_start_reload_and_stop(home):
    path = str(home.folder / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(path)
        manager.settimeout(8)

        def told() -> str:
            while (word := manager.recv(4096).decode()).startswith("STATUS="):
                pass
            return word

        process = home.start(env={"NOTIFY_SOCKET": path})
        assert told() == "READY=1"
        before = time.monotonic() * 1e6
        process.signal(signal.SIGHUP)
        reloading, _, since = told().partition("\nMONOTONIC_USEC=")
        assert reloading == "RELOADING=1"
        assert before <= int(since) <= time.monotonic() * 1e6, "of the clock that systemd reads"
        assert told() == "READY=1"
        process.signal(signal.SIGTERM)
        assert told() == "STOPPING=1"
        until(lambda: not process.running, 3.0)


def test_the_watchdog_is_fed_while_the_reactor_turns(home):
    path = str(home.folder / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(path)
        manager.settimeout(8)
        process = home.start(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"})
        fed = 0
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            fed += manager.recv(4096) == b"WATCHDOG=1"
        assert 7 <= fed <= 13
        process.signal(signal.SIGSTOP)
        time.sleep(0.3)
        manager.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while manager.recv(4096):
                pass
        time.sleep(0.5)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)
        process.signal(signal.SIGCONT)
