"""A network of one test's own: this thread lives in a namespace while the test runs."""

import ctypes
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.netns import CLONE_NEWNET, FOLDER, create, delete

OWN = Path("/proc/thread-self/ns/net")


@contextmanager
def entered(namespace: str) -> Iterator[None]:
    """Sockets that this thread makes are made there; those that exist stay where they are."""
    with OWN.open() as home:
        _enter(FOLDER / namespace)
        try:
            yield
        finally:
            _enter_file(home.fileno())


@contextmanager
def a_network(name: str, rules: str = "", ping_group_range: str = "1 0") -> Iterator[str]:
    """A namespace with a loopback, filtered by the nft `rules` of table `inet t`."""
    namespace = create(name)
    try:
        run = ["ip", "netns", "exec", namespace]
        subprocess.run([*run, "sysctl", "-qw", f"net.ipv4.ping_group_range={ping_group_range}"], check=True)
        if rules:
            subprocess.run([*run, "nft", "-f", "-"], input=f"table inet t {{\n{rules}\n}}\n", text=True, check=True)
        yield namespace
    finally:
        delete(namespace)


def _enter(path: Path) -> None:
    with path.open() as file:
        _enter_file(file.fileno())


def _enter_file(descriptor: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
