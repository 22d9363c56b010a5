"""The daemon on real sockets, threads and a real reactor: it starts, follows new settings, leaves nothing behind."""

import json
import os
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import yaml
from contracts import manifest_of
from twisted.internet import reactor
from twisted.internet.defer import gatherResults, inlineCallbacks
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from k3net.config import load
from k3net.daemon import Daemon
from k3net.http import fetch

PARTS = ["store", "reconcile", "host", "listen", "liveness", "api", "pod-cidr", "own-node", "watchdog"]


def sleep(seconds):
    return deferLater(reactor, seconds, lambda: None)


@inlineCallbacks
def until(what, within=5.0):
    """Wait for `what()` to be true, and return it."""
    end = time.monotonic() + within
    while not (found := what()):
        assert time.monotonic() < end, f"not within {within} s"
        yield sleep(0.02)
    return found


class Home:
    """A folder with a configuration and a store."""

    def __init__(self, case):
        self.folder = Path(tempfile.mkdtemp())
        case.addCleanup(shutil.rmtree, self.folder)
        self.database = self.folder / "k3net.db"
        self.config = {
            "node": {"name": "n1"},
            "listen": "127.0.0.1:0",
            "api": {"listen": "127.0.0.1:0"},
            "mdns": {"enabled": False},
            "storage": {"type": "sqlite", "sqlite": {"path": str(self.database)}},
            "log": {"level": "warn"},
        }

    def settings(self, **sections):
        """The configuration with these sections in place of those there."""
        merged = dict(self.config)
        for name, section in sections.items():
            merged[name] = {**merged.get(name, {}), **section} if isinstance(section, dict) else section
        file = self.folder / "k3net.yaml"
        file.write_text(yaml.safe_dump(merged))
        return load(str(file), {}, {}).settings

    def ready(self, name="n1", database=None):
        """Status and reason in the file; None without such a record."""
        with closing(sqlite3.connect(database or self.database)) as connection:
            try:
                row = connection.execute("select manifest from nodes where name = ?", (name,)).fetchone()
            except sqlite3.OperationalError:
                return None
        if row is None:
            return None
        [ready] = [c for c in json.loads(row[0])["status"]["conditions"] if c["type"] == "Ready"]
        return ready["status"], ready.get("reason", "")

    def put(self, manifest):
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute(
                "insert into nodes values (?, ?, 1)", (manifest["metadata"]["name"], json.dumps(manifest))
            )


class DaemonCase(TestCase):
    timeout = 60

    def setUp(self):
        self.home = Home(self)

    def started(self, environ=(), **sections):
        daemon = Daemon(reactor, self.home.settings(**sections), wall=time.time, environ=dict(environ))
        self.addCleanup(lambda: daemon.stopService() if daemon.running else None)
        daemon.startService()
        return daemon

    @inlineCallbacks
    def running(self, **sections):
        """One whose own Node is in the store."""
        daemon = self.started(**sections)
        yield until(lambda: daemon["reconcile"].stored.get(str(daemon.settings.node.name)))
        return daemon

    def services(self, daemon):
        return {name: daemon[name] for name in (*PARTS, "mdns") if name in daemon._running}

    @inlineCallbacks
    def get(self, daemon, path, part="api"):
        url = f"http://127.0.0.1:{daemon[part].port}{path}"
        return (yield fetch(reactor, "GET", url, timeout=5.0, max_bytes=10**6))


