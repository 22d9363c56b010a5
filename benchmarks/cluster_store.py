"""10,000 clusters in each store: how long a page of 500 of them takes, and what changed since a generation."""

import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from figure import Figure, progress, tell

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from k3net.model.cluster import Cluster, CreateCluster, Since
from k3net.store.memory import MemoryStore
from k3net.store.sqlite import SqliteStore

COUNT = 10_000
PAGE = 500
SEALED = "v1.0123456789abcdef." + "x" * 10_000


class Case:
    """Runs the cleanups that the makers of tests/ ask for."""

    def __init__(self) -> None:
        self.cleanups: list[Any] = []

    def addCleanup(self, f: Any, *args: Any, **how: Any) -> None:
        self.cleanups.append(partial(f, *args, **how))


def stores(case: Case) -> "dict[str, Any]":
    folder = tempfile.mkdtemp()
    case.addCleanup(shutil.rmtree, folder)
    found: dict[str, Any] = {"memory": MemoryStore(), "sqlite": SqliteStore(f"{folder}/k3net.db")}
    if shutil.which("etcd"):
        from etcd import end_idle, make_etcd

        case.addCleanup(end_idle)
        found["etcd"] = make_etcd(case)[0]
    if shutil.which("mariadbd", path="/usr/sbin:/usr/bin"):
        from mariadb import end_shared, make_mysql

        case.addCleanup(end_shared)
        found["mysql"] = make_mysql(case)[0]
    return found


def figures(name: str, store: Any) -> "list[Figure]":
    progress(f" {name}: {COUNT} clusters")
    begun = time.perf_counter()
    for at in range(COUNT):
        store.write_cluster(CreateCluster(Cluster(f"cluster-{at:05}", f"uid-{at}", 0, "a cluster", SEALED, 1.0, 1.0)))
    writes = COUNT / (time.perf_counter() - begun)
    pages, after, seen = [], "", 0
    while seen < COUNT:
        begun = time.perf_counter()
        page = store.clusters(after, PAGE)
        pages.append((time.perf_counter() - begun) * 1000)
        seen, after = seen + len(page.clusters), page.after
    since, more = Since(), True
    begun = time.perf_counter()
    while more:
        part = store.cluster_changes(since, 100)
        since, more = part.then, part.more
    whole = time.perf_counter() - begun
    begun = time.perf_counter()
    store.cluster_changes(since, 100)
    none = (time.perf_counter() - begun) * 1000
    return [
        Figure(f"{name}: a page of {PAGE} of {COUNT:,} clusters", "ms", pages, at_most=300),
        Figure(f"{name}: nothing changed since", "ms", [none]),
        Figure(f"{name}: all read from the start, with their kubeconfigs", "s", [whole]),
        Figure(f"{name}: creations", "/s", [writes]),
    ]


def main() -> None:
    case = Case()
    try:
        for name, store in stores(case).items():
            tell(figures(name, store))
    finally:
        for cleanup in reversed(case.cleanups):
            cleanup()


if __name__ == "__main__":
    main()
