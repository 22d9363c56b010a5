"""A listener for a test, and a client that speaks to it in raw bytes from a thread."""

import json
import socket
from dataclasses import dataclass

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from k3net.web.site import Listener


def listening(case, routes, **settings):
    """A started Listener on a free port of 127.0.0.1, stopped with the test."""
    address = settings.pop("address", "127.0.0.1:0")
    listener = Listener(reactor, address, routes, stop_within=0.5, **settings)
    listener.startService()
    case.addCleanup(listener.stopService)
    return listener


def connect(port, host="127.0.0.1", source=None):
    return socket.create_connection((host, port), timeout=10, source_address=(source, 0) if source else None)


def read_all(sock):
    """What comes until the end of the connection, however it ends."""
    data = b""
    while True:
        try:
            piece = sock.recv(1 << 16)
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece


@dataclass
class Answer:
    status: int
    headers: dict
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


def parse(data):
    """The answers in `data`, each with its length or in chunks; one without either takes the rest."""
    answers = []
    while data:
        head, _, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        if headers.get("transfer-encoding") == "chunked":
            body, data = _dechunked(data)
        else:
            length = int(headers.get("content-length", len(data)))
            body, data = data[:length], data[length:]
        answers.append(Answer(int(first.split(" ")[1]), headers, body))
    return answers


def _dechunked(data):
    pieces = []
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if length == 0:
            return b"".join(pieces), data.removeprefix(b"\r\n")
        pieces.append(data[:length])
        data = data[length + 2 :]


def talk(port, *pieces, half_close=False, **how):
    """A Deferred of the answers to `pieces`, sent one after the other over one connection."""

    def conversation():
        with connect(port, **how) as sock:
            for piece in pieces:
                sock.sendall(piece)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
            return parse(read_all(sock))

    return deferToThread(conversation)


def request(target, *headers, method="GET", body=b"", host="localhost", close=True):
    """The bytes of one HTTP/1.1 request."""
    lines = [f"{method} {target} HTTP/1.1", *([f"Host: {host}"] if host is not None else []), *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
