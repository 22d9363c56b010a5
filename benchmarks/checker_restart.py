"""A restart of the connectivity checker's server that knows 1,000 x 1,000 results, with the store in a file."""

import json
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from checker_load import Bystander, drive, get
from checker_server import AGENTS, Server, heartbeats, reports
from figure import Figure, progress, stay_on_last_core, tell

RESTARTS = 3


def main() -> None:
    stay_on_last_core()
    with tempfile.TemporaryDirectory() as directory:
        tell(list(measured(Path(directory))))


def measured(directory: Path) -> Iterator[Figure]:
    file = directory / "k3net.db"
    storage = f"{{type: sqlite, sqlite: {{path: {file}}}}}"
    server = Server(directory, storage)
    stops, starts, waits, ready, sizes, peaks = [], [], [], [], [], []
    try:
        for form in ("least", "ours"):
            drive(server.port, list(heartbeats(AGENTS)), 16)
            drive(server.port, reports(AGENTS, form), 8)
            with Bystander(server.port, "/api/v1/health") as bystander:
                size = saved(file)
            sizes.append(size)
            waits.append(bystander.longest)
        for _ in range(RESTARTS):
            _, before = get(server.port, "/api/v1/results")
            drive(server.port, list(heartbeats(AGENTS)), 16)
            begun = time.monotonic()
            server.stop()
            stops.append(time.monotonic() - begun)
            begun = time.monotonic()
            server = Server(directory, storage)
            ready.append(time.monotonic() - begun)
            with Bystander(server.port, "/api/v1/health") as bystander:
                _, after = get(server.port, "/api/v1/clients/count")
                starts.append(time.monotonic() - begun)
            waits.append(bystander.longest)
            assert json.loads(after)["active_client_count"] == AGENTS, after
            assert get(server.port, "/api/v1/results")[1] == before, "what was known is not known again"
            peaks.append(server.peak())
            del before
    finally:
        server.stop()
    progress(f" stops {stops}, ready {ready}, waits {waits}")
    for what, size in zip(("the least that counts", "all ours tell"), sizes, strict=True):
        yield Figure(f"checker: snapshot of 1,000 x 1,000, {what}", "MB", [size / 1e6])
    yield Figure("checker: a clean stop with a last snapshot of that", "s", stops)
    yield Figure("checker: from its start to all results, all ours tell", "s", starts, references={"it serves": ready})
    yield Figure("checker: its memory then, at the most", "MB", peaks, at_most=400)
    yield Figure("checker: longest wait of another request meanwhile", "ms", [1000 * max(waits)], at_most=200)


def saved(file: Path) -> int:
    """Bytes of the next snapshot."""
    begun, until = time.time(), time.monotonic() + 100
    while time.monotonic() < until:
        with closing(sqlite3.connect(file)) as connection:
            if connection.execute("select 1 from sqlite_master where name = 'snapshots'").fetchone():
                for at, size in connection.execute("select saved_at, length(body) from snapshots"):
                    if at > begun:
                        return int(size)
        time.sleep(0.2)
    raise AssertionError("no snapshot")


if __name__ == "__main__":
    main()
