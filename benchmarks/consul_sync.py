"""`consul_sync.py URL`: the seconds from a request for all instances to the last observation, and the peak MB.

The process has all that the daemon imports, and nothing that it does beside.
"""

import resource
import sys
import time
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

import k3net.tap  # noqa: F401 - as the daemon has it
from k3net.discovery.consul_api import ConsulApi
from k3net.discovery.consul_watch import ConsulWatch
from k3net.model.peers import PeerTable


def main(reactor: Any, url: str) -> "Deferred[None]":
    reactor.seconds = time.monotonic
    done: Deferred[None] = Deferred()
    table = PeerTable()
    watch = ConsulWatch(
        reactor,
        table.observe,
        ConsulApi(reactor, url),
        service="k3-node",
        own_name="own",
        own_id="k3-node-own",
        peers=lambda: table,
    )
    begun = time.perf_counter()

    def look() -> None:
        if watch.instances is not None and len(table) >= watch.instances:
            print(time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
            watch.stopService()
            done.callback(None)
        else:
            reactor.callLater(0.002, look)

    watch.startService()
    look()
    return done


if __name__ == "__main__":
    react(main, sys.argv[1:])
