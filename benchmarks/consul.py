"""A real Consul and the daemon as a user starts it: how soon a change is stored, and what a full sync costs."""

import http.client
import json
import random
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from figure import MISSING, Figure, progress, tell

sys.path[0] = str(Path(__file__).parents[1] / "tests")  # before this file, which is called consul too
import consul as real  # noqa: E402
from discovery.fake_consul import FakeConsul  # noqa: E402
from integration.daemon import clean_environment, command  # noqa: E402
from integration.process import Process  # noqa: E402
from twisted.internet.task import Clock  # noqa: E402
from twisted.logger import globalLogPublisher  # noqa: E402

from k3net.discovery.consul_api import ConsulError  # noqa: E402
from k3net.discovery.consul_watch import ConsulWatch  # noqa: E402
from k3net.model.peers import PeerTable  # noqa: E402

CHANGES = 40
INSTANCES = 5000
QUIET = 24.0
POLLED = 15.0


@contextmanager
def daemon(folder: Path, store: str, address: str, **section: Any) -> Iterator[tuple[Process, int]]:
    """A daemon without mDNS, and the port of its API."""
    listen, api = real.free_port(), real.free_port()
    config = {
        "listen": f"127.0.0.1:{listen}",
        "api": {"listen": f"127.0.0.1:{api}"},
        "mdns": {"enabled": False},
        "storage": {"type": store},
        "consul": {"addr": address, **section},
    }
    folder.mkdir()
    argv = command(folder / "k3net.yaml", config, {"node_name": "bench"})
    process = Process(argv, log=folder / "log", env=clean_environment({}), cwd=folder)
    try:
        wait(lambda: asked(api, "/api/v1/consul")["registration"]["registered"], 20)
        yield process, api
    finally:
        process.kill()


def asked(port: int, path: str) -> Any:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        return json.loads(connection.getresponse().read())


def wait(predicate: Callable[[], Any], seconds: float, every: float = 0.003) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if predicate():
                return
        except (OSError, KeyError, TypeError, sqlite3.Error, json.JSONDecodeError):  # not yet
            pass
        if time.monotonic() > deadline:
            raise RuntimeError("it does not come")
        time.sleep(every)


