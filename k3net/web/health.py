"""What `listen` says to the LAN: that the process lives, and who it is."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Meta

from k3net.errors import BadRequest
from k3net.web import answers
from k3net.web.resource import Parameter, RequestView, Route, Text

NodeName = Annotated[str, Meta(min_length=1)]


def health_routes(info: Callable[[], Mapping[str, Any]]) -> "list[Route]":
    """`/healthz` depends on nothing; `/info` is spec/1's: node, port, pid, addrs, ts, mdns, selfUp and ours."""
    return [
        Route(
            "GET",
            "/healthz",
            lambda _: Text("ok\n"),
            summary="The process lives.",
            returns="text/plain",
        ),
        Route("GET", "/info", lambda _: info(), summary="Which node this is.", returns=answers.Info),
    ]


def probe_routes(probe: Callable[[str], Any]) -> "list[Route]":
    """`/probe?node=` tries a peer that is known here, for a member that does not reach it: `probe(name)` answers."""
    return [
        Route(
            "GET",
            "/probe",
            lambda view: probe(_wanted(view)),
            summary="Whether this machine reaches a peer that it knows.",
            query={"node": Parameter("the peer's Node name", NodeName, required=True)},
            returns=answers.Reached,
        )
    ]


def _wanted(view: RequestView) -> str:
    name = view.query.get("node", "")
    if not name:
        raise BadRequest("node: name the peer, as in /probe?node=edge-1")
    return name
