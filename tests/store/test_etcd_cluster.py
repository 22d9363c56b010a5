"""Three members of which one dies again and again: what was acknowledged stays, what is not managed is not touched."""

import json
import os
from contextlib import ExitStack
from itertools import count
from threading import Event, Thread
from time import monotonic, perf_counter, sleep

import pytest
from contracts import manifest_of, node
from etcd import EtcdController, cluster

from k3net.errors import StoreUnavailable
from k3net.model.node import Node
from k3net.model.plan import Create, Update
from k3net.store.etcd import EtcdStore
from k3net.store.interface import Done

pytestmark = pytest.mark.requires("etcd", "etcdctl")

SECONDS = 60 if os.environ.get("HYPOTHESIS_PROFILE") in ("ci", "soak") else 30


@pytest.fixture
def members():
    members = cluster()
    try:
        for member in members:
            member.start(wait=False)
        for member in members:
            member.wait()
        yield members
    finally:
        for member in members:
            member.end()


def leader_of(members):
    """The member that leads, None while there is none."""
    for member in members:
        said = member.ctl("endpoint", "status", "--write-out=json", check=False)
        if said.startswith("["):
            status = json.loads(said)[0]["Status"]
            if status["leader"] == status["header"]["member_id"]:
                return member
    return None


def kill_leaders(members, over, killed):
    """Kill the leader every 5 seconds, and start it again 2 seconds later."""
    while not over.wait(3):
        leader = leader_of(members)
        if leader is not None:
            leader.kill()
            killed.append(monotonic())
            over.wait(2)
            leader.start(wait=False)


def test_nothing_acknowledged_is_lost_while_leaders_die(members):
    foreign = {f"c{i}": manifest_of(f"c{i}", managed=None, owner="controller") for i in range(10)}
    controller = EtcdController(members[0].url)
    for manifest in foreign.values():
        controller.put(manifest)
    texts = {name: controller.raw(name) for name in foreign}
    controller.close()

    store = EtcdStore([member.url for member in members], timeout=3.0)
    over, killed = Event(), []
    killer = Thread(target=kill_leaders, args=(members, over, killed))
    killer.start()
    acknowledged, times, failures = {}, [], []
    try:
        known = {}
        until = monotonic() + SECONDS
        for beat in count(1):
            if monotonic() > until:
                break
            steps = [
                Update(node(name, beat=str(beat)), known[name]) if name in known else Create(node(name, beat=str(beat)))
                for name in [*(f"n{i}" for i in range(150)), *foreign]
            ]
            try:
                outcomes = store.apply(steps)
            except StoreUnavailable as error:
                failures.append(str(error))
            else:
                done = [outcome.name for outcome in outcomes if isinstance(outcome, Done)]
                acknowledged.update(dict.fromkeys(done, beat))
                times += [monotonic()] if done else []
            try:
                listed = [record for record in store.list() if isinstance(record, Node)]
                known = {record.name: record.version for record in listed}
            except StoreUnavailable as error:
                failures.append(str(error))
                sleep(0.05)
    finally:
        over.set()
        killer.join()
    for member in members:
        member.wait()
    stored = {record.name: record for record in store.list()}
    store.close()

    gaps = [after - before for before, after in zip([times[0], *times], [*times, monotonic()], strict=True)]
    print(
        f"{len(killed)} leaders killed, {len(times)} rounds, {len(failures)} failed, {max(gaps):.1f} s without at most"
    )
    for failure in sorted(set(failures)):
        print(failure)
    assert [name for name, beat in acknowledged.items() if int(stored[name].annotations["beat"]) < beat] == []
    assert len(acknowledged) == 150
    controller = EtcdController(members[0].url)
    assert {name: controller.raw(name) for name in foreign} == texts
    controller.close()
    assert len(killed) >= SECONDS // 6
    assert len(times) > 10 * len(killed)
    assert max(gaps) < 10


def test_a_member_that_is_cut_off_says_so_at_once(members):
    store = EtcdStore([members[0].url], timeout=5.0)
    store.list()
    with ExitStack() as stack:
        for member in members[1:]:
            stack.enter_context(member.frozen())
        sleep(2)
        begun = perf_counter()
        with pytest.raises(StoreUnavailable) as caught:
            store.list()
        assert str(caught.value).endswith("no leader; more than half of its cluster must run and reach each other")
        assert perf_counter() - begun < 1
    for _ in range(100):
        if store.check() == "":
            break
        sleep(0.1)
    assert store.list() == []
    store.close()


def test_a_frozen_member_costs_its_share_of_the_time_once(members):
    store = EtcdStore([member.url for member in members], timeout=3.0)
    [done] = store.apply([Create(node("n1"))])
    follower = next(member for member in members if member is not leader_of(members))
    store = EtcdStore([follower.url, *(member.url for member in members if member is not follower)], timeout=3.0)
    with follower.frozen():
        begun = perf_counter()
        assert [record.version for record in store.list()] == [done.version]
        assert 0.9 < perf_counter() - begun < 2
        begun = perf_counter()
        assert isinstance(store.apply([Update(node("n1"), done.version)])[0], Done)
        assert perf_counter() - begun < 0.9
    store.close()
