"""The neighbour export as a user runs it, of 4,096 neighbours in a namespace: without names, and with a silent DNS."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from figure import RUNS, Figure, lan, tell

NEIGHBOURS = 4096
NAMELESS = 1000
HERE = Path(sys.executable)
K3NET, TWISTD = str(HERE.with_name("k3net")), str(HERE.with_name("twistd"))
MOUNTED = 'mount --bind resolv.conf /etc/resolv.conf && exec "$@"'


def seconds(host: Any, *argv: str, devices: int = 0) -> tuple[float, float]:
    """How long a command takes on `host`, and what it computes; an AssertionError when it does not export so many."""
    command = ["ip", "netns", "exec", host.namespace, "unshare", "--mount", "sh", "-c", MOUNTED, "sh", *argv]
    begun, used = time.perf_counter(), cpu_of_children()
    done = subprocess.run(command, capture_output=True, text=True, cwd=host.folder)
    took = time.perf_counter() - begun, cpu_of_children() - used
    assert done.returncode == 0, done.stderr
    assert not devices or json.loads(done.stdout)["count"] == devices, done.stderr
    return took


def cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def fill(host: Any, link: str) -> None:
    """1,000 neighbours in 10.77.0.0/22, and the others beside them, with MACs that are no vendor's."""
    numbers = [*range(1, 1 + NAMELESS), *range(1024, 1024 + NEIGHBOURS - NAMELESS)]
    rows = (f"neigh add 10.77.{n >> 8}.{n & 255} lladdr 02:00:00:00:{n >> 8:02x}:{n & 255:02x}" for n in numbers)
    batch = host.folder / "batch"
    batch.write_text("".join(f"{row} dev {link} nud permanent\n" for row in rows))
    subprocess.run(["ip", "-n", host.namespace, "-batch", str(batch)], check=True)
    (host.folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")


def milli(values: Iterable[float]) -> list[float]:
    return [1000 * value for value in values]


def figures() -> list[Figure]:
    lab_of, _ = lan()
    from integration.dns_server import DnsServer
    from integration.lab import LINK

    with tempfile.TemporaryDirectory() as folder, lab_of(Path(folder)) as lab:
        host = lab.host("here", ipv4="10.77.255.1/16")
        fill(host, LINK)
        quiet = ("--resolve-dns=false",)
        bare = [seconds(host, sys.executable, "-c", "pass")[0] for _ in range(RUNS)]
        twistd = [seconds(host, TWISTD, "--version")[0] for _ in range(RUNS)]
        cli = [seconds(host, K3NET, "export", *quiet, devices=NEIGHBOURS) for _ in range(RUNS)]
        tap = [seconds(host, TWISTD, "k3net-export", *quiet, devices=NEIGHBOURS) for _ in range(RUNS)]
        with host.inside(lambda: DnsServer("127.0.0.1", lambda query, name: None)) as server:
            silent = [seconds(host, TWISTD, "k3net-export", "--cidr=10.77.0.0/22")[0] for _ in range(3)]
            asked = len(set(server.asked))
    start = min(bare)
    beside = {"twistd --version": milli(twistd), "python -c pass": milli(bare)}
    return [
        Figure(
            f"{name}, 4,096 neighbours, no names, beyond the interpreter",
            "ms",
            milli(took - start for took, _ in runs),
            at_most=300,
            references={"its CPU, with the interpreter": milli(used for _, used in runs), **beside},
        )
        for name, runs in (("k3net export", cli), ("twistd k3net-export", tap))
    ] + [
        Figure(f"twistd k3net-export, {asked} names of a silent server, 250 ms each", "s", silent, at_most=6),
    ]


if __name__ == "__main__":
    tell(figures())
