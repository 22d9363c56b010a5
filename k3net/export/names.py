"""Names as they may be shown, and where they are written: /etc/hosts, and PTR records."""

from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path

from k3net.neighbors.entry import Address

HOSTS = Path("/etc/hosts")
_LONGEST_NAME = 253
_LONGEST_LABEL = 63
_LARGEST_FILE = 2**22


def shown_name(text: str) -> str:
    """The name without its last dot, or "" when it is none: printable ASCII, RFC 1035 section 2.3.4 lengths."""
    name = text.removesuffix(".")
    labels = name.split(".")
    whole = 0 < len(name) <= _LONGEST_NAME and all(0 < len(label) <= _LONGEST_LABEL for label in labels)
    return name if whole and name.isascii() and name.isprintable() else ""


def parse_hosts(text: str, wanted: Collection[Address]) -> dict[Address, str]:
    """The first name that hosts(5) gives each of the addresses that are wanted."""
    found: dict[Address, str] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) < 2:
            continue
        try:
            address = ip_address(words[0].partition("%")[0])
        except ValueError:
            continue
        name = shown_name(words[1])
        if name and address in wanted:
            found.setdefault(address, name)
    return found


def read_hosts(wanted: Collection[Address], path: Path = HOSTS) -> dict[Address, str]:
    """The same from the file, its first 4 MiB; one that cannot be read names nobody."""
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE).decode("utf-8", "replace")
    except OSError:
        return {}
    return parse_hosts(text, wanted)
