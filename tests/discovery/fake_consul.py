"""A Consul that does what it is told, held to the contract of the real one: a door for Python and one for HTTP."""

import json
from typing import Any
from urllib.parse import unquote

import msgspec
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from k3net.discovery.consul_api import Check, ConsulNode, Entry, Found, Health, Service

_WORDS = {"pass": "passing", "warn": "warning", "fail": "critical"}
_SERF = Check(id="serfHealth", name="Serf Health Status", status="passing")


class FakeConsul:
    """One agent. The verbs of ConsulApi, and those of tests/consul.py to bring about what a test needs.

    `fault` is raised by every request while it is set; `requests` counts them by verb. `clock` ends long polls.
    """

    def __init__(self, clock: Any, node: str = "agent-one", address: str = "127.0.0.1"):
        self._clock = clock
        self._node = ConsulNode(name=node, address=address)
        self.requests: list[tuple[str, float]] = []
        self.fault: Exception | None = None
        self.local = "127.0.0.1"
        self.start()

    def start(self) -> None:
        """As new, with nothing in it and a low index."""
        self._waiting: list[tuple[Deferred[None], Any]] = []
        self._services: dict[str, Service] = {}
        self._checks: dict[str, dict[str, Check]] = {}
        self._on_node: dict[str, Check] = {"serfHealth": _SERF}
        self.index = 10

    # What a test brings about

    def service(self, service_id: str, *, status: "str | None" = "passing", **parts: Any) -> None:
        body = {"Name": "k3-node", "ID": service_id, "Port": 7946, **parts}
        if status is not None:
            body["Check"] = {"CheckID": f"ttl-{service_id}", "TTL": "1h", "Status": status}
        self._register(body)

    def check(self, service_id: str, word: str) -> None:
        self._set(service_id, f"ttl-{service_id}", _WORDS[word])

    def drop(self, service_id: str) -> None:
        """Deregistered by another."""
        if self._services.pop(service_id, None) is not None:
            self._checks.pop(service_id, None)
            self.changed()

    def maintenance(self, service_id: str, on: bool, reason: str = "") -> None:
        check_id = f"_service_maintenance:{service_id}"
        if on:
            self._checks[service_id][check_id] = Check(
                id=check_id, name="Service Maintenance Mode", status="critical", notes=reason
            )
        else:
            self._checks[service_id].pop(check_id, None)
        self.changed()

    def node_check(self, status: str) -> None:
        self._on_node["serfHealth"] = msgspec.structs.replace(_SERF, status=status)
        self.changed()

    def changed(self) -> None:
        """The index moves, and everybody who waits is answered."""
        self.index += 1
        waiting, self._waiting = self._waiting, []
        for done, timer in waiting:
            timer.cancel()
            done.callback(None)

    # ConsulApi

    def registered(self, service_id: str) -> "Deferred[Found]":
        return self._asked("registered", lambda: Found(self._services.get(service_id), self.local))

    def register(self, registration: Any) -> "Deferred[None]":
        return self._asked("register", lambda: self._register(registration))

    def deregister(self, service_id: str, timeout: float = 5.0) -> "Deferred[None]":
        return self._asked("deregister", lambda: self.drop(service_id))

    def health(self, name: str, *, index: int = 0, wait: float = 0.0, slack: float = 5.0, tags: Any = ()) -> Any:
        self.requests.append(("health", self._clock.seconds()))
        if self.fault is not None:
            return fail(self.fault)
        if not index or index != self.index:
            return succeed(self._health(name, tags))

        def cancelled(_: Any) -> None:
            self._waiting.remove(place)
            place[1].cancel()

        done: Deferred[None] = Deferred(cancelled)
        place = (done, self._clock.callLater(wait, self._waited, done))
        self._waiting.append(place)
        return done.addCallback(lambda _: self._raised_or(lambda: self._health(name, tags)))

    def _asked(self, verb: str, f: Any) -> Any:
        self.requests.append((verb, self._clock.seconds()))
        return execute(self._raised_or, f)

    def _raised_or(self, f: Any) -> Any:
        if self.fault is not None:
            raise self.fault
        return f()

    def _waited(self, done: Any) -> None:
        self._waiting = [place for place in self._waiting if place[0] is not done]
        done.callback(None)

    def _health(self, name: str, tags: Any) -> Health:
        return Health(
            self.index,
            tuple(
                Entry(self._node, service, (*self._on_node.values(), *self._checks[service.id].values()))
                for service in self._services.values()
                if service.name == name and set(tags) <= set(service.tags or ())
            ),
        )

    def _register(self, body: Any) -> None:
        service_id = body.get("ID") or body["Name"]
        self._services[service_id] = Service(
            id=service_id,
            name=body["Name"],
            address=body.get("Address", ""),
            port=body.get("Port", 0),
            tags=tuple(body.get("Tags") or ()),
            meta=dict(body.get("Meta") or {}),
            modified=self.index + 1,
        )
        known = self._checks.setdefault(service_id, {})
        check = body.get("Check")
        if check:
            check_id = check.get("CheckID", f"service:{service_id}")
            before = known.get(check_id)
            status = check.get("Status") or (before.status if before else "critical")
            name = f"Service '{body['Name']}' check"
            known[check_id] = Check(id=check_id, name=name, status=status)
        self.changed()

    def _set(self, service_id: str, check_id: str, status: str) -> None:
        check = self._checks[service_id][check_id]
        if check.status != status:
            self._checks[service_id][check_id] = msgspec.structs.replace(check, status=status)
            self.changed()


class HttpDoor(Resource):
    """The fake by HTTP; `answer`, when set, is what every request gets: (status, headers, body), or None: nothing."""

    isLeaf = True

    def __init__(self, consul: FakeConsul):
        super().__init__()
        self.consul = consul
        self.answer: Any = ()
        self.tokens: list[str | None] = []

    def site(self) -> Site:
        return Site(self)

    def render(self, request: Any) -> Any:
        self.tokens.append(request.getHeader("X-Consul-Token"))
        if self.answer is None:
            return NOT_DONE_YET
        if self.answer:
            status, headers, body = self.answer
            request.setResponseCode(status)
            for name, value in headers.items():
                request.setHeader(name, value)
            return body
        path = [unquote(part) for part in request.path.decode().split("/")[2:]]
        if path[:2] == ["health", "service"]:
            asked = {name.decode(): [value.decode() for value in values] for name, values in request.args.items()}
            done = self.consul.health(
                path[2],
                index=int(asked.get("index", ["0"])[0]),
                wait=float(asked.get("wait", ["0ms"])[0].removesuffix("ms")) / 1000,
                tags=asked.get("tag", ()),
            )
            done.addCallback(self._health_answer, request)
            request.notifyFinish().addErrback(lambda _: done.cancel())
            done.addErrback(lambda _: None)
            return NOT_DONE_YET
        if path == ["agent", "service", "register"]:
            self.consul._register(json.loads(request.content.read()))
        elif path[:3] == ["agent", "service", "deregister"]:
            self.consul.drop(path[3])
        elif path[:2] == ["agent", "service"]:
            service = self.consul._services.get(path[2])
            if service is not None:
                return msgspec.json.encode(service)
            request.setResponseCode(404)
            return b"unknown service ID: " + path[2].encode()
        return b""

    def _health_answer(self, health: Health, request: Any) -> None:
        request.setHeader("X-Consul-Index", str(health.index))
        request.write(msgspec.json.encode(health.entries))
        request.finish()
