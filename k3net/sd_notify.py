"""Tells the service manager how this process does: sd_notify(3)."""

import os
import socket
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service

from k3net.log import make_logger
from k3net.services import Periodic


class Notifier:
    """Sends states to `$NOTIFY_SOCKET`; without one it tells nobody. Never raises, never blocks.

    `clock` counts CLOCK_MONOTONIC, as the reactor does once its `seconds` is `time.monotonic`.
    `failures` counts what could not be sent; the first of them is logged.
    """

    def __init__(self, clock: Any, environ: Mapping[str, str]):
        self._clock = clock
        self._environ = environ
        self._log = make_logger()
        self.failures = 0

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        """`ready()` says that it has ended."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.seconds() * 1e6)}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + " ".join(text.split()))

    def watchdog(self) -> Service:
        """Says twice in each `$WATCHDOG_USEC` that the reactor still turns; idle when this process is not asked to."""
        interval = watchdog_interval(self._environ, os.getpid())
        if interval is None or not self._environ.get("NOTIFY_SOCKET"):
            idle = Service()
            idle.name = "watchdog"
            return idle
        return Periodic(self._clock, interval, lambda: self._send("WATCHDOG=1"), name="watchdog")

    def _send(self, state: str) -> None:
        path = self._environ.get("NOTIFY_SOCKET", "")
        if not path:
            return
        try:
            address = "\0" + path[1:] if path.startswith("@") else path
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(state.encode(errors="replace"), address)
        except (OSError, ValueError) as error:
            if not self.failures:
                self._log.warn("cannot notify {path!r}: {error}", path=path, error=error)
            self.failures += 1


def watchdog_interval(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds between two signs of life, half of what sd_watchdog_enabled(3) allows; None when `pid` owes none."""
    usec = environ.get("WATCHDOG_USEC", "")
    if not (usec.isascii() and usec.isdigit() and int(usec)):
        return None
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(usec) / 2e6
