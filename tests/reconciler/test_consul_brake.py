"""Machines that Consul says are gone: a few go at once, many at once wait for the brake."""

from reconciler.world import PEER_TTL, World

from k3net.model.brake import Opinion, Reach
from k3net.model.observation import Observation

GOOD, GONE = ("True", "ConsulHealthCheck"), ("False", "ConsulDeregistered")
NAMES = [f"m{number}" for number in range(10)]


def hears(world, daemon, name, ttl=45.0, **claim):
    word = {"reason": "ConsulHealthCheck", "meta": {"discovery": "consul"}, **claim}
    daemon.reconciler.observe(Observation(name, "consul", world.clock.seconds(), ttl, **word))


def gone(world, daemon, name):
    hears(world, daemon, name, 0.0, ready=False, reason="ConsulDeregistered")


def filled(**settings):
    world = World()
    daemon = world.daemon(**settings)
    daemon.reach = Reach(last_answer=None)
    for name in NAMES:
        hears(world, daemon, name)
    world.advance(2)
    assert {world.ready(name) for name in NAMES} == {GOOD}
    return world, daemon


def test_a_few_are_not_ready_at_once_also_where_no_machine_can_be_probed():
    world, daemon = filled()
    for name in NAMES[:3]:
        gone(world, daemon, name)
    world.advance(2)
    assert [world.ready(name) for name in NAMES[:4]] == [GONE, GONE, GONE, GOOD]


def test_no_member_is_asked_about_them():
    asked = []

    def ask(name):
        asked.append(name)
        return Opinion(reached_by="d2")

    world, daemon = filled(ask=ask)
    gone(world, daemon, "m1")
    world.advance(2)
    assert (world.ready("m1"), asked) == (GONE, [])


def test_most_of_them_at_once_are_held_and_shown_as_they_are_stored():
    world, daemon = filled()
    for name in NAMES[:8]:
        gone(world, daemon, name)
    world.advance(30)
    assert {world.ready(name) for name in NAMES[:8]} == {GOOD}
    assert daemon.reconciler.brake.held == frozenset(NAMES[:8])
    daemon.reconciler.brake.release()
    world.advance(2)
    assert {world.ready(name) for name in NAMES[:8]} == {GONE}


def test_what_is_held_goes_when_the_network_works_and_the_time_is_over():
    world, daemon = filled()
    for name in NAMES:
        gone(world, daemon, name)
    daemon.reach = Reach(last_answer=None, network_works=True)
    world.advance(2 * PEER_TTL - 5)
    assert {world.ready(name) for name in NAMES} == {GOOD}
    world.advance(10)
    assert {world.ready(name) for name in NAMES} == {GONE}


def test_those_that_come_back_are_not_demoted():
    world, daemon = filled()
    for name in NAMES:
        gone(world, daemon, name)
    world.advance(5)
    for name in NAMES:
        hears(world, daemon, name)
    world.advance(5)
    assert {world.ready(name) for name in NAMES} == {GOOD}
    assert daemon.reconciler.brake.held_since is None


def test_machines_that_are_denied_for_good_do_not_make_a_crowd_of_one_that_falls():
    world, daemon = filled()
    for _ in range(10):
        for name in NAMES[:8]:
            hears(world, daemon, name, ready=False, message="critical in Consul: disk")
        for name in NAMES[8:]:
            hears(world, daemon, name)
        world.advance(20)
    gone(world, daemon, "m9")
    world.advance(2)
    assert world.ready("m9") == GONE
