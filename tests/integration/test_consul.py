"""The daemon and a real Consul: registration, checks, losses, ACLs, TLS, many daemons, both families, both sources."""

import http.client
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from certificates import Authority
from consul import Consul, free_port
from integration.daemon import Answer, K3net, clean_environment, command
from integration.lab import wait_for

pytestmark = pytest.mark.requires("consul")
QUICK = {"watch_interval": "2s", "health_check_interval": "1s", "health_check_timeout": "1s"}


class Local(K3net):
    """A daemon on this machine's loopback, as several may be."""

    def get(self, path, timeout=5.0):
        return get_here(self._api_port, path, timeout)

    def health(self, path="/healthz", timeout=5.0):
        return get_here(self._listen_port, path, timeout)


def get_here(port, path, timeout):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())


@pytest.fixture
def started(tmp_path):
    """Starts what is ended with the test."""
    running = []

    def start(thing):
        running.append(thing)
        return thing

    yield start
    for thing in reversed(running):
        thing.kill()
        if isinstance(thing, K3net):
            print(f"---- {thing.log.name}\n{thing.output()[-6000:]}")


@pytest.fixture
def consul(started, tmp_path):
    return started(Consul(tmp_path / "consul"))


@pytest.fixture
def k3net(started, tmp_path):
    """`k3net("name", consul_addr=...)` starts a daemon whose health server and API are on 127.0.0.1."""

    def start(name, env=None, section=None, **flags):
        listen, api = free_port(), free_port()
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        config = {
            "listen": f"127.0.0.1:{listen}",
            "api": {"listen": f"127.0.0.1:{api}"},
            "mdns": {"enabled": False},
            "consul": {**QUICK, **(section or {})},
            "liveness": {"peer_ttl": "6s", "probe_interval": "1s", "probe_timeout": "300ms"},
        }
        argv = command(folder / "k3net.yaml", config, {"node_name": name, **flags})
        log = folder / f"k3net-{len(list(folder.glob('*.log')))}.log"
        environment = clean_environment(env or {})
        return started(Local("", listen_port=listen, api_port=api, argv=argv, log=log, env=environment, cwd=folder))

    return start


def agree(consul, daemon):
    """Consul and the Nodes say the same of every machine that is registered."""
    expected = {i.removeprefix("k3-node-"): s != "critical" for i, s in consul.health().items()}
    return expected and {n: (daemon.ready(n) or ("",))[0] == "True" for n in expected} == expected


def test_it_registers_and_consul_and_the_nodes_agree_while_checks_break_and_mend(consul, k3net):
    daemon = k3net("one", consul_addr=consul.address)
    wait_for(lambda: consul.health() == {"k3-node-one": "passing"}, 8, "registered and passing")
    [entry] = consul.get("/v1/health/service/k3-node")
    info = daemon.info()
    assert entry["Service"]["Meta"] == {"node": "one", "pid": str(info["pid"])}
    assert (entry["Service"]["Address"], entry["Service"]["Port"]) == ("127.0.0.1", info["port"])
    assert (info["service"], info["serviceID"]) == ("k3-node", "k3-node-one")
    wait_for(lambda: daemon.ready("one") == ("True", "ConsulRegistered"), 3, "Ready")
    consul.service("k3-node-two", Address="192.0.2.2", Meta={"node": "two", "pid": "9"})
    wait_for(lambda: daemon.ready("two") == ("True", "ConsulHealthCheck"), 2, "two is found")
    node = daemon.nodes()["two"]
    assert node["metadata"]["uid"] == "consul-node-two"
    assert node["metadata"]["labels"]["discovery"] == "consul"
    assert node["status"]["addresses"] == [
        {"type": "Hostname", "address": "agent-one"},
        {"type": "InternalIP", "address": "192.0.2.2"},
    ]
    for word, ready in (("fail", "False"), ("warn", "True"), ("fail", "False"), ("pass", "True")):
        consul.check("k3-node-two", word)
        wait_for(lambda ready=ready: daemon.ready("two") == (ready, "ConsulHealthCheck"), 2, word)
        assert agree(consul, daemon)
    consul.maintenance("k3-node-one", True, "new disk")
    wait_for(lambda: daemon.ready("one") == ("False", "ConsulHealthCheck"), 2, "maintenance")
    consul.maintenance("k3-node-one", False)
    wait_for(lambda: daemon.ready("one") == ("True", "ConsulRegistered"), 2, "maintained")
    consul.put("/v1/agent/maintenance?enable=true")
    wait_for(lambda: {daemon.ready(n)[0] for n in ("one", "two")} == {"False"}, 2, "the node's maintenance")
    assert agree(consul, daemon)
    consul.put("/v1/agent/maintenance?enable=false")
    wait_for(lambda: {daemon.ready(n)[0] for n in ("one", "two")} == {"True"}, 2, "and its end")


