"""A hostile LAN: 60,000 distinct instances announced in five seconds."""

import re
import sys
import tempfile
import time
from pathlib import Path

from figure import Figure, lan, tell

INSTANCES = 60_000
SECONDS = 5
QUICK = {"liveness": {"peer_ttl": "4s", "probe_interval": "1s", "probe_timeout": "300ms"}}


def figures() -> list[Figure]:
    lab_of, wait_for = lan()
    from integration import spoof

    with tempfile.TemporaryDirectory() as folder, lab_of(Path(folder)) as lab:
        here = lab.host("here", ipv4="10.77.0.2/16")
        attacker = lab.host("attacker", ipv4="10.77.0.66/16")
        daemon = here.k3net(QUICK, node_name="here")
        wait_for(lambda: daemon.ready("here"), 10, "the daemon")
        time.sleep(2)
        before = highest = daemon.rss()
        used = daemon.cpu_seconds()
        waits = []
        flood = attacker.popen(sys.executable, spoof.__file__, "flood", str(INSTANCES), str(SECONDS), "x", log="flood")
        wait_for(lambda: len(daemon.api("/api/v1/peers")["items"]) > 100, 15, "the flood arrives")
        until = time.monotonic() + 3 * SECONDS
        while time.monotonic() < until:
            begun = time.monotonic()
            assert daemon.health(timeout=5).body == b"ok\n"
            waits.append(1000 * (time.monotonic() - begun))
            highest = max(highest, daemon.rss())
            time.sleep(0.02)
        assert not flood.running, "the flood did not end"
        assert not re.search("Traceback|Unhandled", daemon.output()), daemon.output()
        name = f"{INSTANCES:,} instances in {SECONDS} s"
        return [
            Figure(f"slowest /healthz, {name}", "ms", [max(waits)], at_most=200),
            Figure(f"memory grown, {name}", "MiB", [(highest - before) / 2**20], at_most=64),
            Figure(f"processor time, {name}", "s", [daemon.cpu_seconds() - used]),
        ]


if __name__ == "__main__":
    tell(figures())
