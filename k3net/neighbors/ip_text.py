"""What `ip neigh` of iproute2 prints."""

from ipaddress import ip_address
from itertools import pairwise

from k3net.neighbors.entry import STATES, Neighbor, Table, parse_mac
from k3net.neighbors.lines import table_of

_NOT_A_ROW = "proxy"


def parse_ip_neigh(text: str) -> Table:
    """Rows as `10.0.0.1 dev eth0 lladdr 52:54:00:0a:0b:0c router STALE`, with `-s` too; proxies are no neighbours."""
    return table_of("ip neigh", text.splitlines(), _row)


def _row(line: str) -> Neighbor | None:
    first, *words = line.split()
    if _NOT_A_ROW in words:
        return None
    pairs = dict(pairwise(words))
    state = words[-1].lower() if words else ""
    if state not in STATES and "lladdr" not in pairs:
        state = "none"  # which it does not print
    if "dev" not in pairs or state not in STATES:
        raise ValueError(line)
    mac = _link_address(pairs["lladdr"]) if "lladdr" in pairs else ""
    return Neighbor(ip_address(first.partition("%")[0]), mac, pairs["dev"], state)


def _link_address(text: str) -> str:
    """A tunnel's is an IP address, which is no MAC."""
    try:
        return parse_mac(text)
    except ValueError:
        ip_address(text)
        return ""