def test_healthz_that_stops_is_critical_and_not_ready_and_ready_again_when_it_is_back(consul, k3net):
    watcher, other = k3net("watcher", consul_addr=consul.address), k3net("other", consul_addr=consul.address)
    wait_for(lambda: watcher.ready("other") == ("True", "ConsulHealthCheck"), 8, "Ready")
    other.signal(signal.SIGSTOP)
    try:
        wait_for(lambda: consul.health()["k3-node-other"] == "critical", 6, "critical")
        wait_for(lambda: watcher.ready("other") == ("False", "ConsulHealthCheck"), 2, "NotReady")
    finally:
        other.signal(signal.SIGCONT)
    wait_for(lambda: consul.health()["k3-node-other"] == "passing", 6, "passing")
    wait_for(lambda: watcher.ready("other") == ("True", "ConsulHealthCheck"), 2, "Ready again")


def test_deregistered_by_another_it_registers_again(consul, k3net):
    daemon = k3net("one", consul_addr=consul.address)
    wait_for(lambda: consul.health() == {"k3-node-one": "passing"}, 8, "registered")
    consul.drop("k3-node-one")
    wait_for(lambda: consul.health() == {"k3-node-one": "passing"}, 5, "registered again")
    wait_for(lambda: daemon.ready("one") == ("True", "ConsulRegistered"), 3, "Ready")


def test_a_service_that_is_removed_is_not_ready_and_stays_in_the_store(consul, k3net):
    daemon = k3net("one", consul_addr=consul.address)
    consul.service("k3-node-two", Address="192.0.2.2")
    wait_for(lambda: daemon.ready("two") == ("True", "ConsulHealthCheck"), 8, "Ready")
    consul.drop("k3-node-two")
    wait_for(lambda: daemon.ready("two") == ("False", "ConsulDeregistered"), 2, "NotReady")
    stored = wait_for(lambda: "ConsulDeregistered" in of_store(daemon, "two"), 2, "in the store")
    assert stored


def of_store(daemon, name):
    def manifest():
        with closing(sqlite3.connect(Path(daemon.log).parent / "var/k3net.db")) as connection:
            return connection.execute("select manifest from nodes where name = ?", [name]).fetchone()[0]

    return wait_for(manifest, 5, f"{name} in the store")


def test_a_clean_stop_deregisters(consul, k3net):
    watcher, other = k3net("watcher", consul_addr=consul.address), k3net("other", consul_addr=consul.address)
    wait_for(lambda: watcher.ready("other") == ("True", "ConsulHealthCheck"), 8, "Ready")
    other.stop()
    assert "k3-node-other" not in consul.health()
    wait_for(lambda: watcher.ready("other") == ("False", "ConsulDeregistered"), 2, "NotReady")


def test_an_agent_that_is_restarted_and_empty_is_filled_again_and_demotes_nobody(consul, k3net):
    fleet = [k3net(name, consul_addr=consul.address) for name in ("one", "two", "three")]
    names = {"one", "two", "three"}
    wait_for(lambda: all(agree(consul, d) and set(d.nodes()) == names for d in fleet), 12, "all see all")
    wait_for(lambda: set(consul.health().values()) == {"passing"}, 5, "passing")
    consul.start()
    wait_for(lambda: set(consul.health()) == {f"k3-node-{n}" for n in names}, 12, "registered again")
    wait_for(lambda: set(consul.health().values()) == {"passing"}, 5, "passing")
    wait_for(lambda: all({d.ready(n)[0] for n in names} == {"True"} for d in fleet), 5, "all Ready")
    assert not any("ConsulDeregistered" in d.output() for d in fleet)


