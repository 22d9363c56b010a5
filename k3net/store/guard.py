"""The one rule of writing: only what is absent is created, only what is managed and as it was read is updated.

And of a Node that another manages the heartbeat alone is brought forward (spec/2-consul.md).
"""

from k3net.errors import CorruptRecord
from k3net.model.node import Node
from k3net.model.plan import Create, Heartbeat, Step
from k3net.store import records
from k3net.store.interface import Conflict, Refused


def judge(step: Step, stored: Node | CorruptRecord | None) -> "str | Conflict | Refused":
    """The text to write, or why not.

    `stored` is what the store holds under that name now: read in the transaction that writes, or compared by it.
    """
    if isinstance(stored, CorruptRecord):
        return Refused(step.name, f"corrupt: {stored.reason}")
    if isinstance(step, Create):
        if stored is not None:
            return Conflict(step.name)
    elif stored is None:
        return Conflict(step.name)
    elif not stored.managed and not isinstance(step, Heartbeat):
        return Refused(step.name, "not managed")
    elif stored.version != step.planned_against:
        return Conflict(step.name)
    elif isinstance(step, Heartbeat) and not only_beats(step.node, stored):
        return Refused(step.name, "more than the heartbeat differs")
    if not step.node.managed and not isinstance(step, Heartbeat):
        return Refused(step.name, "would not be managed")
    try:
        return records.encode(step.node)
    except ValueError as error:
        return Refused(step.name, str(error))


def only_beats(node: Node, stored: Node) -> bool:
    """Whether `node` is `stored` with the heartbeat of its Ready condition brought forward, and nothing else."""
    beat = node.ready.last_heartbeat
    brought = None if beat is None else stored.beating(beat)
    try:
        return brought is not None and records.encode(brought) == records.encode(node)
    except ValueError:
        return False
