"""A daemon with 10,000 clusters: its pages of 500 over HTTP while it loads them all, and how long that takes."""

import http.client
import json
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from pathlib import Path

from figure import Figure, progress, tell

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from etcd import free_ports

from k3net.clusters.secrets import KeyRing
from k3net.model.cluster import Cluster, CreateCluster
from k3net.store.sqlite import SqliteStore

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "a-token.of-a.user"}}],
    "contexts": [{"name": "x", "context": {"cluster": "k", "user": "u"}}],
    "current-context": "x",
}
COUNT = 10_000
PAGE = 500


def fill(folder: Path) -> None:
    """Clusters that are sealed as they should be, and whose API servers refuse connections."""
    ring, text = KeyRing([str(folder / "key")]), json.dumps(KUBECONFIG)
    store = SqliteStore(str(folder / "k3net.db"))
    for at in range(COUNT):
        name, uid = f"c{at:05}", f"uid-{at}"
        store.write_cluster(CreateCluster(Cluster(name, uid, 0, "a cluster", ring.seal(text, name, uid), 1.0, 1.0)))
    store.close()


def get(port: int, path: str) -> "tuple[int, dict[str, list[dict[str, str]]]]":
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={"Authorization": "Bearer a-token"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def page(port: int, number: int) -> "tuple[float, bool]":
    """Milliseconds, and whether all on it have been asked for their version."""
    begun = time.perf_counter()
    status, found = get(port, f"/api/v1/clusters?limit={PAGE}&continue=c{number * PAGE:05}")
    took = (time.perf_counter() - begun) * 1000
    assert status == 200, found
    return took, all(one["reason"] == "refused" for one in found["items"])


def measured(folder: Path, port: int) -> "list[Figure]":
    begun = time.monotonic()
    while True:
        try:
            if get(port, "/health/ready")[0] == 200:
                break
        except OSError:
            pass
        assert time.monotonic() < begun + 60, (folder / "log").read_text()[-500:]
        time.sleep(0.1)
    ready, busy, asked = time.monotonic() - begun, list[float](), 0
    while asked < COUNT // PAGE - 1:
        took, done = page(port, asked)
        busy.append(took)
        asked += done
        time.sleep(0 if done else 0.2)
        assert time.monotonic() < begun + 120, "not all were asked within two minutes"
    loaded = time.monotonic() - begun
    quiet = [page(port, number)[0] for number in range(COUNT // PAGE - 1)]
    what = f"a page of {PAGE} of {COUNT:,} clusters over HTTP"
    return [
        Figure(f"{what}, while they are loaded", "ms", busy, at_most=300),
        Figure(f"{what}, then", "ms", quiet, at_most=300),
        Figure(f"start with {COUNT:,} clusters until all are known", "s", [ready]),
        Figure(f"start with {COUNT:,} clusters until all API servers were asked", "s", [loaded]),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in {"key": b64encode(bytes(32)).decode(), "token": "a-token"}.items():
            (folder / file).write_text(text)
            (folder / file).chmod(0o600)
        progress(f" {COUNT:,} clusters in sqlite")
        fill(folder)
        listen, port = free_ports(2)
        settings = {
            "mdns": {"enabled": False},
            "node": {"register_self": False},
            "listen": f"127.0.0.1:{listen}",
            "api": {"listen": f"127.0.0.1:{port}"},
            "storage": {"type": "sqlite", "sqlite": {"path": str(folder / "k3net.db")}},
            "clusters": {"token_files": [str(folder / "token")], "key_files": [str(folder / "key")]},
        }
        (folder / "k3net.yaml").write_text(json.dumps(settings))
        twistd = str(Path(sys.executable).with_name("twistd"))
        with (folder / "log").open("wb") as log:
            command = [twistd, "-n", "k3net", "--config", str(folder / "k3net.yaml")]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            tell(measured(folder, port))
        finally:
            process.terminate()
            process.wait(20)


if __name__ == "__main__":
    main()
