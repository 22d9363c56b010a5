"""Which of a platform's ways to read its table is taken, and what is said when none works."""

import pytest

from k3net.neighbors.entry import Table
from k3net.neighbors.lines import UnreadableTable
from k3net.neighbors.table import READERS, _printed, read

FOUND = Table((), ("read",))


def refused(families, timeout):
    raise PermissionError(13, "Permission denied")


def found(families, timeout):
    return FOUND


def test_the_next_way_is_taken_when_one_does_not_work():
    assert read("linux", (4,), 1.0, readers={"linux": (refused, found)}) is FOUND
    assert read("freebsd14", (4,), 1.0, readers={"freebsd": (found,)}) is FOUND


def test_every_way_that_failed_is_named():
    missing = _printed(lambda text: FOUND, "/nowhere/arp", "-a")
    with pytest.raises(UnreadableTable) as raised:
        read("linux", (4,), 1.0, readers={"linux": (refused, missing)})
    expected = "netlink: permission denied; /nowhere/arp -a: no such file or directory"
    assert str(raised.value) == f"the neighbour table cannot be read: {expected}"


def test_an_unknown_platform_is_an_error():
    with pytest.raises(UnreadableTable, match="no way is known on 'plan9'"):
        read("plan9", (4,), 1.0)


def test_a_program_that_fails_hangs_or_knows_no_ipv6_is_an_error():
    def of(*argv):
        return _printed(lambda text: Table((), (text,)), *argv)

    assert of("echo", "hello")((4,), 5.0) == Table((), ("hello\n",))
    with pytest.raises(UnreadableTable, match="exit status 3: 'no'"):
        of("sh", "-c", "echo no >&2; exit 3")((4,), 5.0)
    with pytest.raises(UnreadableTable, match="no answer in time"):
        of("sleep", "30")((4,), 0.05)
    with pytest.raises(UnreadableTable, match="does not tell IPv6"):
        of("echo")((4, 6), 5.0)


def test_each_platform_has_a_way():
    assert set(READERS) == {"linux", "darwin", "freebsd", "win32"}
