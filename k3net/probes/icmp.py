"""ICMP echo: does this address answer, how soon, and how often not."""

import errno
import heapq
import itertools
import os
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from k3net.model.result import ProbeResult
from k3net.probes.icmp_socket import Arrival, Ear, EchoSocket, where
from k3net.probes.outcome import outcome
from k3net.probes.ping import Ping

_COUNT = 3
_INTERVAL = 0.2
_MOST_PACKETS = 1000
_PAYLOAD = 56
_RANDOM = 16
_TURN = 0.005
_SEQUENCES = 1 << 16
_LIMIT = "not permitted: no datagram socket (net.ipv4.ping_group_range) and no raw one (CAP_NET_RAW)"
_FULL = (errno.EAGAIN, errno.ENOBUFS)


def probe(reactor: Any, target: str, timeout: float) -> "Deferred[ProbeResult]":
    """Three echo requests to an IP address, all of it within `timeout`; all probes of a reactor share a Pinger."""
    pinger = _shared.get(reactor) or _shared.setdefault(reactor, Pinger(reactor))
    interval = min(_INTERVAL, timeout / (2 * _COUNT))
    found = pinger.ping(target, _COUNT, interval, timeout - (_COUNT - 1) * interval, within=timeout)

    def ended(result: ProbeResult) -> ProbeResult:
        if pinger.idle and _shared.get(reactor) is pinger:
            del _shared[reactor]
        return result

    return found.addCallback(ended)


_shared: "dict[Any, Pinger]" = {}


