"""Real peers on a real LAN: what Avahi publishes in one namespace becomes Nodes in another."""

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from integration.daemon import K3net
from integration.lab import Host, wait_for

QUICK = {"liveness": {"peer_ttl": "4s", "probe_interval": "1s", "probe_timeout": "300ms"}}
PEER_TTL, PROBE_INTERVAL, PASS = 4.0, 1.0, 1.0


@contextmanager
def listening(host: Host, port: int = 7946, family: int = socket.AF_INET) -> Iterator[None]:
    """A port that takes connections and says nothing, on all of the host's addresses."""
    with host.inside(lambda: socket.create_server(("", port), family=family)) as server:
        stop = threading.Event()
        server.settimeout(0.1)

        def accept() -> None:
            while not stop.is_set():
                try:
                    server.accept()[0].close()
                except OSError:
                    continue

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def addresses(daemon: K3net, name: str) -> list[tuple[str, str]]:
    return [(a["type"], a["address"]) for a in daemon.nodes()[name]["status"]["addresses"]]


def stored(host: Host, daemon: K3net, name: str) -> dict:
    """The Node as the store has it, which must be what the API shows of it."""
    node = daemon.api(f"/api/v1/nodes/{name}")
    with closing(sqlite3.connect(host.folder / "var" / "k3net.db")) as connection:
        [(manifest,)] = connection.execute("select manifest from nodes where name = ?", [name]).fetchall()
    assert f'"{node["metadata"]["uid"]}"' in manifest
    return node


@pytest.fixture
def here(lab):
    return lab.host("here", ipv4="10.77.0.2/24", ipv6="fd77::2/64")


@pytest.fixture
def there(lab):
    return lab.host("there", ipv4="10.77.0.3/24", ipv6="fd77::3/64")


@pytest.mark.requires("avahi-daemon")
def test_what_avahi_publishes_is_a_ready_node_within_five_seconds(here, there):
    with listening(there):
        there.avahi("there", port=7946, txt={"node": "peer-1", "port": 7946, "pid": 4242})
        daemon = here.k3net(QUICK, node_name="here")
        begun = time.monotonic()
        wait_for(lambda: (daemon.ready("peer-1") or ("",))[0] == "True", 5, "peer-1 Ready")
        assert time.monotonic() - begun < 5
        wait_for(lambda: stored(here, daemon, "peer-1"), 3, "peer-1 in the store")
        node = stored(here, daemon, "peer-1")
    metadata, status = node["metadata"], node["status"]
    assert (node["apiVersion"], node["kind"]) == ("v1", "Node")
    assert (metadata["name"], metadata["uid"]) == ("peer-1", "node-peer-1")
    assert metadata["labels"] == {
        "kubernetes.io/hostname": "peer-1",
        "k3.network/managed": "true",
        "k3.network/discovered": "true",
    }
    assert metadata["annotations"].keys() == {"k3.network/lastSeen", "k3.network/port", "k3.network/pid"}
    assert metadata["annotations"]["k3.network/port"] == "7946"
    assert metadata["annotations"]["k3.network/pid"] == "4242"
    assert status["phase"] == "Running"
    assert addresses(daemon, "peer-1") == [
        ("Hostname", "peer-1"),
        ("InternalIP", "10.77.0.3"),
        ("InternalIP", "fd77::3"),
    ]
    [ready] = status["conditions"]
    assert ready.keys() == {"type", "status", "reason", "message", "lastHeartbeatTime", "lastTransitionTime"}
    assert (ready["type"], ready["status"]) == ("Ready", "True")


@pytest.mark.requires("avahi-daemon")
def test_a_clean_stop_is_not_ready_within_five_seconds(here, there):
    with listening(there):
        avahi = there.avahi("there", port=7946, txt={"node": "there", "port": 7946, "pid": 1})
        slow = {"liveness": {"peer_ttl": "60s", "probe_interval": "10s"}}
        daemon = here.k3net(slow, node_name="here")
        wait_for(lambda: (daemon.ready("there") or ("",))[0] == "True", 8, "Ready")
        avahi.stop()
        wait_for(lambda: daemon.ready("there")[0] == "False", 5, "NotReady after the goodbye")
        assert daemon.ready("there")[1] == "PeerGoodbye"


