"""The Go programs of spec/3-checker.md as they show on the wire: a client that asks, and a server that is strict."""

import http.client
import json
import re
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import msgspec
from msgspec import Struct

DURATION = re.compile(r"0s?|-?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+")
"""What time.ParseDuration takes."""

BEIJING = timezone(timedelta(hours=8))


class Heartbeat(Struct):
    namespace: str
    node_ip: str
    pod_ip: str
    pod_name: str
    timestamp: datetime


class ConnectivityResult(Struct):
    source_ip: str
    target_ip: str
    ping_status: Literal["reachable", "unreachable"]
    port_status: dict[str, Literal["open", "closed"]]
    test_duration: str
    timestamp: datetime
    latency: str = ""


class Results(Struct):
    source_ip: str
    results: list[ConnectivityResult]


class ServiceResult(Struct):
    source_ip: str
    result: ConnectivityResult


class Cell(Struct):
    ping: Literal["reachable", "unreachable"]
    port_status: Literal["open", "closed"]
    test_duration: str


class Everything(Struct):
    active_client_count: int
    host_ips: list[str]
    pod_ips: list[str]
    host_test_results: dict[str, dict[str, Cell]]
    pod_test_results: dict[str, dict[str, Cell]]
    service_test_results: dict[str, ConnectivityResult]


class Client:
    """Go's net/http with structs to decode answers into: unknown fields are passed over, other types are errors."""

    def __init__(self, port: int):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

    def close(self) -> None:
        self._connection.close()

    def __call__(self, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"User-Agent": "Go-http-client/1.1", "Accept-Encoding": "gzip"}
        raw = None
        if body is not None:
            raw = json.dumps(body, separators=(",", ":")).encode()
            headers["Content-Type"] = "application/json"
        self._connection.request("GET" if body is None else "POST", f"/api/v1/{path}", raw, headers)
        response = self._connection.getresponse()
        answer = response.read()
        assert response.status == status, f"{path}: {response.status} {answer[:300]!r}"
        assert response.headers["Content-Type"].startswith("application/json")
        return json.loads(answer)

    def read(self, path: str, shape: Any) -> Any:
        return msgspec.convert(self(path), shape)


def now() -> str:
    """As time.Time marshals itself, with nanoseconds and the zone of the machine."""
    return datetime.now(BEIJING).isoformat(timespec="microseconds").replace("+08:00", "123+08:00")


class Server:
    """Takes what a Go server takes, lists `hosts` and `pods`, and keeps what it was told in `told` by path."""

    def __init__(self, hosts: list[str], pods: list[str]):
        self.lists = {"hosts": ("host_ips", hosts), "pods": ("pod_ips", pods)}
        self.told: dict[str, list[Any]] = {}
        self.refused: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                key, found = outer.lists[self.path.removeprefix("/api/v1/")]
                self._answer(200, {key: sorted(found), "count": len(found)})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                try:
                    outer.take(self.path.removeprefix("/api/v1/"), body, self.headers)
                except (ValueError, KeyError) as error:
                    outer.refused.append(f"{self.path}: {error!r}: {body[:500]!r}")
                    self._answer(400, {"code": "INVALID_REQUEST", "message": str(error), "details": ""})
                else:
                    self._answer(200, {"status": "success", "message": "ok"})

            def _answer(self, status: int, value: Any) -> None:
                raw = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> "Server":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(5)

    def take(self, path: str, body: bytes, headers: Any) -> None:
        """ValueError for what a Go server would not bind."""
        shapes = {"heartbeat": Heartbeat, "test-results/service": ServiceResult}
        said: Any = msgspec.json.decode(body, type=shapes.get(path, Results))
        if headers["Content-Type"].partition(";")[0] != "application/json":
            raise ValueError("not JSON")
        for result in getattr(said, "results", None) or filter(None, [getattr(said, "result", None)]):
            for text in filter(None, (result.test_duration, result.latency)):
                if not DURATION.fullmatch(text):
                    raise ValueError(f"time: invalid duration {text!r}")
        if path == "heartbeat" and not all((said.node_ip, said.pod_ip, said.pod_name)):
            raise ValueError("a field is empty")
        self.told.setdefault(path, []).append(said)
