"""Secrets in a whole run of real daemons: of each there is ciphertext in the store, and nothing anywhere else."""

import http.client
import json
import os
import secrets
import signal
import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import etcd
import mariadb
import pytest
import yaml
from clusters.api_server import kubeconfig
from integration.daemon import TWISTD, clean_environment
from integration.lab import wait_for
from integration.process import Process

DESCRIPTION = "what everybody may see"
UNLIMITED = ["sh", "-c", 'ulimit -c unlimited; exec "$@"', "sh"]


def forms(secret: str) -> "dict[str, bytes]":
    """How it may be written: as it is or in a URL, in hexadecimal, in base64 however it is aligned, backwards."""
    raw = secret.encode()
    found = {"raw": raw, "URL": quote(secret, safe="").encode(), "hex": raw.hex().encode(), "backwards": raw[::-1]}
    for shift in range(3):
        whole = b64encode(bytes(shift) + raw)
        found[f"base64+{shift}"] = whole[4 if shift else 0 : len(whole) // 4 * 4 - 4]
    return found


def leaks(corpus: "dict[str, bytes]", canaries: "dict[str, str]") -> "list[str]":
    return [
        f"{name} ({form}) in {where}"
        for name, secret in canaries.items()
        for form, needle in forms(secret).items()
        for where, text in corpus.items()
        if needle in text or (form == "hex" and needle.upper() in text)
    ]


def test_a_planted_secret_is_found_in_each_form() -> None:
    canary = f"+/{secrets.token_hex(20)}="
    for planted in (
        canary.encode(),
        json.dumps(f"x{canary}x").encode(),
        quote(canary, safe="").encode(),
        canary.encode().hex().upper().encode(),
        *(b64encode(b"y" * shift + canary.encode() + b"tail") for shift in range(6)),
    ):
        assert leaks({"here": b"before " + planted + b" after"}, {"canary": canary}), planted


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


class Instance:
    """One daemon, its files of secrets, and every answer it gave."""

    def __init__(self, folder: Path, storage: "dict[str, Any]", canaries: "dict[str, str]", log_format: str):
        folder.mkdir()
        self.folder = folder
        self.api, self.internal = free_port(), free_port()
        self.answers: list[bytes] = []
        self.statuses: list[int] = []
        for name in ("users", "instances", "key"):
            (folder / name).write_text(canaries[name])
            (folder / name).chmod(0o600)
        self.config = {
            "node": {"name": folder.name, "register_self": False},
            "listen": f"127.0.0.1:{free_port()}",
            "api": {"listen": f"127.0.0.1:{self.api}"},
            "mdns": {"enabled": False},
            "log": {"level": "debug", "format": log_format},
            "storage": storage,
            "clusters": {
                "token_files": [str(folder / "users")],
                "internal_listen": f"127.0.0.1:{self.internal}",
                "internal_token_files": [str(folder / "instances")],
                "key_files": [str(folder / "key")],
                "check_timeout": "300ms",
            },
        }
        self.write()

    def write(self, **sections: Any) -> None:
        (self.folder / "k3net.yaml").write_text(yaml.safe_dump({**self.config, **sections}))

    def start(self, others: str, ready: str = "/health/ready") -> None:
        self.process = Process(
            [*UNLIMITED, TWISTD, "-n", "k3net", "--config", str(self.folder / "k3net.yaml")],
            log=self.folder / "log",
            env=clean_environment({"INSTANCE_ADDRESSES": others}),
            cwd=self.folder,
        )
        wait_for(lambda: self.ask("GET", ready, None)[0] == 200, 20, f"{self.folder.name} is ready")

    def ask(self, method: str, path: str, token: "str | None", body: Any = None, *, port: int = 0) -> "tuple[int, Any]":
        connection = http.client.HTTPConnection("127.0.0.1", port or self.api, timeout=10)
        headers = {"Content-Type": "application/json"} | ({"Authorization": token} if token else {})
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, raw, headers)
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        self.answers.append(f"{answer.status} {answer.getheaders()}".encode() + said)
        return answer.status, said

    def leaves_cores(self) -> bool:
        """Whether a crash would leave an image of the memory."""
        limited = b"Max core file size        0                    0" in self.proc("limits")
        return not limited or int(self.proc("coredump_filter"), 16) != 0

    def proc(self, name: str) -> bytes:
        return Path(f"/proc/{self.process.pid}/{name}").read_bytes()


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("etcd", marks=pytest.mark.requires("etcd")),
        pytest.param("mysql", marks=pytest.mark.requires("mariadbd")),
    ]
)
def store(request: Any, tmp_path: Path) -> "Iterator[tuple[dict[str, Any], Any]]":
    """The section `storage`, and what gives all that is stored, as bytes by place."""
    if request.param == "sqlite":
        path = tmp_path / "k3net.db"
        yield {"type": "sqlite", "sqlite": {"path": str(path)}}, lambda: files(tmp_path, "k3net.db*")
    elif request.param == "etcd":
        with etcd.Member() as member:
            yield (
                {"type": "etcd", "etcd": {"endpoints": [member.url]}},
                lambda: {"etcdctl": member.ctl("get", "", "--prefix").encode(), **files(member.directory, "data/**/*")},
            )
    else:
        server = mariadb.MariaDb().start()
        try:
            login = server.login()
            mysql = {name: getattr(login, name) for name in ("host", "port", "user", "password", "database")}
            yield {"type": "mysql", "mysql": mysql}, lambda: tables(server)
        finally:
            server.end()


