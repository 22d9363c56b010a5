"""k3net against controllers that take Nodes over at any moment: what they took is never written over."""

import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Event

from store.controllers import MemoryController
from store.race import contend, names_of, race_at, reconcile

from k3net.store.memory import MemoryStore, Shared
from k3net.store.sqlite import SqliteStore

TAKEOVERS = 10_000


def race_on_sqlite(kind: str, takeovers: int) -> "Counter[str]":
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/k3net.db"
        store = SqliteStore(path)
        store.identity()
        store.close()
        return race_at(path, kind, takeovers)


def test_on_sqlite_no_record_that_a_controller_took_over_is_written_over():
    counts = race_on_sqlite("guarded", TAKEOVERS)
    print(counts)
    assert counts["takeovers"] == TAKEOVERS
    assert counts["clobbered"] == 0
    assert counts["Done"] > 100, "k3net hardly wrote: there was no race"
    assert counts["Conflict"] + counts["Refused"] > 100, "nobody came between: there was no race"


def test_on_sqlite_the_naive_store_writes_over_records_so_the_race_is_one():
    counts = race_on_sqlite("naive", TAKEOVERS // 2)
    print(counts)
    assert counts["clobbered"] >= 10


def test_in_memory_no_record_that_a_controller_took_over_is_written_over():
    shared, over, groups = Shared(), Event(), names_of(4)
    everything = [name for names in groups for name in names]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor() as pool:
            ours = [
                pool.submit(reconcile, MemoryStore(shared), everything, lambda: not over.is_set()) for _ in range(2)
            ]
            theirs = [
                pool.submit(contend, MemoryController(shared), names, Random(seed), TAKEOVERS // len(groups))
                for seed, names in enumerate(groups)
            ]
            clobbered = sum(future.result() for future in theirs)
            over.set()
            counts = sum((future.result() for future in ours), Counter())
    finally:
        over.set()
        sys.setswitchinterval(interval)
    print(counts)
    assert clobbered == 0
    assert counts["Done"] > 100
    assert counts["Conflict"] + counts["Refused"] > 100
