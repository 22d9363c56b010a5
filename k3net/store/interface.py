"""What a store is: the verbs every driver has, and the outcome of each step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zope.interface import Interface

from k3net.errors import CorruptRecord
from k3net.model.node import Node


@dataclass(frozen=True)
class Done:
    """The step is in the store, and the record there now has this version."""

    name: str
    version: str


@dataclass(frozen=True)
class Conflict:
    """Nothing was written: the record is there already (Create), gone, or not the one planned against (Update)."""

    name: str


@dataclass(frozen=True)
class Refused:
    """Nothing was written, and reading again will not help: the record is not ours to change, or cannot be stored."""

    name: str
    reason: str


Outcome = Done | Conflict | Refused
Outcomes = list[Outcome]
Listing = list[Node | CorruptRecord]


@dataclass(frozen=True)
class Found:
    """What is in a store; `identity` is "" while none was made."""

    listing: Listing
    identity: str


class IStore(Interface):
    """A driver: blocking, and used by one thread, the one that calls it first.

    A failure to reach, read or write the store as a whole leaves as StoreUnavailable, whose text names the store; the
    next call tries anew. What several processes keep in one store, each reads as the last one wrote it.
    """

    def list():  # type: ignore[misc]
        """A Listing: every record, in no order; for one that is no Node the CorruptRecord that says why."""

    def get(name):
        """The Node of this name, None when there is none; raises CorruptRecord when the record is no Node."""

    def apply(steps):
        """Take the steps of `k3net.model.plan` in order: Outcomes, one for each, in that order.

        A step stands for itself: one that conflicts or is refused does not undo the others. The rule of
        `k3net.store.guard` holds for what is stored at the moment of writing, so a step that lands late, after its
        caller gave up, does no harm. After StoreUnavailable the outcome of every step is unknown: read again.
        """

    def identity():  # type: ignore[misc]
        """The store's id, a text: made once, kept in the store itself, the same for all who share it."""

    def look():  # type: ignore[misc]
        """A Found, for who is no daemon: no file, table or id is made that is not there."""

    def check():  # type: ignore[misc]
        """One line that says what is wrong with the store as a whole and what to do, or "" when all is well.

        Connects, asks for the rights to read and to write, and leaves nothing behind. It raises nothing: that the
        store cannot be reached is an answer too.
        """

    def close():  # type: ignore[misc]
        """Let go of files and connections; closing twice is harmless, and a later call opens anew."""


OpenDriver = Callable[[], Any]
"""Makes a provider of IStore; called in the thread that is to own it."""
