"""Ten thousand of anything in one go would hold the reactor up: loops over peers and Nodes give turns to others."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

SLICE = 500
"""Peers or Nodes a turn: some 20 ms, when all has to be found out about each."""


def turn(clock: Any) -> "Deferred[None]":
    """Fires when others had their turn; what was looked up before may be gone by then."""
    return deferLater(clock, 0)
