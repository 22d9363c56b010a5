"""This machine: rules on made-up interfaces, and the real ones of network namespaces."""

import subprocess
import sys
import time
from ipaddress import ip_interface, ip_network

import pytest
from integration import netns
from integration.lab import Lab
from integration.netns import ip

from k3net import host
from k3net.host import Host, Interface


def interface(name, *addresses, index=2, up=True, multicast=True, loopback=False):
    return Interface(name, index, up, multicast, loopback, tuple(map(ip_interface, addresses)))


LO = interface("lo", "127.0.0.1/8", "::1/128", index=1, multicast=False, loopback=True)
ETH0 = interface("eth0", "192.168.1.5/24", "fd77::5/64", "fe80::5/64")
WLAN0 = interface("wlan0", "192.168.2.5/24")
DOCKER0 = interface("docker0", "172.17.0.1/16")


def names(interfaces):
    return [i.name for i in interfaces]


# The rules


@pytest.mark.parametrize(
    "name",
    ["docker0", "br-0123456789ab", "cni0", "cbr0", "flannel.1", "cali1234", "cilium_host", "lxcbr0", "virbr0",
     "virbr0-nic", "podman1", "kube-ipvs0", "weave", "nodelocaldns", "veth1a2b3c4", "veth1a2b3c4d", "vnet12",
     "eni0a1b2c3d4e5"],
)  # fmt: skip
def test_what_belongs_to_containers_is_not_spoken_on_or_told(name):
    here = Host((LO, ETH0, interface(name, "172.17.0.1/16", "fe80::1/64")))
    assert here.addresses == ("192.168.1.5", "fd77::5")
    assert names(here.multicast_interfaces()) == ["eth0"]


@pytest.mark.parametrize(
    "name",
    ["eth0", "enp3s0", "wlan0", "br0", "br-lan", "bond0", "veth0", "veth-a", "vlan12", "wg0", "docker", "dockerish0",
     "mycali", "vnet", "eni"],
)  # fmt: skip
def test_what_merely_looks_like_it_is_an_interface_like_others(name):
    assert not interface(name).of_containers


def test_an_address_of_a_containers_bridge_is_an_own_address_all_the_same():
    own = Host((LO, ETH0, DOCKER0)).own_addresses
    assert own == {"127.0.0.1", "::1", "192.168.1.5", "fd77::5", "fe80::5", "172.17.0.1"}


def test_addresses_are_ipv4_first_and_those_of_the_default_route_first_in_each_family():
    wlan0 = interface("wlan0", "fd88::5/64", "192.168.2.5/24")
    assert Host((LO, ETH0, wlan0), outward="wlan0").addresses == ("192.168.2.5", "192.168.1.5", "fd88::5", "fd77::5")
    assert Host((LO, ETH0, wlan0)).addresses == ("192.168.1.5", "192.168.2.5", "fd77::5", "fd88::5")


def test_no_loopback_link_local_or_unusable_address_is_told():
    odd = interface("eth1", "fe80::1/64", "127.0.0.9/8", "0.0.0.0/0", "ff02::1/128", "240.0.0.1/8")
    assert Host((LO, odd)).addresses == ()


def test_an_interface_that_is_down_tells_nothing_but_its_addresses_are_still_own():
    down = interface("eth1", "192.168.9.5/24", up=False)
    here = Host((LO, down))
    assert (here.addresses, here.networks, here.multicast_interfaces()) == ((), (), ())
    assert "192.168.9.5" in here.own_addresses


def test_networks_are_those_of_the_interfaces_each_once():
    second = interface("eth1", "192.168.1.77/24", "10.0.0.1/8")
    here = Host((LO, ETH0, second))
    assert here.networks == tuple(map(ip_network, ("192.168.1.0/24", "fd77::/64", "10.0.0.0/8")))


def test_all_interfaces_are_spoken_on_that_can_multicast_and_have_an_address():
    others = (interface("tun0", "10.8.0.2/24", multicast=False), interface("eth1"), interface("eth2", "fe80::9/64"))
    assert names(Host((LO, ETH0, WLAN0, DOCKER0, *others)).multicast_interfaces()) == ["eth0", "wlan0", "eth2"]


