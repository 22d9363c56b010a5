"""How not to: the record is read, judged, and then put without asking whether it is still the one that was read."""

from typing import Any

from etcd import connected

from k3net.model.plan import Create
from k3net.store import records
from k3net.store.etcd import NODES, EtcdStore
from k3net.store.interface import Conflict, Done, Outcome, Refused


class NaiveEtcdStore(EtcdStore):
    """Get, then put: what the race tests must catch, or they are void."""

    def __init__(self, endpoints: Any):
        super().__init__(endpoints)
        self._plain = connected(endpoints[0])

    def apply(self, steps: Any) -> list[Outcome]:
        return [self._get_then_put(step) for step in steps]

    def _get_then_put(self, step: Any) -> Outcome:
        have = self.get(step.name)
        if have is not None and not have.managed:
            return Refused(step.name, "not managed")
        if (have is None) != isinstance(step, Create):
            return Conflict(step.name)
        text = records.encode(step.node)
        put = self._plain.put(NODES + step.name.encode(), text)
        return Done(step.name, records.token(put.header.revision, text.encode()))
