"""Clusters in etcd: keys of their own under `/k3net/clusters/`, a generation being etcd's `mod_revision`."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from random import uniform
from threading import Event
from time import sleep
from typing import Any

from zope.interface import implementer

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.model import cluster as model
from k3net.model.cluster import (
    Changes,
    Cluster,
    ClusterOutcome,
    ClusterStep,
    CreateCluster,
    Impossible,
    Page,
    Receipt,
    Since,
    Written,
)
from k3net.model.observation import valid_name
from k3net.store import clusters
from k3net.store.clusters import MOST_CHANGES, MOST_IN_PAGE, IClusterStore, bounded
from k3net.store.etcd_rpc import TooLarge, Wire, rpc

ROOT = b"/k3net/clusters/"
_RECORD, _SEALED, _DELETED, _RECEIPTS = ROOT + b"record/", ROOT + b"sealed/", ROOT + b"deleted/", ROOT + b"receipts/"
_FORGOTTEN = ROOT + b"forgotten"
_TRIES = 8
_FORGET_AT_ONCE = 30
"""Tombstones: three operations each, of the 128 that etcd takes."""


@implementer(IClusterStore)
class EtcdClusters:
    """Under `record/<name>` a cluster's JSON, under `sealed/<name>` its kubeconfig, always written together.

    A deletion replaces both by `deleted/<name>`; `receipts/<name>` goes with that one; `forgotten` holds the generation
    of the newest tombstone that is gone. A transaction reads or writes all it is about at one revision.
    """

    _wire: Wire

    def clusters(self, after: str, limit: int) -> Page:
        limit = bounded(limit, MOST_IN_PAGE)
        if not after.isascii():
            return Page(())
        start = _RECORD + after.encode() + b"\0" if after else _RECORD
        page = self._range(rpc.RangeRequest(key=start, range_end=_end(_RECORD), limit=limit))
        found = tuple(_record(kv) for kv in page.kvs)
        return Page(found, found[-1].name if page.more else "")

    def cluster(self, name: str) -> Cluster | None:
        record, sealed = self._get(_RECORD + _bytes(name), _SEALED + _bytes(name))
        found = None if record is None else _record(record, sealed)
        if isinstance(found, CorruptRecord):
            raise found
        return found

    def cluster_changes(self, since: Since, limit: int) -> Changes:
        limit = bounded(limit, MOST_CHANGES)
        while True:
            try:
                return self._changes(since, limit)
            except TooLarge:
                if limit == 1:
                    raise
                limit //= 2

    def _changes(self, since: Since, limit: int) -> Changes:
        for lost in (False, True):
            after = 0 if lost or not since.generation else since.generation
            request = rpc.TxnRequest()
            request.success.add().request_range.key = _FORGOTTEN
            for prefix in (_RECORD, _DELETED):
                request.success.add().request_range.CopyFrom(
                    rpc.RangeRequest(
                        key=prefix,
                        range_end=_end(prefix),
                        min_mod_revision=after + 1,
                        sort_target=rpc.RangeRequest.MOD,
                        sort_order=rpc.RangeRequest.ASCEND,
                        limit=limit + 1,
                    )
                )
            answer = self._wire.read(request)
            forgotten, live, dead = (response.response_range.kvs for response in answer.responses)
            newest = answer.header.revision
            is_lost = since.is_lost(newest, int(forgotten[0].value) if forgotten else 0)
            if is_lost == lost or not since.generation:
                break
        kvs = sorted((*live, *dead), key=lambda kv: kv.mod_revision)
        upto = kvs[limit - 1].mod_revision if len(kvs) > limit else None
        found = self._with_sealed(kvs[:limit])
        return model.changes(since, found, newest=newest, lost=is_lost, upto=upto)

    def _with_sealed(self, kvs: Sequence[Any]) -> "list[Cluster | CorruptRecord]":
        """One that has changed since is left out: its change is still to be told."""
        names = [_name(kv) for kv in kvs]
        sealed = self._get(*(_SEALED + name for name in names)) if names else []
        found = []
        for kv, secret in zip(kvs, sealed, strict=True):
            if _is_dead(kv):
                found.append(_record(kv))
            elif secret is not None and secret.mod_revision == kv.mod_revision:
                found.append(_record(kv, secret))
        return found

    def write_cluster(self, step: ClusterStep) -> ClusterOutcome:
        if not valid_name(step.name):
            return Impossible(step.name, "not a DNS-1123 name")
        for _ in _tries():
            outcome = self._write_at_once(step)
            if outcome is not None:
                return outcome
        raise StoreUnavailable("etcd store: others write the same cluster all the time")

    def _write_at_once(self, step: ClusterStep) -> "ClusterOutcome | None":
        """None when another was quicker."""
        name = _bytes(step.name)
        request = rpc.TxnRequest()
        for key in (_RECORD + name, _DELETED + name):
            request.success.add().request_range.key = key
        request.success.add().request_range.CopyFrom(
            rpc.RangeRequest(key=_RECORD, range_end=_end(_RECORD), count_only=True)
        )
        live, dead, count = (response.response_range for response in self._wire.read(request).responses)
        held = next(iter((*live.kvs, *dead.kvs)), None)
        verdict = model.judge(step, None if held is None else _record(held), count.count)
        if not isinstance(verdict, Cluster):
            return verdict
        request = rpc.TxnRequest()
        for prefix, kvs in ((_RECORD, live.kvs), (_DELETED, dead.kvs)):
            _compare(request, prefix + name, kvs[0].mod_revision if kvs else 0)
        text = clusters.text_of(verdict)
        puts = {_DELETED: text} if verdict.deleted else {_RECORD: text, _SEALED: verdict.sealed.encode()}
        gone = [_RECORD, _SEALED] if verdict.deleted else [_DELETED]
        if isinstance(step, CreateCluster):
            gone.append(_RECEIPTS)
        for prefix, value in puts.items():
            request.success.add().request_put.CopyFrom(rpc.PutRequest(key=prefix + name, value=value))
        for prefix in gone:
            request.success.add().request_delete_range.key = prefix + name
        try:
            answer = self._wire.write(request)
        except TooLarge:
            return Impossible(step.name, "larger than this etcd takes")
        if not answer.succeeded:
            return None
        if verdict.deleted:
            with suppress(StoreUnavailable):  # it is deleted all the same
                self._forget()
        return Written(replace(verdict, generation=answer.header.revision))

    def receipts(self, name: str) -> tuple[Receipt, ...]:
        [kv] = self._get(_RECEIPTS + _bytes(name))
        return clusters.read_receipts(None if kv is None else kv.value)

    def add_receipts(self, name: str, receipts: Iterable[Receipt]) -> None:
        receipts = tuple(receipts)
        for _ in _tries():
            key = _RECEIPTS + _bytes(name)
            held, live, dead = self._get(key, _RECORD + _bytes(name), _DELETED + _bytes(name))
            place = live or dead
            if place is None:
                return
            request = rpc.TxnRequest()
            _compare(request, key, 0 if held is None else held.mod_revision)
            request.compare.add(
                target=rpc.Compare.CREATE,
                result=rpc.Compare.EQUAL,
                key=place.key,
                create_revision=place.create_revision,
            )
            text = clusters.receipts_text(
                model.merged(clusters.read_receipts(None if held is None else held.value), receipts)
            )
            request.success.add().request_put.CopyFrom(rpc.PutRequest(key=key, value=text))
            if self._wire.write(request).succeeded:
                return
        raise StoreUnavailable("etcd store: others write the same receipts all the time")

    def _forget(self) -> None:
        """Drop the oldest tombstones that are too many; when another does so too, one of the two leaves it."""
        prefix = rpc.RangeRequest(key=_DELETED, range_end=_end(_DELETED), count_only=True)
        surplus = self._range(prefix).count - model.TOMBSTONES_KEPT
        if surplus <= 0:
            return
        request = rpc.TxnRequest()
        request.success.add().request_range.key = _FORGOTTEN
        request.success.add().request_range.CopyFrom(
            rpc.RangeRequest(
                key=_DELETED,
                range_end=_end(_DELETED),
                sort_target=rpc.RangeRequest.MOD,
                sort_order=rpc.RangeRequest.ASCEND,
                limit=min(surplus, _FORGET_AT_ONCE),
            )
        )
        held, oldest = (response.response_range.kvs for response in self._wire.read(request).responses)
        if not oldest:
            return
        request = rpc.TxnRequest()
        _compare(request, _FORGOTTEN, held[0].mod_revision if held else 0)
        newest = str(oldest[-1].mod_revision).encode()
        request.success.add().request_put.CopyFrom(rpc.PutRequest(key=_FORGOTTEN, value=newest))
        for kv in oldest:
            _compare(request, kv.key, kv.mod_revision)
            request.success.add().request_delete_range.key = kv.key
            request.success.add().request_delete_range.key = _RECEIPTS + _name(kv)
        self._wire.write(request)

    def _range(self, request: Any) -> Any:
        op = rpc.RequestOp(request_range=request)
        return self._wire.read(rpc.TxnRequest(success=[op])).responses[0].response_range

    def _get(self, *keys: bytes) -> "list[Any]":
        """For each key the KeyValue, or None."""
        request = rpc.TxnRequest()
        for key in keys:
            request.success.add().request_range.key = key
        answer = self._wire.read(request)
        return [next(iter(response.response_range.kvs), None) for response in answer.responses]


def _tries() -> Iterator[None]:
    """With pauses between them, 0.6 s in all, so that those who write the same do not meet again."""
    yield
    for attempt in range(_TRIES - 1):
        sleep(uniform(0.5, 1.5) * 0.005 * 2**attempt)  # noqa: S311
        yield


def watch_requests(over: Event) -> "Iterator[Any]":
    """For `Wire.watch`: whatever changes a cluster changes one of these keys. The stream stays open until `over`."""
    for prefix in (_RECORD, _DELETED):
        yield rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=prefix, range_end=_end(prefix)))
    over.wait()


def _record(kv: Any, sealed: Any = None) -> Cluster | CorruptRecord:
    name = _name(kv).decode(errors="backslashreplace")
    secret = b"" if sealed is None else sealed.value
    return clusters.read(name, kv.value, kv.mod_revision, deleted=_is_dead(kv), sealed=secret)


def _is_dead(kv: Any) -> bool:
    return bool(kv.key.startswith(_DELETED))


def _name(kv: Any) -> bytes:
    return bytes(kv.key[len(_DELETED if _is_dead(kv) else _RECORD) :])


def _bytes(name: str) -> bytes:
    return name.encode(errors="surrogatepass")


def _end(prefix: bytes) -> bytes:
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _compare(request: Any, key: bytes, revision: int) -> None:
    request.compare.add(target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, key=key, mod_revision=revision)