def files(folder: Path, pattern: str) -> "dict[str, bytes]":
    return {str(path): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}


def tables(server: Any) -> "dict[str, bytes]":
    names = [row[0] for row in server.sql("show tables")]
    dumped = {f"table {name}": repr(server.sql(f"select * from `{name}`")).encode() for name in names}
    return {**dumped, **files(server.directory, "data/k3/*"), **files(server.directory, "data/ib*")}


def bad_requests(one: Instance, canaries: "dict[str, str]", config: str) -> None:
    """Each quotes a secret in a place where it does not belong."""
    token = f"Bearer {canaries['users']}"
    create = "/api/v1/clusters"
    secret = canaries["kubeconfig"]
    for body in (
        {"name": "bad", "kube_config": [secret]},
        {"name": "bad", "kube_config": secret},
        {"name": "bad", "kube_config": f"{{{secret}"},
        {"name": "bad", "kube_config": f"a: &x {secret}\nb: *x"},
        {"name": "bad", "kube_config": config.replace("users:", f"? [{secret}]\n: 1\nusers:")},
        {"name": "bad", "kube_config": config + f"\ncurrent-context: {secret}\n"},
        {"name": "bad", "kube_config": config, "description": {secret: 1}},
        {"name": "bad", "kube_config": config, secret: 1},
        {"name": "bad", "kube_config": config.replace("https://", f"https://user:{secret}@")},
        {"name": "bad", "kube_config": config.replace("token:", "tokenFile:")},
        f'{{"name": "bad", "kube_config": "{secret}'.encode(),
        f'{{"name": "bad", "kube_config": "\\ud800{secret}"}}'.encode(),
    ):
        status, said = one.ask("POST", create, token, body)
        assert status == 400, said
    for wrong in (f"Basic {canaries['users']}", canaries["users"], f"Bearer {canaries['users']}x", f"{token} x"):
        assert one.ask("POST", create, wrong, {"name": "bad", "kube_config": config})[0] in (401, 429)
    internal = "/api/v1/internal/clusters/edge/reload"
    assert one.ask("POST", internal, token, port=one.internal)[0] == 401
    assert one.ask("GET", create, f"Bearer {canaries['instances']}")[0] in (401, 429)


def delivered(one: Instance, token: str, to: int) -> bool:
    answer = json.loads(one.ask("GET", "/api/v1/clusters/edge/delivery", token)[1])
    return [item["state"] for item in answer["items"] if item["instance"].endswith(f":{to}")] == ["delivered"]


def test_of_each_secret_there_is_ciphertext_in_the_store_and_nothing_anywhere_else(
    store: "tuple[dict[str, Any], Any]", tmp_path: Path
) -> None:
    storage, dump = store
    canaries = {name: f"c+{secrets.token_hex(20)}/{name}" for name in ("users", "instances", "kubeconfig", "password")}
    canaries["key"] = b64encode(os.urandom(32)).decode()
    with ExitStack() as ending:
        a, b = (Instance(tmp_path / name, storage, canaries, form) for name, form in (("a", "text"), ("b", "json")))
        for one, other in ((a, b), (b, a)):
            one.start(f"127.0.0.1:{other.internal}")
            ending.callback(lambda p=one.process: p.running and p.kill())
        corpus = run(a, b, canaries)
        stored = dump()
        assert not a.leaves_cores()
        assert not b.leaves_cores()
        a.process.signal(signal.SIGABRT)
        assert a.process._popen.wait(10) == -signal.SIGABRT
        assert b.process.stop() == 0
        assert not list(tmp_path.rglob("core*")), "a core dump"
        corpus |= {f"log of {one.folder.name}": one.process.log.read_bytes() for one in (a, b)}
        corpus |= {f"answer {n}": text for n, text in enumerate([*a.answers, *b.answers])}
        corpus |= {f"store before: {where}": text for where, text in stored.items()}
        corpus |= {f"store after: {where}": text for where, text in dump().items()}
    found = leaks(corpus, canaries)
    assert not found, [corpus[line.rpartition(" in ")[2]][:600] for line in found[:3]]
    assert any(DESCRIPTION.encode() in text for where, text in corpus.items() if where.startswith("store before"))
    assert any(b"v1." in text for where, text in corpus.items() if where.startswith("store before"))
    for one in (a, b):
        assert b"Successfully reloaded cluster: edge" in corpus[f"log of {one.folder.name}"]


