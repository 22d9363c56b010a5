"""What an agent asks of its server (spec/3-checker.md): heartbeats, who else there is, and results taken."""

import random
from collections.abc import Callable
from ipaddress import ip_address
from itertools import chain, islice
from typing import Any

import msgspec
from msgspec import Struct
from twisted.internet.defer import inlineCallbacks
from twisted.internet.task import deferLater

from k3net.checker.wire import Heartbeat, SentReport, ServiceReport
from k3net.errors import K3netError
from k3net.http import BrokenAnswer, ConnectFailed, FetchError, NotHTTP, Response, TimedOut, fetch

MOST_TARGETS = 10_000
TRIES = 3
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
_LARGEST_LIST = 1 << 20
_LARGEST = 1 << 16
_MAY_PASS = {408, 425, 429, 500, 502, 503, 504}
_BODY = {"Content-Type": "application/json"}


class ServerError(K3netError):
    """The server gave no good answer; `may_pass` says whether the same may be asked again."""

    def __init__(self, reason: str, may_pass: bool, retry_after: float = 0.0):
        super().__init__(reason)
        self.may_pass = may_pass
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class _Hosts(Struct, frozen=True):
    host_ips: "list[str] | None" = None
    silent: "list[str] | None" = None


class _Pods(Struct, frozen=True):
    pod_ips: "list[str] | None" = None
    silent: "list[str] | None" = None


class Server:
    """The server at `url` (`http://host:port`). `token()` gives the bearer token of each request, "" for none.

    A failed Deferred is a ServerError. What can pass (no connection, no answer in time, 408, 425, 429, 5xx) is tried
    up to three times, with pauses that double and are jittered, or as long as `Retry-After` says, to 30 s at most.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        token: Callable[[], str] = str,
        trust: "Callable[[str], Any] | None" = None,
        timeout: float = 5.0,
        chance: Callable[[], float] = random.random,
    ):
        self._reactor = reactor
        self._url = url
        self._token = token
        self._trust = trust
        self._timeout = timeout
        self._chance = chance

    @inlineCallbacks
    def beat(self, heartbeat: Heartbeat):
        """Once: the next heartbeat is soon enough."""
        yield self._ask("POST", "/api/v1/heartbeat", heartbeat)

    @inlineCallbacks
    def hosts(self):
        """The addresses of the hosts that have a live agent, in order, and of those whose agent fell silent."""
        said = _read((yield self._tried("GET", "/api/v1/hosts")), _Hosts)
        return _addresses(said.host_ips, said.silent)

    @inlineCallbacks
    def pods(self):
        """The addresses of the live agents' pods, in order, and of those that fell silent."""
        said = _read((yield self._tried("GET", "/api/v1/pods")), _Pods)
        return _addresses(said.pod_ips, said.silent)

    @inlineCallbacks
    def take(self, layer: str, report: "SentReport | ServiceReport"):
        """Post what was found in the layer `hosts`, `pods` or `service`."""
        yield self._tried("POST", f"/api/v1/test-results/{layer}", report)

    @inlineCallbacks
    def _tried(self, method: str, path: str, body: Any = None):
        for left in reversed(range(TRIES)):
            try:
                answer = yield self._ask(method, path, body)
            except ServerError as error:
                if not left or not error.may_pass:
                    raise
                pause = _FIRST_PAUSE * 2 ** (TRIES - 1 - left) * (0.5 + self._chance())
                yield deferLater(self._reactor, min(_LONGEST_PAUSE, max(pause, error.retry_after)))
            else:
                return answer

    @inlineCallbacks
    def _ask(self, method: str, path: str, body: Any = None):
        headers = {} if body is None else dict(_BODY)
        try:
            if token := self._token():
                headers["Authorization"] = f"Bearer {token}"
            answer = yield fetch(
                self._reactor,
                method,
                self._url + path,
                headers=headers,
                data=None if body is None else msgspec.json.encode(body),
                timeout=self._timeout,
                max_bytes=_LARGEST_LIST if method == "GET" else _LARGEST,
                tls=self._trust,
            )
        except FetchError as error:
            passing = (ConnectFailed, TimedOut, NotHTTP, BrokenAnswer)
            raise ServerError(str(error), isinstance(error, passing)) from None
        if not 200 <= answer.status < 300:
            why = f"{answer.url}: {answer.status} {_message(answer)}".rstrip()
            raise ServerError(why, answer.status in _MAY_PASS, _retry_after(answer))
        return answer


def _read(answer: Response, shape: Any) -> Any:
    try:
        return answer.json(shape)
    except BrokenAnswer as error:
        raise ServerError(str(error), may_pass=False) from None


def _addresses(*found: "list[str] | None") -> tuple[str, ...]:
    """Those that are IP addresses, each once, in their shortest form; at most 10,000 of them."""
    kept: dict[str, None] = {}
    for text in islice(chain.from_iterable(filter(None, found)), MOST_TARGETS):
        try:
            kept[str(ip_address(text))] = None
        except ValueError:
            continue
    return tuple(kept)


def _message(answer: Response) -> str:
    """Why, in the server's own words, if they are of the usual shape."""
    try:
        said = answer.json(dict[str, Any])
    except BrokenAnswer:
        return ""
    return repr(str(said.get("message", ""))[:200]) if said.get("message") else ""


def _retry_after(answer: Response) -> float:
    value = (answer.headers.getRawHeaders("Retry-After") or [""])[0]
    return float(value) if value.isascii() and value.isdigit() and len(value) < 6 else 0.0
