"""Snapshots in etcd: the parts of each save under `/k3net/checker/part/`, and under `head/` which save counts."""

import re
from time import monotonic
from typing import Any
from uuid import uuid4

import msgspec
from zope.interface import implementer

from k3net.errors import StoreUnavailable
from k3net.store.etcd_rpc import TooLarge, Wire, rpc
from k3net.store.snapshots import PART, ISnapshotStore, Snapshot, check_fit, giving_way, newest_first, parts_of

ROOT = b"/k3net/checker/"
HEAD, PARTS = ROOT + b"head/", ROOT + b"part/"
_SAVE = re.compile(re.escape(PARTS) + rb"[^/]+/[0-9]{1,12}-[^/]*/")
_MOST_PARTS = 100
"""etcd takes 128 comparisons."""
_AT_ONCE = 4
"""Parts in an answer."""
_TRIES = 3
_PATIENCE = 8.0
_ABANDONED = 120.0
"""Seconds after which parts that no head names are of nobody who is still at it."""


class _Head(msgspec.Struct, frozen=True):
    """`save` is the time of day, a dash, and a random text."""

    at: float
    save: str
    parts: int


@implementer(ISnapshotStore)
class EtcdSnapshots:
    """Part `n` of a save stands under `part/<name>/<save>/<n>`, and `head/<name>` is put after all of them.

    That transaction holds only if all parts are there and nobody else put the head, and takes the parts of the save
    before away; so whoever reads finds a whole save.
    """

    _wire: Wire

    def save_snapshot(self, name: str, body: bytes, now: float) -> None:
        check_fit(name, body)
        until = monotonic() + _PATIENCE
        heads = self._heads()
        kept = [Snapshot(other, head.at) for other, (head, _) in heads.items() if head is not None]
        self._forget_abandoned(heads, now)
        for old in giving_way(kept, name, now):
            self._drop(old.name, *heads[old.name])
        save = f"{int(now)}-{uuid4().hex[:8]}"
        count = self._put_parts(name, save, body, until)
        head, revision = heads.get(name, (None, 0))
        request = rpc.TxnRequest()
        _compare(request, HEAD + name.encode(), revision)
        for number in range(count):
            key = _part(name, save, number)
            request.compare.add(target=rpc.Compare.CREATE, result=rpc.Compare.GREATER, key=key, create_revision=0)
        put = request.success.add().request_put
        put.key, put.value = HEAD + name.encode(), msgspec.json.encode(_Head(now, save, count))
        if head is not None:
            _delete_under(request, _part(name, head.save))
        if not self._wire.write(request).succeeded:  # another saved under this name meanwhile
            self._delete(_part(name, save))

    def snapshots(self) -> "list[Snapshot]":
        return newest_first(Snapshot(name, head.at) for name, (head, _) in self._heads().items() if head is not None)

    def snapshot(self, name: str) -> "bytes | None":
        for _ in range(_TRIES):
            head, _ = self._heads().get(name, (None, 0))
            if head is None:
                return None
            found = self._parts(name, head.save)
            if len(found) == head.parts:
                return b"".join(found)
        return None

    def _heads(self) -> "dict[str, tuple[_Head | None, int]]":
        """By name the head, None where it is none, and its revision."""
        kvs = self._under(HEAD).kvs
        return {kv.key[len(HEAD) :].decode(errors="replace"): (_head(kv.value), kv.mod_revision) for kv in kvs}

    def _put_parts(self, name: str, save: str, body: bytes, until: float) -> int:
        size = PART
        while True:
            parts = parts_of(body, size)
            try:
                for number, part in enumerate(parts):
                    if monotonic() > until:
                        raise StoreUnavailable(f"etcd store: too slow for a snapshot of {len(body)} bytes")
                    request = rpc.TxnRequest()
                    put = request.success.add().request_put
                    put.key, put.value = _part(name, save, number), part
                    self._wire.write(request)
                return len(parts)
            except TooLarge:
                size //= 2
                if len(body) > _MOST_PARTS * size:
                    raise

    def _parts(self, name: str, save: str) -> "list[bytes]":
        found: list[bytes] = []
        start = _part(name, save)
        while start:
            page = self._under(_part(name, save), start=start, limit=_AT_ONCE)
            found += [kv.value for kv in page.kvs]
            start = page.kvs[-1].key + b"\0" if page.more else b""
        return found

    def _drop(self, name: str, head: "_Head | None", revision: int) -> None:
        request = rpc.TxnRequest()
        _compare(request, HEAD + name.encode(), revision)
        request.success.add().request_delete_range.key = HEAD + name.encode()
        if head is not None:
            _delete_under(request, _part(name, head.save))
        self._wire.write(request)

    def _forget_abandoned(self, heads: "dict[str, tuple[_Head | None, int]]", now: float) -> None:
        """Parts of saves that came to nothing."""
        saves = {match.group() for kv in self._under(PARTS, keys_only=True).kvs if (match := _SAVE.match(kv.key))}
        named = {_part(name, head.save) for name, (head, _) in heads.items() if head is not None}
        for prefix in saves - named:
            begun = prefix[:-1].rpartition(b"/")[2].partition(b"-")[0]
            if now - int(begun) > _ABANDONED:
                self._delete(prefix)

    def _delete(self, prefix: bytes) -> None:
        request = rpc.TxnRequest()
        _delete_under(request, prefix)
        self._wire.write(request)

    def _under(self, prefix: bytes, **how: Any) -> Any:
        start = how.pop("start", prefix)
        request = rpc.RangeRequest(key=start, range_end=_end(prefix), **how)
        answer = self._wire.read(rpc.TxnRequest(success=[rpc.RequestOp(request_range=request)]))
        return answer.responses[0].response_range


def _part(name: str, save: str, number: "int | None" = None) -> bytes:
    """Its key; without a number the prefix of them all."""
    prefix = b"%b%b/%b/" % (PARTS, name.encode(), save.encode())
    return prefix if number is None else prefix + b"%04d" % number


def _head(value: bytes) -> "_Head | None":
    try:
        return msgspec.json.decode(value, type=_Head)
    except (msgspec.DecodeError, RecursionError):
        return None


def _end(prefix: bytes) -> bytes:
    """Past every key that begins with this."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _delete_under(request: Any, prefix: bytes) -> None:
    request.success.add().request_delete_range.CopyFrom(rpc.DeleteRangeRequest(key=prefix, range_end=_end(prefix)))


def _compare(request: Any, key: bytes, revision: int) -> None:
    request.compare.add(target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, key=key, mod_revision=revision)
