"""Cuts through the lab's switch: some hosts no longer hear others, one way or both, while each still has its link."""

import itertools
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from integration.lab import Host, Lab

serials = itertools.count(1)


@contextmanager
def deaf(lab: Lab, *, to: Iterable[Host], ears: Iterable[Host]) -> Iterator[None]:
    """`ears` receive no frame from the hosts `to`; theirs still arrive there."""
    pairs = [f'iifname "to-{a.name}" oifname "to-{b.name}" drop;' for a in to for b in ears]
    with rules(lab, pairs):
        yield


@contextmanager
def split(lab: Lab, *sides: Iterable[Host]) -> Iterator[None]:
    """No frame passes from one of these sides to another; hosts of no side are reached by all."""
    named = [[host.name for host in side] for side in sides]
    pairs = [
        f'iifname "to-{a}" oifname "to-{b}" drop;'
        for one, other in itertools.permutations(named, 2)
        for a in one
        for b in other
    ]
    with rules(lab, pairs):
        yield


@contextmanager
def rules(lab: Lab, rules: Iterable[str]) -> Iterator[None]:
    """These rules of nft(8), bridge family, for every frame between hosts; the port of the host `a` is `to-a`."""
    table = f"bridge cut_{next(serials)}"
    chain = "{ type filter hook forward priority 0; " + " ".join(rules) + " }"
    _nft(lab, f"table {table} {{ chain forward {chain}; }}")
    try:
        yield
    finally:
        _nft(lab, f"delete table {table}")


def _nft(lab: Lab, script: str) -> None:
    command = ["ip", "netns", "exec", lab.switch, "nft", "-f", "-"]
    done = subprocess.run(command, input=script, capture_output=True, text=True)
    assert done.returncode == 0, f"nft {script!r}: {done.stderr}"
