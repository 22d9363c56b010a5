"""A daemon of this process with everything on that serves a route, and tokens of every kind."""

import json
import shutil
import tempfile
import time
from base64 import b64encode
from pathlib import Path

from rawhttp import request, talk
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from k3net.config import load
from k3net.daemon import Daemon

ON_LOOPBACK, OFF_LOOPBACK = "127.0.0.1:0", ":0"
LISTENERS = {"listen": "listen", "api": "api.listen", "clusters-internal": "clusters.internal_listen"}
"""By the name of their part: the setting."""

TOKENS = {
    "operators": "operator-token\n#old-operator",
    "agents": "fleet-token\nbound-token 10.0.0.1 10.1.0.1 # edge-1",
    "users": "read-token read\nwrite-token write\nall-token\n# old-token",
    "instances": "instance-token",
    "key": b64encode(bytes(32)).decode(),
}
BEAT = {"node_ip": "10.0.0.1", "pod_ip": "10.1.0.1", "pod_name": "agent-1"}
RESULT = {"target_ip": "10.0.0.2", "ping_status": "reachable", "port_status": {"22": "open"}}
BODIES = {
    "/api/v1/brake/release": {},
    "/api/v1/clusters": {"name": "edge", "kube_config": "x"},
    "/api/v1/clusters/{name}": {"description": "x"},
    "/api/v1/heartbeat": BEAT,
    "/api/v1/test-results/hosts": {"source_ip": "10.0.0.1", "results": [RESULT]},
    "/api/v1/test-results/pods": {"source_ip": "10.1.0.1", "results": [RESULT]},
    "/api/v1/test-results/service": {"source_ip": "10.1.0.1", "result": RESULT},
    "/api/v1/checker/exchange": {"instance": "other"},
}
"""What fits the type of each route that takes a body."""


class WholeDaemonTests(TestCase):
    """`ask` speaks to its listeners."""

    api_listen = ON_LOOPBACK

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        for name, text in TOKENS.items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)
        settings = {
            "node": {"name": "n1", "register_self": False},
            "listen": "127.0.0.1:0",
            "api": {"listen": self.api_listen, "token_files": [self.path("operators")]},
            "mdns": {"enabled": False},
            "storage": {"type": "memory"},
            "log": {"level": "error"},
            "checker": {"server": {"token_files": [self.path("agents")]}},
            "clusters": {
                "token_files": [self.path("users")],
                "internal_listen": "127.0.0.1:0",
                "internal_token_files": [self.path("instances")],
                "key_files": [self.path("key")],
                "check_timeout": "200ms",
            },
        }
        file = self.folder / "k3net.yaml"
        file.write_text(json.dumps(settings))
        self.daemon = Daemon(reactor, load(str(file), {}, {}).settings, wall=time.time, environ={})
        self.addCleanup(self.daemon.stopService)
        self.daemon.startService()

    def path(self, name):
        return str(self.folder / name)

    async def ask(self, part, method, path, token=None, *, host="localhost"):
        """The answer to a request on this listener, with the usual body of the path where it takes one."""
        route = next((one for one in self.daemon[part].routes if (one.method, one.path) == (method, path)), None)
        body = BODIES[path] if route is not None and route.body is not None else None
        words = [f"Authorization: Bearer {token}"] if token else []
        words += ["Content-Type: application/json"] if body is not None else []
        target = path.replace("{name}", "edge").replace("{listener}", "listen")
        data = b"" if body is None else json.dumps(body).encode()
        [answer] = await talk(self.daemon[part].port, request(target, *words, method=method, body=data, host=host))
        return answer

    async def description(self, part, token=None):
        """What `api.listen` says of this listener."""
        path = "/openapi.json" if part == "api" else f"/openapi/{LISTENERS[part]}"
        answer = await self.ask("api", "GET", path, token)
        self.assertEqual(answer.status, 200, path)
        return answer.json
