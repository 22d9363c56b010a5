"""A slow or lossy wire between two namespaces, for kernels without netem: two tun devices and a thread between them."""

import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from integration import netns
from integration.netns import ip

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
DEVICE = "wire0"
LONGEST = 2048


@contextmanager
def wire(
    ends: tuple[str, str], addresses: tuple[str, str], *, delay: float = 0.0, loss: float = 0.0, seed: int = 1
) -> Iterator[None]:
    """Packets pass between the namespaces `ends`, each way `delay` seconds later, and a share `loss` of them not."""
    devices = [netns.inside(end, opened) for end in ends]
    for end, address in zip(ends, addresses, strict=True):
        ip("-n", end, "address", "add", address, "dev", DEVICE)
        ip("-n", end, "link", "set", DEVICE, "up")
    stop_reading, stop = os.pipe()
    lost = random.Random(seed)
    thread = threading.Thread(target=carry, args=(devices, stop_reading, delay, lambda: lost.random() < loss))
    thread.start()
    try:
        yield
    finally:
        os.close(stop)
        thread.join(5)
        for descriptor in (*devices, stop_reading):
            os.close(descriptor)


def opened() -> int:
    """The device, made in this thread's namespace."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return descriptor


def carry(devices: list[int], stop: int, delay: float, is_lost: Callable[[], bool]) -> None:
    """Until the other end of `stop` is closed."""
    other = {devices[0]: devices[1], devices[1]: devices[0]}
    order = itertools.count()
    under_way: list[tuple[float, int, int, bytes]] = []
    poll = select.poll()
    for descriptor in (*devices, stop):
        poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) * 1000 if under_way else None
        for descriptor, _ in poll.poll(wait):
            if descriptor == stop:
                return
            packet = os.read(descriptor, LONGEST)
            if not is_lost():
                heapq.heappush(under_way, (time.monotonic() + delay, next(order), other[descriptor], packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, descriptor, packet = heapq.heappop(under_way)
            os.write(descriptor, packet)
