"""The neighbour table of the platform this runs on, by the first of its ways that works."""

import os
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence

from k3net.neighbors import netlink
from k3net.neighbors.arp_text import parse_arp_unix, parse_arp_windows
from k3net.neighbors.entry import Table
from k3net.neighbors.ip_text import parse_ip_neigh
from k3net.neighbors.lines import UnreadableTable

Read = Callable[[Collection[int], float], Table]

_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_LONGEST = 2**26


def _printed(
    parse: Callable[[str], Table], *argv: str, families: Collection[int] = (4,), encoding: str = "utf-8"
) -> Read:
    """Reads what a program prints that knows these `families`."""
    command = " ".join(argv)

    def read(wanted: Collection[int], timeout: float) -> Table:
        if missing := set(wanted) - set(families):
            raise UnreadableTable(f"{command} does not tell IPv{min(missing)} neighbours")
        return parse(_output(argv, timeout).decode(encoding, "replace"))

    return read


def _output(argv: Sequence[str], timeout: float) -> bytes:
    environ = {**os.environ, "LC_ALL": "C", "PATH": os.pathsep.join([os.environ.get("PATH", ""), _PATH])}
    command = " ".join(argv)
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, env=environ, check=False
        )
    except subprocess.TimeoutExpired:
        raise UnreadableTable(f"{command}: no answer in time") from None
    except OSError as error:
        raise UnreadableTable(f"{command}: {(error.strerror or str(error)).lower()}") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UnreadableTable(f"{command}: exit status {done.returncode}{': ' + repr(said[0][:80]) if said else ''}")
    return done.stdout[:_LONGEST]


_BSD: Sequence[Read] = (_printed(parse_arp_unix, "arp", "-a", "-n"),)  # without -n it asks DNS for each, in turn
READERS: Mapping[str, Sequence[Read]] = {
    "linux": (
        netlink.read,
        _printed(parse_ip_neigh, "ip", "neigh", "show", families=(4, 6)),
        _printed(parse_arp_unix, "arp", "-a", "-n"),
    ),
    "darwin": _BSD,
    "freebsd": _BSD,
    "win32": (_printed(parse_arp_windows, "arp", "-a", encoding="oem"),),
}
"""By `sys.platform` without its digits: the ways to read the table, the best first."""


def read(
    platform: str, families: Collection[int], timeout: float, *, readers: Mapping[str, Sequence[Read]] = READERS
) -> Table:
    """The rows of these families, 4 and 6; UnreadableTable names what was tried, each in `timeout` seconds."""
    reasons = []
    for reader in readers.get(platform.rstrip("0123456789") if platform != "win32" else platform, ()):
        try:
            return reader(families, timeout)
        except UnreadableTable as error:
            reasons.append(str(error))
        except OSError as error:
            reasons.append(f"netlink: {(error.strerror or str(error)).lower()}")
    tried = "; ".join(reasons) or f"no way is known on {platform!r}"
    raise UnreadableTable(f"the neighbour table cannot be read: {tried}")
