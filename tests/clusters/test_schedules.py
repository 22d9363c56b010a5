"""A thousand histories of four instances, by chance: all end with what is stored, and nobody tells what he was told."""

from typing import Any

import pytest
from clusters.schedules import Schedule
from clusters.world import World
from twisted.internet.defer import Deferred, maybeDeferred

from k3net.clusters.secrets import KeyRing

HISTORIES = 1000
TOGETHER = 100


class Remembering:
    """Stands for a thread, and reads a kubeconfig that it has read before no more."""

    def __init__(self) -> None:
        self._read: dict[Any, Any] = {}

    def __call__(self, f: Any, *args: Any) -> "Deferred[Any]":
        if f.__name__ != "read_kubeconfig":
            return maybeDeferred(f, *args)
        if args not in self._read:
            self._read[args] = f(*args)
        return maybeDeferred(self._read.get, args)


@pytest.mark.parametrize("first", range(0, HISTORIES, TOGETHER))
def test_whatever_befalls_them_every_instance_knows_exactly_what_is_stored(first):
    ring, in_thread, happened = KeyRing([str(World().folder / "keys")]), Remembering(), 0
    for seed in range(first, first + TOGETHER):
        schedule = Schedule(seed, ring, in_thread)
        for _ in range(schedule.chance.randrange(4, 16)):
            schedule.befall()
            schedule.advance(schedule.chance.choice((0.0, 0.25, 0.5, 2.0)))
        schedule.heal()
        stored = schedule.stored()
        for instance in schedule.instances:
            assert instance.knows() == stored, f"seed {seed}, instance {instance.at}"
        assert schedule.told <= schedule.changed, f"seed {seed}"
        happened += len(schedule.told)
    assert happened > TOGETHER
