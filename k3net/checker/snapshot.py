"""The server's state as bytes: who is known, and what each has found. Times are of the day, so that they outlive us."""

import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from k3net.checker.registry import MOST_CLIENTS, Registry
from k3net.checker.results import MOST_BYTES, Results
from k3net.checker.results_read import Cell
from k3net.checker.wire import ConnectivityResult, Heartbeat, Ip, Name
from k3net.model.rounds import ServiceFinding
from k3net.model.row_state import RowState
from k3net.model.verdict import ROUNDS

_LEVEL = 1
_LONGEST_FRAME = 64 << 20
_AT_ONCE = 1 << 20
_MOST_UNPACKED = MOST_BYTES + MOST_BYTES // 4

_Bit = Annotated[int, Meta(ge=0, lt=4 * MOST_CLIENTS)]
_Count = Annotated[int, Meta(ge=0)]
_Layer = Annotated[str, Meta(pattern=r"^(host|pod)$(?!\n)")]
_Seconds = Annotated[float, Meta(ge=0, le=1e12)]
_Mask = Annotated[bytes, Meta(max_length=MOST_CLIENTS // 2)]
_Masks = Annotated[
    list[Annotated[list[_Mask], Meta(min_length=ROUNDS, max_length=ROUNDS)]], Meta(min_length=2, max_length=2)
]
_Losses = Annotated[list[tuple[_Count, _Count]], Meta(min_length=1, max_length=ROUNDS)]


class KnownClient(Struct, frozen=True, array_like=True, gc=False):
    """`heard` and `last_heartbeat` are times of the day."""

    bit: _Bit
    node_ip: Ip
    pod_ip: Ip
    pod_name: Annotated[str, Meta(min_length=1, max_length=253)]
    namespace: Name
    name: Annotated[str, Meta(min_length=1, max_length=600)]
    version: Annotated[int, Meta(ge=1)]
    heard: _Seconds
    last_heartbeat: _Seconds
    silent: bool

    @property
    def heartbeat(self) -> Heartbeat:
        return Heartbeat(self.node_ip, self.pod_ip, self.pod_name, self.namespace, None, self.name)


class KnownRow(Struct, frozen=True, array_like=True):
    """A row of `bit`, whose `parts` are times of the day; `cells` as they are shown."""

    bit: _Bit
    layer: _Layer
    address: Ip
    at: _Seconds
    measured: _Masks
    failed: _Masks
    parts: list[tuple[_Seconds, _Mask, _Seconds, _Count]]
    strangers: tuple[_Count, _Count]
    strangers_seconds: _Seconds
    loss: dict[_Bit, _Losses]
    cells: bytes

    def state(self, ago: float) -> RowState:
        """`ago` is what a time of day is to be lowered by."""
        parts = tuple((at - ago, _int(targets), seconds, tests) for at, targets, seconds, tests in self.parts)
        measured, failed = (tuple(tuple(map(_int, m)) for m in masks) for masks in (self.measured, self.failed))
        return RowState(self.at - ago, measured, failed, parts, self.strangers, self.strangers_seconds, {**self.loss})


class KnownService(Struct, frozen=True, array_like=True):
    bit: _Bit
    address: Ip
    result: ConnectivityResult
    findings: Annotated[list[ServiceFinding], Meta(min_length=1, max_length=ROUNDS)]


class Known(Struct, frozen=True):
    """Everything but the rows."""

    format: Literal["k3net checker 1"]
    saved_at: _Seconds
    clients: list[KnownClient]
    services: list[KnownService] = []
    ports: dict[_Layer, int] = {}


_CELLS = msgspec.json.Decoder(dict[Annotated[str, Meta(max_length=253)], Cell])
_KNOWN = msgspec.msgpack.Decoder(Known)
_ROW = msgspec.msgpack.Decoder(KnownRow)
_ENCODER = msgspec.msgpack.Encoder()


def encoding(registry: Registry, results: Results, now: float, wall: float) -> "Callable[[int], tuple[bytes, bool]]":
    """What makes bytes, at most so many, of all that is known now, and says whether the rows are among them.

    It works on a copy, in a thread: the time it takes here is that of the copy.
    """
    since = wall - now
    known = Known(
        "k3net checker 1",
        wall,
        [
            KnownClient(
                c.bit, c.node_ip, c.pod_ip, c.pod_name, c.namespace, c.name, c.version, c.heard + since,
                c.last_heartbeat, c.silent,
            )
            for c in registry.by_bit
            if c is not None
        ],
        [KnownService(c.bit, address, result, list(found)) for c, address, result, found in results.told_of_service()],
        {**results.ports},
    )  # fmt: skip
    rows = [(c.bit, layer, address, cells, row.state()) for c, layer, address, cells, row in results.told()]

    def encode(most: int) -> "tuple[bytes, bool]":
        body = _packed(_frames(known, (_row(*row, since) for row in rows)), most)
        return (_packed(_frames(known, ()), most) or b"", False) if body is None else (body, True)

    return encode


def decoded(body: bytes) -> "tuple[Known, list[KnownRow]]":
    """What `encoding` made; ValueError for anything else. It takes a while."""
    frames = _unpacked(body)
    known = _KNOWN.decode(next(frames, b""))
    rows = []
    for frame in frames:
        row = _ROW.decode(frame)
        _CELLS.decode(row.cells)
        rows.append(row)
    return known, rows


def _row(bit: int, layer: str, address: str, cells: bytes, s: RowState, since: float) -> KnownRow:
    measured, failed = ([[_bytes(mask) for mask in by_age] for by_age in masks] for masks in (s.measured, s.failed))
    parts = [(at + since, _bytes(targets), max(0.0, seconds), tests) for at, targets, seconds, tests in s.parts]
    loss = {bit: list(results) for bit, results in s.loss.items()}
    seconds = max(0.0, s.strangers_seconds)
    return KnownRow(bit, layer, address, s.at + since, measured, failed, parts, s.strangers, seconds, loss, cells)


def _frames(known: Known, rows: Iterable[KnownRow]) -> Iterator[bytes]:
    for frame in chain((known,), rows):
        encoded = _ENCODER.encode(frame)
        yield len(encoded).to_bytes(4, "big") + encoded


def _packed(frames: Iterable[bytes], most: int) -> "bytes | None":
    """None when they come to more than so many bytes."""
    press = zlib.compressobj(_LEVEL)
    found, size = [], 0
    for frame in frames:
        found.append(press.compress(frame))
        size += len(found[-1])
        if size > most:
            return None
    found.append(press.flush())
    return b"".join(found) if size + len(found[-1]) <= most else None


def _unpacked(body: bytes) -> Iterator[bytes]:
    """The frames, not more bytes of them than the results may have, and a little."""
    press = zlib.decompressobj()
    waiting, total, rest = bytearray(), 0, body
    try:
        while not press.eof:
            piece = press.decompress(rest, _AT_ONCE)
            rest = press.unconsumed_tail
            if not piece and not rest and not press.eof:
                raise ValueError("it ends too early")
            waiting += piece
            total += len(piece)
            if total > _MOST_UNPACKED:
                raise ValueError("it is larger than all that may be kept")
            while len(waiting) >= 4:
                size = int.from_bytes(waiting[:4], "big")
                if size > _LONGEST_FRAME:
                    raise ValueError("a part of it is too long")
                if len(waiting) < 4 + size:
                    break
                yield bytes(waiting[4 : 4 + size])
                del waiting[: 4 + size]
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if waiting or press.unused_data:
        raise ValueError("it ends with what is no part")


def _bytes(mask: int) -> bytes:
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def _int(mask: bytes) -> int:
    return int.from_bytes(mask, "little")
