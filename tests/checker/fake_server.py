"""A server for agents that knows the contract and no more (spec/3-checker.md): what it was told, and what it lists."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

_LISTS = {"hosts": "host_ips", "pods": "pod_ips"}


class FakeServer(Resource):
    """`script` are the statuses of the next requests, then all is well; a Deferred among them is waited for."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.lists: dict[str, list[str]] = {"hosts": [], "pods": []}
        self.heartbeats: list[Mapping[str, Any]] = []
        self.reports: list[tuple[str, Mapping[str, Any]]] = []
        self.requests: list[str] = []
        self.tokens: list[str | None] = []
        self.script: list[int | Deferred[None]] = []
        self.headers: dict[str, str] = {}
        self.listed: Callable[[str], None] = lambda layer: None

    def site(self) -> Site:
        return Site(self)

    def render(self, request: Any) -> Any:
        path = request.path.decode()
        self.requests.append(f"{request.method.decode()} {path}")
        self.tokens.append(request.getHeader("Authorization"))
        status = self.script.pop(0) if self.script else 200
        if isinstance(status, Deferred):
            return NOT_DONE_YET
        request.setHeader("Content-Type", "application/json")
        request.setResponseCode(status)
        for name, value in self.headers.items():
            request.setHeader(name, value)
        if status != 200:
            return json.dumps({"code": "INTERNAL_ERROR", "message": "no\nluck", "details": ""}).encode()
        return json.dumps(self._answer(path, request)).encode()

    def _answer(self, path: str, request: Any) -> Mapping[str, Any]:
        name = path.rpartition("/")[2]
        if request.method == b"GET":
            found = sorted(set(self.lists[name]))
            self.listed(name)
            return {_LISTS[name]: found, "count": len(found)}
        body = json.load(request.content)
        if name == "heartbeat":
            self.heartbeats.append(body)
        else:
            self.reports.append((name, body))
        return {"status": "success", "message": ""}
