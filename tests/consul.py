"""A real Consul for the tests: Debian's package, fetched by apt and unpacked without being installed."""

import fcntl
import itertools
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

SUITE = "bullseye"  # the last Debian that has Consul
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "k3net-tests"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
MASTER = "6e1bb3a0-0000-4000-8000-000000000001"
_READY = 20.0


class Missing(Exception):
    """There is no Consul here, and none could be fetched."""


def executable() -> str:
    """The path of Consul: CONSUL_BINARY, one that is installed, or Debian's, fetched once; Missing says why not."""
    found = os.environ.get("CONSUL_BINARY") or shutil.which("consul")
    if found:
        return found
    binary = CACHE / "consul" / "usr/bin/consul"
    if not binary.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "consul.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not binary.exists():
                _fetch(CACHE)
    return str(binary)


def reason_missing() -> str:
    """Why there is no Consul to test with; "" when there is."""
    try:
        executable()
    except Missing as error:
        return str(error)
    return ""


def _fetch(cache: Path) -> None:
    """From this machine's own mirror, with apt's state in the cache and none of the machine's touched."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Missing(f"needs consul, or {tool} to fetch it")
    folder = cache / f"fetch-{os.getpid()}"
    (folder / "lists/partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache/archives/partial").mkdir(parents=True, exist_ok=True)
    signed = f"[signed-by={KEYRING}] " if Path(KEYRING).exists() else ""
    (folder / "sources.list").write_text(f"deb {signed}{_mirror()} {SUITE} main\n")
    options = {
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "Acquire::Languages": "none",
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in options.items())]
    try:
        for command in ([*apt, "update"], [*apt, "download", "consul"]):
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
            if done.returncode:
                raise Missing(f"needs consul, and apt did not fetch it: {done.stderr.strip()[:300]}")
        [package] = folder.glob("consul_*.deb")
        subprocess.run(["dpkg-deb", "-x", package, folder / "unpacked"], check=True, capture_output=True)
        shutil.rmtree(cache / "consul", ignore_errors=True)
        (folder / "unpacked").rename(cache / "consul")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _mirror() -> str:
    """Where this machine gets Debian's main archive from."""
    folder = Path("/etc/apt")
    for path in (folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))):
        for line in path.read_text().splitlines() if path.is_file() else ():
            words = line.split()
            url = next((word for word in words if word.startswith(("http://", "https://"))), "")
            if words and words[0] in ("deb", "URIs:") and url.rstrip("/").endswith("/debian"):
                return url
    raise Missing("needs consul, or an apt source of Debian's main archive to fetch it from")


_PORTS = itertools.cycle(range(20_000 + os.getpid() % 64 * 100, 32_000))


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, and below those that the system gives to connections: it stays free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in _PORTS:
        with closing(socket.socket(family)) as sock, suppress(OSError):
            sock.bind((host, port))
            return port
    raise AssertionError("no port is free")


class Consul:
    """`consul agent -dev` on a loopback address: a server that is ready when the constructor returns.

    Without `dev` it is as in the field: with its state on disk, and answers without white space.
    `acl` makes its default policy deny; `https` has the files ca, cert and key, and wants certificates of clients.
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        acl: bool = False,
        dev: bool = True,
        https: "Mapping[str, Path] | None" = None,
        settings: "Mapping[str, Any] | None" = None,
    ):
        self.folder = folder
        self._mode = ["-dev"] if dev else ["-server", "-bootstrap-expect=1", f"-data-dir={folder}/data"]
        self.host = host
        self.port = port or free_port(host)
        self.secure_port = free_port(host) if https else -1
        self.token = MASTER if acl else ""
        self._inner = [free_port(host) for _ in range(3)]
        self._settings: dict[str, Any] = {**(settings or {})}
        if acl:
            tokens = {"master": MASTER, "default": MASTER}
            self._settings["acl"] = {"enabled": True, "default_policy": "deny", "tokens": tokens}
        if https:
            self._settings |= {
                "ca_file": str(https["ca"]),
                "cert_file": str(https["cert"]),
                "key_file": str(https["key"]),
                "verify_incoming_https": True,
            }
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def start(self) -> None:
        """A new server, with nothing in it, on the same ports; one that runs is ended."""
        self.kill()
        server, lan, wan = self._inner
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "consul.json"
        ports = {"http": self.port, "https": self.secure_port, "grpc": -1, "dns": -1}
        ports |= {"server": server, "serf_lan": lan, "serf_wan": wan}
        config.write_text(json.dumps({"ports": ports, **self._settings}))
        command = [executable(), "agent", *self._mode, "-node", "agent-one", "-bind", self.host, "-client", self.host]
        with (self.folder / "consul.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "-config-file", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        deadline = time.monotonic() + _READY
        while True:
            with suppress(OSError, urllib.error.HTTPError):
                if self.get("/v1/status/leader") and self.get("/v1/catalog/nodes"):
                    return
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.kill()
                raise AssertionError(f"consul did not start: {(self.folder / 'consul.log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(10)

    close = kill

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def ask(self, method: str, path: str, body: Any = None, token: "str | None" = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"X-Consul-Token": self.token if token is None else token}
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def put(self, path: str, body: Any = None) -> Any:
        return self.ask("PUT", path, body)

    def health(self, service: str = "k3-node") -> dict[str, str]:
        """The worst check of each instance, by service id."""
        order = ("passing", "warning", "critical")
        return {
            entry["Service"]["ID"]: max((check["Status"] for check in entry["Checks"]), key=order.index)
            for entry in self.get(f"/v1/health/service/{service}")
        }

    def service(self, service_id: str, **parts: Any) -> None:
        """Registers a service at the agent, with a check by TTL that is `status` (None: no check)."""
        status = parts.pop("status", "passing")
        body = {"Name": "k3-node", "ID": service_id, "Port": 7946, **parts}
        if status is not None:
            body["Check"] = {"CheckID": f"ttl-{service_id}", "TTL": "1h", "Status": status}
        self.put("/v1/agent/service/register", body)

    def check(self, service_id: str, word: str) -> None:
        """`word`: pass, warn or fail."""
        self.put(f"/v1/agent/check/{word}/ttl-{service_id}")

    def maintenance(self, service_id: str, on: bool, reason: str = "") -> None:
        query = urllib.parse.urlencode({"enable": str(on).lower(), "reason": reason})
        self.put(f"/v1/agent/service/maintenance/{service_id}?{query}")

    def drop(self, service_id: str) -> None:
        """Deregistered by another."""
        self.put(f"/v1/agent/service/deregister/{service_id}")

    def policy_token(self, name: str, rules: str) -> str:
        """A token with a policy of these rules."""
        self.put("/v1/acl/policy", {"Name": name, "Rules": rules})
        token: str = self.put("/v1/acl/token", {"Policies": [{"Name": name}]})["SecretID"]
        return token
