"""The k3net daemon on a host of the lab, started as a user starts it."""

import http.client
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from integration import netns
from integration.process import Process

TWISTD = str(Path(sys.executable).with_name("twistd"))


@dataclass(frozen=True)
class Answer:
    """What came back for one GET."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def get(namespace: str, address: str, port: int, path: str, timeout: float = 5.0) -> Answer:
    """One GET from inside `namespace`."""

    def fetch() -> Answer:
        connection = http.client.HTTPConnection(address, port, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Answer(response.status, response.headers.get("Content-Type", ""), response.read())
        finally:
            connection.close()

    return netns.inside(namespace, fetch)


def command(config_file: Path, config: Mapping[str, Any], flags: Mapping[str, Any]) -> list[str]:
    """Writes the file; `flags` are spelt in Python: `node_name="a"` is `--node-name=a`."""
    config_file.write_text(yaml.safe_dump(dict(config)))
    spelt = {True: "true", False: "false"}
    arguments = [
        f"--{key.replace('_', '-')}={spelt.get(value, value) if isinstance(value, bool) else value}"
        for key, value in flags.items()
    ]
    return [TWISTD, "-n", "k3net", "--config", str(config_file), *arguments]


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This environment without what configures k3net, and `extra`."""
    ours = ("K3NET_", "CONFIG_PATH", "NODE_NAME")
    return {key: value for key, value in os.environ.items() if not key.startswith(ours)} | dict(extra)


class K3net(Process):
    """`twistd -n k3net`; `api` and `info` ask it over loopback, as a user on its machine would."""

    def __init__(self, namespace: str, *, listen_port: int, api_port: int, **process: Any):
        super().__init__(**process)
        self._namespace = namespace
        self._listen_port = listen_port
        self._api_port = api_port

    def get(self, path: str, timeout: float = 5.0) -> Answer:
        """One GET on `api.listen`, whatever the status."""
        return get(self._namespace, "127.0.0.1", self._api_port, path, timeout)

    def api(self, path: str) -> Any:
        """The JSON of a 200 answer on `api.listen`."""
        answer = self.get(path)
        assert answer.status == 200, f"GET {path}: {answer.status} {answer.body[:300]!r}"
        return answer.json()

    def health(self, path: str = "/healthz", timeout: float = 5.0) -> Answer:
        """One GET on `listen`, whatever the status."""
        return get(self._namespace, "127.0.0.1", self._listen_port, path, timeout)

    def info(self) -> Any:
        return self.health("/info").json()

    def nodes(self) -> dict[str, Any]:
        """The Nodes it serves, by name."""
        return {node["metadata"]["name"]: node for node in self.api("/api/v1/nodes")["items"]}

    def ready(self, name: str) -> tuple[str, str] | None:
        """Status and reason of a Node's Ready condition, e.g. ("True", "PeerAlive"); None without such a Node."""
        node = self.nodes().get(name)
        conditions = node["status"]["conditions"] if node else []
        return next(((c["status"], c["reason"]) for c in conditions if c["type"] == "Ready"), None)