class LifeTests(DaemonCase):
    @inlineCallbacks
    def test_a_start_and_a_stop_leave_nothing_behind(self):
        def left():
            threads = {thread.name for thread in threading.enumerate()}
            files = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if self.is_open(fd)}
            mine = {file for file in files if str(self.home.folder) in file}
            return set(reactor.getDelayedCalls()), set(reactor.getReaders()), threads, mine

        yield sleep(0)
        before = left()
        daemon = yield self.running()
        yield self.get(daemon, "/readyz")
        self.assertNotEqual(left(), before)
        yield daemon.stopService()
        yield sleep(0.05)
        timers, readers, threads, files = left()
        self.assertEqual((timers, readers, files), (before[0], before[1], set()))
        self.assertEqual({name for name in threads - before[2] if "store" in name}, set())

    def is_open(self, fd):
        return os.path.lexists(f"/proc/self/fd/{fd}")

    @inlineCallbacks
    def test_the_own_node_is_ready_while_it_runs_and_says_goodbye_at_the_end(self):
        daemon = yield self.running()
        self.assertEqual(self.home.ready(), ("True", "LANDiscovery"))
        yield daemon.stopService()
        self.assertEqual(self.home.ready(), ("False", "PeerGoodbye"))

    @inlineCallbacks
    def test_without_a_goodbye_the_own_node_stays_ready(self):
        daemon = yield self.running(node={"goodbye": False})
        yield daemon.stopService()
        self.assertEqual(self.home.ready(), ("True", "LANDiscovery"))

    @inlineCallbacks
    def test_the_goodbye_is_written_also_while_the_brake_holds(self):
        daemon = yield self.running()
        for i in range(4):
            self.home.put({**manifest_of(f"m{i}")})
        yield daemon.stopService()
        daemon = yield self.running(liveness={"peer_ttl": "1s"})
        yield until(lambda: daemon["reconcile"].brake.held)
        yield daemon.stopService()
        self.assertEqual(self.home.ready(), ("False", "PeerGoodbye"))
        self.assertEqual(self.home.ready("m1"), ("True", ""))

    @inlineCallbacks
    def test_one_that_cannot_listen_raises_and_can_be_stopped(self):
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            daemon = Daemon(reactor, self.home.settings(api={"listen": address}), wall=time.time, environ={})
            self.assertRaises(CannotListenError, daemon.startService)
            yield daemon.stopService()
        self.assertEqual(list(daemon.loops()), [])

    @inlineCallbacks
    def test_a_store_that_cannot_be_opened_is_no_reason_not_to_start(self):
        blocked = self.home.folder / "file"
        blocked.write_text("")
        daemon = self.started(storage={"type": "sqlite", "sqlite": {"path": str(blocked / "k3net.db")}})
        yield until(lambda: daemon["store"].last_error)
        answer = yield self.get(daemon, "/readyz")
        self.assertEqual(answer.status, 503)
        report = answer.json()
        [store] = report["dependencies"]
        self.assertEqual((report["status"], store["name"], store["ok"]), ("not ready", "store", False))
        health = yield self.get(daemon, "/healthz", "listen")
        self.assertEqual((health.status, health.body), (200, b"ok\n"))

    @inlineCallbacks
    def test_the_service_manager_is_told(self):
        path = str(self.home.folder / "notify")
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
            manager.bind(path)
            manager.settimeout(5)
            told = lambda: manager.recv(4096).decode().partition("\n")[0]  # noqa: E731
            daemon = self.started(environ={"NOTIFY_SOCKET": path})
            self.assertEqual(told(), "READY=1")
            yield daemon.reload(daemon.settings)
            heard = [told() for _ in range(2)]
            while heard[0].startswith("STATUS"):
                heard = [*heard[1:], told()]
            self.assertEqual(heard, ["RELOADING=1", "READY=1"])
            stopped = daemon.stopService()
            while (word := told()).startswith("STATUS"):
                self.assertRegex(word, r"^STATUS=\d+ of \d+ Nodes Ready$")
            self.assertEqual(word, "STOPPING=1")
            yield stopped


