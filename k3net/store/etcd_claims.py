"""Claims on subnets in etcd: a key for each under `/k3net/podcidr/`, its version being etcd's `mod_revision`."""

from dataclasses import replace
from typing import Any

from zope.interface import implementer

from k3net.errors import StoreUnavailable
from k3net.model.claims import Claim, may_write
from k3net.store.claims import IClaimStore, known, read, text_of
from k3net.store.etcd_rpc import Wire, rpc

ROOT = b"/k3net/podcidr/"
_PAST_ROOT = b"/k3net/podcidr0"
_PAGE = 5000
_TRIES = 5


@implementer(IClaimStore)
class EtcdClaims:
    """Under `<subnet>` stands the JSON of who holds it; put only if the key is of the revision that was judged."""

    _wire: Wire

    def claims(self) -> list[Claim]:
        found: list[Claim] = []
        start, revision = ROOT, 0
        while start:
            request = rpc.RangeRequest(key=start, range_end=_PAST_ROOT, limit=_PAGE, revision=revision)
            answer = self._wire.read(rpc.TxnRequest(success=[rpc.RequestOp(request_range=request)]))
            page = answer.responses[0].response_range
            found += known(map(_claim, page.kvs))
            revision = revision or answer.header.revision
            start = page.kvs[-1].key + b"\0" if page.more else b""
        return found

    def claim(self, wanted: Claim, instead_of: str = "") -> Claim:
        key = ROOT + wanted.subnet.encode()
        request = rpc.TxnRequest()
        request.success.add().request_range.key = key
        answer = self._wire.read(request)
        for _ in range(_TRIES):
            kv = next(iter(answer.responses[0].response_range.kvs), None)
            held = None if kv is None else _claim(kv)
            if held is not None and not may_write(wanted, held, instead_of):
                return held
            request = rpc.TxnRequest()
            _compare(request, key, 0 if kv is None else kv.mod_revision)
            put = request.success.add().request_put
            put.key, put.value = key, text_of(wanted)
            request.failure.add().request_range.key = key
            answer = self._wire.write(request)
            if answer.succeeded:
                return replace(wanted, version=str(answer.header.revision))
        raise StoreUnavailable("etcd store: others write the same claim all the time")

    def release(self, claim: Claim) -> None:
        key = ROOT + claim.subnet.encode()
        request = rpc.TxnRequest()
        _compare(request, key, int(claim.version))
        request.success.add().request_delete_range.key = key
        self._wire.write(request)


def _claim(kv: Any) -> "Claim | None":
    return read(kv.key[len(ROOT) :], kv.value, kv.mod_revision)


def _compare(request: Any, key: bytes, revision: int) -> None:
    request.compare.add(target=rpc.Compare.MOD, result=rpc.Compare.EQUAL, key=key, mod_revision=revision)
