"""A real HTTP server on 127.0.0.1 that answers as a daemon would, or as badly as a test asks."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMAND = (sys.executable, "-m", "k3net.cli")
Misbehaviour = Callable[[BaseHTTPRequestHandler], None]


def node(name: str, ready: str = "True", **changes: Any) -> dict[str, Any]:
    """A Node as the daemon gives it; `created`, `labels`, `reason`, `seen`, `node_info` and `spec` change it."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "uid": f"node-{name}",
            "resourceVersion": "7",
            "creationTimestamp": changes.get("created", "2000-01-01T00:00:00Z"),
            "labels": changes.get("labels", {"kubernetes.io/hostname": name, "k3.network/managed": "true"}),
            "annotations": {"k3.network/lastSeen": changes.get("seen", "2001-01-01T00:00:00.25Z")},
        },
        "spec": changes.get("spec", {}),
        "status": {
            "phase": "Running",
            "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": "10.0.0.7"}],
            "nodeInfo": changes.get("node_info", {}),
            "conditions": [
                {
                    "type": "Ready",
                    "status": ready,
                    "reason": changes.get("reason", "PeerAlive"),
                    "lastHeartbeatTime": changes.get("heartbeat", "2001-01-01T00:00:00Z"),
                }
            ],
        },
    }


def node_list(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "NodeList", "metadata": {"resourceVersion": ""}, "items": list(nodes)}


NOT_FOUND = {"code": "NOT_FOUND", "message": "no such thing", "details": ""}


class FixtureApi:
    """`answers` maps a path to a JSON value, to (status, JSON value), or to a function that writes what it likes.

    What answers a POST, PUT or DELETE stands under `POST /its/path`; each of them is kept in `posts`.
    """

    def __init__(self, answers: dict[str, Any], port: int = 0):
        self.answers = answers
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        api = self

        class Answering(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def finish(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().finish()

            def do_GET(self) -> None:
                api.requests.append((self.path, dict(self.headers)))
                api._answer(self, api.answers.get(self.path.partition("?")[0], (404, NOT_FOUND)))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                api.posts.append((self.path, dict(self.headers), body))
                api._answer(self, api.answers.get(f"{self.command} {self.path}", (404, NOT_FOUND)))

            do_PUT = do_DELETE = do_POST

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Answering)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def _answer(self, request: BaseHTTPRequestHandler, answer: Any) -> None:
        if callable(answer):
            with contextlib.suppress(ConnectionError):
                answer(request)
            return
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        send(request, json.dumps(value).encode(), status=status)

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "FixtureApi":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def send(
    request: BaseHTTPRequestHandler,
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    length: "int | None" = None,
    headers: "dict[str, str] | None" = None,
) -> None:
    """Answer with `body`; `length` is what Content-Length claims."""
    request.send_response(status)
    request.send_header("Content-Type", content_type)
    request.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in (headers or {}).items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)
    request.close_connection = True


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without what steers k3net and colours."""
    dropped = ("K3NET_ADDR", "K3NET_TOKEN_FILE", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
    return {**{name: value for name, value in os.environ.items() if name not in dropped}, **changes}


def k3net(*args: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Run the command with pipes for its output."""
    return subprocess.run(
        [*COMMAND, *args], capture_output=True, text=True, timeout=30, env=environment(**environ), check=False
    )
