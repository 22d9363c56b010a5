"""Whether a daemon answers `/healthz` all along, whatever else is going on."""

import socket
import threading
import time
from contextlib import closing

from integration import netns

ANSWERS = 2.0
"""Seconds for `/healthz`, on a machine that does much else; a store that hangs takes four and more."""


class Pulse(threading.Thread):
    """Asks `/healthz` five times a second until `end`; `slowest` answer in seconds, and `failures`."""

    def __init__(self, namespace: str):
        super().__init__(daemon=True)
        self._namespace = namespace
        self._ended = threading.Event()
        self.slowest = 0.0
        self.failures: list[str] = []
        self.beats = 0

    def run(self) -> None:
        netns.inside(self._namespace, self._beat)

    def _beat(self) -> None:
        while not self._ended.wait(0.2):
            begun = time.monotonic()
            try:
                with closing(socket.create_connection(("127.0.0.1", 7946), timeout=ANSWERS)) as connection:
                    connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    answer = b"".join(iter(lambda: connection.recv(4096), b""))
                if not answer.endswith(b"ok\n"):
                    self.failures.append(repr(answer[:80]))
            except OSError as error:
                self.failures.append(repr(error))
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.beats += 1

    def end(self) -> None:
        self._ended.set()
        self.join(10)