def test_chosen_interfaces_are_spoken_on_whatever_they_are_if_they_are_up():
    here = Host((LO, ETH0, WLAN0, DOCKER0, interface("eth1"), interface("eth2", "10.0.0.1/8", up=False)))
    chosen = here.multicast_interfaces(("docker0", "lo", "eth1", "eth2", "nope"))
    assert names(chosen) == ["lo", "docker0"]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("n1", "n1"),
        ("Build-01.Example.COM.", "build-01.example.com"),
        ("a_b", ""),
        ("", ""),
        ("-x", ""),
        ("x" * 64, ""),
    ],
)
def test_the_node_name_is_the_host_name_in_lower_case_if_it_can_be_one(monkeypatch, said, name):
    monkeypatch.setattr("socket.gethostname", lambda: said)
    assert host.node_name() == name


def test_a_machine_without_routing_tables_has_no_way_out(monkeypatch):
    for table in ("_ROUTES", "_IPV6_ROUTES"):
        monkeypatch.setattr(host, table, "/proc/nope")
    assert host.default_gateways() == ()
    assert host.look().outward == ""


def test_an_empty_routing_table_is_no_way_out(monkeypatch, tmp_path):
    empty = tmp_path / "route"
    empty.write_text("")
    monkeypatch.setattr(host, "_ROUTES", str(empty))
    monkeypatch.setattr(host, "_IPV6_ROUTES", str(empty))
    assert (host.default_gateways(), host.look().outward) == ((), "")


def test_an_interface_that_goes_while_it_is_looked_at_is_left_out(monkeypatch):
    monkeypatch.setattr("socket.if_nameindex", lambda: [(1, "lo"), (99, "gone0"), (98, "bad\udcff")])
    assert names(host.look().interfaces) == ["lo"]


