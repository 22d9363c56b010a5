"""What `api.listen` serves; later routes join by adding their lists."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred

from k3net.web.openapi import openapi
from k3net.web.resource import JSON, JSONStream, RequestView, Route, Text

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_NODE_LIST = b'{"apiVersion":"v1","kind":"NodeList","metadata":{"resourceVersion":""},"items":['
_PEER_LIST = b'{"kind":"PeerList","items":['


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
