"""The daemon as a user starts it, with mDNS, on a LAN of its own: how soon it is there, and what it costs to keep."""

import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from figure import Figure, lan, tell

STARTS = 3
SETTLE = 10.0
WINDOW = 10.0
WINDOWS = 3
IMPORTS = """
import twisted.application.app, twisted.internet.reactor, twisted.web.client, treq, txaio, zeroconf.asyncio
import netifaces, msgspec, prometheus_client, yaml, sqlite3
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS:")))
"""


def stored(database: Path, name: str) -> bool:
    """Whether the store holds this Node."""
    if not database.exists():
        return False
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        try:
            return connection.execute("select 1 from nodes where name = ?", (name,)).fetchone() is not None
        except sqlite3.OperationalError:
            return False  # it has no table yet


def imports_alone() -> list[float]:
    """Seconds, and MiB resident, of a Python that imports the libraries and does nothing."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    return [time.perf_counter() - begun, int(done.stdout) / 1024]


def figures() -> list[Figure]:
    lab_of, wait_for = lan()
    started, resident, shares = [], [], []
    bare = [imports_alone() for _ in range(STARTS)]
    for attempt in range(STARTS):
        with tempfile.TemporaryDirectory() as folder, lab_of(Path(folder)) as lab:
            host = lab.host("here", ipv4="10.77.0.2/24", ipv6="fd77::2/64")
            begun = time.perf_counter()
            daemon = host.k3net({}, node_name="here")
            database = host.folder / "var" / "k3net.db"
            wait_for(lambda database=database: stored(database, "here"), 20, "the own Node", every=0.005)
            started.append(time.perf_counter() - begun)
            if attempt < STARTS - 1:
                continue
            time.sleep(SETTLE)
            for _ in range(WINDOWS):
                used, at = daemon.cpu_seconds(), time.perf_counter()
                time.sleep(WINDOW)
                shares.append(100 * (daemon.cpu_seconds() - used) / (time.perf_counter() - at))
                resident.append(daemon.rss() / 2**20)
            assert "announced as" in daemon.output(), "it did not announce itself"
            assert not re.search("Traceback|Unhandled", daemon.output()), daemon.output()
    return [
        Figure(
            "from the start of the process to its Node in the store",
            "s",
            started,
            at_most=2,
            references={"the imports alone": [seconds for seconds, _ in bare]},
        ),
        Figure("memory, idle", "MiB", resident, at_most=70, references={"the imports alone": [m for _, m in bare]}),
        Figure("of a core, idle", "%", shares, at_most=1),
    ]


if __name__ == "__main__":
    tell(figures())
