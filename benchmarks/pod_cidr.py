"""`k3net pod-cidr` from start to end, how evenly names are spread over a cluster CIDR, and choosing among many."""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import ip_network
from pathlib import Path

from figure import RUNS, Figure, tell

from k3net.model.cidr import Net, Pool
from k3net.model.conflicts import conflicts

TREES = Path(__file__).parents[1] / "tests/data/nodes"
NAMES = 1_000_000
NODES = 10_000
POOL = Pool(ip_network("10.244.0.0/16"), 24)
KINDS: dict[str, Callable[[int], str]] = {
    "node-1": lambda i: f"node-{i}",
    "node1": lambda i: f"node{i}",
    "ip-10-1-2-3": lambda i: f"ip-10-{i >> 16}-{i >> 8 & 255}-{i & 255}",
    "edge-1.site-2": lambda i: f"edge-{i % 1000}.site-{i // 1000}",
    "worker-9e3779b1": lambda i: f"worker-{i * 2654435761 % 2**32:08x}",
}


def started(*command: str) -> float:
    """Seconds of wall time until it has ended."""
    environ = {**os.environ, "NODE_NAME": "n1"}
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environ)
    return time.perf_counter() - begun


def unevenness(numbers: Iterable[int]) -> float:
    """How far the subnet that is farthest from its even share is from it, in percent of that share."""
    counts = Counter(numbers)
    even = counts.total() / (POOL.count - 1)
    return max(100 * abs(counts[number] - even) / even for number in range(1, POOL.count))


def filled() -> float:
    """Seconds that 255 nodes need to choose one after another, the last with 254 in its way."""
    taken: list[Net] = []
    begun = time.perf_counter()
    for number in range(POOL.count - 1):
        taken.append(POOL.next_free(f"node-{number}", taken))
    return time.perf_counter() - begun


def compared() -> float:
    """Seconds to look for overlaps among the CIDRs of ten thousand Nodes."""
    pool = Pool(ip_network("10.0.0.0/8"), 24)
    said = {f"node-{number}": (str(pool.subnet(number + 1)),) for number in range(NODES)}
    begun = time.perf_counter()
    assert not conflicts(said)
    return time.perf_counter() - begun


def figures() -> list[Figure]:
    k3net = str(Path(sys.executable).with_name("k3net"))
    trees = ("k3s-server", "kubeadm-control-plane", "dual-stack-hash")
    asked = [started(k3net, "pod-cidr", "--root", str(TREES / tree)) for tree in trees for _ in range(RUNS)]
    bare = [started(sys.executable, "-c", "pass") for _ in range(RUNS)]
    chance = random.Random(1)
    drawn = [unevenness(chance.randrange(1, POOL.count) for _ in range(NAMES)) for _ in KINDS]
    spread = [unevenness(POOL.hashed(name(number)) for number in range(NAMES)) for name in KINDS.values()]
    return [
        Figure("k3net pod-cidr, from start to end", "s", asked, at_most=0.4, references={"python -c pass": bare}),
        Figure(
            f"{NAMES:,} names of five kinds over 256 subnets, the least even one",
            "%",
            spread,
            at_most=5,
            references={"by chance": drawn},
        ),
        Figure("255 nodes choose one after another", "ms", [1000 * filled() for _ in range(RUNS)]),
        Figure(f"overlaps looked for among {NODES:,} Nodes", "ms", [1000 * compared() for _ in range(3)], at_most=200),
    ]


if __name__ == "__main__":
    tell(figures())
