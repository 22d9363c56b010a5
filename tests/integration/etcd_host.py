"""etcd on a host of the lab, and all that was ever written to its Nodes."""

import base64
import json

from integration.lab import Host, wait_for

PORT = 2379
PREFIX = "/kubernetes//v1/Node/"


class EtcdHost:
    """A server that the whole lab reaches at `url`; every write of a Node since its start is kept."""

    def __init__(self, host: Host, address: str):
        self.url = f"http://{address}:{PORT}"
        peer = "http://127.0.0.1:2380"
        self.process = host.popen(
            "etcd",
            f"--data-dir={host.folder}/etcd",
            f"--listen-client-urls=http://0.0.0.0:{PORT}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--log-level=error",
        )
        ctl = ("etcdctl", f"--endpoints=http://127.0.0.1:{PORT}")
        env = {"ETCDCTL_API": "3"}
        wait_for(lambda: host.run(*ctl, "endpoint", "health", check=False, **env).returncode == 0, 30, "etcd")
        self._watch = host.popen(*ctl, "watch", "--rev=1", "--prefix", PREFIX, "--write-out=json", env=env)

    def writes(self) -> list[tuple[str, str]]:
        """(name, Ready status) of each write of a Node, oldest first."""
        lines = [line for line in self._watch.output().splitlines() if line.startswith("{")]
        events = [event["kv"] for line in lines for event in json.loads(line).get("Events") or ()]
        return [(decoded(kv["key"]).removeprefix(PREFIX), _ready(kv.get("value", ""))) for kv in events]

    def statuses(self, name: str) -> list[str]:
        """What Ready was, one after another; the same twice running counts once."""
        found: list[str] = []
        for status in (status for written, status in self.writes() if written == name):
            if found[-1:] != [status]:
                found.append(status)
        return found

    def ready(self) -> dict[str, str]:
        """What Ready is now, by Node."""
        return dict(self.writes())


def _ready(value: str) -> str:
    if not value:
        return "deleted"
    return str(json.loads(decoded(value))["status"]["conditions"][0]["status"])


def decoded(text: str) -> str:
    return base64.b64decode(text).decode()
