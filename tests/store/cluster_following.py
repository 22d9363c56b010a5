"""Who reads the changes now and then, in parts of any size, ends with what is stored; for every driver."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from store.cluster_contract import cluster

from k3net.model import cluster as model
from k3net.model.cluster import Cluster, CreateCluster, DeleteCluster, Since, UpdateCluster

NAMES = [f"c{at}" for at in range(6)]
OPS = st.lists(st.tuples(st.sampled_from(["toggle", "update", "read"]), st.sampled_from(NAMES)), max_size=40)


class Follower:
    """Reads as an instance does."""

    def __init__(self, store: Any):
        self.store = store
        self.since = Since()
        self.known: dict[str, Cluster] = {}
        self.swept: set[str] | None = None

    def read(self, limit: int) -> bool:
        """One part; whether there is more."""
        part = self.store.cluster_changes(self.since, limit)
        if part.from_start:
            self.swept = set()
        for one in part.clusters:
            if self.swept is not None:
                self.swept.add(one.name)
            if one.deleted:
                self.known.pop(one.name, None)
            else:
                self.known[one.name] = one
        if not part.more and self.swept is not None:
            self.known = {name: one for name, one in self.known.items() if name in self.swept}
            self.swept = None
        self.since = part.then
        return part.more


def make_following_test(make_store: Any, examples: int) -> Any:
    """A test that takes pytest's `request`; `make_store(case)` is that of `contracts.make_store_tests`."""

    class Case:
        def __init__(self) -> None:
            self.cleanups: list[Any] = []

        def addCleanup(self, f: Any, *args: Any, **how: Any) -> None:
            self.cleanups.append((f, args, how))

    @settings(max_examples=examples, deadline=None)
    @given(OPS, st.integers(1, 4))
    def test(ops: "list[tuple[str, str]]", limit: int) -> None:
        case = Case()
        try:
            with patch.object(model, "TOMBSTONES_KEPT", 2):
                follow(make_store(case)[0], ops, limit)
        finally:
            for f, args, how in reversed(case.cleanups):
                f(*args, **how)

    return test


def follow(store: Any, ops: "list[tuple[str, str]]", limit: int) -> None:
    stored: dict[str, Cluster] = {}
    follower = Follower(store)
    for op, name in ops:
        held = stored.get(name)
        if op == "read":
            follower.read(limit)
        elif op == "toggle" and held is None:
            stored[name] = store.write_cluster(CreateCluster(cluster(name))).cluster
        elif op == "toggle":
            store.write_cluster(DeleteCluster(held, 1.0))
            del stored[name]
        elif held is not None:
            stored[name] = store.write_cluster(UpdateCluster(replace(held, description="new"))).cluster
    parts = 0
    while follower.read(limit):
        parts += 1
        assert parts < 20
    assert follower.known == stored
    assert store.cluster_changes(follower.since, limit).clusters == ()
    assert [one.name for one in store.clusters("", 100).clusters] == sorted(stored)
