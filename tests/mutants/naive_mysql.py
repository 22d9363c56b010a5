"""How not to: the row is read, judged, and then written without asking whether it is still the one that was read."""

from typing import Any

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.model.plan import Create
from k3net.store import mysql_rows
from k3net.store.interface import Conflict, Done, Outcome, Refused
from k3net.store.mysql import MysqlStore


class NaiveMysqlStore(MysqlStore):
    """Get, then put: what the race tests must catch, or they are void."""

    def apply(self, steps: Any) -> list[Outcome]:
        return [self._get_then_put(step) for step in steps]

    def _get_then_put(self, step: Any) -> Outcome:
        try:
            have = self.get(step.name)
        except CorruptRecord:  # it made a second row
            return Refused(step.name, "corrupt")
        if have is not None and not have.managed:
            return Refused(step.name, "not managed")
        if (have is None) != isinstance(step, Create):
            return Conflict(step.name)
        values = mysql_rows.columns(step.node)
        uid, name = values.pop("uid"), step.name
        sets = ", ".join(f"{column} = %s" for column in values)
        update = f"update {mysql_rows.TABLE} set {sets} where name = %s and deleted_at is null"
        insert = mysql_rows.insert(1)
        row = values | {"uid": uid}
        given = [row[column] for column in mysql_rows.INSERTED]
        try:
            with self._server.call():
                if not self._server.unit(lambda session: session.change(update, [*values.values(), name])):
                    self._server.unit(lambda session: session.change(insert, given))
        except StoreUnavailable:  # the uid is taken
            return Conflict(name)
        return Done(name, "1")
