"""The server's state in a store, under a clock: what is known after a restart, and what is not."""

import json
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
from checker.test_server import beat, report
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.checker.adoption import AWAY
from k3net.checker.keeping import SAVE_EVERY, Keeping
from k3net.checker.registry import SILENT_FOR
from k3net.checker.results import STALE
from k3net.checker.server import CheckerServer
from k3net.checker.snapshot import decoded
from k3net.checker.wire import ConnectivityResult, ServiceReport
from k3net.errors import StoreUnavailable
from k3net.store.memory import MemoryStore

DAY = 1_795_198_547.25


class Verbs:
    """A driver's verbs as Deferreds, in this thread; `away` makes them fail, and `hung` never answer."""

    def __init__(self) -> None:
        self.driver = MemoryStore()
        self.away = self.hung = False
        self.saves = 0

    def __getattr__(self, verb: str) -> Callable[..., "Deferred[Any]"]:
        def call(*args: Any) -> "Deferred[Any]":
            if self.hung:
                return Deferred()
            if self.away:
                return fail(StoreUnavailable("it is away"))
            self.saves += verb == "save_snapshot"
            return maybeDeferred(getattr(self.driver, verb), *args)

        return call


class Life:
    """One process of a server, from its start to its end. Each has a monotonic clock of its own, and `wall` is ours."""

    def __init__(self, case: "KeepingTests", name: str = "s1", **settings: Any):
        self.case = case
        self.clock = Clock()
        self.clock.advance(len(case.lives) * 1000.0)
        self.since = case.wall - self.clock.seconds()
        self.server = CheckerServer(self.clock, wall=self.wall, expiry=15.0, in_thread=maybeDeferred)
        self.keeping = Keeping(
            self.clock,
            self.server,
            lambda: case.store,
            name=name,
            wall=self.wall,
            in_thread=maybeDeferred,
            **settings,
        )
        self.keeping.startService()
        self.pump(1)

    def wall(self) -> float:
        return self.since + self.clock.seconds()

    def pump(self, seconds: float) -> None:
        """Time passes, a second at a time."""
        self.clock.pump([0.0] * 20)
        while seconds > 0:
            self.clock.advance(min(1.0, seconds))
            seconds -= 1.0
        self.case.wall = self.wall()

    def mesh(self, count: int, down: "tuple[int, ...]" = ()) -> None:
        for i in range(count):
            if i not in down:
                self.server.heartbeat(beat(i))
        for i in range(count):
            if i not in down:
                self.server.report("hosts", report(i, list(range(count)), down))

    def end(self) -> None:
        """As SIGTERM does."""
        stopped = self.keeping.stopService()
        self.pump(0)
        self.case.successResultOf(stopped)

    @property
    def known(self) -> Any:
        """All that is shown."""
        verdicts = self.case.successResultOf(self.server.verdicts())
        return {
            "clients": self.server.clients(),
            "rows": [(source, json.loads(cells)) for source, cells in self.server.rows("host")],
            "summary": (lambda s: (s.tests, s.failed, round(s.seconds, 9)))(self.server.results.summary("host")),
            "coverage": self.server.results.coverage("host")[0],
            "services": self.server.results.services(),
            "silent": self.server.silent("host"),
            "verdicts": [(verdict.kind, verdict.nodes) for verdict in verdicts],
        }


class KeepingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Verbs()
        self.wall = DAY
        self.lives: list[Life] = []

    def life(self, name: str = "s1", after: float = 3.0, **settings: Any) -> Life:
        """The next process, so many seconds after the one before."""
        self.wall += after
        self.lives.append(Life(self, name, **settings))
        return self.lives[-1]

    def test_all_that_was_shown_before_a_clean_stop_is_shown_after_it(self):
        before = self.life()
        before.mesh(5)
        before.mesh(5, down=(3,))
        resolved = ConnectivityResult(target_ip="web.lab", port_status={"80": "closed"}, resolved=True, latency="1ms")
        before.server.service_report(ServiceReport("10.1.0.1", resolved))
        shown = before.known
        before.end()
        self.assertEqual(len(shown["clients"]), 5)
        after = self.life()
        self.assertEqual(after.known, shown)

    def test_a_verdict_that_takes_several_rounds_goes_on_from_those_before_the_restart(self):
        before = self.life()
        for _ in range(3):
            before.mesh(5, down=(3,))
        marks = before.server.results.row(next(iter(before.server.registry)), "host").marks()
        before.end()
        after = self.life()
        self.assertEqual(after.server.results.row(next(iter(after.server.registry)), "host").marks(), marks)

    def test_who_fell_silent_is_down_after_the_restart_too(self):
        before = self.life()
        before.mesh(5)
        for _ in range(4):
            before.pump(5)
            for i in (0, 1, 2, 4):
                before.server.heartbeat(beat(i))
        before.mesh(5, down=(3,))
        shown = before.known
        self.assertEqual((shown["verdicts"], shown["silent"]), ([("down", ("n3",))], ["10.0.0.3"]))
        before.end()
        after = self.life()
        self.assertEqual(after.known, shown)
        after.server.heartbeat(beat(3))
        self.assertEqual(after.server.silent("host"), [])

    def test_a_killed_server_is_known_as_it_was_saved_last(self):
        before = self.life()
        before.mesh(4)
        before.pump(6)
        shown = before.known
        before.server.heartbeat(beat(7))
        after = self.life(after=8)
        self.assertEqual(after.known, shown)

    def test_nobody_lives_longer_than_the_expiry_without_a_word(self):
        before = self.life()
        before.mesh(4)
        before.end()
        after = self.life(after=60)
        after.pump(10)
        for i in (0, 1):
            after.server.heartbeat(beat(i))
        self.assertEqual(len(after.server.registry), 4)
        after.pump(6)
        self.assertEqual(after.server.addresses("host"), ["10.0.0.0", "10.0.0.1"])
        self.assertEqual(after.server.silent("host"), ["10.0.0.2", "10.0.0.3"])
        self.assertEqual(after.server.results.summary("host").tests, 2)

    def test_after_a_long_time_without_a_server_everybody_is_silent_till_they_speak_and_then_forgotten(self):
        self.life().mesh(4)
        self.lives[-1].end()
        after = self.life(after=AWAY + 10)
        self.assertEqual((after.server.addresses("host"), after.server.rows("host")), ([], []))
        self.assertEqual(len(after.server.silent("host")), 4)
        after.server.heartbeat(beat(2))
        self.assertEqual(len(after.server.silent("host")), 3)
        after.end()
        later = self.life(after=SILENT_FOR + 10)
        self.assertEqual((later.server.silent("host"), later.server.addresses("host")), ([], []))

    def test_results_have_the_age_they_have(self):
        before = self.life()
        before.mesh(3)
        for _ in range(int(STALE - 60) // 10):
            before.pump(10)
            for i in range(3):
                before.server.heartbeat(beat(i))
        before.server.report("hosts", report(0, [1]))
        before.end()
        after = self.life(after=70)
        self.assertEqual(after.server.results.summary("host").tests, 1)

    def test_who_has_spoken_before_the_snapshot_came_knows_better(self):
        before = self.life()
        before.server.heartbeat(beat(3))
        before.mesh(4, down=(3,))
        before.end()
        self.store.away = True
        after = self.life()
        for i in (3, 1):
            after.server.heartbeat(beat(i, pod="anew" if i == 3 else ""))
        after.server.report("hosts", report(1, [0, 3]))
        self.store.away = False
        after.pump(5)
        self.assertEqual(len(after.server.registry), 4)
        rows = dict(after.known["rows"])
        self.assertEqual(rows["10.0.0.1"]["10.0.0.3"]["ping"], "reachable")
        self.assertEqual(rows["10.0.0.0"]["10.0.0.3"]["ping"], "unreachable")
        bits = after.server.registry.bits["host"]
        of = {client.node_ip: after.server.results.row(client, "host") for client in after.server.registry}
        failed = {ip: row.marks().failed[0][0] for ip, row in of.items() if row is not None}
        mask = 1 << bits["10.0.0.3"]
        self.assertEqual(failed, {"10.0.0.0": mask, "10.0.0.1": 0, "10.0.0.2": mask})
        self.assertEqual([c["pod_name"] for c in after.server.clients() if c["node_ip"] == "10.0.0.3"], ["anew"])

    def test_it_is_saved_when_something_changed_and_not_too_often(self):
        life = self.life()
        life.pump(100)
        self.assertEqual(self.store.saves, 0)
        life.mesh(3)
        life.pump(7)
        self.assertEqual(self.store.saves, 1)
        for _ in range(int(SAVE_EVERY)):
            life.server.heartbeat(beat(1))
            life.pump(1)
        self.assertLessEqual(self.store.saves, 2)
        life.pump(60)
        saves = self.store.saves
        life.pump(300)
        self.assertEqual(self.store.saves, saves)
        life.end()
        self.assertEqual(self.store.saves, saves)

    def test_goodbyes_are_remembered(self):
        before = self.life()
        before.mesh(3)
        before.pump(40)
        before.mesh(3)
        for i in range(3):
            before.server.heartbeat(msgspec.structs.replace(beat(i), goodbye=True))
        before.end()
        after = self.life()
        self.assertEqual((after.known["clients"], after.known["silent"]), ([], []))

    def test_a_store_that_is_away_delays_nobody_and_is_asked_again_while_it_may_come_up(self):
        before = self.life()
        before.mesh(3)
        before.end()
        self.store.away = True
        after = self.life()
        self.successResultOf(after.keeping.loaded())
        after.server.heartbeat(beat(1))
        after.pump(9)
        self.assertGreater(after.keeping.failures, 2)
        self.store.away = False
        after.pump(3)
        self.assertEqual(len(after.server.registry), 3)
        self.store.away = True
        after.server.heartbeat(beat(9))
        after.pump(40)
        failures = after.keeping.failures
        after.pump(50)
        self.assertLessEqual(after.keeping.failures, failures + 1)
        after.end()

    def test_a_store_that_hangs_delays_answers_and_a_stop_for_seconds_only(self):
        self.store.hung = True
        life = self.life()
        waits = life.keeping.loaded()
        self.assertNoResult(waits)
        life.server.heartbeat(beat(1))
        life.pump(5)
        self.successResultOf(waits)
        self.successResultOf(life.keeping.loaded())
        stopped = life.keeping.stopService()
        life.pump(6)
        self.successResultOf(stopped)
        self.assertEqual(life.clock.getDelayedCalls(), [])

    def test_what_is_no_snapshot_is_one_warning_and_a_new_beginning(self):
        good = self.life()
        good.mesh(3)
        good.end()
        body = self.store.driver.snapshot("s1")
        frame = zlib.decompress(body)
        bad = [b"", b"x", body[:-3], body + b"x", zlib.compress(b""), zlib.compress(frame[:-1])]
        bad += [
            zlib.compress(b"\xff" * 9),
            zlib.compress(bytes(1 << 20)),
            zlib.compress(frame.replace(b"er 1", b"er 9")),
        ]
        bad += [
            zlib.compress(frame.replace(b'"ping"', b'"pong"')),
            zlib.compress(frame.replace(b"10.0.0.1", b"10.0<0.1")),
        ]
        for text in bad:
            self.store.driver.save_snapshot("s1", text, self.wall)
            life = self.life(after=0)
            self.assertEqual(len(life.server.registry), 0, text[:40])
            self.assertEqual(life.keeping.failures, 0)
            life.mesh(2)
            life.end()
            self.assertEqual(len(self.life(after=0).server.registry), 2)

    def test_a_failure_that_nobody_foresaw_is_not_met_twice(self):
        good = self.life()
        good.mesh(3)
        good.end()
        self.store.driver.snapshot = None  # type: ignore[assignment, method-assign]
        life = self.life()
        life.pump(10)
        self.assertEqual(life.keeping.failures, 1)
        life.mesh(2)
        life.pump(10)
        self.assertEqual(self.store.saves, 2)

    def test_another_servers_is_taken_where_ones_own_is_not_there_or_old(self):
        first, second = self.life("s1"), self.life("s2")
        first.mesh(2)
        first.end()
        second.mesh(3)
        second.end()
        for name, agents in (("s1", 2), ("s2", 3), ("s3", 3)):
            self.assertEqual(len(self.life(name, after=0).server.registry), agents, name)
        self.wall += AWAY
        self.store.driver.save_snapshot("s2", self.store.driver.snapshot("s2"), self.wall)
        known, rows = decoded(self.store.driver.snapshot("s2"))
        self.assertEqual((len(known.clients), len(rows)), (3, 3))
        self.assertEqual(len(self.life("s1", after=0).server.silent("host")), 3)

    def test_what_would_be_too_large_has_the_agents_only(self):
        before = self.life(most_bytes=700)
        before.mesh(12)
        before.end()
        self.assertLessEqual(len(self.store.driver.snapshot("s1")), 700)
        after = self.life()
        self.assertEqual((len(after.server.registry), after.server.rows("host")), (12, []))


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_a_snapshot_or_a_value_error(raw: bytes, pressed: bool) -> None:
    try:
        decoded(zlib.compress(raw) if pressed else raw)
    except ValueError:
        return
    raise AssertionError(f"{raw!r} is taken for a snapshot")