class Pinger:
    """Pings any number of addresses with one socket per family, which is open while an answer is awaited.

    Not more than `packets_per_second` leave, those of all targets together; the others wait, and a packet's time
    begins when it is sent. `wall()` is the clock that the kernel stamps answers by, so that one that waited for a busy
    reactor is measured as it arrived. A reply counts by its source, sequence number and 16 random bytes.
    """

    def __init__(self, reactor: Any, packets_per_second: float = 2000.0, wall: Callable[[], float] = time.time):
        self._reactor = reactor
        self._rate = packets_per_second
        self._wall = wall
        self._burst = max(1.0, packets_per_second * 2 * _TURN)
        self._tokens = self._burst
        self._filled_at = reactor.seconds()
        self._ears: dict[int, Ear] = {}
        self._sequence = int.from_bytes(os.urandom(2), "big")
        self._order = itertools.count()
        self._to_send: list[tuple[float, int, Ping]] = []
        self._deadlines: list[tuple[float, int, Ping, int | None]] = []
        self._awaited: dict[tuple[int, int], tuple[Ping, float, bytes]] = {}
        self._pings: set[Ping] = set()
        self._timer: Any = None

    @property
    def idle(self) -> bool:
        return not self._pings

    def ping(
        self,
        address: str,
        count: int = 3,
        interval: float = 1.0,
        timeout: float = 1.0,
        *,
        within: "float | None" = None,
    ) -> "Deferred[ProbeResult]":
        """`count` (1 to 1000) echo requests, `interval` apart, each answered within `timeout` of being sent, or lost.

        It ends once the last is answered or lost, or after `within` seconds from now with what there is then. Ok when
        at least half came back, else failed: `timeout` (nothing did), `loss` (less than half), or what a router said:
        `unreachable`, `prohibited`, `time exceeded`. Facts: `hop_limit`, as the last answer had it.
        """
        now = self._reactor.seconds()
        try:
            to = where(address)
            self._ear(to.version)
        except (OSError, ValueError) as error:
            return succeed(ProbeResult(address, "icmp", None, now, reason=_fault(error)))
        done: Deferred[ProbeResult] = Deferred(lambda _: self._end(ping, "cancelled"))
        ping = Ping(address, to, min(max(1, count), _MOST_PACKETS), interval, timeout, done)
        self._pings.add(ping)
        heapq.heappush(self._to_send, (now, next(self._order), ping))
        if within is not None:
            heapq.heappush(self._deadlines, (now + within, next(self._order), ping, None))
        self._set_timer()
        return done

    def close(self) -> None:
        """End every ping as not measured, and leave nothing open; a later `ping` opens anew."""
        for ping in list(self._pings):
            self._end(ping, "closed")

    def _ear(self, version: int) -> Ear:
        ear = self._ears.get(version)
        if ear is None:
            ear = self._ears[version] = Ear(self._reactor, EchoSocket(version), self._heard)
        return ear

    # Time

    def _set_timer(self) -> None:
        now = self._reactor.seconds()
        moments = [queue[0][0] for queue in (self._deadlines, self._to_send) if queue]
        if not self._pings or not moments:
            return
        delay = max(0.0, min(moments) - now)
        if self._to_send and self._to_send[0][0] <= now and self._tokens < 1:
            delay = _TURN
        if self._timer is None:
            self._timer = self._reactor.callLater(delay, self._turn)
        elif self._timer.getTime() > now + delay:
            self._timer.reset(delay)

    def _turn(self) -> None:
        self._timer = None
        now = self._reactor.seconds()
        if self._deadlines and self._deadlines[0][0] <= now:
            for ear in list(self._ears.values()):
                ear.doRead()  # an answer that is there counts, since it was this process that did not come to read it
        while self._deadlines and self._deadlines[0][0] <= now:
            _, _, ping, sequence = heapq.heappop(self._deadlines)
            if sequence is None:
                self._end(ping)
            elif sequence in ping.waiting:
                self._forget(ping, sequence)
        self._send_due(now)
        self._set_timer()

    def _send_due(self, now: float) -> None:
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._filled_at) * self._rate)
        self._filled_at = now
        while self._to_send and self._to_send[0][0] <= now and self._tokens >= 1:
            _, _, ping = heapq.heappop(self._to_send)
            if not ping.ended:
                self._tokens -= 1
                self._send(ping, now)

    # Packets

    def _send(self, ping: Ping, now: float) -> None:
        version = ping.to.version
        sequence = self._free_sequence(version)
        payload = os.urandom(_RANDOM) + bytes(_PAYLOAD - _RANDOM)
        sent_at = self._reactor.seconds()
        code = errno.ENOBUFS if sequence is None else self._ears[version].socket.send(ping.to, sequence, payload)
        if code in _FULL:
            if ping.refused_since is None:
                ping.refused_since = now
            if now - ping.refused_since < ping.timeout:
                heapq.heappush(self._to_send, (now + 2 * _TURN, next(self._order), ping))
                return
        ping.refused_since = None
        ping.left -= 1
        ok, reason = outcome(code)
        if ok is None:
            ping.fault = reason
        else:
            ping.sent += 1
        if ok:
            assert sequence is not None
            ping.waiting.add(sequence)
            self._awaited[version, sequence] = (ping, sent_at, payload)
            heapq.heappush(self._deadlines, (sent_at + ping.timeout, next(self._order), ping, sequence))
        elif ok is False:
            ping.trouble = reason
        if ping.left:
            heapq.heappush(self._to_send, (now + ping.interval, next(self._order), ping))
        self._end_if_done(ping)

    def _free_sequence(self, version: int) -> "int | None":
        for _ in range(_SEQUENCES):
            self._sequence = (self._sequence + 1) % _SEQUENCES
            if (version, self._sequence) not in self._awaited:
                return self._sequence
        return None

    def _heard(self, version: int, arrival: Arrival) -> None:
        known = self._awaited.get((version, arrival.echo.sequence))
        if known is None:
            return
        ping, sent_at, payload = known
        if arrival.key != ping.to.key:
            return
        if arrival.reason:
            if payload.startswith(arrival.echo.payload[:_PAYLOAD]):
                ping.trouble = arrival.reason
                self._forget(ping, arrival.echo.sequence)
        elif arrival.echo.payload == payload:
            rtt = self._rtt(sent_at, arrival.stamp)
            if rtt <= ping.timeout:
                ping.rtts.append(rtt)
                ping.hop_limit = arrival.hop_limit
            self._forget(ping, arrival.echo.sequence)

    def _rtt(self, sent_at: float, stamp: "float | None") -> float:
        """Without the time that the answer lay in the kernel, unless the wall clock was set meanwhile."""
        lay = 0.0 if stamp is None else self._wall() - stamp
        elapsed = max(0.0, self._reactor.seconds() - sent_at)  # after `lay`, which is then never the longer one
        return elapsed - lay if 0 <= lay <= elapsed else elapsed

    # Ends

    def _forget(self, ping: Ping, sequence: int) -> None:
        ping.waiting.discard(sequence)
        self._awaited.pop((ping.to.version, sequence), None)
        self._end_if_done(ping)

    def _end_if_done(self, ping: Ping) -> None:
        if not ping.left and not ping.waiting:
            self._end(ping)

    def _end(self, ping: Ping, cut_short: str = "") -> None:
        """Once: to whom it may concern, what was found; with the last one the sockets go."""
        if ping.ended:
            return
        ping.ended = True
        self._pings.discard(ping)
        for sequence in ping.waiting:
            del self._awaited[ping.to.version, sequence]
        if not self._pings:
            self._rest()
        now = self._reactor.seconds()
        found = ProbeResult(ping.target, "icmp", None, now, reason=cut_short) if cut_short else ping.result(now)
        ping.done.callback(found)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._to_send.clear()
        self._deadlines.clear()
        ears, self._ears = self._ears, {}
        for ear in ears.values():
            ear.close()


def _fault(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return _LIMIT
    return f"local fault: {getattr(error, 'strerror', None) or error}"