class ShapeTests(DaemonCase):
    @inlineCallbacks
    def test_info_says_what_the_contract_asks_for(self):
        daemon = yield self.running()
        info = (yield self.get(daemon, "/info", "listen")).json()
        self.assertEqual((info["node"], info["port"], info["pid"]), ("n1", daemon["listen"].port, os.getpid()))
        self.assertEqual(info["mdns"], {"service": "_k3._tcp", "domain": "local."})
        self.assertIs(info["selfUp"], True)
        self.assertEqual((info["instance"], info["store"]), (daemon.instance, daemon["reconcile"].store_id))
        self.assertTrue(info["store"])
        self.assertRegex(info["ts"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
        families = [":" in address for address in info["addrs"]]
        self.assertEqual(families, sorted(families), "IPv4 first")

    @inlineCallbacks
    def test_ready_lists_every_loop_with_its_age(self):
        daemon = yield self.running()
        yield until(lambda: all(loop.last_success is not None for loop in daemon.loops()))
        answer = yield self.get(daemon, "/readyz")
        report = answer.json()
        self.assertEqual((answer.status, report["status"]), (200, "ready"))
        self.assertEqual(
            {row["name"] for row in report["loops"]}, {"reconcile", "host", "liveness", "pod-cidr", "own-node"}
        )
        for row in report["loops"]:
            self.assertEqual((row["ok"], row["failures"], row["error"]), (True, 0, ""))
            self.assertGreaterEqual(row["age_seconds"], 0)
        self.assertEqual(report["dependencies"], [{"name": "store", "ok": True, "since_seconds": None, "error": ""}])
        self.assertEqual(report["alarms"], [])

    @inlineCallbacks
    def test_what_an_operator_has_to_look_at_is_an_alarm(self):
        daemon = yield self.running()
        self.home.put({"metadata": {"name": "odd\nname", "labels": 1}})
        yield daemon.reload(self.home.settings(reconcile={"interval": "500ms"}))
        yield until(lambda: daemon["reconcile"].corrupt)
        report = (yield self.get(daemon, "/readyz")).json()
        self.assertEqual(report["status"], "ready")
        [alarm] = report["alarms"]
        self.assertIn("'odd\\nname'", alarm)
        text = (yield self.get(daemon, "/metrics")).body.decode()
        self.assertIn('k3net_alarm{alarm="any"} 1.0', text)
        self.assertIn('k3net_alarm{alarm="brake"} 0.0', text)

    @inlineCallbacks
    def test_metrics_tell_of_nodes_peers_and_loops(self):
        daemon = yield self.running()
        text = (yield self.get(daemon, "/metrics")).body.decode()
        for line in (
            'k3net_nodes{status="True"} 1.0',
            "k3net_peers 1.0",
            'k3net_observations_total{source="own"} 1.0',
            'k3net_store_steps_total{outcome="done"} 1.0',
            'k3net_loop_failures_total{loop="reconcile"} 0.0',
            "k3net_scrape_errors_total 0.0",
        ):
            self.assertIn(line + "\n", text)

    @inlineCallbacks
    def test_an_open_door_is_an_alarm(self):
        daemon = self.started(api={"listen": "0.0.0.0:0", "auth": "none"})
        report = (yield self.get(daemon, "/readyz")).json()
        self.assertEqual(len(report["alarms"]), 1)
        self.assertIn("auth is none", report["alarms"][0])


class ReloadTests(DaemonCase):
    def changed(self, before, daemon):
        after = self.services(daemon)
        return {name for name in before.keys() | after.keys() if before.get(name) is not after.get(name)}

    @inlineCallbacks
    def test_the_same_settings_restart_nothing(self):
        daemon = yield self.running()
        before = self.services(daemon)
        yield daemon.reload(self.home.settings())
        yield daemon.reload(self.home.settings(log={"level": "error"}))
        self.assertEqual(self.changed(before, daemon), set())

    @inlineCallbacks
    def test_another_api_address_restarts_the_api_only(self):
        daemon = yield self.running()
        before, port = self.services(daemon), daemon["api"].port
        yield daemon.reload(self.home.settings(api={"listen": "127.0.0.2:0"}))
        self.assertEqual(self.changed(before, daemon), {"api"})
        url = f"http://127.0.0.2:{daemon['api'].port}/api/v1/nodes/n1"
        answer = yield fetch(reactor, "GET", url, timeout=5.0, max_bytes=10**6)
        self.assertEqual(answer.status, 200)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), 1).close()

    @inlineCallbacks
    def test_another_ttl_restarts_what_depends_on_it(self):
        daemon = yield self.running()
        before, port = self.services(daemon), daemon["api"].port
        yield daemon.reload(self.home.settings(liveness={"peer_ttl": "30s"}))
        self.assertEqual(self.changed(before, daemon), {"reconcile", "liveness", "pod-cidr"})
        self.assertEqual(daemon["api"].port, port)
        yield until(lambda: "n1" in daemon["reconcile"].stored)
        self.assertEqual((yield self.get(daemon, "/readyz")).status, 200)

    @inlineCallbacks
    def test_another_store_is_filled_and_the_old_one_left(self):
        daemon = yield self.running()
        other = self.home.folder / "other.db"
        yield daemon.reload(self.home.settings(storage={"type": "sqlite", "sqlite": {"path": str(other)}}))
        yield until(lambda: self.home.ready(database=other))
        self.assertEqual(self.home.ready(database=other), ("True", "LANDiscovery"))
        info = (yield self.get(daemon, "/info", "listen")).json()
        self.assertEqual(info["store"], daemon["reconcile"].store_id)
        node = (yield self.get(daemon, "/api/v1/nodes/n1")).json()
        self.assertTrue(node["metadata"]["resourceVersion"])

    @inlineCallbacks
    def test_the_own_node_says_no_goodbye_over_a_reload(self):
        daemon = yield self.running()
        transition = self.transition()
        yield daemon.reload(self.home.settings(node={"heartbeat": "5s"}))
        yield daemon.reload(self.home.settings(listen="127.0.0.2:0", liveness={"peer_ttl": "20s"}))
        yield until(lambda: daemon["reconcile"].last_success)
        yield sleep(0.3)
        self.assertEqual(self.home.ready(), ("True", "LANDiscovery"))
        self.assertEqual(self.transition(), transition)
        yield daemon.stopService()
        self.assertEqual(self.home.ready(), ("False", "PeerGoodbye"))

    def transition(self):
        with closing(sqlite3.connect(self.home.database)) as connection:
            [[text]] = connection.execute("select manifest from nodes where name = 'n1'")
        return json.loads(text)["status"]["conditions"][0]["lastTransitionTime"]

    @inlineCallbacks
    def test_a_node_that_is_not_to_be_kept_any_more_says_goodbye(self):
        daemon = yield self.running()
        yield daemon.reload(self.home.settings(node={"register_self": False}))
        yield until(lambda: self.home.ready() == ("False", "PeerGoodbye"))
        self.assertNotIn("own-node", self.services(daemon))

    @inlineCallbacks
    def test_another_name_ends_the_old_node_and_begins_the_new(self):
        daemon = yield self.running()
        yield daemon.reload(self.home.settings(node={"name": "n2"}))
        yield until(lambda: self.home.ready("n2"))
        self.assertEqual(self.home.ready("n2"), ("True", "LANDiscovery"))
        self.assertEqual(self.home.ready("n1"), ("False", "PeerGoodbye"))

    @inlineCallbacks
    def test_a_listener_that_cannot_be_had_leaves_the_old_settings_in_force(self):
        daemon = yield self.running()
        old = daemon.settings
        with closing(socket.create_server(("127.0.0.1", 0))) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            for change in ({"listen": address}, {"api": {"listen": address}, "liveness": {"peer_ttl": "30s"}}):
                with self.assertRaises(CannotListenError):
                    yield daemon.reload(self.home.settings(**change))
                self.assertIs(daemon.settings, old)
                self.assertEqual(list(self.services(daemon)), PARTS)
                self.assertEqual((yield self.get(daemon, "/healthz", "listen")).status, 200)
                yield until(lambda: "n1" in daemon["reconcile"].stored)
                self.assertEqual((yield self.get(daemon, "/api/v1/nodes/n1")).status, 200)
        self.assertEqual(self.home.ready(), ("True", "LANDiscovery"))

    @inlineCallbacks
    def test_while_it_reloads_all_questions_are_answered(self):
        daemon = yield self.running()
        statuses = set()
        reloads = [daemon.reload(self.home.settings(liveness={"peer_ttl": f"{30 + i}s"})) for i in range(2)]
        while not all(reload.called for reload in reloads):
            for path in ("/readyz", "/metrics", "/api/v1/nodes", "/api/v1/peers"):
                answer = yield self.get(daemon, path)
                statuses.add(answer.status)
                self.assertNotIn(b"k3net_scrape_errors_total 1", answer.body)
        self.assertLessEqual(statuses, {200, 503})
        self.assertEqual([loop.failures for loop in daemon.loops()], [0] * 5)

    @inlineCallbacks
    def test_reloads_at_once_follow_one_another_and_the_last_one_counts(self):
        daemon = yield self.running()
        reloads = [daemon.reload(self.home.settings(liveness={"peer_ttl": f"{30 + i}s"})) for i in range(4)]
        yield gatherResults(reloads)
        self.assertEqual(daemon.settings.liveness.peer_ttl, 33)
        self.assertEqual(list(self.services(daemon)), PARTS)
        yield until(lambda: "n1" in daemon["reconcile"].stored)

    @inlineCallbacks
    def test_a_stop_during_a_reload_is_a_stop(self):
        daemon = yield self.running()
        reload = daemon.reload(self.home.settings(api={"listen": "127.0.0.2:0"}, liveness={"peer_ttl": "30s"}))
        reload.addErrback(lambda _: None)
        yield daemon.stopService()
        yield reload
        self.assertEqual(self.services(daemon), {})
        yield sleep(0.1)
        self.assertEqual(self.home.ready(), ("False", "PeerGoodbye"))

    @inlineCallbacks
    def test_a_reload_during_a_stop_starts_nothing(self):
        daemon = yield self.running()
        stopped = daemon.stopService()
        reload = daemon.reload(self.home.settings(liveness={"peer_ttl": "30s"})).addErrback(lambda _: None)
        yield stopped
        yield reload
        self.assertEqual(self.services(daemon), {})
        yield sleep(0.1)
        self.assertEqual(self.home.ready(), ("False", "PeerGoodbye"))
