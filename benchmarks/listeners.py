"""Thousands of listeners on loopback addresses, in a process of their own.

    with Listeners("closing", 4000) as listeners:
        listeners.targets        # [("127.1.0.0", 40123), ("127.1.0.1", 40123), ...]

Kinds: `closing` takes a connection and hangs up, `mute` takes it and says nothing, `info` is k3net's own HTTP with an
`/info` that names the node, `full` has no room left for connections: the kernel drops every SYN without an answer.
"""

import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from figure import stay_on_last_core
from twisted.internet import reactor as _reactor
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO

from k3net.web.health import health_routes
from k3net.web.site import Site

_FULL_BACKLOG = 1
_TRIES = 5

Target = tuple[str, int]
reactor: Any = _reactor


class Listeners:
    """The same port on each of `count` addresses from 127.`second`.0.0 on; the process ends with the `with`."""

    def __init__(self, kind: str, count: int, second: int = 1, port: int = 0):
        self._argv = [sys.executable, __file__, kind, str(count), str(second), str(port)]
        self._addresses = addresses(count, second)
        self.targets: list[Target] = []

    def __enter__(self) -> "Listeners":
        self._process = subprocess.Popen(self._argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline() or 0)
        assert port, "the listeners did not start"
        self.targets = [(address, port) for address in self._addresses]
        return self

    def __exit__(self, *_: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(5)


def addresses(count: int, second: int) -> list[str]:
    return [f"127.{second}.{i >> 8}.{i & 255}" for i in range(count)]


def node_at(address: str) -> str:
    """The name that the `/info` of this address tells."""
    return "n" + address.partition(".")[2].replace(".", "-")


def open_ports(hosts: Sequence[str], wanted: int, backlog: int) -> list[socket.socket]:
    """Listening sockets, all on the port `wanted`, or all on one that is free."""
    for _ in range(_TRIES):
        servers: list[socket.socket] = []
        port = wanted
        try:
            for host in hosts:
                servers.append(socket.create_server((host, port), backlog=backlog))
                port = servers[0].getsockname()[1]
        except OSError:
            for server in servers:
                server.close()
            continue
        return servers
    raise OSError(f"no port is free on all of {hosts[0]} to {hosts[-1]}")


def fill(servers: Sequence[socket.socket]) -> list[socket.socket]:
    """Connections that nobody accepts, so many that the next SYN is dropped (listen(2))."""
    return [
        socket.create_connection(server.getsockname(), timeout=2)
        for server in servers
        for _ in range(_FULL_BACKLOG + 1)
    ]


def accept(servers: Sequence[socket.socket], keep: bool) -> None:
    """Take connections until standard input ends; `keep` them, silent, until the other side hangs up."""
    poll = select.epoll()
    poll.register(sys.stdin, select.EPOLLIN)
    by_fd = {server.fileno(): server for server in servers}
    for server in servers:
        server.setblocking(False)
        poll.register(server, select.EPOLLIN)
    held: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == sys.stdin.fileno():
                return
            if fd in held:
                with suppress(OSError):
                    if held[fd].recv(4096):
                        continue
                poll.unregister(fd)
                held.pop(fd).close()
                continue
            with suppress(BlockingIOError):
                connection = by_fd[fd].accept()[0]
                if keep:
                    held[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                else:
                    connection.close()


def serve_info(servers: Sequence[socket.socket]) -> None:
    """k3net's own HTTP on every one of them, as if each were a daemon."""
    for server in servers:
        host, port = server.getsockname()
        info = {"node": node_at(host), "port": port, "store": "a", "instance": "b", "version": "1", "selfUp": True}
        site = Site(reactor, health_routes(lambda info=info: info))  # type: ignore[misc]
        server.setblocking(False)
        reactor.adoptStreamPort(server.fileno(), socket.AF_INET, site)
        server.close()
    StandardIO(UntilEnd())
    reactor.run()


class UntilEnd(Protocol):
    """Stops the reactor when standard input ends."""

    def connectionLost(self, reason: Any = None) -> None:
        reactor.stop()


def main(kind: str, count: int, second: int, port: int) -> None:
    stay_on_last_core()
    servers = open_ports(addresses(count, second), port, _FULL_BACKLOG if kind == "full" else 1024)
    filling = fill(servers) if kind == "full" else []
    print(servers[0].getsockname()[1], flush=True)
    if kind == "info":
        serve_info(servers)
    elif kind == "full":
        sys.stdin.read()
    else:
        accept(servers, keep=kind == "mute")
    for connection in filling:
        connection.close()


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
