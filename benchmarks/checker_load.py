"""Many agents in one process: requests over kept connections, each answered before the next one is sent."""

import selectors
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence

_BLOCK = 1 << 18


def post(path: str, body: bytes) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(port: int, path: str) -> tuple[float, bytes]:
    """Seconds until the last byte of the answer, and its body; AssertionError when it is not 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        begun = time.perf_counter()
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        blocks = []
        while block := sock.recv(_BLOCK):
            blocks.append(block)
        took = time.perf_counter() - begun
    head, _, body = b"".join(blocks).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head[:200]
    return took, body


class _Connection:
    def __init__(self, port: int):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.left = memoryview(b"")
        self.heard = b""

    def send(self) -> bool:
        """Whether all is sent."""
        try:
            self.left = self.left[self.sock.send(self.left) :]
        except BlockingIOError:
            return False
        return not self.left

    def answered(self) -> bool:
        """Whether the answer is there: all are short."""
        self.heard += self.sock.recv(65536)
        head, end, body = self.heard.partition(b"\r\n\r\n")
        if not end:
            return False
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return False
        assert head.startswith(b"HTTP/1.1 200"), self.heard[:400]
        self.heard = b""
        return True


def drive(port: int, requests: Iterable[bytes], connections: int) -> float:
    """Answers a second."""
    waiting: Iterator[bytes] = iter(requests)
    selector = selectors.DefaultSelector()
    begun, answers = time.perf_counter(), 0
    for _ in range(connections):
        connection = _Connection(port)
        selector.register(connection.sock, selectors.EVENT_WRITE, connection)
        connection.left = memoryview(next(waiting))
    while selector.get_map():
        for key, _ in selector.select(10):
            connection = key.data
            if key.events == selectors.EVENT_WRITE:
                if connection.send():
                    selector.modify(connection.sock, selectors.EVENT_READ, connection)
            elif connection.answered():
                answers += 1
                request = next(waiting, None)
                if request is None:
                    selector.unregister(connection.sock)
                    connection.sock.close()
                    continue
                connection.left = memoryview(request)
                if not connection.send():
                    selector.modify(connection.sock, selectors.EVENT_WRITE, connection)
    return answers / (time.perf_counter() - begun)


class Bystander:
    """Asks for `path` every few milliseconds; `longest` is the longest that it waited for the answer, in seconds."""

    def __init__(self, port: int, path: str):
        self._port, self._path = port, path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.waits: list[float] = []

    def __enter__(self) -> "Bystander":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _ask(self) -> None:
        while not self._stop.wait(0.01):
            self.waits.append(get(self._port, self._path)[0])

    @property
    def longest(self) -> float:
        return max(self.waits, default=0.0)


def address(first: Sequence[int], i: int) -> str:
    return f"{first[0]}.{first[1]}.{i >> 8}.{i & 255}"
