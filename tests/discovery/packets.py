"""DNS-SD packets as hosts send them, given to a real zeroconf as if they had come in."""

import asyncio
import time
from ipaddress import ip_address

from zeroconf import DNSAddress, DNSIncoming, DNSOutgoing, DNSPointer, DNSService, DNSText
from zeroconf.const import (
    _CLASS_IN,
    _CLASS_UNIQUE,
    _FLAGS_AA,
    _FLAGS_QR_RESPONSE,
    _TYPE_A,
    _TYPE_AAAA,
    _TYPE_PTR,
    _TYPE_SRV,
    _TYPE_TXT,
)

TYPE = "_k3t._tcp.local."
UNIQUE = _CLASS_IN | _CLASS_UNIQUE


def ptr(label, ttl=4500, service_type=TYPE):
    return DNSPointer(service_type, _TYPE_PTR, _CLASS_IN, ttl, f"{label}.{service_type}")


def srv(label, host="h1.local.", port=7946, ttl=120, service_type=TYPE):
    return DNSService(f"{label}.{service_type}", _TYPE_SRV, UNIQUE, ttl, 0, 0, port, host)


def txt(label, text=None, ttl=4500, service_type=TYPE):
    return DNSText(
        f"{label}.{service_type}", _TYPE_TXT, UNIQUE, ttl, txt_bytes({"node": label} if text is None else text)
    )


def txt_bytes(items):
    encoded = [f"{key}={value}".encode() for key, value in items.items()]
    return b"".join(bytes([len(item)]) + item for item in encoded)


def a(address, host="h1.local.", ttl=120, flush=True):
    packed = ip_address(address).packed
    kind = _TYPE_A if len(packed) == 4 else _TYPE_AAAA
    return DNSAddress(host, kind, UNIQUE if flush else _CLASS_IN, ttl, packed)


def whole(label, address="10.0.0.2", host="h1.local.", **text):
    """All records of one instance."""
    return ptr(label), srv(label, host), txt(label, text or None), a(address, host)


def packet(*records):
    out = DNSOutgoing(_FLAGS_QR_RESPONSE | _FLAGS_AA)
    for record in records:
        out.add_answer_at_time(record, 0)
    [data] = out.packets()
    return data


def give(zeroconf, *datas, ago=0.0):
    """Each packet comes in, `ago` seconds before now; returns when zeroconf has dealt with it."""

    async def come_in():
        for data in datas:
            incoming = DNSIncoming(data, ("10.0.0.2", 5353), None, (time.monotonic() - ago) * 1000)
            assert incoming.valid
            zeroconf.record_manager.async_updates_from_response(incoming)

    asyncio.run_coroutine_threadsafe(come_in(), zeroconf.loop).result(10)
