import os
import socket
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from k3net.sd_notify import Notifier, watchdog_interval


class NotifierTests(SynchronousTestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "notify")
        self.clock = Clock()

    def manager(self, address):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(sock.close)
        sock.bind(address)
        sock.setblocking(False)
        return sock

    def notifier(self, path, **environ):
        return Notifier(self.clock, {"NOTIFY_SOCKET": path, **environ})

    def test_each_state_is_one_datagram(self):
        manager = self.manager(self.path)
        notifier = self.notifier(self.path)
        self.clock.advance(12.5)
        notifier.ready()
        notifier.reloading()
        notifier.stopping()
        notifier.status("12 Nodes,\n11 Ready")
        self.assertEqual(
            [manager.recv(4096) for _ in range(4)],
            [b"READY=1", b"RELOADING=1\nMONOTONIC_USEC=12500000", b"STOPPING=1", b"STATUS=12 Nodes, 11 Ready"],
        )

    def test_an_abstract_socket_is_reached(self):
        name = f"k3net-test-{os.getpid()}"
        manager = self.manager("\0" + name)
        self.notifier("@" + name).ready()
        self.assertEqual(manager.recv(4096), b"READY=1")

    def test_without_a_socket_nothing_is_sent_and_nothing_fails(self):
        notifier = Notifier(self.clock, {})
        notifier.ready()
        self.assertEqual(notifier.failures, 0)

    def test_a_manager_that_is_gone_or_full_or_misspelt_raises_nothing_and_is_counted(self):
        gone = self.notifier(self.path)
        gone.ready()
        self.assertEqual(gone.failures, 1)

        self.manager(self.path)
        full = self.notifier(self.path)
        for _ in range(10_000):
            full.ready()
        self.assertGreater(full.failures, 0)

        for path in ("/" + "x" * 200, "vsock:2:1", "a\0b"):
            misspelt = self.notifier(path)
            misspelt.ready()
            self.assertEqual(misspelt.failures, 1)

    @given(st.text())
    def test_any_status_is_one_line(self, text):
        name = f"k3net-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind("\0" + name)
            self.notifier("@" + name).status(text)
            self.assertEqual(len(manager.recv(65536).decode().splitlines()), 1)

    def test_the_watchdog_is_fed_twice_in_its_time_until_it_stops(self):
        manager = self.manager(self.path)
        watchdog = self.notifier(self.path, WATCHDOG_USEC="30000000", WATCHDOG_PID=str(os.getpid())).watchdog()
        watchdog.startService()
        self.clock.pump([0, 15, 15])
        self.assertEqual([manager.recv(4096) for _ in range(3)], [b"WATCHDOG=1"] * 3)
        watchdog.stopService()
        self.clock.advance(60)
        self.assertRaises(BlockingIOError, manager.recv, 4096)

    def test_a_watchdog_that_nobody_asked_of_this_process_sends_nothing(self):
        manager = self.manager(self.path)
        for environ in ({}, {"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}):
            watchdog = self.notifier(self.path, **environ).watchdog()
            watchdog.startService()
            self.clock.advance(60)
            watchdog.stopService()
        self.assertRaises(BlockingIOError, manager.recv, 4096)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WatchdogIntervalTests(SynchronousTestCase):
    def test_it_is_half_of_what_is_allowed(self):
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "30000000"}, 7), 15.0)
        self.assertEqual(watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 7), 15.0)

    def test_nonsense_and_another_process_owe_nothing(self):
        for usec in ("", "0", "-5", "soon", "1e6", "３"):
            self.assertIsNone(watchdog_interval({"WATCHDOG_USEC": usec}, 7))
        self.assertIsNone(watchdog_interval({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 7))
