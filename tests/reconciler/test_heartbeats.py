"""Of a Node that a controller reported, and that Consul vouches for, the heartbeat alone is brought forward."""

from contracts import manifest_of
from reconciler.world import EPOCH, World

from k3net.model import rfc3339
from k3net.model.observation import Observation


def reported(beat):
    manifest = manifest_of("m1", managed=None, owner="kubelet")
    at = rfc3339.format_seconds(beat)
    manifest["status"]["conditions"] = [
        {"type": "Ready", "status": "True", "lastHeartbeatTime": at, "lastTransitionTime": at}
    ]
    return manifest


def hears(world, daemon, ttl=45.0, **claim):
    now = world.clock.seconds()
    meta = {"discovery": "consul", **claim.pop("meta", {})}
    daemon.reconciler.observe(Observation("m1", "consul", now, ttl, reason="ConsulHealthCheck", meta=meta, **claim))


def run(seconds, beat=EPOCH - 3600, **claim):
    """The controller's record after so many seconds of Consul's word, and how often it was written."""
    world = World()
    world.foreign.put(reported(beat))
    daemon = world.daemon()
    for _ in range(round(seconds / 15)):
        hears(world, daemon, **claim)
        world.advance(15)
    return world.node("m1"), world.written()["m1"]


def test_it_is_brought_forward_once_a_report_time():
    node, written = run(600)
    assert 9 <= written <= 11
    beat = node.ready.last_heartbeat
    assert EPOCH + 540 <= beat <= EPOCH + 600
    expected = reported(EPOCH - 3600)
    expected["status"]["conditions"][0]["lastHeartbeatTime"] = rfc3339.format_seconds(beat)
    assert node.manifest == expected


def test_what_consul_calls_critical_or_has_only_been_held_to_is_left_alone():
    for claim in ({"ready": False}, {"meta": {"held": "true"}}, {"ttl": 0.0, "ready": False}):
        node, written = run(300, **claim)
        assert (node.manifest, written) == (reported(EPOCH - 3600), 0)


def test_a_controller_that_beats_itself_is_left_alone():
    node, written = run(300, beat=EPOCH + 3600)
    assert (node.manifest, written) == (reported(EPOCH + 3600), 0)


def test_multicast_brings_no_heartbeat():
    world = World()
    world.foreign.put(reported(EPOCH - 3600))
    world.daemon(sees={"m1"})
    world.up.add("m1")
    world.look_round()
    world.advance(300)
    assert world.node("m1").manifest == reported(EPOCH - 3600)


def test_of_several_daemons_one_brings_it():
    world = World()
    world.foreign.put(reported(EPOCH - 3600))
    fleet = world.fleet("d1", "d2", "d3")
    for _ in range(20):
        for daemon in fleet:
            hears(world, daemon)
        world.advance(15)
    assert 4 <= world.written()["m1"] <= 6
