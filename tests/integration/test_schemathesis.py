"""A real daemon asked by schemathesis after its own descriptions: every listener, with and without a token.

It lives in a namespace without a network, off loopback, so that its API asks for tokens.
"""

import http.client
import json
import os
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clusters.world import config as kubeconfig
from integration import netns
from integration.daemon import K3net, clean_environment, command
from integration.lab import wait_for

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="schemathesis needs Python 3.11")
SCHEMATHESIS = str(Path(sys.executable).with_name("schemathesis"))
SETTINGS = Path(__file__).parent.parent / "data" / "schemathesis"
LISTEN, API, INTERNAL = 7946, 8080, 8081
SOAK = os.environ.get("HYPOTHESIS_PROFILE") == "soak"
GOOD = "good-token"
LONGEST = 300
"""A bound that is larger has tests of its own; schemathesis takes minutes to build what exceeds it."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: Any) -> Iterator[K3net]:
    folder = tmp_path_factory.mktemp("schemathesis")
    token, key = folder / "token", folder / "key"
    token.write_text(f"{GOOD}\n")
    key.write_bytes(b64encode(os.urandom(32)))
    for file in (token, key):
        file.chmod(0o600)
    config = {
        "node": {"name": "n1"},
        "listen": f":{LISTEN}",
        "api": {"listen": f":{API}", "token_files": [str(token)]},
        "mdns": {"enabled": False},
        "storage": {"type": "memory"},
        "checker": {"server": {"token_files": [str(token)]}},
        "clusters": {
            "token_files": [str(token)],
            "internal_listen": f":{INTERNAL}",
            "internal_token_files": [str(token)],
            "key_files": [str(key)],
            "check_timeout": "200ms",
        },
    }
    netns.sweep()
    namespace = netns.create("api")
    try:
        process = K3net(
            namespace,
            listen_port=LISTEN,
            api_port=API,
            argv=["ip", "netns", "exec", namespace, *command(folder / "k3net.yaml", config, {})],
            log=folder / "log",
            env=clean_environment({}),
            cwd=folder,
        )
        try:
            wait_for(lambda: process.health().status == 200, 15, "the daemon is up")
            yield process
            assert process.running, process.output()
            assert "Traceback" not in process.output()
        finally:
            print(process.output()[-3000:])
            process.kill()
    finally:
        netns.delete(namespace)


def light(value: Any) -> Any:
    """A description without bounds that are large."""
    if isinstance(value, dict):
        bounds = ("maxItems", "maxLength")
        return {k: light(v) for k, v in value.items() if k not in bounds or not isinstance(v, int) or v <= LONGEST}
    return [light(one) for one in value] if isinstance(value, list) else value


def ask(daemon: K3net, port: int, document: str, folder: Path, token: str = "") -> None:
    """An AssertionError shows all that it found."""
    header = ["-H", f"Authorization: Bearer {token}"] if token else []
    described = folder / "openapi.json"
    described.write_text(json.dumps(light(fetched(daemon, document))))
    for file in SETTINGS.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    cases = ["-n", "300" if SOAK else "10", "--no-shrink", *([] if SOAK else ["--generation-deterministic"])]
    found = subprocess.run(
        [
            *("ip", "netns", "exec", daemon._namespace, SCHEMATHESIS, "--config-file", "schemathesis.toml"),
            *("run", str(described), "--url", f"http://127.0.0.1:{port}", "--no-color"),
            *("--phases", "examples,coverage,fuzzing" if token == GOOD or SOAK else "fuzzing", *cases, *header),
        ],
        cwd=folder,
        env=clean_environment({}),
        capture_output=True,
        text=True,
        timeout=1200 if SOAK else 120,
    )
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-3000:]
    assert " generated" in found.stdout, found.stdout


def fetched(daemon: K3net, path: str) -> Any:
    return sent(daemon, "GET", path)


def sent(daemon: K3net, method: str, path: str, body: Any = None) -> Any:
    def once() -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", API, timeout=5)
        headers = {"Authorization": f"Bearer {GOOD}", "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        connection.close()
        assert answer.status in (200, 201, 409), said
        return said

    return netns.inside(daemon._namespace, once)


DOCUMENTS = {API: "/openapi.json", LISTEN: "/openapi/listen", INTERNAL: "/openapi/clusters.internal_listen"}


@pytest.mark.parametrize("port", DOCUMENTS)
@pytest.mark.parametrize("token", [GOOD, "", "bad-token"])
def test_every_answer_is_one_that_is_described_and_nobody_gets_by_without_a_token(
    daemon: K3net, port: int, token: str, tmp_path: Path
) -> None:
    sent(daemon, "POST", "/api/v1/clusters", {"name": "edge", "kube_config": kubeconfig("https://127.0.0.1:1")})
    ask(daemon, port, DOCUMENTS[port], tmp_path, token)
