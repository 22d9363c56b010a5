"""100,000 mutated mDNS packets through everything of ours that a packet reaches, without a network."""

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any
from unittest.mock import patch

from figure import Figure, progress, stay_on_first_core, tell
from twisted.application.service import Service
from twisted.internet.task import Clock
from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText
from zeroconf._listener import AsyncListener
from zeroconf.const import (
    _CLASS_IN,
    _FLAGS_AA,
    _FLAGS_QR_RESPONSE,
    _TYPE_A,
    _TYPE_AAAA,
    _TYPE_PTR,
    _TYPE_SRV,
    _TYPE_TXT,
)

from k3net.discovery.dnssd import Announcement, DnsSd
from k3net.discovery.mdns import Mdns
from k3net.host import Host
from k3net.model.observation import Observation
from k3net.model.peers import PeerTable

PACKETS = 100_000
SEED = 20
AT_ONCE = 500
TYPE = "_k3._tcp.local."
HANDED_AFTER = 10


def announcement(i: int) -> bytes:
    """What a peer says of itself: two of them in every fourth packet, a goodbye in every seventh."""
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    for label in [f"peer{i}", f"other{i}"][: 2 if i % 4 == 0 else 1]:
        name, host, now = f"{label}.{TYPE}", f"{label}.local.", time.monotonic() * 1000
        text = b"".join(bytes([len(t)]) + t for t in (f"node={label}".encode(), b"port=7946", b"pid=%d" % i))
        ttl = 0 if i % 7 == 0 else 120
        for record in (
            DNSPointer(TYPE, _TYPE_PTR, _CLASS_IN, ttl, name, now),
            DNSService(name, _TYPE_SRV, _CLASS_IN, ttl, 0, 0, 7946, host, now),
            DNSText(name, _TYPE_TXT, _CLASS_IN, ttl, text, now),
            DNSAddress(host, _TYPE_A, _CLASS_IN, ttl, bytes([10, 77, i & 255, 9]), created=now),
            DNSAddress(host, _TYPE_AAAA, _CLASS_IN, ttl, bytes([0xFD, 0x77, *[0] * 13, i & 255]), created=now),
        ):
            out.add_answer_at_time(record, 0)
    return out.packets()[0]


def flipped(rng: random.Random, packet: bytearray, _others: Sequence[bytes]) -> bytearray:
    for _ in range(rng.randint(1, 8)):
        packet[rng.randrange(len(packet))] = rng.randrange(256)
    return packet


def one_bit(rng: random.Random, packet: bytearray, _others: Sequence[bytes]) -> bytearray:
    packet[rng.randrange(len(packet))] ^= 1 << rng.randrange(8)
    return packet


def truncated(rng: random.Random, packet: bytearray, _others: Sequence[bytes]) -> bytearray:
    return packet[: rng.randrange(len(packet))]


def spliced(rng: random.Random, packet: bytearray, others: Sequence[bytes]) -> bytearray:
    other = rng.choice(others)
    return packet[: rng.randrange(len(packet))] + other[rng.randrange(len(other)) :]


def looped(rng: random.Random, packet: bytearray, _others: Sequence[bytes]) -> bytearray:
    """Compression pointers (RFC 1035 section 4.1.4) to themselves, to each other, or anywhere."""
    first, second = rng.randrange(12, len(packet) - 1), rng.randrange(12, len(packet) - 1)
    for at, to in ((first, rng.choice([first, second, rng.randrange(len(packet))])), (second, first)):
        packet[at : at + 2] = (0xC000 | to).to_bytes(2, "big")
    return packet


def miscounted(rng: random.Random, packet: bytearray, _others: Sequence[bytes]) -> bytearray:
    """A header that promises other numbers of records, or is a query's."""
    at = rng.randrange(2, 12)
    packet[at] = rng.choice([0, 1, 127, 128, 255])
    return packet


def unprintable(rng: random.Random, packet: bytearray, _others: Sequence[bytes]) -> bytearray:
    """Well-formed, but what should be names and texts is anything."""
    for word in (b"peer", b"node=", b"port=", b"7946", b"local", b"_k3"):
        at = packet.find(word)
        if at >= 0 and rng.random() < 0.5:
            packet[at : at + len(word)] = rng.randbytes(len(word))
    return packet


def renamed(rng: random.Random, packet: bytearray, _others: Sequence[bytes]) -> bytearray:
    """Another instance, as well-formed as the first."""
    for word in (b"peer", b"other"):
        if word in packet:
            return packet.replace(word, bytes(rng.choices(b"abcdefgh", k=len(word))))
    return packet


MUTATIONS = (flipped, one_bit, truncated, spliced, looped, miscounted, unprintable, renamed)


def packets(rng: random.Random) -> Iterator[bytes]:
    valid = [announcement(i) for i in range(200)]
    for _ in range(PACKETS):
        packet = bytearray(rng.choice(valid))
        for _ in range(rng.choice([1, 1, 1, 2, 3])):
            if len(packet) > 14:
                packet = rng.choice(MUTATIONS)(rng, packet, valid)
        yield bytes(packet)