def test_an_agent_that_is_away_changes_no_node_and_readyz_says_so(consul, k3net):
    daemon = k3net("one", consul_addr=consul.address)
    consul.service("k3-node-two", Address="192.0.2.2")
    consul.service("k3-node-bad", Address="192.0.2.3", status="critical")
    wait_for(lambda: agree(consul, daemon), 8, "agreed")
    before = {n: (daemon.ready(n), of_store(daemon, n)) for n in ("two", "bad")}
    consul.kill()
    wait_for(lambda: daemon.get("/readyz").status == 503, 5, "readyz")
    wait_for(lambda: "refused" in str(daemon.get("/readyz").json()["dependencies"]), 5, "why")
    time.sleep(20)  # ten intervals, and longer than peer_ttl
    assert {n: (daemon.ready(n), of_store(daemon, n)) for n in ("two", "bad")} == before
    assert daemon.output().count("it is asked again") <= 2
    consul.start()
    wait_for(lambda: consul.health().get("k3-node-one") == "passing", 8, "registered again")
    wait_for(lambda: daemon.get("/readyz").status == 200, 5, "well again")


def test_a_consul_that_comes_late_is_waited_for(started, tmp_path, k3net):
    port = free_port()
    daemon = k3net("one", consul_addr=f"127.0.0.1:{port}")
    wait_for(lambda: daemon.ready("one") == ("True", "PeerAlive"), 5, "the own Node is there without Consul")
    started(Consul(tmp_path / "consul", port=port))
    wait_for(lambda: daemon.ready("one") == ("True", "ConsulRegistered"), 10, "registered")


def test_one_that_has_lost_its_token_s_rights_is_told_which(started, tmp_path, k3net):
    consul = started(Consul(tmp_path / "consul", acl=True))
    good = consul.policy_token("good", 'service_prefix "k3" { policy = "write" } node_prefix "" { policy = "read" }')
    blind = consul.policy_token("blind", 'service_prefix "k3" { policy = "write" }')
    reader = consul.policy_token("reader", 'service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }')
    consul.service("k3-node-x", Address="192.0.2.9")

    def error_of(daemon, text):
        return lambda: text in str(daemon.get("/readyz").json())

    daemon = k3net("good", env={"CONSUL_HTTP_TOKEN": good}, consul_addr=consul.address)
    wait_for(lambda: daemon.ready("x") == ("True", "ConsulHealthCheck"), 8, "x is found")
    wait_for(lambda: daemon.ready("good") == ("True", "ConsulRegistered"), 5, "registered")
    assert good not in daemon.output() + str(daemon.get("/api/v1/consul").body)

    daemon = k3net("reader", env={"CONSUL_HTTP_TOKEN": reader}, consul_addr=consul.address)
    wait_for(error_of(daemon, "lacks service:write"), 5, "service:write is named")
    wait_for(lambda: daemon.ready("x") == ("True", "ConsulHealthCheck"), 3, "what may be read is read")
    time.sleep(4)
    assert daemon.output().count("lacks service:write") == 1

    daemon = k3net("blind", env={"CONSUL_HTTP_TOKEN": blind}, consul_addr=consul.address)
    wait_for(error_of(daemon, "node:read"), 12, "node:read is named")

    token = tmp_path / "token"
    token.write_text("00000000-0000-4000-8000-000000000009\n")
    daemon = k3net("stranger", section={"token_file": str(token)}, consul_addr=consul.address)
    wait_for(error_of(daemon, "does not know the ACL token"), 5, "the token is unknown")
    token.write_text(good + "\n")
    wait_for(lambda: daemon.ready("stranger") == ("True", "ConsulRegistered"), 8, "the new token is read")


def test_tls_with_a_certificate_of_its_own(started, tmp_path, k3net):
    authority = Authority(tmp_path)
    server, server_key = authority.issue("server", "127.0.0.1", "localhost")
    client, client_key = authority.issue("client")
    files = {"ca": authority.ca, "cert": server, "key": server_key}
    consul = started(Consul(tmp_path / "consul", https=files))
    address = f"https://127.0.0.1:{consul.secure_port}"
    tls = {"ca": str(authority.ca), "cert": str(client), "key": str(client_key)}
    daemon = k3net("one", section=tls, consul_addr=address)
    wait_for(lambda: daemon.ready("one") == ("True", "ConsulRegistered"), 8, "registered by TLS")
    naked = k3net("naked", section={"ca": str(authority.ca)}, consul_addr=address)
    wait_for(lambda: "TLS: " in str(naked.get("/readyz").json()), 5, "a certificate is asked for")
    stranger = k3net("stranger", section={**tls, "ca": str(Authority(tmp_path, "other").ca)}, consul_addr=address)
    wait_for(lambda: "certificate verify failed" in str(stranger.get("/readyz").json()), 5, "not believed")
    assert set(consul.health()) == {"k3-node-one"}


