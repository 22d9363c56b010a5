"""What `listen` says to the LAN: that the process lives, and who it is."""

from collections.abc import Callable, Mapping
from typing import Any

from k3net.web.resource import Route, Text


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
        Route("GET", "/info", lambda _: info(), summary="Which node this is."),
    ]
