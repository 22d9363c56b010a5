"""How not to: the record is read, judged, and then written without asking whether it is still the one that was read."""

import sqlite3
from typing import Any

from k3net.model.plan import Create
from k3net.store import records
from k3net.store.interface import Conflict, Done, Outcome, Refused
from k3net.store.sqlite import SqliteStore


class NaiveStore(SqliteStore):
    """Get, then put: what the race tests must catch, or they are void."""

    def __init__(self, path: str):
        super().__init__(path)
        self._plain = sqlite3.connect(path, timeout=20, isolation_level=None)

    def apply(self, steps: Any) -> list[Outcome]:
        return [self._get_then_put(step) for step in steps]

    def _get_then_put(self, step: Any) -> Outcome:
        have = self.get(step.name)
        if have is not None and not have.managed:
            return Refused(step.name, "not managed")
        if (have is None) != isinstance(step, Create):
            return Conflict(step.name)
        text = records.encode(step.node)
        self._plain.execute("insert or replace into nodes values (?, ?, 1)", (step.name, text))
        return Done(step.name, records.token(1, text.encode()))
