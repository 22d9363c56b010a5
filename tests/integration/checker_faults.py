"""Faults of a fleet (tests/integration/overlay.py), each with the verdicts that name it and nothing else."""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import combinations
from typing import NamedTuple

from integration.cuts import rules, split
from integration.overlay import SERVICE, VXLAN, Fleet, nft

Told = tuple[str, str, str, tuple[str, ...]]
"""Kind, layer, protocol, and what it concerns: nodes, links (`n1-n2`), sets (`n1,n2`) or a service."""

EAST, WEST = tuple(f"n{i}" for i in range(1, 8)), tuple(f"n{i}" for i in range(8, 13))
ECHO_REQUEST = "ip protocol icmp icmp type echo-request"


class Fault(NamedTuple):
    plant: Callable[[Fleet], AbstractContextManager[None]]
    verdicts: frozenset[Told]


def told(kind: str, layer: str = "", *concerned: str, protocol: str = "") -> Told:
    return (kind, layer, protocol, tuple(sorted(concerned)))


def read(fleet: Fleet) -> frozenset[Told]:
    """The verdicts now."""
    return frozenset(
        told(
            found["kind"],
            found["layer"],
            *found["nodes"],
            *("-".join(link) for link in found["links"]),
            *(",".join(sorted(each)) for each in found["sets"]),
            *filter(None, [found["service"]]),
            protocol=found["protocol"],
        )
        for found in fleet.ask("verdicts")["items"]
    )


@contextmanager
def host_down(fleet: Fleet) -> Iterator[None]:
    fleet["n3"].host.cut()
    try:
        yield
    finally:
        fleet["n3"].host.restore()


@contextmanager
def port_closed(fleet: Fleet) -> Iterator[None]:
    fleet["n4"].shut()
    try:
        yield
    finally:
        fleet["n4"].reopen()


@contextmanager
def agent_killed(fleet: Fleet) -> Iterator[None]:
    fleet["n5"].kill()
    try:
        yield
    finally:
        fleet["n5"].start()


@contextmanager
def proxy_broken(fleet: Fleet) -> Iterator[None]:
    fleet["n6"].unserve()
    try:
        yield
    finally:
        fleet["n6"].serve()


@contextmanager
def firewall(fleet: Fleet, name: str, match: str) -> Iterator[None]:
    """That host lets in no new connection, nor ping, of those that match."""
    host = fleet[name].host
    rule = f"{match} meta l4proto {{ icmp, tcp }} ct state new drop;"
    nft(host, f"table inet wall {{ chain in {{ type filter hook input priority 0; {rule} }}; }}")
    try:
        yield
    finally:
        nft(host, "delete table inet wall")


def dropping(*words: str) -> "Callable[[Fleet], AbstractContextManager[None]]":
    """The switch drops the frames that match one of these."""
    return lambda fleet: rules(fleet, [f"{word} drop;" for word in words])


def udp(port: int) -> str:
    return f"ip protocol udp udp dport {port}"


def between(one: str, two: str) -> str:
    return f'iifname "to-{one}" oifname "to-{two}"'


def halves(fleet: Fleet) -> "AbstractContextManager[None]":
    return split(fleet, *([fleet[name].host for name in side] for side in (EAST, WEST)))


def _fault(plant: "Callable[[Fleet], AbstractContextManager[None]]", *verdicts: Told) -> Fault:
    return Fault(plant, frozenset(verdicts))


FAULTS = {
    "host down": _fault(host_down, told("down", "host", "n3")),
    "one-way drop": _fault(dropping(between("n1", "n2")), told("link", "host", "n1-n2")),
    "overlay port dropped": _fault(dropping(udp(VXLAN)), told("all", "pod")),
    "DNS dropped": _fault(dropping(udp(53)), told("dns", "service", SERVICE)),
    "5/7 split": _fault(halves, told("partition", "host", ",".join(sorted(EAST)), ",".join(sorted(WEST)))),
    "20 % loss": _fault(dropping(f"{between('n9', 'n12')} numgen random mod 100 < 20"), told("loss", "host", "n12-n9")),
    "TCP 22 closed": _fault(port_closed, told("port", "host", "n4", protocol="tcp")),
    "agent killed": _fault(agent_killed, told("port", "pod", "n5", protocol="tcp"), told("unknown", "", "n5")),
}
"""Those of the list in which each is planted alone and with each other."""

MORE = {
    "firewall against one": _fault(
        lambda fleet: firewall(fleet, "n7", "ip saddr 10.78.0.6"), told("one-way", "host", "n6-n7")
    ),
    "firewall against all": _fault(
        lambda fleet: firewall(fleet, "n7", 'iifname "lan0"'), told("inbound", "host", "n7")
    ),
    "overlay of a node": _fault(
        dropping(f'iifname "to-n8" {udp(VXLAN)}', f'oifname "to-n8" {udp(VXLAN)}'), told("down", "pod", "n8")
    ),
    "overlay of a link": _fault(
        dropping(f"{between('n8', 'n9')} {udp(VXLAN)}", f"{between('n9', 'n8')} {udp(VXLAN)}"),
        told("link", "pod", "n8-n9"),
    ),
    "DNS of a node": _fault(dropping(f'iifname "to-n10" {udp(53)}'), told("dns", "service", "n10")),
    "TCP 22 dropped": _fault(dropping("ip protocol tcp tcp dport 22"), told("port", "host", protocol="tcp")),
    "ping of a node": _fault(dropping(f'oifname "to-n2" {ECHO_REQUEST}'), told("icmp", "host", "n2", protocol="icmp")),
    "kube-proxy of a node": _fault(proxy_broken, told("service", "service", "n6", SERVICE)),
}

PAIRS = list(combinations(FAULTS, 2))


@contextmanager
def planted(fleet: Fleet, names: Collection[str]) -> Iterator[None]:
    known = {**FAULTS, **MORE}
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(known[name].plant(fleet))
        yield


def expected(names: Collection[str]) -> frozenset[Told]:
    """Each fault by its own verdicts, but for what another one hides."""
    found = frozenset[Told]().union(*({**FAULTS, **MORE}[name].verdicts for name in names))
    if "overlay port dropped" in names:  # no pod passes, so nothing is said of one, nor of what only pods see
        found -= {each for each in found if each[1] in ("pod", "service") and each[0] != "all"}
    if {"host down", "5/7 split"} <= {*names}:  # it is in neither set
        rest = [",".join(sorted({*side} - {"n3"})) for side in (EAST, WEST)]
        found = found - FAULTS["5/7 split"].verdicts | {told("partition", "host", *rest)}
    return found
