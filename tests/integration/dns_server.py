"""A DNS server of a few lines on real sockets, which answers, is silent or lies."""

import select
import socket
import struct
import threading
from collections.abc import Callable

PTR, CNAME = 12, 5
Reply = Callable[[bytes, str], "bytes | None"]


def labels(name: bytes) -> bytes:
    """A name on the wire, of the bytes given (RFC 1035 section 3.1)."""
    return b"".join(bytes([len(label)]) + label for label in name.split(b".")) + b"\0"


def answer(query: bytes, *records: tuple[int, bytes, bytes], code: int = 0) -> bytes:
    """What answers `query`: records are (type, owner on the wire or b"" for the name asked for, data)."""
    head = query[:2] + struct.pack("!HHHHH", 0x8180 | code, 1, len(records), 0, 0) + query[12:]
    rows = [
        (owner or b"\xc0\x0c") + struct.pack("!HHIH", kind, 1, 60, len(data)) + data for kind, owner, data in records
    ]
    return head + b"".join(rows)


class DnsServer:
    """Serves on `address`, port 53, of the network of the thread that makes it; `asked` are the names, in order."""

    def __init__(self, address: str, reply: Reply):
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        self._socket.bind((address, 53))
        self._reply = reply
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self.asked: list[str] = []

    def __enter__(self) -> "DnsServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            if not select.select([self._socket], [], [], 0.05)[0]:
                continue
            query, peer = self._socket.recvfrom(4096)
            name = question(query)
            self.asked.append(name)
            reply = self._reply(query, name)
            if reply is not None:
                self._socket.sendto(reply, peer)


def question(query: bytes) -> str:
    """The name that is asked for."""
    at, found = 12, []
    while length := query[at]:
        found.append(query[at + 1 : at + 1 + length].decode())
        at += 1 + length
    return ".".join(found)
