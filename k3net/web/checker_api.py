"""The API of the connectivity checker's server (spec/3-checker.md), and ours beside it."""

from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from k3net.checker import exchange
from k3net.checker.report import Reporter
from k3net.checker.server import CheckerServer, InvalidRequest
from k3net.checker.wire import Heartbeat, Report, ServiceReport
from k3net.errors import Forbidden, TooManyRequests
from k3net.model.verdict import state
from k3net.web import checker_answers as answers
from k3net.web.resource import JSONPieces, RequestView, Route

MOST_BYTES = 4 << 20

Checks = tuple[Callable[[Any], None], ...]
_TAKEN = {"status": "success", "message": "results received"}


class CheckerApi:
    """Routes over `server()` and `reporter()`, each looked up when it is needed.

    `open_checks` guard what says nothing of anybody, `checks` all the rest (None: the listener's); `admits(key)` says
    whether a source may speak again so soon. `instance` is this server among those that share its work.
    """

    def __init__(
        self,
        clock: Any,
        server: Callable[[], CheckerServer],
        reporter: Callable[[], Reporter],
        *,
        instance: str,
        admits: Callable[[str], bool],
        checks: "Checks | None" = None,
        open_checks: Checks = (),
    ):
        self._clock = clock
        self._server = server
        self._reporter = reporter
        self._instance = instance
        self._admits = admits
        self._checks = checks
        self._open_checks = open_checks

    def routes(self) -> "list[Route]":
        get, post = self._get, self._post
        return [
            post("heartbeat", self._heartbeat, Heartbeat, "An agent lives.", answers.Beaten),
            post("test-results/hosts", lambda v: self._report("hosts", v), Report, "What an agent found of the hosts."),
            post("test-results/pods", lambda v: self._report("pods", v), Report, "What an agent found of the pods."),
            post("test-results/service", self._service, ServiceReport, "What an agent found of the service."),
            get("hosts", lambda _: self._addresses("host"), "The hosts that have a live agent.", answers.Hosts),
            get("pods", lambda _: self._addresses("pod"), "The pods of the live agents.", answers.Pods),
            get(
                "test-results/hosts", lambda _: self._matrix("host"), "The last results between hosts.", answers.Matrix
            ),
            get("test-results/pods", lambda _: self._matrix("pod"), "The last results between pods.", answers.Matrix),
            get(
                "test-results/service",
                lambda _: self._service_results(),
                "The last results of the service.",
                answers.ServiceResults,
            ),
            get("clients", lambda _: self._clients(), "The record of each live agent.", answers.ClientList),
            get("clients/count", lambda _: self._count(), "How many agents live.", answers.Count),
            get("results", lambda _: self._everything(), "All results, and who lives.", answers.Everything),
            get("report", lambda _: self._reporter().report(), "What the results come to, now.", answers.ReportAnswer),
            get(
                "verdicts",
                lambda _: self._verdicts(),
                "What is broken, by the smallest explanation.",
                answers.VerdictList,
            ),
            Route(
                "GET",
                "/api/v1/health",
                lambda _: {"status": "healthy"},
                summary="The server lives.",
                returns=answers.Health,
                checks=self._open_checks,
            ),
            Route(
                "POST",
                exchange.PATH,
                self._exchange,
                summary="What agents told another server that shares the work.",
                body=exchange.Exchange,
                max_body=2 * exchange.MOST_BYTES,
                unfit=InvalidRequest,
                returns=answers.Exchanged,
                refuses=(Forbidden,),
                checks=self._checks,
            ),
        ]

    def _get(self, path: str, answer: Callable[[RequestView], Any], summary: str, returns: Any) -> Route:
        return Route("GET", f"/api/v1/{path}", answer, summary=summary, returns=returns, checks=self._checks)

    def _post(
        self, path: str, answer: Callable[[RequestView], Any], body: Any, summary: str, returns: Any = answers.Taken
    ) -> Route:
        return Route(
            "POST",
            f"/api/v1/{path}",
            answer,
            summary=summary,
            body=body,
            max_body=MOST_BYTES if body is Report else 1 << 16,
            unfit=InvalidRequest,
            returns=returns,
            refuses=(Forbidden, TooManyRequests),
            checks=self._checks,
        )

    def _heartbeat(self, view: RequestView) -> "dict[str, Any]":
        said: Heartbeat = view.body
        _own(view, said.node_ip, "node_ip")
        _own(view, said.pod_ip, "pod_ip")
        for other in self._server().registry.elsewhere(said) if view.speaks_for is not None else ():
            _own(view, other.node_ip, f"pod_name or node_name: {other.name!r} has it")
        self._admit(f"beat {said.pod_ip}")
        self._server().heartbeat(said)
        expiry = self._server().registry.expiry
        return {"status": "success", "message": "heartbeat received", "expiry_seconds": expiry}

    def _report(self, kind: str, view: RequestView) -> "dict[str, Any]":
        report: Report = view.body
        _own(view, report.source_ip, "source_ip")
        self._admit(f"{kind} {report.source_ip}")
        self._server().report(kind, report)
        return _TAKEN

    def _service(self, view: RequestView) -> "dict[str, Any]":
        report: ServiceReport = view.body
        _own(view, report.source_ip, "source_ip")
        self._admit(f"service {report.source_ip}")
        self._server().service_report(report)
        return _TAKEN

    def _exchange(self, view: RequestView) -> "Deferred[dict[str, Any]]":
        if view.speaks_for is not None:
            raise Forbidden("this token speaks for an agent, and not for a server")
        return exchange.take(self._clock, self._server(), view.body, self._instance)

    def _admit(self, key: str) -> None:
        if not self._admits(key):
            raise TooManyRequests("this source speaks too often")

    def _addresses(self, layer: str) -> "dict[str, Any]":
        addresses = self._server().addresses(layer)
        silent = self._server().silent(layer)
        return {f"{layer}_ips": addresses, "count": len(addresses), **({"silent": silent} if silent else {})}

    def _matrix(self, layer: str) -> JSONPieces:
        return JSONPieces([b'{"results":', *matrix(self._server().rows(layer)), b"}"])

    def _service_results(self) -> "dict[str, Any]":
        self._server().sweep()
        return {"results": self._server().results.services()}

    def _clients(self) -> "dict[str, Any]":
        return {"kind": "ClientList", "items": self._server().clients()}

    def _count(self) -> "dict[str, int]":
        self._server().sweep()
        return {"active_client_count": len(self._server().registry)}

    def _everything(self) -> JSONPieces:
        server = self._server()
        hosts, pods = server.addresses("host"), server.addresses("pod")
        encode = msgspec.json.encode
        return JSONPieces(
            [
                b'{"active_client_count":%d' % len(server.registry),
                b',"host_ips":%b,"pod_ips":%b' % (encode(hosts), encode(pods)),
                b',"host_test_results":',
                *matrix(server.rows("host")),
                b',"pod_test_results":',
                *matrix(server.rows("pod")),
                b',"service_test_results":',
                encode(server.results.services()),
                b"}",
            ]
        )

    def _verdicts(self) -> "Deferred[dict[str, Any]]":
        return (
            self._server()
            .verdicts()
            .addCallback(
                lambda found: {
                    "kind": "VerdictList",
                    "state": state(found),
                    "items": [verdict.as_json() for verdict in found],
                }
            )
        )


def matrix(rows: Sequence[tuple[str, bytes]]) -> "Iterable[bytes]":
    """The pieces of `{source: cells, ...}`."""
    yield b"{"
    for at, (source, cells) in enumerate(rows):
        yield (b"," if at else b"") + msgspec.json.encode(source) + b":"
        yield cells
    yield b"}"


def _own(view: RequestView, address: str, field: str) -> None:
    """A token that is bound to addresses speaks for no other."""
    if view.speaks_for is None:
        return
    try:
        named = str(ip_address(address))
    except ValueError:
        named = address
    if named not in view.speaks_for:
        raise Forbidden(f"{field}: this token does not speak for {address!r}")
