"""The shared store for many machines: one key a Node in etcd, where the Go programs keep theirs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import uuid4

from zope.interface import implementer

from k3net.errors import CorruptRecord, StoreUnavailable
from k3net.model.node import Node
from k3net.model.plan import Step
from k3net.store import records
from k3net.store.etcd_claims import EtcdClaims
from k3net.store.etcd_clusters import EtcdClusters
from k3net.store.etcd_rpc import Login, TooLarge, Wire, rpc
from k3net.store.etcd_snapshots import HEAD, EtcdSnapshots
from k3net.store.guard import judge
from k3net.store.interface import Conflict, Done, Found, IStore, Listing, Outcome, Outcomes, Refused

NODES = b"/kubernetes//v1/Node/"
"""Before each Node's name; the API group, which is empty, stands between two of the slashes."""
_PAST_NODES = b"/kubernetes//v1/Node0"
IDENTITY = b"/k3net/id"

_MOST_STEPS = 100
"""In a transaction: etcd takes 128 operations, those within others included."""
_PAGE = 1000
_NEVER = -1
"""A revision that no key has."""


@implementer(IStore)
class EtcdStore(EtcdClusters, EtcdClaims, EtcdSnapshots):
    """Key `/kubernetes//v1/Node/<name>` holds a Node's JSON, and `/k3net/id` the store's id.

    The number in a version is etcd's `mod_revision`. A revision belongs to one transaction of the whole cluster, so
    it never comes twice and implies the content: comparing it alone makes a write safe. Steps are judged by what is
    read at their time, not by what their planner says it read, and are written only if that revision still holds.
    (After a restore from a backup revisions do come again: the digest in the version then tells records apart.)
    `timeout` (seconds) is for each question to the cluster; a verb may need several.
    """

    def __init__(self, endpoints: Sequence[str], *, timeout: float = 5.0, login: Login = Login()):  # noqa: B008
        self._wire = Wire(endpoints, timeout, login)

    def list(self) -> Listing:
        found: Listing = []
        start, revision, limit = NODES, 0, _PAGE
        while start:
            try:
                page = self._wire.read(_range(start, _PAST_NODES, revision, limit))
            except TooLarge:
                if limit == 1:
                    raise
                limit //= 2
                continue
            part = page.responses[0].response_range
            found += map(_record, part.kvs)
            revision = revision or page.header.revision  # so that all pages are of one moment
            start = part.kvs[-1].key + b"\0" if part.more else b""
        return found

    def get(self, name: str) -> Node | None:
        [kv] = self._read([_key(name)])
        record = None if kv is None else _record(kv)
        if isinstance(record, CorruptRecord):
            raise record
        return record

    def apply(self, steps: Iterable[Step]) -> Outcomes:
        return [outcome for batch in _batches(steps) for outcome in self._apply(batch)]

    def identity(self) -> str:
        [kv] = self._read([IDENTITY])
        if kv is None:
            self._write([(IDENTITY, 0, str(uuid4()))])  # or another was quicker
            [kv] = self._read([IDENTITY])
        return _identity(kv)

    def look(self) -> Found:
        [kv] = self._read([IDENTITY])
        return Found(self.list(), "" if kv is None else _identity(kv))

    def check(self) -> str:
        try:
            answers = [*self._wire.each(_range(IDENTITY, b"", 0, 1))]
            self._read([IDENTITY])
            self._write([(key, _NEVER, "") for key in (NODES + b"k3net-check", IDENTITY, HEAD + b"k3net-check")])
            wrong = records.complaint(self.list())
        except StoreUnavailable as error:
            return str(error)
        for answer in answers:
            if isinstance(answer, StoreUnavailable):
                return f"{answer}; the other endpoints serve"
        if len({answer.header.cluster_id for answer in answers}) > 1:
            return "etcd store: storage.etcd.endpoints are of different clusters; name the members of one"
        return wrong and f"etcd store: {wrong}"

    def close(self) -> None:
        self._wire.close()

    def _apply(self, steps: Sequence[Step]) -> Outcomes:
        try:
            return self._apply_at_once(steps)
        except TooLarge:
            if len(steps) == 1:
                return [Refused(steps[0].name, "larger than this etcd takes")]
            half = len(steps) // 2
            return [*self._apply(steps[:half]), *self._apply(steps[half:])]

    def _apply_at_once(self, steps: Sequence[Step]) -> Outcomes:
        """Read, judge, and write where the revision that was judged still holds."""
        found = self._read([_key(step.name) for step in steps])
        verdicts = [_judge(step, kv) for step, kv in zip(steps, found, strict=True)]
        wanted = [
            (_key(step.name), kv.mod_revision if kv else 0, verdict)
            for step, kv, verdict in zip(steps, found, verdicts, strict=True)
            if isinstance(verdict, str)
        ]
        revision, answers = self._write(wanted) if wanted else (0, iter(()))
        return [
            _outcome(step, verdict, revision, next(answers)) if isinstance(verdict, str) else verdict
            for step, verdict in zip(steps, verdicts, strict=True)
        ]

    def _read(self, keys: Sequence[bytes]) -> Sequence[Any]:
        """For each key the KeyValue, or None."""
        request = rpc.TxnRequest()
        for key in keys:
            request.success.add().request_range.key = key
        answer = self._wire.read(request)
        return [next(iter(response.response_range.kvs), None) for response in answer.responses]

    def _write(self, wanted: Sequence[tuple[bytes, int, str]]) -> tuple[int, Iterator[Any]]:
        """Put each text if its key is of that revision; the revision of all that was put, and the answer to each.

        etcd 3.4 asks only the outermost operations for rights and room, so there stand puts that are never done.
        """
        request = rpc.TxnRequest()
        _compare(request, wanted[0][0], _NEVER)
        for key, revision, text in wanted:
            request.success.add().request_put.key = key
            _put_at(request.failure.add().request_txn, key, revision, text)
        answer = self._wire.write(request)
        return answer.header.revision, (response.response_txn for response in answer.responses)


