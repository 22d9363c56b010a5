"""What `arp -a` prints: on Linux (net-tools, BusyBox), on macOS and the BSDs, and on Windows."""

import re
from ipaddress import IPv4Address

from k3net.neighbors.entry import Neighbor, Table, parse_mac
from k3net.neighbors.lines import table_of

_UNIX = re.compile(
    r"(?P<host>\S+) \((?P<address>[\d.]+)\) at (?P<mac>\S+)(?P<before>.*?)(?: on (?P<interface>\S+)(?P<after>.*))?"
)
_UNIX_UNKNOWN = ("<incomplete>", "(incomplete)")
_PROXIES = ("<from_interface>",)
_PERMANENT = {"PERM", "permanent"}
_PUBLISHED = {"PUB", "published"}

_WINDOWS_INTERFACE = re.compile(r"\S[^:]*: (?P<address>[\d.]+) --- 0x[0-9A-Fa-f]+\s*")
_WINDOWS_HEADING = re.compile(r"\s+\S.*?\s{2,}\S.*?\s{2,}\S.*")
_WINDOWS_ROW = re.compile(r"\s+(?P<address>\d+(?:\.\d+){3})\s+(?P<mac>[0-9A-Fa-f-]{17})\s+(?P<kind>\S+)\s*")
_STATIC = ("stat", "está", "стат", "静", "靜", "정적")
"""How the word for a static entry begins in the languages of Windows; it is shown in the user's."""


def parse_arp_unix(text: str) -> Table:
    """Rows as `gate (10.0.0.1) at 52:54:00:0a:0b:0c [ether] on eth0`; `?` is no name, macOS drops zeros in MACs."""
    return table_of("arp -a", text.splitlines(), _unix_row)


def _unix_row(line: str) -> Neighbor | None:
    form = _UNIX.fullmatch(line.strip())
    if form is None:
        raise ValueError(line)
    words = {*(form["before"] or "").split(), *(form["after"] or "").split()}
    if form["mac"] in _PROXIES or words & _PUBLISHED:
        return None
    unknown = form["mac"] in _UNIX_UNKNOWN
    mac = "" if unknown else parse_mac(form["mac"])
    state = "incomplete" if unknown else "permanent" if words & _PERMANENT else "dynamic"
    host = "" if form["host"] == "?" else form["host"]
    return Neighbor(IPv4Address(form["address"]), mac, form["interface"] or "", state, host)


def parse_arp_windows(text: str) -> Table:
    """Sections by interface, which is named by its address, in any language; the types are dynamic and static."""
    interface = ""

    def row(line: str) -> Neighbor | None:
        nonlocal interface
        if section := _WINDOWS_INTERFACE.fullmatch(line):
            interface = str(IPv4Address(section["address"]))
            return None
        if form := _WINDOWS_ROW.fullmatch(line):
            state = "permanent" if form["kind"].lower().startswith(_STATIC) else "dynamic"
            return Neighbor(IPv4Address(form["address"]), parse_mac(form["mac"]), interface, state)
        if interface and _WINDOWS_HEADING.fullmatch(line):
            return None
        raise ValueError(line)

    return table_of("arp -a", text.splitlines(), row)