def test_looking_and_asking_for_gateways_starts_no_program(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert host.look().interfaces
    host.default_gateways()


# Real ones

real = pytest.mark.requires("root", "netns")


@pytest.fixture
def lan(tmp_path):
    with Lab(tmp_path) as lab:
        yield lab


def seen(here):
    return here.inside(host.look)


def of(found, name):
    return next(i for i in found.interfaces if i.name == name)


@real
def test_a_host_with_both_families(lan):
    here = lan.host("a", ipv4="10.77.0.2/16", ipv6="fd77::2/64")
    ip("-n", here.namespace, "address", "add", "10.77.0.9/24", "dev", "lan0")
    found = seen(here)
    assert found.addresses == ("10.77.0.2", "10.77.0.9", "fd77::2")
    assert found.outward == "lan0"
    assert set(found.networks) == set(map(ip_network, ("10.77.0.0/16", "10.77.0.0/24", "fd77::/64")))
    link = of(found, "lan0")
    assert (link.up, link.multicast, link.loopback) == (True, True, False)
    assert link.index == int(here.inside(lambda: dict(map(reversed, host.socket.if_nameindex())))["lan0"])
    lo = of(found, "lo")
    assert (lo.up, lo.loopback, {str(a) for a in lo.addresses}) == (True, True, {"127.0.0.1/8", "::1/128"})


@real
def test_an_address_with_a_label_is_an_address_of_its_interface(lan):
    here = lan.host("a", ipv4="10.77.0.2/16")
    ip("-n", here.namespace, "address", "add", "10.77.0.50/16", "dev", "lan0", "label", "lan0:vip")
    found = seen(here)
    assert "10.77.0.50" in found.own_addresses
    assert found.addresses == ("10.77.0.2", "10.77.0.50")


@real
def test_an_interface_whose_only_address_has_a_label_is_spoken_on(lan):
    here = lan.host("a")
    ip("-n", here.namespace, "address", "add", "10.77.0.50/16", "dev", "lan0", "label", "lan0:1")
    assert "10.77.0.50" in seen(here).addresses


@real
def test_an_interface_that_is_down_or_without_carrier_is_not_up(lan):
    here = lan.host("a", ipv4="10.77.0.2/16")
    here.cut()
    assert not of(seen(here), "lan0").up
    assert seen(here).addresses == ()
    assert "10.77.0.2" in seen(here).own_addresses
    here.restore()
    assert of(seen(here), "lan0").up
    ip("-n", here.namespace, "link", "set", "lan0", "down")
    assert not of(seen(here), "lan0").up


@real
def test_an_ipv6_only_host(lan):
    here = lan.host("a", ipv6="fd77::2/64")
    found = seen(here)
    assert found.addresses == ("fd77::2",)
    assert found.networks == (ip_network("fd77::/64"),)
    assert names(found.multicast_interfaces()) == ["lan0"]


@real
def test_a_host_with_link_local_addresses_only_speaks_but_tells_none(lan):
    here = lan.host("a")
    found = seen(here)
    assert found.addresses == ()
    assert found.networks == ()
    assert names(found.multicast_interfaces()) == ["lan0"]
    assert any(address.is_link_local for address in of(found, "lan0").addresses)


@real
def test_the_default_gateways_are_those_of_default_routes_alone(lan):
    here = lan.host("a", ipv4="10.77.0.2/16", ipv6="fd77::2/64")
    route = ["-n", here.namespace, "route"]
    route6 = ["-n", here.namespace, "-6", "route"]
    ip(*route, "replace", "default", "via", "10.77.0.1")
    ip(*route, "add", "10.5.0.0/16", "via", "10.77.0.66")
    ip(*route, "add", "0.0.0.0/1", "via", "10.77.0.67")
    ip("-4", *route, "add", "default", "via", "inet6", "fe80::5", "dev", "lan0", "metric", "70")
    ip(*route, "add", "default", "metric", "50", "nexthop", "via", "10.77.0.3", "dev", "lan0",
       "nexthop", "via", "10.77.0.4", "dev", "lan0")  # fmt: skip
    ip(*route6, "replace", "default", "via", "fd77::1")
    ip(*route6, "add", "default", "via", "fe80::1", "dev", "lan0", "metric", "2000")
    ip(*route6, "add", "fd99::/64", "via", "fd77::66")
    assert here.inside(host.default_gateways) == ("10.77.0.1", "10.77.0.3", "fd77::1", "fe80::1")


@real
def test_a_default_route_without_a_gateway_has_none(lan):
    here = lan.host("a", ipv4="10.77.0.2/16", ipv6="fd77::2/64")
    assert here.inside(host.default_gateways) == ()
    assert seen(here).outward == "lan0"


@real
def test_the_default_route_of_the_lowest_metric_is_the_way_out(lan):
    here = lan.host("a", ipv4="10.77.0.2/16")
    add = ["-n", here.namespace]
    ip(*add, "link", "add", "eth9", "type", "veth", "peer", "name", "eth8")
    ip(*add, "link", "set", "eth9", "up")
    ip(*add, "link", "set", "eth8", "up")
    ip(*add, "address", "add", "10.88.0.2/16", "dev", "eth9")
    ip(*add, "route", "delete", "default")
    ip(*add, "route", "add", "default", "dev", "lan0", "metric", "100")
    ip(*add, "route", "add", "default", "dev", "eth9", "metric", "20")
    found = seen(here)
    assert found.outward == "eth9"
    assert found.addresses == ("10.88.0.2", "10.77.0.2")


@real
def test_a_host_of_many_containers_is_looked_at_quickly(lan):
    here = lan.host("a", ipv4="10.77.0.2/16")
    batch = [f"link add veth{i:07x} type veth peer name veth{i:08x}\nlink set veth{i:07x} up\nlink set veth{i:08x} up"
             for i in range(60)]  # fmt: skip
    done = subprocess.run(
        ["ip", "-n", here.namespace, "-batch", "-"], input="\n".join(batch), text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    ip("-n", here.namespace, "address", "add", "10.99.0.1/32", "dev", "veth0000001")

    def timed():
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            found = host.look()
            times.append(time.perf_counter() - begun)
        return found, min(times)

    found, took = here.inside(timed)
    assert len(found.interfaces) == 122
    assert names(found.multicast_interfaces()) == ["lan0"]
    assert "10.99.0.1" in found.own_addresses
    assert took < 0.02, f"{took * 1000:.1f} ms"


@real
def test_as_a_process_of_its_own_it_sees_the_same(lan):
    here = lan.host("a", ipv4="10.77.0.2/16")
    ip("-n", here.namespace, "route", "replace", "default", "via", "10.77.0.1")
    script = "from k3net import host; h = host.look(); print(h.addresses, h.outward, host.default_gateways())"
    assert here.run(sys.executable, "-c", script).stdout == "('10.77.0.2',) lan0 ('10.77.0.1',)\n"


@real
def test_a_namespace_with_nothing_in_it_has_nothing_to_say():
    namespace = netns.create("host-empty")
    try:
        found = netns.inside(namespace, host.look)
        assert (found.addresses, found.networks, found.outward) == ((), (), "")
        assert found.multicast_interfaces() == ()
        assert netns.inside(namespace, host.default_gateways) == ()
    finally:
        netns.delete(namespace)
