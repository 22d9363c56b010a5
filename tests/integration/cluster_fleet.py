"""Instances of k3net that share a store and serve the clusters API, each on a host of the lab."""

import http.client
import json
import signal
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from authority import Authority
from clusters.api_server import data, kubeconfig
from integration.daemon import K3net
from integration.etcd_host import EtcdHost
from integration.lab import Host, Lab, wait_for
from mariadb import PASSWORD, MariaDb

STORE, API_SERVER = "10.77.0.2", "10.77.0.3"
TOKENS = {"api": "a-token-of-users", "internal": "a-token-of-instances"}
PORT = 8081


class Fleet:
    """`size` instances; `ask(at, ...)` speaks to that one's API. Those that are started beyond them nobody tells."""

    def __init__(self, lab: Lab, store: str, *, size: int, **settings: Any):
        self.lab = lab
        self.size = size
        self._settings = settings
        self._hosts: list[Host] = []
        self.daemons: dict[int, K3net] = {}
        self.secrets = lab.folder / "secrets"
        self.secrets.mkdir()
        for name, text in {**TOKENS, "key": b64encode(bytes(32)).decode()}.items():
            (self.secrets / name).write_text(text)
            (self.secrets / name).chmod(0o600)
        self._server: Any = None
        self.store_host = lab.host("store", ipv4=f"{STORE}/24")
        self.storage = {"etcd": self._etcd, "mariadb": self._mariadb}[store](self.store_host)
        self.api_server = self._api_server(lab.host("api", ipv4=f"{API_SERVER}/24"))
        for at in range(size):
            self.start(at)
        for at in range(size):
            self.wait_ready(at)

    def end(self) -> None:
        if self._server is not None:
            self._server.end()

    def _etcd(self, host: Host) -> "dict[str, Any]":
        return {"type": "etcd", "etcd": {"endpoints": [EtcdHost(host, STORE).url]}}

    def _mariadb(self, host: Host) -> "dict[str, Any]":
        self._server = host.inside(lambda: MariaDb(f"--bind-address={STORE}", "--skip-name-resolve"))
        host.inside(self._server.start)
        login = {"host": STORE, "port": self._server.port, "user": "k3net", "password": PASSWORD, "database": "k3"}
        return {"type": "mysql", "mysql": login}

    def _api_server(self, host: Host) -> str:
        """A Kubernetes API server's double in a process of its own; its URL."""
        authority = Authority(self.secrets)
        certificate, key = authority.issue("server", API_SERVER)
        self._ca = authority.ca
        script = str(Path(__file__).with_name("api_server_alone.py"))
        process = host.popen(sys.executable, script, certificate, key, API_SERVER, log="api-server")
        return wait_for(lambda: process.output().partition("\n")[0], 10, "the API server's URL")

    def start(self, at: int, env: "dict[str, str] | None" = None, **settings: Any) -> K3net:
        """Anew, if it has been started before; `settings` are of the section clusters."""
        config = {
            "mdns": {"enabled": False},
            "node": {"register_self": False},
            "storage": self.storage,
            "clusters": {
                "token_files": [str(self.secrets / "api")],
                "internal_listen": f":{PORT}",
                "internal_token_files": [str(self.secrets / "internal")],
                "key_files": [str(self.secrets / "key")],
                "timeout": "1s",
                **self._settings,
                **settings,
            },
        }
        addresses = ",".join(f"{self.address(other)}:{PORT}" for other in range(self.size))
        environ = {"INSTANCE_ADDRESSES": addresses, **(env or {})}
        self.daemons[at] = self._host(at).k3net(config, env=environ, node_name=f"i{at}")
        return self.daemons[at]

    def _host(self, at: int) -> Host:
        while len(self._hosts) <= at:
            number = len(self._hosts)
            self._hosts.append(self.lab.host(f"i{number}", ipv4=f"{self.address(number)}/24"))
        return self._hosts[at]

    def wait_ready(self, at: int) -> None:
        wait_for(lambda: self.ask(at, "GET", "/health/ready")[0] == 200, 20, f"instance {at} is ready")

    @staticmethod
    def address(at: int) -> str:
        return f"10.77.0.{10 + at}"

    def ask(self, at: int, method: str, path: str, body: Any = None, timeout: float = 5.0) -> "tuple[int, Any]":
        """Status and JSON."""

        def talk() -> "tuple[int, Any]":
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=timeout)
            try:
                text = None if body is None else json.dumps(body)
                headers = {"Authorization": f"Bearer {TOKENS['api']}", "Content-Type": "application/json"}
                connection.request(method, path, text, headers)
                response = connection.getresponse()
                return response.status, json.loads(response.read())
            finally:
                connection.close()

        return self._hosts[at].inside(talk)

    def config(self, name: str) -> str:
        """A kubeconfig for the API server's double; each name has a path of its own there."""
        cluster = {"certificate-authority-data": data(self._ca)}
        return yaml.safe_dump(kubeconfig(f"{self.api_server}/{name}", cluster=cluster))

    def create(self, at: int, name: str, description: str = "") -> int:
        """The generation."""
        body = {"name": name, "description": description, "kube_config": self.config(name)}
        status, answer = self.ask(at, "POST", "/api/v1/clusters", body)
        assert status == 201, answer
        return int(answer["generation"])

    def knows(self, at: int) -> "dict[str, int]":
        """The generations of the clusters that this instance can use: those that are loaded as they are stored."""
        status, answer = self.ask(at, "GET", "/api/v1/clusters")
        assert status == 200, answer
        assert all("loaded_generation" in one for one in answer["items"]), answer
        return {
            one["name"]: one["generation"]
            for one in answer["items"]
            if one["state"] == "active" and one["generation"] == one["loaded_generation"] == one["serving"]
        }

    def all_know(self, name: str, generation: int, within: float, *, but: "tuple[int, ...]" = ()) -> None:
        for at in self.daemons.keys() - set(but):
            wait_for(lambda at=at: self.knows(at).get(name) == generation, within, f"instance {at} uses {name}", 0.02)

    def all_have(self, name: str, states: "dict[int, str]", within: float) -> None:
        """These are the receipts, by instance."""
        wait_for(lambda: self.delivery(0, name) == states, within, f"what each instance got of {name}")

    def delivery(self, at: int, name: str) -> "dict[Any, str]":
        """What each instance got, by its number."""
        status, answer = self.ask(at, "GET", f"/api/v1/clusters/{name}/delivery")
        assert status == 200, answer
        numbers = {f"{self.address(number)}:{PORT}": number for number in range(self.size)}
        return {
            numbers.get(one["instance"], one["instance"]): one["state"]
            for one in answer["items"]
            if one["generation"] == answer["generation"]
        }

    @contextmanager
    def stopped(self, at: int) -> Iterator[None]:
        """SIGSTOP."""
        self.daemons[at].signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.daemons[at].signal(signal.SIGCONT)

    @contextmanager
    def resolver(self, at: int, server: str) -> Iterator[None]:
        """Programs that are started there ask this DNS server: ip-netns(8)."""
        folder = Path("/etc/netns", self._host(at).namespace)
        folder.mkdir(parents=True)
        (folder / "resolv.conf").write_text(f"nameserver {server}\n")
        try:
            yield
        finally:
            (folder / "resolv.conf").unlink()
            folder.rmdir()
            with suppress(OSError):  # others have theirs there
                folder.parent.rmdir()

    @contextmanager
    def cut_off(self, at: int) -> Iterator[None]:
        """No frame gets to it or from it, and its link stays up."""
        self._hosts[at].blackhole()
        try:
            yield
        finally:
            self._hosts[at].restore()

    def said(self, at: int, text: str) -> int:
        """How many lines of its log hold this."""
        return sum(text in line for line in self.daemons[at].output().splitlines())
