"""What a hostile host sends: DNS-SD announcements with anything in them, to the mDNS group of this network.

As a program: `spoof.py flood COUNT SECONDS PREFIX` announces COUNT distinct instances, evenly within SECONDS.
"""

import socket
import sys
import time
from collections.abc import Mapping

from zeroconf import DNSAddress, DNSOutgoing, DNSPointer, DNSService, DNSText
from zeroconf.const import _CLASS_IN, _FLAGS_AA, _FLAGS_QR_RESPONSE, _TYPE_A, _TYPE_PTR, _TYPE_SRV, _TYPE_TXT

GROUP = ("224.0.0.251", 5353)
TYPE = "_k3._tcp.local."
AT_ONCE = 4


def txt(values: Mapping[str, str]) -> bytes:
    items = [f"{key}={value}".encode() for key, value in values.items()]
    return b"".join(bytes([len(item)]) + item for item in items)


def announce(out: DNSOutgoing, label: str, address: str, port: int, text: bytes) -> None:
    """Add the records of one instance; `label` may hold what no instance name should."""
    name, host, ttl = f"{label}.{TYPE}", f"h{abs(hash(label)):x}.local.", 120
    now = time.monotonic() * 1000
    for record in (
        DNSPointer(TYPE, _TYPE_PTR, _CLASS_IN, ttl, name, now),
        DNSService(name, _TYPE_SRV, _CLASS_IN, ttl, 0, 0, port, host, now),
        DNSText(name, _TYPE_TXT, _CLASS_IN, ttl, text, now),
        DNSAddress(host, _TYPE_A, _CLASS_IN, ttl, socket.inet_aton(address), created=now),
    ):
        out.add_answer_at_time(record, 0)


def response() -> DNSOutgoing:
    return DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)


def open_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", 5353))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
    return sock


def send(sock: socket.socket, *packets: bytes) -> None:
    for packet in packets:
        sock.sendto(packet, GROUP)


def flood(count: int, seconds: float, prefix: str) -> None:
    packets = []
    for start in range(0, count, AT_ONCE):
        out = response()
        for i in range(start, min(start + AT_ONCE, count)):
            label = f"{prefix}{i}"
            announce(out, label, f"10.77.{i // 250 % 250}.{i % 250 + 1}", 7946, txt({"node": label, "port": "7946"}))
        packets += out.packets()
    with open_socket() as sock:
        begun = time.monotonic()
        for sent, packet in enumerate(packets, 1):
            send(sock, packet)
            ahead = begun + seconds * sent / len(packets) - time.monotonic()
            if ahead > 0.002:
                time.sleep(ahead)


if __name__ == "__main__":
    flood(int(sys.argv[2]), float(sys.argv[3]), sys.argv[4])