def test_without_clusters_cores_are_as_the_system_has_them_until_clusters_are_turned_on(tmp_path: Path) -> None:
    canaries = {name: secrets.token_hex(20) for name in ("users", "instances", "key")}
    one = Instance(tmp_path / "one", {"type": "memory"}, canaries, "text")
    clusters = one.config.pop("clusters")
    one.write()
    one.start("", ready="/readyz")
    try:
        assert one.leaves_cores()
        one.write(clusters=clusters)
        one.process.signal(signal.SIGHUP)
        wait_for(lambda: not one.leaves_cores(), 10, "no core from now on")
    finally:
        one.process.kill()


def run(a: Instance, b: Instance, canaries: "dict[str, str]") -> "dict[str, bytes]":
    """Everything that touches the secrets; what else may hold them."""
    token = f"Bearer {canaries['users']}"
    plain = yaml.safe_dump(kubeconfig("https://127.0.0.1:1", user={"token": canaries["kubeconfig"]}))
    named = yaml.safe_dump(kubeconfig("https://127.0.0.1:1", user={"username": "u", "password": canaries["password"]}))
    new = {"name": "edge", "description": DESCRIPTION, "kube_config": plain}
    assert a.ask("POST", "/api/v1/clusters", token, new)[0] == 201
    wait_for(lambda: delivered(a, token, b.internal), 10, "b was told of the creation")
    assert b.ask("PUT", "/api/v1/clusters/edge", token, {"kube_config": named})[0] == 200
    wait_for(lambda: delivered(b, token, a.internal), 10, "a was told of the update")
    bad_requests(a, canaries, plain)
    reload = "/api/v1/internal/clusters/edge/reload"
    instances = f"Bearer {canaries['instances']}"
    assert a.ask("POST", reload, instances, port=a.internal)[0] == 200
    assert b.ask("POST", "/api/v1/rekey", token)[0] == 200
    # A load that fails: the key is another's for a moment
    key = a.folder / "key"
    key.write_text(b64encode(os.urandom(32)).decode())
    assert b.ask("PUT", "/api/v1/clusters/edge", token, {"kube_config": plain})[0] == 200
    assert a.ask("POST", reload, instances, port=a.internal)[0] == 500
    key.write_text(canaries["key"][:-3])
    a.ask("POST", reload, instances, port=a.internal)
    key.write_text(canaries["key"])
    # Reloads of the settings: one that is refused, and one that makes the parts anew
    for change, line in (({"clusters": {"token_files": canaries["users"]}}, "not reloaded"), ({}, "reloaded")):
        a.write(**change, **({"liveness": {"probe_interval": "14s"}} if not change else {}))
        before = a.process.output().count(line)
        a.process.signal(signal.SIGHUP)
        wait_for(lambda line=line, n=before: a.process.output().count(line) > n, 10, line)  # type: ignore[misc]
    for one in (a, b):
        for path in ("/metrics", "/readyz", "/api/v1/peers", "/api/v1/nodes", "/openapi.json", "/health/ready"):
            one.ask("GET", path, None)
        for path in (
            "/api/v1/clusters",
            "/api/v1/clusters/edge",
            "/api/v1/clusters/edge/delivery",
            "/api/v1/instances",
        ):
            assert one.ask("GET", path, token)[0] == 200, path
    assert a.ask("POST", "/api/v1/clusters", token, {**new, "name": "gone"})[0] == 201
    assert a.ask("DELETE", "/api/v1/clusters/gone", token)[0] == 200
    return {f"{name} of {one.folder.name}": one.proc(name) for one in (a, b) for name in ("cmdline", "environ", "comm")}