class Watched(DnsSd):
    """Keeps what goes wrong; lets every newcomer pass, so that none is spared for coming too fast, unless `bounded`."""

    def __init__(self, *args: Any, bounded: bool):
        super().__init__(*args)
        self.wrong = Counter[str]()
        self._bounded = bounded

    def touched(self, *heard: Any) -> None:
        try:
            super().touched(*heard)
        except Exception:
            self.wrong[last_line()] += 1
            raise

    def _not_asked(self, error: BaseException) -> None:
        self.wrong[f"refused to ask: {error!r:.80}"] += 1
        super()._not_asked(error)

    def _has_token(self) -> bool:
        return super()._has_token() if self._bounded else True


def last_line() -> str:
    """Where the exception in hand was raised, and what it says."""
    lines = traceback.format_exc().splitlines()
    place = next(line.strip() for line in reversed(lines) if line.startswith('  File "'))
    return f"{lines[-1]:.80} ({place})"


class Ears:
    """zeroconf, our listener and `Mdns`, all real, with no socket between them and the packets."""

    def __init__(self, *, bounded: bool):
        self.clock = Clock()
        self.clock.advance(time.monotonic())
        self.table = PeerTable()
        self.refused = Counter[str]()
        self.escaped = Counter[str]()
        self.observed = 0
        self._handed: list[Callable[[], None]] = []
        self._mdns = Mdns(
            self.clock,
            self._observe,
            name="own",
            port=lambda: 7946,
            pid=1,
            host=lambda: Host(()),
            allowed=[ip_network("10.77.0.0/16"), ip_network("fd77::/64")],
            peer_of=self.table.get,
            refused=lambda reason: self.refused.update([reason]),
        )
        Service.startService(self._mdns)  # without its loop, which would look for a network
        self.dnssd = Watched(TYPE, self._mdns._hear, self._handed.append, bounded=bounded)
        with patch("zeroconf._core.create_sockets", lambda *_, **__: (None, [])):
            self.dnssd.open(["127.0.0.1"])
        self.dnssd.announce(Announcement(TYPE, f"own.{TYPE}", port=7946, parsed_addresses=["10.77.0.1"]))
        deaf = self.dnssd._opened
        assert deaf.loop is not None
        self._listener, self._loop = AsyncListener(deaf), deaf.loop
        self._loop.set_exception_handler(self._broke)

    def _observe(self, o: Observation) -> bool:
        self.observed += 1
        return self.table.observe(o)

    def _broke(self, _loop: Any, context: dict[str, Any]) -> None:
        self.escaped[f"a task: {context.get('exception')!r:.80}"] += 1

    def hear(self, packets: Sequence[bytes]) -> float:
        """Packets a second, all the way into the peer table."""
        begun = time.perf_counter()
        for at in range(0, len(packets), AT_ONCE):
            asyncio.run_coroutine_threadsafe(self._hear(packets[at : at + AT_ONCE]), self._loop).result(60)
        return len(packets) / (time.perf_counter() - begun)

    async def _hear(self, packets: Sequence[bytes]) -> None:
        for i, packet in enumerate(packets):
            try:
                self._listener.datagram_received(packet, (f"10.77.1.{i & 127}", 5353))
                if i % HANDED_AFTER == 0:
                    self._hand_over()
            except Exception:
                self.escaped[last_line()] += 1

    def _hand_over(self) -> None:
        """What the reactor does at its next turn."""
        handed, self._handed[:] = list(self._handed), []
        self.clock.advance(max(0.0, time.monotonic() - self.clock.seconds()))
        for take in handed:
            take()
        while self.clock.getDelayedCalls():
            self.clock.advance(0)

    def close(self) -> None:
        self.dnssd.close()


def figures() -> list[Figure]:
    stay_on_first_core()
    made = list(packets(random.Random(SEED)))
    rates, escaped, counted = [], Counter[str](), Counter[str]()
    for bounded in (False, True, True):
        ears = Ears(bounded=bounded)
        try:
            rate = ears.hear(made)
        finally:
            ears.close()
        if bounded:
            rates.append(rate)
        escaped += ears.escaped
        counted += ears.dnssd.wrong
        assert ears.dnssd.errors == ears.dnssd.wrong.total(), "an error that nothing here saw"
        assert ears.observed > PACKETS / 20, "hardly anything came through"
        progress(
            f"{'bounded' if bounded else 'unbounded'}: {ears.observed:,} observations, {len(ears.table):,} peers,"
            f" {ears.dnssd.dropped:,} dropped, refused {dict(ears.refused)}"
        )
    name = f"{PACKETS:,} mutated mDNS packets"
    return [
        Figure(f"exceptions that escape, {name} three times", "", [escaped.total()], at_most=0, note=shown(escaped)),
        Figure("exceptions caught and counted by dnssd", "", [counted.total()], note=shown(counted)),
        Figure(f"{name}, into the peer table", "/s", rates),
    ]


def shown(found: Counter[str]) -> str:
    return "; ".join(f"{count} x {text}" for text, count in found.most_common(8))


if __name__ == "__main__":
    tell(figures())
