"""A store that is away in every way a store can be: the daemon goes on, and heals by itself.

All outages run side by side, each with a daemon and a store of its own, on hosts of one LAN. The daemons do not see one
another (each has a service type of its own), but all see one peer, whose cable is pulled for all of them at once.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from integration.avahi import service_xml
from integration.lab import Host, Lab
from integration.outages import PEER, STORES
from integration.pulse import Pulse
from integration.test_lan import listening

MID_RUN = {
    "sqlite": ("locked", "something_else", "replaced", "full"),
    "etcd": ("away", "hanging", "something_else", "read_only", "full"),
    "mariadb": ("away", "hanging", "something_else", "read_only", "full"),
}
AT_START = {"sqlite": ("read_only",), "etcd": ("away", "hanging"), "mariadb": ("away", "hanging")}

QUICK = {
    "liveness": {"peer_ttl": "3s", "probe_interval": "500ms", "probe_timeout": "300ms"},
    "reconcile": {"report_every": "5s"},
    "node": {"heartbeat": "1s"},
}
LAPSES = 10.0
HEALS = 62.0
"""Two intervals of the reconciler and 60 s."""
WATCHED = 12.0


class Scene:
    """A host with a daemon and its store, to which `how` happens, at the daemon's start or later."""

    def __init__(self, lab: Lab, number: int, kind: str, how: str, *, at_start: bool):
        self.name = f"{kind} {how.replace('_', ' ')}{' at the start' if at_start else ''}"
        self.at_start = at_start
        self.service = f"_k3-{number}._tcp"
        self.host: Host = lab.host(f"h{number}", ipv4=f"10.77.0.{10 + number}/24")
        self.store = STORES[kind](self.host, how)
        self.stored_after = "" if how == "replaced" else "False"
        """Nothing tells a new file of a machine that is gone."""
        self.outage: Callable[[], Any] = getattr(self.store, how)
        self.daemon: Any = None
        self.pulse = Pulse(self.host.namespace)
        self.lost: dict[str, Any] = {}
        self.counted: dict[str, float] = {}
        self.logged = 0

    def start_daemon(self) -> None:
        settings = {**QUICK, "mdns": {"service": self.service}, "storage": self.store.settings}
        self.daemon = self.host.k3net(settings, node_name="here")

    def end(self) -> None:
        if self.pulse.is_alive():
            self.pulse.end()
        if self.daemon is not None:
            self.daemon.kill()
        self.store.end()

    def serves(self) -> bool:
        return bool(self.daemon.health().status == 200)

    def shown(self) -> str:
        """What the API says of the peer."""
        return (self.daemon.ready(PEER) or ("",))[0]

    def dependency(self) -> dict[str, Any]:
        report = self.daemon.get("/readyz").json()
        return next(row for row in report["dependencies"] if row["name"] == "store")

    def is_ready(self) -> bool:
        return bool(self.daemon.get("/readyz").status == 200)

    def metrics(self) -> dict[str, float]:
        """The sum of each of these counters over its labels."""
        lines = self.daemon.get("/metrics").body.decode().splitlines()
        names = ("k3net_store_errors_total", "k3net_probes_total", "k3net_store_steps_total")
        return {name: sum(float(line.split()[-1]) for line in lines if line.startswith(name)) for name in names}

    def log(self) -> list[str]:
        return [line for line in self.daemon.output().splitlines() if "k3net" in line]

    def is_lost(self) -> bool:
        self.lost = self.dependency()
        return not self.lost["ok"]

    def watch(self) -> None:
        self.counted, self.logged = self.metrics(), len(self.log())

    def was_well_without(self) -> None:
        """It said what is wrong and since when, did its work all along, and did not pile up words."""
        assert self.store.says in self.lost["error"], self.lost
        assert not self.is_ready()
        after, counted = self.dependency(), self.metrics()
        assert after["since_seconds"] > self.lost["since_seconds"] + WATCHED - 1, (self.lost, after)
        assert counted["k3net_store_errors_total"] > self.counted["k3net_store_errors_total"]
        assert counted["k3net_probes_total"] > self.counted["k3net_probes_total"] + 8
        assert len(self.log()) - self.logged <= 8, "a log line for each change, not for each try"

    def is_healed(self) -> bool:
        return self.is_ready() and self.store.ready() == self.stored_after

    def is_as_before(self) -> bool:
        return self.shown() == self.store.ready() == "True"

    def healed_well(self, took: float) -> None:
        """The latest state of two Nodes was written, and reports; no more than that."""
        steps = self.metrics()["k3net_store_steps_total"] - self.counted["k3net_store_steps_total"]
        assert steps <= 4 + took, steps
        told = [line for line in self.log() if "answers again" in line]
        assert 1 <= len(told) <= 2, told
        assert self.pulse.failures == []


