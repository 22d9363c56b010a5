"""A socket for ICMP echo to any number of targets: a datagram socket where the system allows it, else a raw one."""

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from k3net.probes import echo
from k3net.probes.numeric import socket_address

# linux/in.h, linux/in6.h, linux/icmp.h, asm-generic/socket.h: what Python's socket module has no names for
_IP_RECVERR, _IP_RECVTTL, _IPV6_RECVERR = 11, 12, 25
_SO_TIMESTAMPNS = 35
_SOL_RAW, _ICMP_FILTER, _ICMPV6_FILTER = 255, 1, 1
_EXTENDED_ERROR = struct.Struct("@IBBBBII")
_TIMESPEC = struct.Struct("@ll")
_ORIGIN_LOCAL = 1

_PROTOCOL = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
_BUFFER = 1 << 20
_LONGEST = 2048
_AT_ONCE = 256
_TRIES = 3


class Where(NamedTuple):
    """An IP address as sockets take it, and as it is told from others: packed, with its link where it needs one."""

    version: int
    sockaddr: tuple[Any, ...]
    key: tuple[bytes, int]


class Arrival(NamedTuple):
    """A reply, or an error (`reason` is not "") about a request; `stamp` is the wall time of the kernel, or None."""

    key: tuple[bytes, int]
    echo: echo.Echo
    reason: str = ""
    stamp: float | None = None
    hop_limit: int | None = None


def where(address: str) -> Where:
    """`10.0.0.1`, `fd00::1` or `fe80::1%eth0`; ValueError or OSError when it is none of one machine."""
    parsed = ip_address(address)
    if parsed.is_multicast or parsed.is_unspecified:
        raise ValueError(f"{address} is not the address of one machine")
    version = parsed.version
    if version == 6 and parsed.is_link_local and "%" not in address:
        raise ValueError(f"{address} needs its link, as in {address}%eth0")
    _, sockaddr = socket_address(address, 0)
    return Where(version, sockaddr, _key(version, sockaddr))


def _key(version: int, sockaddr: tuple[Any, ...]) -> tuple[bytes, int]:
    packed = socket.inet_pton(_FAMILY[version], sockaddr[0].partition("%")[0])
    on_link = version == 6 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
    return packed, sockaddr[3] if on_link and len(sockaddr) > 3 else 0


class EchoSocket:
    """Sends echo requests, and gives what comes back; OSError when neither kind of socket can be had.

    The kernel writes an identifier of its own on a datagram socket and sorts the replies by it; a raw socket hears
    every reply to this machine, and is told to hear nothing else.
    """

    def __init__(self, version: int):
        self.version = version
        self._identifier = int.from_bytes(os.urandom(2), "big")
        self.raw = False
        try:
            self._socket = self._opened(socket.SOCK_DGRAM)
        except OSError as refused:
            if refused.errno not in (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT):
                raise
            self._socket = self._opened(socket.SOCK_RAW)
            self.raw = True
        try:
            self._prepare()
        except OSError:
            self._socket.close()
            raise

    def _opened(self, kind: int) -> socket.socket:
        return socket.socket(_FAMILY[self.version], kind | socket.SOCK_NONBLOCK, _PROTOCOL[self.version])

    def _prepare(self) -> None:
        option = self._socket.setsockopt
        option(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        option(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        if self.version == 4:
            option(socket.IPPROTO_IP, _IP_RECVERR, 1)
            option(socket.IPPROTO_IP, _IP_RECVTTL, 1)
            if self.raw:
                option(_SOL_RAW, _ICMP_FILTER, struct.pack("@I", ~1 & 0xFFFFFFFF))
        else:
            option(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
            option(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            if self.raw:
                blocked = [0xFFFFFFFF] * 8
                blocked[129 >> 5] &= ~(1 << (129 & 31))
                option(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, struct.pack("@8I", *blocked))

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(self, to: Where, sequence: int, payload: bytes) -> int:
        """0, or the errno of this request.

        An error about an earlier request may be raised in its place, and is gone by that; this one's own stays.
        """
        packet = echo.request(self.version, self._identifier, sequence, payload)
        code = 0
        for _ in range(_TRIES):
            try:
                self._socket.sendto(packet, to.sockaddr)
                return 0
            except OSError as error:
                code = error.errno or errno.EINVAL
                if code in (errno.EAGAIN, errno.ENOBUFS):
                    break
        return code

    def arrivals(self) -> Iterator[Arrival]:
        """What has come since, as far as it is an echo; at most so much that nothing else waits long."""
        for flags in (socket.MSG_ERRQUEUE, 0):
            for _ in range(_AT_ONCE):
                try:
                    data, notes, _, sender = self._socket.recvmsg(_LONGEST, 512, flags)
                except BlockingIOError:
                    break
                except OSError:
                    continue  # the error of a request that the error queue tells more of
                found = self._error(data, notes, sender) if flags else self._reply(data, notes, sender)
                if found is not None:
                    yield found

    def _reply(self, data: bytes, notes: list[Any], sender: Any) -> Arrival | None:
        if self.raw and self.version == 4:
            data = echo.without_ipv4_header(data)
        heard = echo.reply(self.version, data)
        if heard is None or (self.raw and heard.identifier != self._identifier):
            return None
        stamp = hop_limit = None
        for level, kind, value in notes:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS) and len(value) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack_from(value)
                stamp = seconds + nanoseconds / 1e9
            elif (level, kind) in ((socket.IPPROTO_IP, socket.IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)):
                hop_limit = int.from_bytes(value[:4], sys.byteorder)
        return Arrival(_key(self.version, sender), heard, "", stamp, hop_limit)

    def _error(self, data: bytes, notes: list[Any], sender: Any) -> Arrival | None:
        asked = echo.quoted(self.version, data)
        if asked is None or (self.raw and asked.identifier != self._identifier):
            return None
        for level, kind, value in notes:
            if (level, kind) in ((socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)):
                _, origin, icmp, code, *_ = _EXTENDED_ERROR.unpack_from(value)
                reason = "" if origin == _ORIGIN_LOCAL else echo.trouble(self.version, icmp, code)
                return Arrival(_key(self.version, sender), asked, reason) if reason else None
        return None


@implementer(IReadDescriptor)
class Ear:
    """A socket in the reactor; an error that waits in its queue is no end of it."""

    def __init__(self, reactor: Any, opened: EchoSocket, heard: Callable[[int, Arrival], None]):
        self.socket = opened
        self._reactor = reactor
        self._heard = heard
        self._open = True
        reactor.addReader(self)

    def fileno(self) -> int:
        return self.socket.fileno()

    def logPrefix(self) -> str:
        return "icmp"

    def doRead(self) -> None:
        if not self._open:
            return
        for arrival in self.socket.arrivals():
            self._heard(self.socket.version, arrival)
            if not self._open:
                return

    def connectionLost(self, reason: Failure) -> None:
        """What the reactor makes of an error queue that is not empty: it has let go of this."""
        self.doRead()
        if self._open:
            self._reactor.addReader(self)

    def close(self) -> None:
        self._open = False
        self._reactor.removeReader(self)
        self.socket.close()