def test_consul_on_ipv6(started, tmp_path, k3net):
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    consul = started(Consul(tmp_path / "consul", host="::1"))
    daemon = k3net("one", consul_addr=consul.address)
    consul.service("k3-node-six", Address="2001:db8::6")
    wait_for(lambda: daemon.ready("six") == ("True", "ConsulHealthCheck"), 8, "six is found")
    assert {"type": "InternalIP", "address": "2001:db8::6"} in daemon.nodes()["six"]["status"]["addresses"]
    wait_for(lambda: daemon.ready("one") == ("True", "ConsulRegistered"), 5, "registered")


def test_twenty_daemons_at_once(consul, k3net):
    names = {f"d{number}" for number in range(20)}
    fleet = [k3net(name, consul_addr=consul.address) for name in sorted(names)]
    wait_for(lambda: {i.removeprefix("k3-node-") for i in consul.health()} == names, 60, "all are registered")
    wait_for(lambda: set(consul.health().values()) == {"passing"}, 20, "all pass")
    for daemon in fleet:
        wait_for(lambda daemon=daemon: {n for n in names if daemon.ready(n)[0] == "True"} == names, 20, daemon.log.name)
    gone, dead = sorted(names)[7], fleet.pop(7)
    dead.kill()
    wait_for(lambda: consul.health()[f"k3-node-{gone}"] == "critical", 10, "critical")
    for daemon in fleet:
        wait_for(lambda daemon=daemon: daemon.ready(gone)[0] == "False", 10, daemon.log.name)


def test_one_peer_in_consul_and_on_the_lan_is_one_node_and_either_may_go(lab, tmp_path):
    here, there = lab.host("here", ipv4="10.77.0.2/24"), lab.host("there", ipv4="10.77.0.3/24")
    consul = here.inside(lambda: Consul(tmp_path / "consul"))
    try:
        both(here, there, consul)
    finally:
        consul.kill()


def both(here, there, consul):
    def in_consul(f):
        return here.inside(f)

    config = {
        "liveness": {"peer_ttl": "4s", "probe_interval": "1s", "probe_timeout": "300ms"},
        "consul": {"addr": consul.address, **QUICK},
    }
    peer = there.k3net({"mdns": {"enabled": True}}, node_name="there")
    daemon = here.k3net(config, node_name="here")
    wait_for(lambda: (daemon.ready("there") or ("",))[0] == "True", 8, "seen on the LAN")
    in_consul(lambda: consul.service("k3-node-there", Address="10.77.0.33", Meta={"node": "there"}))
    ips = {("InternalIP", "10.77.0.3"), ("InternalIP", "10.77.0.33")}

    def addresses():
        return {(a["type"], a["address"]) for a in daemon.nodes()["there"]["status"]["addresses"]}

    wait_for(lambda: addresses() >= ips, 4, "the addresses of both")
    node = daemon.nodes()["there"]
    assert (node["metadata"]["uid"], node["metadata"]["labels"]["discovery"]) == ("node-there", "consul")
    in_consul(lambda: consul.drop("k3-node-there"))
    time.sleep(5)
    assert daemon.ready("there")[0] == "True", "the LAN's evidence is not lost"
    in_consul(lambda: consul.service("k3-node-there", Address="10.77.0.33", Meta={"node": "there"}))
    wait_for(lambda: daemon.ready("there") == ("True", "ConsulHealthCheck"), 4, "Consul again")
    peer.stop()
    time.sleep(6)
    assert daemon.ready("there") == ("True", "ConsulHealthCheck"), "Consul's evidence is not lost"
    in_consul(lambda: consul.drop("k3-node-there"))
    wait_for(lambda: daemon.ready("there")[0] == "False", 4, "gone from both")
