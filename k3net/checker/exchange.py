"""Servers that share the work: what agents say to one is passed on, once, to each of the others."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit, urlunsplit

import msgspec
from msgspec import Meta, Struct
from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.task import deferLater

from k3net.checker.server import CheckerServer
from k3net.checker.wire import Heartbeat, Report, ServiceReport
from k3net.errors import K3netError
from k3net.http import FetchError, fetch
from k3net.services import Periodic

PATH = "/api/v1/checker/exchange"
MOST_BYTES = 4 << 20
"""In one request."""

_EVERY = 1.0
_RESOLVE_EVERY = 15.0
_TIMEOUT = 5.0
_MOST_PENDING = 64 << 20
_MOST_MEMBERS = 16
_KINDS = ("heartbeats", "hosts", "pods", "service")
_MOST_TOLD = 20_000
_WORDS_AT_ONCE = 500


class Exchange(Struct, frozen=True):
    """What one server passes on to another; `instance` is the sender."""

    instance: Annotated[str, Meta(min_length=1, max_length=64)]
    heartbeats: Annotated[list[Heartbeat], Meta(max_length=_MOST_TOLD)] = []
    hosts: Annotated[list[Report], Meta(max_length=_MOST_TOLD)] = []
    pods: Annotated[list[Report], Meta(max_length=_MOST_TOLD)] = []
    service: Annotated[list[ServiceReport], Meta(max_length=_MOST_TOLD)] = []


class _Answer(Struct, frozen=True):
    instance: str


@inlineCallbacks
def take(clock: Any, server: CheckerServer, said: Exchange, instance: str):
    """Take in what another server was told, and pass it on to nobody; one that cannot be taken leaves the others.

    A little at a time, so that nobody waits long for it. A Deferred of the answer.
    """
    refused = 0
    if said.instance != instance:
        words: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
            *((server.heartbeat, (beat,)) for beat in said.heartbeats),
            *((server.report, ("hosts", report)) for report in said.hosts),
            *((server.report, ("pods", report)) for report in said.pods),
            *((server.service_report, (report,)) for report in said.service),
        ]
        for at, (call, word) in enumerate(words, 1):
            try:
                call(*word, forwarded=True)
            except K3netError:
                refused += 1
            if at % _WORDS_AT_ONCE == 0:
                yield deferLater(clock, 0, lambda: None)
    return {"instance": instance, "refused": refused}


class Members(Periodic):
    """Passes on what `offer` is given, once a second, to every address of the `urls` but this server's own.

    What waits is the last word of each agent, in a bounded number of bytes; a member that does not answer misses it,
    and knows all again one round of the agents after it does. `resolve(host, port)` is a Deferred of IP addresses,
    `token()` what the members let in, or "".
    """

    def __init__(
        self,
        reactor: Any,
        urls: Sequence[str],
        *,
        instance: str,
        token: Callable[[], str],
        resolve: Callable[[str, int], "Deferred[list[str]]"],
    ):
        super().__init__(reactor, _EVERY, self.pass_on, name="checker-members")
        self._urls = tuple(urls)
        self._instance = instance
        self._token = token
        self._resolve = resolve
        self._pending: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._addresses: list[str] = []
        self._instances: dict[str, str] = {}
        self._resolved_at = float("-inf")
        self._lost: dict[str, str] = {}
        self.passed_on = 0
        self.dropped = 0

    @property
    def alarms(self) -> Iterator[str]:
        for url, reason in self._lost.items():
            yield f"checker: the member {url} does not take reports: {reason}"

    def offer(self, kind: str, key: str, body: Struct) -> None:
        """Pass this on with the next lot; a newer word of the same agent takes its place."""
        encoded = msgspec.json.encode(body)
        self._bytes += len(encoded) - len(self._pending.pop((kind, key), b""))
        self._pending[kind, key] = encoded
        while self._bytes > _MOST_PENDING:
            self._bytes -= len(self._pending.popitem(last=False)[1])
            self.dropped += 1

    @inlineCallbacks
    def pass_on(self):
        yield self._look_up()
        pending, self._pending, self._bytes = self._pending, OrderedDict(), 0
        others = list(self._others())
        if pending and others:
            lots = list(_lots(pending, self._instance))
            yield DeferredList([self._send(url, lots) for url in others])

    def _others(self) -> Iterator[str]:
        """An address of each other server: one that has two is told once, by the first that takes it."""
        told = {self._instance}
        for url in self._addresses:
            instance = self._instances.get(url, url)
            if instance not in told:
                if url not in self._lost:
                    told.add(instance)
                yield url

    @inlineCallbacks
    def _send(self, url: str, lots: "list[tuple[bytes, int]]"):
        headers = {"Content-Type": "application/json"}
        if token := self._token():
            headers["Authorization"] = f"Bearer {token}"
        for body, count in lots:
            try:
                answer = yield fetch(self._clock, "POST", url + PATH, headers=headers, data=body, timeout=_TIMEOUT)
                if answer.status != 200:
                    raise FetchError(url, f"status {answer.status}")
                self._instances[url] = answer.json(_Answer).instance
                if self._instances[url] == self._instance:
                    self._lost.pop(url, None)
                    return
            except FetchError as error:
                if url not in self._lost:
                    self._log.warn(
                        "checker: the member {url} does not take reports: {reason}", url=url, reason=error.reason
                    )
                self._lost[url] = error.reason
                return
            self.passed_on += count
        if self._lost.pop(url, None) is not None:
            self._log.info("checker: the member {url} takes reports again", url=url)

    @inlineCallbacks
    def _look_up(self):
        now = self._clock.seconds()
        if now - self._resolved_at < _RESOLVE_EVERY and self._addresses:
            return
        self._resolved_at = now
        found: dict[str, None] = {}
        for url in self._urls:
            parts = urlsplit(url)
            port = parts.port or 80
            for address in (yield self._resolve(parts.hostname or "", port)):
                host = f"[{address}]" if ":" in address else address
                found[urlunsplit((parts.scheme, f"{host}:{port}", parts.path, "", ""))] = None
        self._addresses = list(found)[:_MOST_MEMBERS]
        self._instances = {url: instance for url, instance in self._instances.items() if url in found}
        self._lost = {url: reason for url, reason in self._lost.items() if url in found}


def _lots(pending: "OrderedDict[tuple[str, str], bytes]", instance: str) -> "Iterator[tuple[bytes, int]]":
    """Bodies of at most about MOST_BYTES, and how many words each has."""
    lot: list[tuple[str, bytes]] = []
    size = 0
    for (kind, _), encoded in pending.items():
        if lot and size + len(encoded) > MOST_BYTES - 1024:
            yield _body(lot, instance), len(lot)
            lot, size = [], 0
        lot.append((kind, encoded))
        size += len(encoded) + 1
    if lot:
        yield _body(lot, instance), len(lot)


def _body(lot: Iterable[tuple[str, bytes]], instance: str) -> bytes:
    by_kind: dict[str, list[bytes]] = {kind: [] for kind in _KINDS}
    for kind, encoded in lot:
        by_kind[kind].append(encoded)
    parts = [b'{"instance":' + msgspec.json.encode(instance)]
    parts += [b'"%b":[%b]' % (kind.encode(), b",".join(words)) for kind, words in by_kind.items() if words]
    return b",".join(parts) + b"}"
