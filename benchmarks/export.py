"""The neighbour export as a user runs it, of 4,096 neighbours in a namespace: without names, and with a silent DNS."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from figure import RUNS, Figure, lan, tell

NEIGHBOURS = 4096
NAMELESS = 1000
HERE = Path(sys.executable)
K3NET, TWISTD = str(HERE.with_name("k3net")), str(HERE.with_name("twistd"))
MOUNTED = 'mount --bind resolv.conf /etc/resolv.conf && exec "$@"'


def seconds(host: Any, *argv: str, devices: int = 0) -> float:
    """How long a command takes on `host`; an AssertionError when it does not export so many."""
    command = ["ip", "netns", "exec", host.namespace, "unshare", "--mount", "sh", "-c", MOUNTED, "sh", *argv]
    begun = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=host.folder)
    took = time.perf_counter() - begun
    assert done.returncode == 0, done.stderr
    assert not devices or json.loads(done.stdout)["count"] == devices, done.stderr
    return took


def fill(host: Any, link: str) -> None:
    """1,000 neighbours in 10.77.0.0/22, and the others beside them, with MACs that are no vendor's."""
    numbers = [*range(1, 1 + NAMELESS), *range(1024, 1024 + NEIGHBOURS - NAMELESS)]
    rows = (f"neigh add 10.77.{n >> 8}.{n & 255} lladdr 02:00:00:00:{n >> 8:02x}:{n & 255:02x}" for n in numbers)
    batch = host.folder / "batch"
    batch.write_text("".join(f"{row} dev {link} nud permanent\n" for row in rows))
    subprocess.run(["ip", "-n", host.namespace, "-batch", str(batch)], check=True)
    (host.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")


def figures() -> list[Figure]:
    lab_of, _ = lan()
    from integration.dns_server import DnsServer
    from integration.lab import LINK

    with tempfile.TemporaryDirectory() as folder, lab_of(Path(folder)) as lab:
        host = lab.host("here", ipv4="10.77.255.1/16")
        fill(host, LINK)
        quiet = ("--resolve-dns=false",)
        bare = [seconds(host, sys.executable, "-c", "pass") for _ in range(RUNS)]
        twistd = [seconds(host, TWISTD, "--version") for _ in range(RUNS)]
        start = min(bare)
        cli = [seconds(host, K3NET, "export", *quiet, devices=NEIGHBOURS) - start for _ in range(RUNS)]
        tap = [seconds(host, TWISTD, "k3net-export", *quiet, devices=NEIGHBOURS) - start for _ in range(RUNS)]
        with host.inside(lambda: DnsServer("127.0.0.1", lambda query, name: None)) as server:
            silent = [seconds(host, TWISTD, "k3net-export", "--cidr=10.77.0.0/22") for _ in range(3)]
            asked = len(set(server.asked))
    milli = [[1000 * value for value in values] for values in (cli, tap, twistd, bare)]
    beside = {"twistd --version": milli[2], "python -c pass": milli[3]}
    return [
        Figure("k3net export, 4,096 neighbours, no names, beyond the interpreter", "ms", milli[0], 300, None, beside),
        Figure("twistd k3net-export, the same", "ms", milli[1], 300, None, beside),
        Figure(f"twistd k3net-export, {asked} names of a silent server, 250 ms each", "s", silent, at_most=6),
    ]


if __name__ == "__main__":
    tell(figures())