@pytest.mark.requires("avahi-daemon")
def test_a_cut_link_is_not_ready_after_peer_ttl_and_ready_again_within_an_interval(here, there):
    with listening(there):
        there.avahi("there", port=7946, txt={"node": "there", "port": 7946, "pid": 1})
        daemon = here.k3net(QUICK, node_name="here")
        wait_for(lambda: daemon.ready("there") == ("True", "PeerAlive"), 8, "Ready")
        there.cut()
        begun = time.monotonic()
        last_probe = PROBE_INTERVAL
        while time.monotonic() - begun < PEER_TTL - last_probe - 0.2:
            assert daemon.ready("there")[0] == "True"
            time.sleep(0.1)
        wait_for(lambda: daemon.ready("there") == ("False", "PeerExpired"), last_probe + PASS + 1, "NotReady")
        there.restore()
        wait_for(lambda: daemon.ready("there")[0] == "True", PROBE_INTERVAL + PASS + 1, "Ready again")


@pytest.mark.requires("avahi-daemon")
def test_the_node_follows_a_changed_address(here, there):
    with listening(there):
        there.avahi("there", port=7946, txt={"node": "there", "port": 7946, "pid": 1})
        daemon = here.k3net(QUICK, node_name="here")
        wait_for(lambda: (daemon.ready("there") or ("",))[0] == "True", 8, "Ready")
        there.set_address("10.77.0.3/24", "10.77.0.33/24")
        wait_for(lambda: ("InternalIP", "10.77.0.33") in addresses(daemon, "there"), 8, "the new address")
        wait_for(lambda: ("InternalIP", "10.77.0.3") not in addresses(daemon, "there"), 8, "the old one gone")
        time.sleep(PEER_TTL + PASS)
        assert daemon.ready("there") == ("True", "PeerAlive")


@pytest.mark.requires("avahi-daemon", "avahi-browse", "dbus-daemon")
def test_avahi_sees_the_daemon_and_its_goodbye(here, there):
    daemon = here.k3net(QUICK, node_name="here")
    wait_for(lambda: daemon.ready("here") == ("True", "LANDiscovery"), 5, "the own Node")
    wait_for(lambda: {f.name for f in there.avahi_browse() if f.address} == {"here"}, 10, "Avahi sees it")
    found = next(f for f in there.avahi_browse() if f.address == "10.77.0.2")
    assert found.port == 7946
    assert found.txt == {"node=here", "port=7946", f"pid={daemon.info()['pid']}"}
    daemon.stop()
    wait_for(lambda: not there.avahi_browse(), 5, "the goodbye")
    with closing(sqlite3.connect(here.folder / "var" / "k3net.db")) as connection:
        [(manifest,)] = connection.execute("select manifest from nodes where name = 'here'").fetchall()
    assert '"reason":"PeerGoodbye"' in manifest.replace(" ", "")


@pytest.mark.requires("avahi-daemon")
def test_a_lan_with_ipv6_only_works(lab):
    here, there = lab.host("here", ipv6="fd77::2/64"), lab.host("there", ipv6="fd77::3/64")
    with listening(there, family=socket.AF_INET6):
        there.avahi("there", port=7946, txt={"node": "there", "port": 7946, "pid": 1})
        daemon = here.k3net(QUICK, node_name="here")
        wait_for(lambda: daemon.ready("there") == ("True", "PeerAlive"), 8, "Ready")
        assert addresses(daemon, "there") == [("Hostname", "there"), ("InternalIP", "fd77::3")]
        wait_for(lambda: addresses(daemon, "here") == [("Hostname", "here"), ("InternalIP", "fd77::2")], 3, "own Node")


@pytest.mark.requires("avahi-daemon")
def test_a_machine_that_took_the_own_name_keeps_its_node(here, there):
    there.avahi("here", port=7946, txt={"node": "here", "port": 7946, "pid": 1})
    time.sleep(2)
    daemon = here.k3net(QUICK, node_name="here")
    wait_for(lambda: any("announces this node's name" in a for a in daemon.api("/readyz")["alarms"]), 8, "the alarm")
    assert "here" not in daemon.nodes()


def test_the_own_node_is_stored_soon_after_the_start(here):
    daemon = here.k3net(node_name="here")
    database = Path(here.folder / "var" / "k3net.db")
    wait_for(lambda: database.exists() and daemon.nodes()["here"]["metadata"]["resourceVersion"], 8, "the own Node")
