"""A network that falls apart, and one etcd: who is cut off demotes nobody, and after healing all agree again soon."""

import time

import pytest
from integration.cuts import deaf, split
from integration.etcd_host import EtcdHost
from integration.lab import wait_for
from integration.test_members import CONFIG, PEER_TTL, REPORT_EVERY, members, ready

pytestmark = pytest.mark.requires("nft", "etcd", "etcdctl")
NAMES = {f"d{i}" for i in range(5)}
HEALED_WITHIN = 45
LONG = 2.5 * 10 * REPORT_EVERY
"""Seconds: more than two listings of the store."""


class Fleet:
    """Five daemons that share an etcd; `hosts` and `daemons` in the order of their names."""

    def __init__(self, lab):
        self.lab = lab
        self.store = lab.host("store", ipv4="10.77.1.1/16")
        self.etcd = EtcdHost(self.store, "10.77.1.1")
        storage = {"type": "etcd", "etcd": {"endpoints": [self.etcd.url], "dial_timeout": "2s"}}
        self.hosts = [lab.host(name, ipv4=f"10.77.0.{10 + i}/16") for i, name in enumerate(sorted(NAMES))]
        self.daemons = [host.k3net({**CONFIG, "storage": storage}, node_name=host.name) for host in self.hosts]
        wait_for(self.agreed, 30, "all Ready and members on all")

    def agreed(self) -> bool:
        """Whether all know all as Ready members, and the store says so too."""
        everybody = dict.fromkeys(NAMES, "True")
        known = all(ready(daemon) == everybody and members(daemon) == NAMES for daemon in self.daemons)
        return known and self.etcd.ready() == everybody

    def flaps(self) -> dict[str, int]:
        """How often each Node stopped being Ready."""
        return {name: self.etcd.statuses(name).count("False") for name in sorted(NAMES)}


@pytest.fixture
def fleet(lab):
    return Fleet(lab)


def test_a_split_in_two_and_three_costs_one_flap_at_most_and_heals(fleet):
    with split(fleet.lab, fleet.hosts[:2], fleet.hosts[2:]):
        time.sleep(3 * PEER_TTL)
    wait_for(fleet.agreed, HEALED_WITHIN, "all agree")
    time.sleep(2 * PEER_TTL)
    assert fleet.agreed()
    assert max(fleet.flaps().values()) <= 1, fleet.flaps()


def test_a_split_that_lasts_is_no_quarrel_about_the_records(fleet):
    with split(fleet.lab, fleet.hosts[:2], fleet.hosts[2:]):
        time.sleep(LONG)
    wait_for(fleet.agreed, HEALED_WITHIN, "all agree")
    assert max(fleet.flaps().values()) <= 1, fleet.flaps()


def test_a_minority_that_also_loses_the_store_demotes_nobody(fleet):
    minority, majority = fleet.hosts[:2], fleet.hosts[2:]
    with split(fleet.lab, minority, [*majority, fleet.store]):
        wait_for(lambda: [fleet.etcd.ready()[host.name] for host in minority] == ["False"] * 2, 4 * PEER_TTL, "lapsed")
        time.sleep(2 * PEER_TTL)
        assert [fleet.etcd.ready()[host.name] for host in majority] == ["True"] * 3
    wait_for(fleet.agreed, HEALED_WITHIN, "all agree")
    time.sleep(2 * PEER_TTL)
    assert fleet.flaps() == {**dict.fromkeys(NAMES, 0), "d0": 1, "d1": 1}


@pytest.mark.parametrize("way", ["hears nobody", "is heard by nobody", "both"])
def test_one_who_is_cut_off_from_all_peers_demotes_nobody(fleet, way):
    one, others = fleet.hosts[:1], fleet.hosts[1:]
    cuts = {
        "hears nobody": lambda: deaf(fleet.lab, to=others, ears=one),
        "is heard by nobody": lambda: deaf(fleet.lab, to=one, ears=others),
        "both": lambda: split(fleet.lab, one, others),
    }
    with cuts[way]():
        wait_for(lambda: fleet.flaps()["d0"], 4 * PEER_TTL, "the others lose it")
        time.sleep(LONG)
        assert [fleet.etcd.ready()[host.name] for host in others] == ["True"] * 4
    wait_for(fleet.agreed, HEALED_WITHIN, "all agree")
    assert fleet.flaps() == {**dict.fromkeys(NAMES, 0), "d0": 1}
