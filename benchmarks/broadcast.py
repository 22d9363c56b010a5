"""A change of a cluster told to 1,000 instances on loopback, with and without black holes among them; with TLS, too."""

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from figure import Figure, measure, progress, stay_on_first_core, stay_on_last_core

sys.path.append(str(Path(__file__).parents[1] / "tests"))

from authority import Authority
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from k3net.clusters.broadcast import Broadcast
from k3net.clusters.calls import ReloadCall
from k3net.clusters.loading import ClusterState
from k3net.credentials import ServerTls, Token, Trust
from k3net.discovery.instances import Instances
from k3net.model.cluster import Cluster, CreateCluster, Receipt
from k3net.store.memory import MemoryStore
from k3net.store.threaded import ThreadedStore
from k3net.web.instances_api import InstancesApi
from k3net.web.scoped_tokens import INTERNAL, ScopedTokens
from k3net.web.site import Listener

INSTANCES = 1000
HOLES = 50
PORT = 18081
RUNS = 3


class Loaded:
    """Stands for the Clusters of an instance: whatever is to be reloaded is."""

    def reload(self, name: str) -> ClusterState:
        return ClusterState(name, 1, "active", serving=1)


def address(at: int) -> str:
    return f"127.1.{at // 250}.{at % 250 + 1}"


def serve(folder: str, tls: str) -> None:
    """In a process of its own: the internal listeners of all of them."""
    from twisted.internet import reactor

    reactor.seconds = time.monotonic  # type: ignore[attr-defined]
    stay_on_last_core()
    ca = f"{folder}/ca.pem"
    loaded: Any = Loaded()
    for at in range(INSTANCES):
        tokens = ScopedTokens(reactor, [f"{folder}/token"], (INTERNAL,))
        api = InstancesApi(lambda: loaded, instance=f"i{at}", store_is_well=lambda: True)
        how = ServerTls(f"{folder}/{at}.pem", f"{folder}/{at}.key", ca) if tls else None
        Listener(reactor, f"{address(at)}:{PORT}", api.routes((tokens.may(INTERNAL),)), tls=how).startService()
    print("ready", flush=True)
    reactor.run()  # type: ignore[attr-defined]


@contextmanager
def instances(folder: Path, *, tls: bool) -> Iterator[None]:
    command = [sys.executable, __file__, str(folder), "tls" if tls else ""]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", "the instances did not start"
        yield
    finally:
        process.kill()
        process.wait()


class Sender:
    """One instance that tells: as the daemon wires it, on a store in memory."""

    def __init__(self, reactor: Any, folder: Path, addresses: "list[str]", *, tls: bool):
        self._reactor = reactor
        self._shared = MemoryStore()
        self._store = ThreadedStore(reactor, lambda: self._shared)
        self._store.startService()
        trust = Trust(f"{folder}/ca.pem", f"{folder}/0.pem", f"{folder}/0.key") if tls else None
        self._instances = Instances(
            reactor,
            environ={"INSTANCE_ADDRESSES": ",".join(addresses)},
            own_identity="own",
            own_places=lambda: [("127.0.0.1", PORT)],
            resolve=lambda name: Deferred(),
            identify=lambda instance: Deferred(),
        )
        self._broadcast = Broadcast(
            reactor,
            instances=self._found,
            ask=ReloadCall(reactor, token=Token(path=f"{folder}/token"), trust=trust),
            keep=self._keep,
            wall=time.time,
            own="own",
        )
        self.delivered = 0

    def _found(self) -> Any:
        return self._instances.at_hand().addCallback(lambda found: tuple(one.address for one in found))

    def _keep(self, name: str, receipts: "tuple[Receipt, ...]") -> Any:
        self.delivered += sum(receipt.state == "delivered" for receipt in receipts)
        return self._store.add_receipts(name, receipts)

    async def tell(self, wanted: int) -> float:
        """Seconds until so many have been told; the receipts that say so are kept each half second."""
        begun = time.monotonic()
        cluster = await self._store.write_cluster(CreateCluster(Cluster("edge", "uid", 0)))
        self._broadcast.tell(cluster.cluster, "creation")
        while self.delivered < wanted and time.monotonic() - begun < 60:
            await deferLater(self._reactor, 0.01)
        took = time.monotonic() - begun
        assert self.delivered == wanted, f"{self.delivered} of {wanted} were told in a minute"
        self._broadcast.stop()
        await self._store.stopService()
        return took


async def figures(reactor: Any) -> "list[Figure]":
    stay_on_first_core()
    told = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "token").write_text("a-token")
        (folder / "token").chmod(0o600)
        authority = Authority(folder)
        for at in range(INSTANCES):
            authority.issue(str(at), address(at))
        holes = [stack.enter_context(socket.create_server((f"127.0.1.{at + 1}", 0))) for at in range(HOLES)]
        silent = ["{}:{}".format(*hole.getsockname()) for hole in holes]
        for tls in (False, True):
            with instances(folder, tls=tls):
                everybody = [f"{address(at)}:{PORT}" for at in range(INSTANCES)]
                for name, addresses, wanted in (
                    (f"{INSTANCES:,} instances told", everybody, INSTANCES),
                    (f"{INSTANCES - HOLES} told beside {HOLES} black holes", silent + everybody[HOLES:], 950),
                ):
                    progress(f" {name}{', TLS' if tls else ''}")
                    times = [await Sender(reactor, folder, addresses, tls=tls).tell(wanted) for _ in range(RUNS)]
                    bound = {} if tls else {"at_most": 4.0}
                    note = "receipts kept each 0.5 s"
                    told.append(Figure(f"{name}{', TLS' if tls else ''}", "s", times, **bound, note=note))
    return told


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(*sys.argv[1:])
    else:
        measure(figures)
