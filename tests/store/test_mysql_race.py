"""k3net against controllers in SQL that take Nodes over at any moment; and k3net killed at any moment."""

import json
import random
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from time import sleep

import pytest
from mariadb import MariaDb
from store.race import race_at

from k3net.store.mysql import MysqlStore

pytestmark = pytest.mark.requires("mariadbd", "mariadb-install-db")

WRITER = Path(__file__).parent / "writer.py"
TAKEOVERS = 10_000


@pytest.fixture
def server():
    with MariaDb() as server:
        store = MysqlStore(server.login())
        store.identity()
        store.close()
        yield server


@pytest.mark.parametrize(("each", "takeovers"), [(1, 5000), (4, TAKEOVERS)])
def test_on_mariadb_no_record_that_a_controller_took_over_is_written_over(server, each, takeovers):
    counts = race_at(server.place(), "guarded", takeovers, controllers=each, reconcilers=each, timeout=300)
    print(counts)
    assert counts["takeovers"] == takeovers
    assert counts["clobbered"] == 0
    assert counts["Done"] > 100, "k3net hardly wrote: there was no race"
    assert counts["Conflict"] + counts["Refused"] > 100, "nobody came between: there was no race"


def test_on_mariadb_the_naive_store_writes_over_records_so_the_race_is_one(server):
    counts = race_at(server.place(), "naive", TAKEOVERS, timeout=300)
    print(counts)
    assert counts["clobbered"] >= 500


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(server):
    acknowledged: dict[str, int] = {}
    beat = 0
    for _ in range(20):
        with Popen([sys.executable, str(WRITER), server.place(), str(beat + 1)], stdout=PIPE) as writer:
            first = writer.stdout.readline()
            sleep(random.uniform(0.0, 0.1))
            writer.kill()
            lines = [first, *writer.stdout.read().splitlines(keepends=True)]
        for line in lines:
            if line.endswith(b"\n"):
                beat, names = json.loads(line)
                acknowledged.update(dict.fromkeys(names, beat))
        store = MysqlStore(server.login())
        stored = {record.name: int(record.annotations["beat"]) for record in store.list()}
        store.close()
        assert {name: stored.get(name, -1) >= at for name, at in acknowledged.items()} == dict.fromkeys(
            acknowledged, True
        )
        beat = max(stored.values())
    assert len(acknowledged) == 100
    assert beat > 60, "the writer hardly wrote"
    assert server.sql("check table k8s_core_v1_node")[-1][-1] == "OK"
