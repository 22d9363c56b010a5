"""What `api.listen` serves; later routes join by adding their lists."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, maybeDeferred

from k3net.errors import NotFound, Unavailable
from k3net.web import answers
from k3net.web.openapi import openapi
from k3net.web.resource import JSON, JSONStream, RequestView, Route, Text
from k3net.web.site import Listener

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
            returns=answers.NodeList,
            refuses=(Unavailable,),
        ),
        Route(
            "GET",
            "/api/v1/nodes/{name}",
            lambda view: node(view.path["name"]),
            summary="One Node.",
            returns=answers.NodeObject,
            refuses=(Unavailable,),
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
            returns=answers.PeerList,
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
            returns=answers.ConsulStatus,
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
            returns=answers.Explanation,
        )
    ]


def brake_routes(brake: Callable[[], Any], release: Callable[[], Any]) -> "list[Route]":
    """`brake()` says what is held back, `release()` lets it go through."""
    return [
        Route(
            "GET",
            "/api/v1/brake",
            lambda _: brake(),
            summary="Whether demotions are held back, and whose.",
            returns=answers.BrakeAnswer,
        ),
        Route(
            "POST",
            "/api/v1/brake/release",
            lambda _: release(),
            summary="Let the demotions that are held back go through.",
            body=Empty,
            returns=answers.Released,
        ),
    ]


def status_routes(
    readiness: Callable[[], "tuple[bool, Mapping[str, Any]]"], metrics: "Callable[[], bytes] | None"
) -> "list[Route]":
    """`readiness()`: is all well, and the loops, dependencies and alarms; without `metrics` there is no /metrics."""

    def ready(_: RequestView) -> JSON:
        ok, report = readiness()
        return JSON({"status": "ready" if ok else "not ready", **report}, status=200 if ok else 503)

    routes = [
        Route(
            "GET",
            "/readyz",
            ready,
            summary="Every loop and dependency; 503 when one is not well.",
            returns=answers.Readiness,
            also=(503,),
        )
    ]
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


def version_routes(version: str) -> "list[Route]":
    answer = {"version": version}
    return [
        Route(
            "GET",
            "/api/v1/version",
            lambda _: answer,
            summary="Which k3net this is.",
            returns=answers.Version,
        )
    ]


def described(
    routes: Iterable[Route],
    version: str,
    *,
    checks: Sequence[Any] = (),
    others: "Mapping[str, Callable[[], Listener]] | None" = None,
) -> "list[Route]":
    """`routes`, `/openapi.json`, which describes them, and `/openapi/{listener}`, which does so for the `others`.

    `checks` are those of the listener that serves them; the others are looked up by the names of their settings.
    """
    beside = dict(others or {})

    def other(view: RequestView) -> "dict[str, Any]":
        name = view.path["listener"]
        if name not in beside:
            raise NotFound(f"no other listener {name!r}: there is {', '.join(beside)}")
        one = beside[name]()
        about = f"What {name} serves."
        return openapi(one.routes, version, checks=one.checks, certificate=one.asks_for_certificate, about=about)

    listed = [
        *routes,
        Route("GET", "/openapi.json", lambda _: document, summary="This description.", returns=dict[str, Any]),
    ]
    about = "What api.listen serves."
    if beside:
        summary = f"The description of another listener: {', '.join(beside)}."
        listed.append(Route("GET", "/openapi/{listener}", other, summary=summary, returns=dict[str, Any]))
        about += " The other listeners are described at /openapi/{listener}."
    document = openapi(listed, version, checks=checks, about=about)
    return listed


def _streamed(items: Callable[[], Any], prefix: bytes) -> "Deferred[JSONStream]":
    return maybeDeferred(items).addCallback(lambda found: JSONStream(prefix, found, b"]}"))
