"""Consul's HTTP API (v1), as much of it as k3net needs: requests, and what their answers mean."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct, field
from twisted.internet.defer import inlineCallbacks

from k3net.errors import K3netError
from k3net.http import BrokenAnswer, FetchError, Response, fetch

_LARGEST_LIST = 64 << 20
_LARGEST = 1 << 20
_PATIENCE = 5.0
_LONGEST_REFUSAL = 600.0
_RIGHT = re.compile(rb"(?:Missing|lacks permission) '?([a-z_]{1,20}:[a-z]{1,10})")


class ConsulError(K3netError):
    """Consul gave no good answer; what it said before stays true."""


class Unreachable(ConsulError):
    """No answer at all, or none that ended in time."""


class Denied(ConsulError):
    """The ACL token lacks a right, which the text names, or is unknown."""


class Throttled(ConsulError):
    """Too many requests (429): not again for `retry_after` seconds."""

    def __init__(self, reason: str, retry_after: float):
        super().__init__(reason)
        self.retry_after = retry_after

    def __str__(self) -> str:
        return str(self.args[0])


class Check(Struct, frozen=True, gc=False):
    """api.HealthCheck."""

    id: str = field(name="CheckID", default="")
    name: str = field(name="Name", default="")
    status: str = field(name="Status", default="")
    notes: str = field(name="Notes", default="")
    output: str = field(name="Output", default="")


class ConsulNode(Struct, frozen=True, gc=False):
    name: str = field(name="Node")
    address: str = field(name="Address", default="")


class Service(Struct, frozen=True, gc=False):
    """api.AgentService; `address` is "" where the node's counts."""

    id: str = field(name="ID")
    name: str = field(name="Service", default="")
    address: str = field(name="Address", default="")
    port: int = field(name="Port", default=0)
    tags: "tuple[str, ...] | None" = field(name="Tags", default=None)
    meta: "dict[str, str] | None" = field(name="Meta", default=None)
    modified: int = field(name="ModifyIndex", default=0)


class Entry(Struct, frozen=True, gc=False):
    """api.ServiceEntry: one instance of a service, with the checks of it and of its node."""

    node: ConsulNode = field(name="Node")
    service: Service = field(name="Service")
    checks: "tuple[Check, ...] | None" = field(name="Checks", default=None)


class Health(Struct, frozen=True):
    """A good answer; `index` is what to wait for a change of, 0 when Consul named none that can be waited for."""

    index: int
    entries: tuple[Entry, ...]


class Found(Struct, frozen=True):
    """What the agent has registered under an id, None for nothing; `local` is the address that it was asked from."""

    service: "Service | None"
    local: str


class ConsulApi:
    """Requests to the agent at `url` (`http://host:port`); a failed Deferred is a ConsulError.

    `token()` gives the ACL token for each request, `trust(host)` the TLS of https. Each request has a connection of its
    own, so that a long poll keeps no other waiting.
    """

    def __init__(
        self,
        reactor: Any,
        url: str,
        *,
        token: Callable[[], str] = str,
        trust: "Callable[[str], Any] | None" = None,
        datacenter: str = "",
        namespace: str = "",
    ):
        self._reactor = reactor
        self._url = url
        self._token = token
        self._trust = trust
        self._datacenter = datacenter
        self._namespace = namespace

    @inlineCallbacks
    def registered(self, service_id: str):
        """What the agent itself knows of the service; a Found."""
        path = f"/v1/agent/service/{quote(service_id, safe='')}"
        answer = yield self._ask("GET", path, "service:read", missing_is_fine=True)
        service = None if answer.status == 404 else _read(answer, Service)
        return Found(service, answer.local)

    @inlineCallbacks
    def register(self, registration: Mapping[str, Any]):
        """`registration` is api.AgentServiceRegistration."""
        body = msgspec.json.encode(registration)
        yield self._ask("PUT", "/v1/agent/service/register", "service:write", data=body)

    @inlineCallbacks
    def deregister(self, service_id: str, timeout: float = _PATIENCE):
        path = f"/v1/agent/service/deregister/{quote(service_id, safe='')}"
        yield self._ask("PUT", path, "service:write", timeout=timeout, missing_is_fine=True)

    @inlineCallbacks
    def health(
        self, name: str, *, index: int = 0, wait: float = 0.0, slack: float = _PATIENCE, tags: Sequence[str] = ()
    ):
        """Every instance of the service, a Health; with an `index`, once it has changed or `wait` seconds have passed.

        Consul adds up to a sixteenth to `wait`; the whole answer must be there `slack` seconds after that.
        """
        query = [("tag", tag) for tag in tags]
        if self._datacenter:
            query.append(("dc", self._datacenter))
        if index:
            query += [("index", str(index)), ("wait", f"{round(wait * 1000)}ms")]
        answer = yield self._ask(
            "GET",
            f"/v1/health/service/{quote(name, safe='')}",
            "service:read and node:read",
            query=query,
            timeout=(wait * 17 / 16 if index else 0.0) + slack,
            max_bytes=_LARGEST_LIST,
        )
        return Health(_index(answer), _read(answer, tuple[Entry, ...]))

    @inlineCallbacks
    def _ask(
        self,
        method: str,
        path: str,
        right: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        data: "bytes | None" = None,
        timeout: float = _PATIENCE,
        max_bytes: int = _LARGEST,
        missing_is_fine: bool = False,
    ):
        asked = [*query, *([("ns", self._namespace)] if self._namespace else [])]
        url = self._url + path + ("?" + urlencode(asked) if asked else "")
        try:
            token = self._token()
            headers = {"X-Consul-Token": token} if token else {}
            answer = yield fetch(
                self._reactor,
                method,
                url,
                headers=headers,
                data=data,
                timeout=timeout,
                max_bytes=max_bytes,
                tls=self._trust,
            )
        except FetchError as error:
            raise Unreachable(f"Consul at {self._url}: {error.reason}") from None
        except K3netError as error:
            raise ConsulError(str(error)) from None
        if answer.status == 200 or (answer.status == 404 and missing_is_fine and _is_consuls(answer)):
            return answer
        raise refusal(answer, right)


def refusal(answer: Response, right: str) -> ConsulError:
    """Why Consul refused a request that needs `right`."""
    words = _words(answer.body)
    if answer.status == 403:
        if answer.body.startswith(b"ACL not found"):
            return Denied("Consul does not know the ACL token (ACL not found)")
        missing = _RIGHT.search(answer.body)
        return Denied(f"the Consul ACL token lacks {missing[1].decode() if missing else right} ({words})")
    if answer.status == 401:
        return Denied(f"Consul asks for an ACL token with {right} ({words})")
    if answer.status == 429:
        return Throttled(f"Consul asks for fewer requests (429: {words})", _retry_after(answer))
    return ConsulError(f"Consul answered {answer.status}: {words}")


def _is_consuls(answer: Response) -> bool:
    """Whether this 404 speaks of the service, and not of a page that another server does not have."""
    return b"unknown service" in answer.body.lower()


def _read(answer: Response, shape: Any) -> Any:
    try:
        return answer.json(shape)
    except BrokenAnswer as error:
        raise ConsulError(f"Consul gave {error.reason}") from None


def _index(answer: Response) -> int:
    [text] = answer.headers.getRawHeaders("X-Consul-Index", ["0"])[:1]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 20 else 0


def _retry_after(answer: Response) -> float:
    [text] = answer.headers.getRawHeaders("Retry-After", ["0"])[:1]
    return min(float(text), _LONGEST_REFUSAL) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0.0


def _words(body: bytes) -> str:
    text = body[:200].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text).strip() or "no reason given"
