"""A cluster that is created through one of eight daemons: how soon all eight use it, on one etcd and on one MariaDB."""

import shutil
import sys
import tempfile
import time
from pathlib import Path

from figure import Figure, lan, progress, tell

sys.path.append(str(Path(__file__).parents[1] / "tests"))

DAEMONS = 8
CREATIONS = 16
SERVERS = {"etcd": "etcd", "mariadb": "mariadbd"}


def seconds(store: str) -> "list[float]":
    """For each creation, from the request to the answer of the last daemon that the cluster is active there."""
    lab_of, _ = lan()
    from integration.cluster_fleet import Fleet

    with tempfile.TemporaryDirectory() as folder, lab_of(Path(folder)) as lab:
        fleet = Fleet(lab, store, size=DAEMONS)
        try:
            found = []
            for at in range(CREATIONS):
                begun = time.perf_counter()
                generation = fleet.create(at % DAEMONS, f"c{at}")
                fleet.all_know(f"c{at}", generation, 60)
                found.append(time.perf_counter() - begun)
            return found
        finally:
            fleet.end()


def main() -> None:
    for store, server in SERVERS.items():
        if shutil.which(server, path="/usr/sbin:/usr/bin:/usr/local/bin") is None:
            progress(f" no {server}: left out")
            continue
        progress(f" {DAEMONS} daemons on {store}")
        tell([Figure(f"a cluster is usable on {DAEMONS} daemons, {store}", "s", seconds(store), at_most=1.0)])


if __name__ == "__main__":
    main()
