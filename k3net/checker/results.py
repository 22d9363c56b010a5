"""What the agents found: a row of encoded cells and a row of marks for each source, and what they sum up to."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec
from msgspec import Raw

from k3net.checker.client import Client
from k3net.checker.durations import Durations, in_text
from k3net.checker.registry import CacheError, Registry
from k3net.checker.results_read import Cell, Counts, Rtt, Targets, ports_of, read
from k3net.checker.wire import ConnectivityResult, PairResult, read_duration
from k3net.model.matrix import Row, Summary, Total, mask_of
from k3net.model.rounds import ServiceFinding
from k3net.model.verdict import LAYERS, ROUNDS

STALE = 1800.0
"""A result this old counts no more, though its source lives: nobody tests that target now."""

MOST_BYTES = 1 << 30
_ENCODER = msgspec.json.Encoder()
_RAW_CELLS = msgspec.json.Decoder(dict[str, Raw])


@dataclass(slots=True)
class _Source:
    """What one source told of one layer. `address` is what it called itself."""

    address: str = ""
    cells: bytes = b""
    row: Row = field(default_factory=Row)
    counts: Counts = field(default_factory=Counts)
    targets: Targets = field(default_factory=Targets)


@dataclass(slots=True)
class _ServiceSource:
    address: str
    result: ConnectivityResult
    findings: list[ServiceFinding]


class Results:
    """The matrix of each layer. Rows are kept encoded, so that an answer is as quick as its bytes can be sent."""

    def __init__(self, registry: Registry, *, most_bytes: int = MOST_BYTES):
        self._registry = registry
        self._most_bytes = most_bytes
        self._durations = Durations()
        self._of: dict[str, dict[Client, _Source]] = {layer: {} for layer in LAYERS}
        self._totals = {layer: Total() for layer in LAYERS}
        self._services: dict[Client, _ServiceSource] = {}
        self.ports: dict[str, int] = {}
        """The port last tried, by layer."""
        self.rtt = {layer: Rtt() for layer in LAYERS}
        self._unheard = 0
        self._buffer = bytearray()
        self.bytes = 0
        self.changes = 0
        """Goes up with whatever may change a verdict."""

    def take(self, client: Client, layer: str, address: str, results: Sequence[PairResult], now: float) -> None:
        """A report of one layer. BadResult for one that breaks a rule; CacheError when there is no room."""
        bits = self._registry.bits[layer]
        source = self._of[layer].get(client) or _Source()
        cells, found, counts, rtt = read(results, self._registry, layer, source.targets, self._durations)
        for silent in self._registry.silent:
            cells.pop(silent.address(layer), None)
        earlier = source.row.targets & ~(found.reported | self._unheard)
        _ENCODER.encode_into(cells, self._buffer)  # one that has grown is not copied again and again
        encoded = bytes(self._buffer)
        room = self._most_bytes - self.bytes + len(source.cells)
        if earlier and source.cells:
            merged = _merged(source.cells, cells, bits, earlier)
            encoded = merged if len(merged) <= room else encoded
        if len(encoded) > room:
            raise CacheError("no room for more results")
        self._of[layer][client] = source
        self.bytes += len(encoded) - len(source.cells)
        source.address, source.cells = address, encoded
        source.row.take(found, now)
        source.counts.add(counts)
        self.rtt[layer].add(rtt)
        self._totals[layer].put(client, source.row.summary(self._unheard))
        for port in ports_of(results[0]) if results else ():
            self.ports[layer] = int(port) if port.isascii() and port.isdigit() else 0
        self.changes += 1

    def take_service(self, client: Client, address: str, result: ConnectivityResult) -> None:
        """A report of the service test. ValueError for a duration that is none."""
        ports = (result.port_status or {}).values()
        finding = ServiceFinding(
            service=result.target_ip,
            resolved=_resolved(result),
            connected="closed" not in ports if ports else None,
            seconds=read_duration(result.test_duration),
        )
        known = self._services.get(client)
        earlier = [f for f in known.findings if f.service == finding.service] if known is not None else []
        shown = msgspec.structs.replace(
            result,
            port_status=result.port_status or {},
            source_ip=result.source_ip or address,
            latency=in_text(result.latency) or "0ns",
            test_duration=in_text(result.test_duration) or "0ns",
        )
        self._services[client] = _ServiceSource(address, shown, [finding, *earlier][:ROUNDS])
        self.changes += 1

    def adopt(self, client: Client, layer: str, address: str, cells: bytes, row: Row, now: float) -> bool:
        """What it had found before a restart, unless it has told since or there is no room."""
        row.lapse(now - STALE)
        row.lapse_each({silent.bit: silent.heard for silent in self._registry.silent})
        if client in self._of[layer] or self.bytes + len(cells) > self._most_bytes or not row.targets:
            return False
        self._of[layer][client] = _Source(address, cells, row)
        self.bytes += len(cells)
        self._totals[layer].put(client, row.summary(self._unheard))
        self.changes += 1
        return True

    def adopt_service(
        self, client: Client, address: str, result: ConnectivityResult, findings: "list[ServiceFinding]"
    ) -> None:
        """The same of the service."""
        if self._services.setdefault(client, _ServiceSource(address, result, findings)).findings is findings:
            self.changes += 1

    def told(self) -> "Iterator[tuple[Client, str, str, bytes, Row]]":
        """All that is kept of clients that live: who, the layer, what it calls itself, its cells, its row."""
        for layer in LAYERS:
            for client, source in self._of[layer].items():
                if not client.stranger:
                    yield client, layer, source.address, source.cells, source.row

    def told_of_service(self) -> "Iterator[tuple[Client, str, ConnectivityResult, list[ServiceFinding]]]":
        for client, source in self._services.items():
            if not client.stranger:
                yield client, source.address, source.result, source.findings

    def drop(self, clients: Iterable[Client], *, forget: bool = True) -> None:
        """Forget what they found, and what others found of them."""
        gone = 0
        for client in clients:
            for layer in LAYERS:
                source = self._of[layer].pop(client, None)
                if source is not None:
                    self.bytes -= len(source.cells)
                    self._totals[layer].put(client, None)
            self._services.pop(client, None)
            gone |= 1 << client.bit if client.bit >= 0 else 0
            self.changes += 1
        if gone and forget:
            self._forget(gone)

    def fall_silent(self, clients: Sequence[Client]) -> None:
        """Forget what they found. What others found of them since they were last heard is kept, for verdicts only."""
        self.drop(clients, forget=False)
        self._forget(0, {client.bit: client.heard for client in clients})

    def _forget(self, gone: int, heard: "Mapping[int, float]" = MappingProxyType({})) -> None:
        """Drop what was found of the targets of the mask `gone`, and until then of those in `heard`."""
        unheard = mask_of((client.bit for client in self._registry.silent), self._registry.size)
        changed, self._unheard = self._unheard ^ unheard | gone, unheard
        for layer in LAYERS:
            for client, source in self._of[layer].items():
                if source.row.targets & changed:
                    source.row.lapse_each(heard)
                    source.row.forget(gone)
                    self._totals[layer].put(client, source.row.summary(self._unheard))

    def lapse(self, now: float) -> None:
        """Drop results too old to count."""
        for layer in LAYERS:
            for client, source in self._of[layer].items():
                if source.row.lapse(now - STALE):
                    self._totals[layer].put(client, source.row.summary(self._unheard))
                    self.changes += 1

    def rows(self, layer: str) -> "list[tuple[str, bytes]]":
        """What each source calls itself, and its cells as a JSON object; the sources sorted."""
        return sorted((source.address, source.cells) for source in self._of[layer].values())

    def services(self) -> "dict[str, dict[str, Any]]":
        """What each source calls itself, and its result with every field of the contract."""
        return {
            source.address: {"ping_status": "", "port_status": {}, **msgspec.to_builtins(source.result)}
            for source in self._services.values()
        }

    def counts(self, layer: str) -> "list[tuple[Client, Counts]]":
        return [(client, source.counts) for client, source in self._of[layer].items() if not client.stranger]

    def row(self, client: Client, layer: str) -> "Row | None":
        source = self._of[layer].get(client)
        return None if source is None else source.row

    def findings(self, client: "Client | None") -> "tuple[ServiceFinding, ...]":
        """Of the service, the last first."""
        source = None if client is None else self._services.get(client)
        return () if source is None else tuple(source.findings)

    def evidence(self) -> int:
        """The mask of the targets that somebody tested."""
        found = 0
        for layer in LAYERS:
            for source in self._of[layer].values():
                found |= source.row.tested
        return found

    def summary(self, layer: str) -> Summary:
        return self._totals[layer].summary()

    def service_findings(self) -> "list[ServiceFinding]":
        return [source.findings[0] for source in self._services.values()]

    def coverage(self, layer: str) -> "tuple[float, float | None]":
        """The share of all ordered pairs that have a result, and when the oldest that counts was found."""
        count = len(self._registry)
        rows = [s.row for client, s in self._of[layer].items() if not client.stranger]
        oldest = min((row.oldest for row in rows if row.oldest is not None), default=None)
        own = sum(1 for client, s in self._of[layer].items() if not client.stranger and s.row.tested >> client.bit & 1)
        tested = sum((row.tested & ~self._unheard).bit_count() for row in rows) - own
        return (tested / (count * (count - 1)) if count > 1 else 0.0), oldest


def _resolved(result: ConnectivityResult) -> "bool | None":
    """Whether DNS knows the service. The Go client does not say: where it does not, it pings and tries nothing."""
    if result.resolved is not None or not (result.ping_status or result.port_status):
        return result.resolved
    return result.ping_status == "reachable" or bool(result.port_status)


def _merged(old: bytes, new: Mapping[str, Cell], bits: Mapping[str, int], earlier: int) -> bytes:
    """The new cells, and the old ones of targets that are among the bits of `earlier`."""
    kept: dict[str, Cell | Raw] = {}
    for target, cell in _RAW_CELLS.decode(old).items():
        bit = bits.get(target)
        if bit is not None and earlier >> bit & 1:
            kept[target] = cell
    return _ENCODER.encode({**kept, **new})
