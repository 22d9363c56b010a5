"""What was known before a restart joins what is known since: whoever has spoken meanwhile knows better."""

from collections.abc import Iterator, Sequence

from k3net.checker.client import Client
from k3net.checker.registry import SILENT_FOR, Registry
from k3net.checker.results import Results
from k3net.checker.snapshot import Known, KnownRow
from k3net.model.matrix import Row
from k3net.model.row_state import mover

AWAY = 300.0
"""Seconds in which nobody listened say nothing of who was silent, when they are no more than these."""
_ROWS_AT_ONCE = 20
_CLIENTS_AT_ONCE = 200


def adopt(
    known: Known, rows: Sequence[KnownRow], registry: Registry, results: Results, now: float, wall: float
) -> Iterator[None]:
    """Take in a snapshot, a little at each step.

    Agents that lived then live for one more expiry. When nobody listened for longer than AWAY they are silent, and so
    is who was silent then, until SILENT_FOR after they were last heard. Results lapse by the age they have.
    """
    ago = wall - now
    away = wall - known.saved_at > AWAY
    clients: dict[int, Client] = {}
    for at, client in enumerate(sorted(known.clients, key=lambda client: (client.silent, client.bit))):
        heard = min(now, client.heard - ago) if client.silent or away else now
        if now - heard >= SILENT_FOR:
            continue
        adopted, replaced = registry.adopt(
            client.heartbeat, heard, client.last_heartbeat, version=client.version, silent=client.silent or away
        )
        results.drop(replaced)
        if adopted is not None:
            clients[client.bit] = adopted
        if at % _CLIENTS_AT_ONCE == _CLIENTS_AT_ONCE - 1:
            yield
    results.fall_silent([client for client in clients.values() if client.silent])
    for layer, port in known.ports.items():
        results.ports.setdefault(layer, port)
    for service in known.services:
        source = clients.get(service.bit)
        if source is not None and not source.silent:
            results.adopt_service(source, service.address, service.result, service.findings)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        yield
        here = {bit: client for bit, client in clients.items() if client in registry}
        move = mover({bit: client.bit for bit, client in here.items()})
        for row in rows[start : start + _ROWS_AT_ONCE]:
            source = here.get(row.bit)
            if source is not None and not source.silent:
                state = row.state(ago).moved(move)
                results.adopt(source, row.layer, row.address, row.cells, Row.of(state), now)
