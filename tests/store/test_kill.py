"""Killed at any moment, the sqlite store has lost nothing that it acknowledged."""

import json
import random
import sqlite3
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from time import sleep

from k3net.store.sqlite import SqliteStore

WRITER = Path(__file__).parent / "writer.py"


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path):
    path = str(tmp_path / "k3net.db")
    acknowledged: dict[str, int] = {}
    beat = 0
    for _ in range(20):
        with Popen([sys.executable, str(WRITER), path, str(beat + 1)], stdout=PIPE) as writer:
            first = writer.stdout.readline()
            sleep(random.uniform(0.0, 0.08))
            writer.kill()
            lines = [first, *writer.stdout.read().splitlines(keepends=True)]
        for line in lines:
            if line.endswith(b"\n"):
                beat, names = json.loads(line)
                acknowledged.update(dict.fromkeys(names, beat))
        store = SqliteStore(path)
        stored = {record.name: int(record.annotations["beat"]) for record in store.list()}
        store.close()
        assert {name: stored.get(name, -1) >= at for name, at in acknowledged.items()} == dict.fromkeys(
            acknowledged, True
        )
        beat = max(stored.values())
    assert len(acknowledged) == 100
    assert beat > 100, "the writer hardly wrote"
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    connection.close()
