"""What `api.listen` serves; later routes join by adding their lists."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, maybeDeferred

from k3net.web.openapi import openapi
from k3net.web.resource import JSON, JSONStream, RequestView, Route, Text

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NODE_LIST = b'{"apiVersion":"v1","kind":"NodeList","metadata":{"resourceVersion":""},"items":['
_PEER_LIST = b'{"kind":"PeerList","items":['


class Empty(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST that says nothing more: `{}`. That it must be JSON keeps web pages from sending it."""


def node_routes(nodes: Callable[[], Any], node: Callable[[str], Any]) -> "list[Route]":
    """Nodes in corev1 JSON: `nodes()` gives them sorted by name, `node(name)` one or NotFound; or Deferreds of that."""
    return [
        Route(
            "GET",
            "/api/v1/nodes",
            lambda _: _streamed(nodes, _NODE_LIST),
            summary="Every Node, as a corev1 NodeList.",
        ),
        Route(
            "GET",
            "/api/v1/nodes/{name}",
            lambda view: node(view.path["name"]),
            summary="One Node.",
        ),
    ]


def peer_routes(peers: Callable[[], Any]) -> "list[Route]":
    """`peers()` gives what is seen of each peer, sorted by name."""
    return [
        Route(
            "GET",
            "/api/v1/peers",
            lambda _: _streamed(peers, _PEER_LIST),
            summary="Every peer with its observations and last probe.",
        )
    ]


def consul_routes(status: Callable[[], Any]) -> "list[Route]":
    """`status()` says what this machine is in Consul; `enabled` is false in it where Consul is off."""
    return [
        Route(
            "GET",
            "/api/v1/consul",
            lambda _: status(),
            summary="This machine's registration and checks in Consul, and how the watch does.",
        )
    ]


def explain_routes(explain: Callable[[str], Any]) -> "list[Route]":
    """`explain(name)` says where each field of a Node comes from; NotFound when there is no such Node."""
    return [
        Route(
            "GET",
            "/api/v1/nodes/{name}/explain",
            lambda view: explain(view.path["name"]),
            summary="Where each field of a Node comes from, who writes it, and its last transitions.",
        )
    ]


def brake_routes(brake: Callable[[], Any], release: Callable[[], Any]) -> "list[Route]":
    """`brake()` says what is held back, `release()` lets it go through."""
    return [
        Route("GET", "/api/v1/brake", lambda _: brake(), summary="Whether demotions are held back, and whose."),
        Route(
            "POST",
            "/api/v1/brake/release",
            lambda _: release(),
            summary="Let the demotions that are held back go through.",
            body=Empty,
        ),
    ]


def status_routes(
    readiness: Callable[[], "tuple[bool, Mapping[str, Any]]"], metrics: "Callable[[], bytes] | None"
) -> "list[Route]":
    """`readiness()`: is all well, and the loops, dependencies and alarms; without `metrics` there is no /metrics."""

    def ready(_: RequestView) -> JSON:
        ok, report = readiness()
        return JSON({"status": "ready" if ok else "not ready", **report}, status=200 if ok else 503)

    routes = [Route("GET", "/readyz", ready, summary="Every loop and dependency; 503 when one is not well.")]
    if metrics is not None:
        routes.append(
            Route(
                "GET",
                "/metrics",
                lambda _: Text(metrics(), METRICS_TYPE),
                summary="Prometheus metrics.",
                returns="text/plain",
            )
        )
    return routes


def described(routes: Iterable[Route], version: str) -> "list[Route]":
    """`routes` and `/openapi.json`, which describes them."""
    described_routes = list(routes)
    self_description = Route("GET", "/openapi.json", lambda _: document, summary="This description.")
    described_routes.append(self_description)
    document = openapi(described_routes, version)
    return described_routes


def _streamed(items: Callable[[], Any], prefix: bytes) -> "Deferred[JSONStream]":
    return maybeDeferred(items).addCallback(lambda found: JSONStream(prefix, found, b"]}"))
