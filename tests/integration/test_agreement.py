"""Demotion is agreed: a writer that no longer reaches a machine asks other members before it writes it off."""

import time

import pytest
from integration.cuts import deaf
from integration.lab import wait_for
from integration.test_lan import listening
from integration.test_members import PEER_TTL, daemons, members, ready, trace, writes

pytestmark = pytest.mark.requires("nft", "avahi-daemon")
DAEMONS = {"d0", "d1", "d2"}
PEER = "peer"


@pytest.fixture
def there(lab):
    host = lab.host("there", ipv4="10.77.0.99/24")
    with listening(host):
        host.avahi(PEER, port=7946, txt={"node": PEER})
        yield host


def settled(lab):
    """Three members that see the peer, and its writer's number; the store is traced from now on."""
    hosts, fleet = daemons(lab, 3)
    wait_for(lambda: all(members(d) == DAEMONS for d in fleet), 15, "members")
    wait_for(lambda: all(ready(d).get(PEER) == "True" for d in fleet), 15, "the peer Ready on all")
    [writer] = {d.api(f"/api/v1/nodes/{PEER}/explain")["writer"] for d in fleet}
    trace(lab)
    return hosts, fleet, int(writer[1:])


def condition(daemon):
    return daemon.api(f"/api/v1/nodes/{PEER}")["status"]["conditions"][0]


def test_what_other_members_reach_stays_ready_and_says_by_whom(lab, there):
    hosts, fleet, writer = settled(lab)
    others = {f"reached by {name}" for name in DAEMONS - {f"d{writer}"}}
    with deaf(lab, to=[there], ears=[hosts[writer]]):
        said = lambda: condition(fleet[writer])["message"]  # noqa: E731
        wait_for(lambda: said() in others, PEER_TTL + 4, "the word of a member")
        for _ in range(3 * PEER_TTL):
            time.sleep(1)
            assert condition(fleet[writer])["status"] == "True"
        wait_for(lambda: said() in others, PEER_TTL, "the word of a member, still")
    assert {status for name, status in writes(lab) if name == PEER} == {"True"}
    wait_for(lambda: said() not in others, 3 * PEER_TTL, "its own word again")
    assert {status for name, status in writes(lab) if name == PEER} == {"True"}


def test_what_all_have_lost_is_written_off_once(lab, there):
    hosts, fleet, writer = settled(lab)
    with deaf(lab, to=[there], ears=[hosts[writer]]):
        wait_for(lambda: "reached by" in condition(fleet[writer])["message"], PEER_TTL + 4, "the word of a member")
        there.cut()
        wait_for(lambda: (PEER, "False") in writes(lab), 2 * PEER_TTL + 4, "NotReady in the store")
        wait_for(lambda: all(ready(d)[PEER] == "False" for d in fleet), PEER_TTL + 4, "NotReady on all")
        time.sleep(3 * PEER_TTL)
    assert [w for w in writes(lab) if w == (PEER, "False")] == [(PEER, "False")]
    assert all(ready(d)[PEER] == "False" for d in fleet)