def each(scenes: list[Scene], predicate: Callable[[Scene], Any], timeout: float, what: str) -> dict[str, float]:
    """Waits until it holds of every scene (it may raise until then); after how many seconds it did."""
    begun = time.monotonic()
    held: dict[str, float] = {}
    while True:
        for scene in scenes:
            with suppress(Exception):
                if scene.name not in held and predicate(scene):
                    held[scene.name] = time.monotonic() - begun
        waiting = [scene.name for scene in scenes if scene.name not in held]
        if not waiting:
            return held
        assert time.monotonic() < begun + timeout, f"{what}: not within {timeout} s: {', '.join(waiting)}"
        time.sleep(0.1)


@contextmanager
def judged(scene: Scene) -> Iterator[None]:
    try:
        yield
    except AssertionError as error:
        raise AssertionError(f"{scene.name}: {error}") from error


@pytest.mark.requires("avahi-daemon", "chattr", "etcd", "etcdctl", "mariadbd", "mariadb-install-db")
def test_whatever_becomes_of_its_store_a_daemon_serves_and_heals(lab):
    cases = [
        (kind, how, at) for at, table in ((False, MID_RUN), (True, AT_START)) for kind in table for how in table[kind]
    ]
    with ExitStack() as ends:
        scenes = []
        for number, (kind, how, at_start) in enumerate(cases):
            scenes.append(Scene(lab, number, kind, how, at_start=at_start))
            ends.callback(scenes[-1].end)
        there = Neighbour(lab, scenes)
        ends.enter_context(listening(there.host))
        start_stores(scenes)
        run(scenes, there)


class Neighbour:
    """The host of the peer that all see."""

    def __init__(self, lab: Lab, scenes: list[Scene]):
        self.host: Host = lab.host("there", ipv4="10.77.0.2/24")
        self._services = [service_xml(PEER, scene.service, 7946, {"node": PEER}) for scene in scenes]
        self._avahi = self.host.avahi_services(self._services)

    def restart(self) -> None:
        """Back on the network, it announces itself."""
        self._avahi.kill()
        self.host.restore()
        self._avahi = self.host.avahi_services(self._services)


def start_stores(scenes: list[Scene]) -> None:
    """Those of each kind one after another, the kinds beside one another."""
    with ThreadPoolExecutor() as threads:

        def start(kind: type) -> None:
            for scene in scenes:
                if type(scene.store) is kind:
                    scene.store.start()

        list(threads.map(start, STORES.values()))


def run(scenes: list[Scene], there: Neighbour) -> None:
    with ExitStack() as outages:
        for scene in scenes:
            if scene.at_start:
                outages.enter_context(scene.outage())
            scene.start_daemon()
        each(scenes, Scene.serves, 60, "it serves")
        for scene in scenes:
            scene.pulse.start()
        each(scenes, lambda scene: scene.shown() == "True", 30, "the peer in the API")
        mid_run = [scene for scene in scenes if not scene.at_start]
        each(mid_run, lambda scene: scene.store.ready() == "True", 20, "the peer in the store")
        for scene in mid_run:
            outages.enter_context(scene.outage())
        live_without(scenes, there)
        for scene in scenes:
            scene.watch()
    heal(scenes, there)


def live_without(scenes: list[Scene], there: Neighbour) -> None:
    each(scenes, Scene.is_lost, 30, "the loss is known")
    begun = time.monotonic()
    for scene in scenes:
        scene.watch()
    for status in ("False", "True", "False"):
        there.host.cut() if status == "False" else there.host.restore()
        each(scenes, lambda scene, status=status: scene.shown() == status, LAPSES, f"{status} in the API")
    time.sleep(max(0.0, begun + WATCHED - time.monotonic()))
    for scene in scenes:
        with judged(scene):
            scene.was_well_without()


def heal(scenes: list[Scene], there: Neighbour) -> None:
    took = each(scenes, Scene.is_healed, HEALS, "ready, and the latest state stored")
    for scene in scenes:
        with judged(scene):
            scene.healed_well(took[scene.name] + 5)
    there.restart()
    each(scenes, Scene.is_as_before, LAPSES, "Ready again, in the store too")
    for scene in scenes:
        with judged(scene):
            assert scene.pulse.failures == []
        slowest = f"slowest of {scene.pulse.beats} /healthz {scene.pulse.slowest:.3f} s"
        print(f"{scene.name}: healed in {took[scene.name]:.1f} s; {slowest}")
