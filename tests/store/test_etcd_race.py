"""On etcd: controllers that take Nodes over at any moment, and k3net killed at any moment."""

import json
import random
import sys
from pathlib import Path
from subprocess import PIPE, Popen
from time import sleep

import pytest
from etcd import Member
from store.race import race_at

from k3net.store.etcd import EtcdStore

pytestmark = pytest.mark.requires("etcd", "etcdctl")

WRITER = Path(__file__).parent / "writer.py"


@pytest.fixture(scope="module")
def server():
    with Member() as member:
        yield member


@pytest.fixture
def url(server):
    server.wipe()
    return server.url


@pytest.mark.parametrize(("controllers", "reconcilers", "takeovers"), [(1, 1, 3000), (2, 2, 4000), (4, 4, 3000)])
def test_no_record_that_a_controller_took_over_is_written_over(url, controllers, reconcilers, takeovers):
    counts = race_at(url, "guarded", takeovers, controllers=controllers, reconcilers=reconcilers, each=2)
    print(counts)
    assert counts["takeovers"] == takeovers
    assert counts["clobbered"] == 0
    assert counts["Done"] > 100, "k3net hardly wrote: there was no race"
    assert counts["Conflict"] + counts["Refused"] > 100, "nobody came between: there was no race"


def test_the_naive_store_writes_over_hundreds_of_records_so_the_race_is_one(url):
    counts = race_at(url, "naive", 3500, controllers=1, reconcilers=2, each=2)
    print(counts)
    assert counts["clobbered"] >= 500


def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(url):
    acknowledged: dict[str, int] = {}
    beat = 0
    for _ in range(20):
        with Popen([sys.executable, str(WRITER), url, str(beat + 1)], stdout=PIPE) as writer:
            first = writer.stdout.readline()
            sleep(random.uniform(0.0, 0.08))
            writer.kill()
            lines = [first, *writer.stdout.read().splitlines(keepends=True)]
        for line in lines:
            if line.endswith(b"\n"):
                beat, names = json.loads(line)
                acknowledged.update(dict.fromkeys(names, beat))
        store = EtcdStore([url])
        stored = {record.name: int(record.annotations["beat"]) for record in store.list()}
        store.close()
        assert [name for name, at in acknowledged.items() if stored.get(name, -1) < at] == []
        beat = max(stored.values())
    assert len(acknowledged) == 100
    assert beat > 100, "the writer hardly wrote"