def opened(settings: Any) -> EtcdStore:
    """For `k3net.store.opener`."""
    s = settings.etcd
    login = Login(s.username, s.password, s.ca, s.cert, s.key)
    return EtcdStore(s.endpoints, timeout=s.dial_timeout, login=login)


def _batches(steps: Iterable[Step]) -> "Iterator[list[Step]]":
    """Steps in their order, as many as a transaction takes, each name once."""
    batch: dict[str, Step] = {}
    for step in steps:
        if step.name in batch or len(batch) == _MOST_STEPS:
            yield list(batch.values())
            batch = {}
        batch[step.name] = step
    if batch:
        yield list(batch.values())


def _judge(step: Step, kv: Any) -> "str | Conflict | Refused":
    if not _fits(step.name):
        return Refused(step.name, "no name that a key can hold")
    return judge(step, None if kv is None else _record(kv))


def _outcome(step: Step, text: str, revision: int, answer: Any) -> Outcome:
    if answer.succeeded:
        return Done(step.name, records.token(revision, text.encode()))
    [response] = answer.responses
    verdict = _judge(step, next(iter(response.response_range.kvs), None))
    return Conflict(step.name) if isinstance(verdict, str) else verdict


def _record(kv: Any) -> "Node | CorruptRecord":
    name = kv.key[len(NODES) :].decode(errors="backslashreplace")
    if not _fits(name) or _key(name) != kv.key:
        return CorruptRecord(name, "its key holds no name")
    return records.read(name, kv.value, kv.mod_revision)


def _identity(kv: Any) -> str:
    text = "" if kv is None else kv.value.decode(errors="replace")
    if not (text.isprintable() and text.strip()):
        raise StoreUnavailable("etcd store: /k3net/id holds no id; delete that key")
    return str(text)


def _fits(name: str) -> bool:
    return name != "" and "/" not in name


def _key(name: str) -> bytes:
    return NODES + name.encode(errors="surrogatepass")


def _range(key: bytes, end: bytes, revision: int, limit: int) -> Any:
    op = rpc.RequestOp(request_range=rpc.RangeRequest(key=key, range_end=end, revision=revision, limit=limit))
    return rpc.TxnRequest(success=[op])


def _put_at(txn: Any, key: bytes, revision: int, text: str) -> None:
    """Make `txn` put the text if the key is of this revision, 0 for no key, and else tell what it holds."""
    _compare(txn, key, revision)
    put = txn.success.add().request_put
    put.key, put.value = key, text.encode()
    txn.failure.add().request_range.key = key


def _compare(txn: Any, key: bytes, revision: int) -> None:
    txn.compare.add(target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, key=key, mod_revision=revision)