def rows(folder: Path, query: str) -> Any:
    with closing(sqlite3.connect(f"file:{folder}/var/k3net.db?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchone()[0]


def latencies(consul: Any, stored: Callable[[], str]) -> list[float]:
    """Seconds from before a check is changed in Consul to when the store has it."""
    found = []
    for number in range(CHANGES):
        word, status = (("fail", "False"), ("pass", "True"))[number % 2]
        time.sleep(random.uniform(0.3, 0.7))
        begun = time.perf_counter()
        consul.check("k3-node-x", word)
        wait(lambda status=status: stored() == status, 20)
        found.append(time.perf_counter() - begun)
    return found


def of_changes(consul: Any, folder: Path) -> Iterator[Figure]:
    consul.service("k3-node-x", Address="192.0.2.9")

    def ready(manifest: Any) -> str:
        return next(c["status"] for c in manifest["status"]["conditions"] if c["type"] == "Ready")

    def in_sqlite() -> str:
        return ready(json.loads(rows(folder / "sqlite", "select manifest from nodes where name = 'x'")))

    for store in ("sqlite", "memory"):
        with daemon(folder / store, store, consul.address) as (_, api):
            versions: dict[str, str] = {}

            def in_memory(api: int = api, versions: dict[str, str] = versions) -> str:
                """What the API shows is stored once the version has moved on."""
                node = asked(api, "/api/v1/nodes/x")
                version, status = node["metadata"]["resourceVersion"], ready(node)
                known = versions.setdefault(version, status)
                return known if known == status else ""

            stored = in_sqlite if store == "sqlite" else in_memory
            wait(lambda stored=stored: stored() == "True", 10)
            found = sorted(latencies(consul, stored))
            yield Figure(
                f"a change in Consul is in {store}, median",
                "ms",
                [1000 * statistics.median(found)],
                at_most=300,
                references={f"polling every {POLLED:g} s": [1000 * POLLED / 2]},
            )
            p99 = found[min(len(found) - 1, round(0.99 * len(found)))]
            note = f"{len(found)} changes"
            yield Figure(
                f"a change in Consul is in {store}, p99",
                "ms",
                [1000 * p99],
                at_most=1000,
                references={f"polling every {POLLED:g} s": [1000 * POLLED]},
                note=note,
            )
    consul.drop("k3-node-x")


def of_quiet(consul: Any, folder: Path) -> Iterator[Figure]:
    """Requests to the health endpoint while nothing changes, in units of the wait that they ask for."""
    with daemon(folder / "quiet", "memory", consul.address, watch_interval="4s"):
        time.sleep(12)  # registered, checked, and settled
        log = consul.folder / "consul.log"
        before = len(log.read_text().splitlines())
        time.sleep(QUIET)
        lines = log.read_text().splitlines()[before:]
    ours = [line for line in lines if re.search(r"url=/v1/(health|agent)/service.* from=", line)]
    yield Figure("requests per wait time while nothing changes", "", [len(ours) / (QUIET / (4 * 16 / 17))], 1.1)


def of_full_sync(consul: Any, folder: Path) -> Iterator[Figure]:
    progress(f" registering {INSTANCES} instances")
    with closing(http.client.HTTPConnection("127.0.0.1", consul.port)) as connection:
        for number in range(INSTANCES):
            node, address = f"rack-{number}", f"198.18.{number // 250}.{number % 250 + 1}"
            service = {"ID": f"k3-node-n{number}", "Service": "k3-node", "Address": address, "Port": 7946}
            service["Meta"] = {"node": f"n{number}", "pid": str(number)}
            check = {
                "Node": node,
                "CheckID": f"c{number}",
                "Name": "alive",
                "Status": "passing",
                "ServiceID": service["ID"],
            }
            body = {"Node": node, "Address": address, "Service": service, "Check": check}
            connection.request("PUT", "/v1/catalog/register", json.dumps(body))
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200
    taken, peak, stored, resident = [], [], [], []
    for attempt in range(2):
        name = f"full-{attempt}"
        begun = time.perf_counter()
        with daemon(folder / name, "sqlite", consul.address) as (process, api):
            wait(lambda api=api: (asked(api, "/api/v1/consul")["instances"] or 0) >= INSTANCES, 20)
            wait(lambda name=name: rows(folder / name, "select count(*) from nodes") > INSTANCES, 60)
            stored.append(time.perf_counter() - begun)
            time.sleep(16)  # another full answer
            resident.append(process.rss() / 1e6)
        seconds, megabytes = alone(consul)
        taken.append(seconds)
        peak.append(megabytes)
    yield Figure(f"full sync of {INSTANCES} instances, from the request to the last observation", "s", taken, 2)
    yield Figure("the same, from the start of the process to all in sqlite", "s", stored)
    yield Figure("peak memory of that", "MB", peak, 100)
    note = "which probes them, and none answers"
    yield Figure("resident memory of the whole daemon with them", "MB", resident, note=note)


def alone(consul: Any) -> tuple[float, float]:
    """Seconds from the request to the last observation, and the peak of memory, in a process of its own."""
    program = Path(__file__).with_name("consul_sync.py")
    done = subprocess.run([sys.executable, program, consul.url], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    return seconds, megabytes


def of_an_outage() -> Iterator[Figure]:
    """An hour by the clock: every request fails, each time otherwise."""
    clock, table, told = Clock(), PeerTable(), []
    consul = FakeConsul(clock)
    consul.service("k3-node-x")
    watch = ConsulWatch(
        clock, table.observe, consul, service="k3-node", own_name="own", own_id="k3-node-own", peers=lambda: table
    )
    watch.startService()
    clock.advance(1)
    before = table.get("x").desired(clock.seconds())
    globalLogPublisher.addObserver(told.append)
    changes = 0
    for second in range(3600):
        consul.fault = ConsulError(f"one of seven faults: {second % 7}")
        if not second:
            consul.changed()
        clock.advance(1)
        changes += table.get("x").desired(clock.seconds()).manifest != before.manifest
    globalLogPublisher.removeObserver(told.append)
    spoken = [event for event in told if event.get("log_namespace", "").startswith("k3net")]
    yield Figure("log lines in an hour without Consul", "", [len(spoken)], 60)
    yield Figure("Nodes that an hour without Consul changes", "", [changes], 0)


def main() -> None:
    if reason := real.reason_missing():
        progress(f" skipped: {reason}")
        raise SystemExit(MISSING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with closing(real.Consul(folder / "consul")) as server:
            tell(of_changes(server, folder))
            tell(of_quiet(server, folder))
        with closing(real.Consul(folder / "large", dev=False)) as server:
            tell(of_full_sync(server, folder))
    tell(of_an_outage())


if __name__ == "__main__":
    main()
