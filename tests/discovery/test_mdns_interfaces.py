"""Interfaces that really come and go, in network namespaces, under a real daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from integration.lab import LINK, Lab, wait_for
from integration.netns import ip

pytestmark = [pytest.mark.requires("root", "netns", "avahi-daemon")]
QUICK = {"liveness": {"peer_ttl": "30s"}}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path) as lab:
        yield lab
        lab.print_logs()


def made_anew(lab, host, address):
    """The host's only interface goes and comes back with the same name and address, as a re-plugged one does."""
    ip("-n", host.namespace, "link", "delete", LINK)
    port = f"to-{host.name}"
    ip("-n", lab.switch, "link", "add", port, "type", "veth", "peer", LINK, "netns", host.namespace)
    ip("-n", lab.switch, "link", "set", port, "master", "br0", "up")
    ip("-n", host.namespace, "link", "set", LINK, "up")
    host.add_address(address)


def test_a_peer_is_heard_on_an_interface_that_was_made_anew(lab):
    here = lab.host("here", ipv4="10.77.0.2/16")
    daemon = here.k3net(QUICK, node_name="here")
    wait_for(lambda: daemon.ready("here"), 6, "the daemon")
    made_anew(lab, here, "10.77.0.2/16")
    there = lab.host("there", ipv4="10.77.0.3/16")
    wait_for(lambda: there.inside(lambda: True), 1, "the other host")
    there.avahi("there", txt={"node": "there", "port": "7946"})
    wait_for(lambda: any(p["name"] == "there" for p in daemon.api("/api/v1/peers")["items"]), 20, "the peer")


def test_a_peer_is_heard_after_the_own_cable_was_out(lab):
    here = lab.host("here", ipv4="10.77.0.2/16")
    daemon = here.k3net(QUICK, node_name="here")
    wait_for(lambda: daemon.ready("here"), 6, "the daemon")
    here.cut()
    wait_for(
        lambda: any(not loop["ok"] for loop in readyz(daemon)["loops"] if loop["name"] == "mdns"), 20, "it is seen"
    )
    there = lab.host("there", ipv4="10.77.0.3/16")
    there.avahi("there", txt={"node": "there", "port": "7946"})
    here.restore()
    wait_for(lambda: any(p["name"] == "there" for p in daemon.api("/api/v1/peers")["items"]), 20, "the peer")
    wait_for(lambda: all(loop["ok"] for loop in readyz(daemon)["loops"]), 10, "all loops are well")
    wait_for(lambda: any(found.name == "here" for found in there.avahi_browse()), 10, "its own announcement")


def readyz(daemon):
    return daemon.get("/readyz").json()
