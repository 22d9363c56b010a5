"""A round of the checker's agent over 1,000 hosts of which 100 drop every packet, and `fping -c3` on the same hosts."""

import os
import resource
import shutil
import time
from collections.abc import Sequence
from typing import Any

from figure import MISSING, Figure, lan, measure, progress, stay_on_first_core
from listeners import Listeners, addresses
from pings import ALIVE, DEAD, DROP, RUNS, fping
from twisted.internet.defer import Deferred, succeed

from k3net.checker.agent import Agent, Aims, Identity
from k3net.checker.wire import Heartbeat, Report, ServiceReport
from k3net.probes import PROBES
from k3net.probes.icmp import Pinger

OWN = "127.0.0.1"


class Told:
    """What an agent asks of its server, answered at once; `done` is told of the next report."""

    def __init__(self, hosts: Sequence[str]):
        self._hosts = tuple(hosts)
        self.done: Deferred[Report] = Deferred()

    def beat(self, _: Heartbeat) -> "Deferred[None]":
        return succeed(None)

    def hosts(self) -> "Deferred[tuple[str, ...]]":
        return succeed(self._hosts)

    def pods(self) -> "Deferred[tuple[str, ...]]":
        return succeed(())

    def take(self, _: str, report: "Report | ServiceReport") -> "Deferred[None]":
        self.done.callback(report)
        return succeed(None)


async def one_round(reactor: Any, hosts: Sequence[str], port: int) -> tuple[float, float]:
    """Seconds from the start of a round to its report, and the processor's seconds in them."""
    server = Told(hosts)
    agent = Agent(
        reactor,
        server,  # type: ignore[arg-type]
        Identity("n0", OWN, OWN, "agent-0", "lab"),
        Aims(port, port, "", 80, 2 * len(hosts), 10),
        ping=Pinger(reactor).ping,
        connect=PROBES["tcp"],
        resolve=PROBES["dns"],
        wall=time.time,
    )
    agent.startService()
    _, round_ = agent.loops
    round_.kick()
    begun, used = time.perf_counter(), time.process_time()
    report = await server.done
    seconds, used = time.perf_counter() - begun, time.process_time() - used
    await agent.stopService()
    down = sum(each.ping_status == "unreachable" and "closed" in each.port_status.values() for each in report.results)
    fine = sum(each.ping_status == "reachable" and "open" in each.port_status.values() for each in report.results)
    if (down, fine) != (DEAD, ALIVE):
        raise RuntimeError(f"{fine} of {ALIVE} are told as well, {down} of {DEAD} as down")
    return seconds, used


async def figures(reactor: Any) -> list[Figure]:
    stay_on_first_core()
    with Listeners("closing", ALIVE, second=7) as listeners:
        alive, port = [host for host, _ in listeners.targets], listeners.targets[0][1]
        hosts = [*alive, *addresses(DEAD, second=9)]
        rounds = [await one_round(reactor, hosts, port) for _ in range(RUNS)]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        beside = {"fping -c3": [fping(hosts, "-c3")[0]]}
    name = "agent: a round over 1,000 hosts, 100 dead, ICMP and TCP together"
    return [
        Figure(name, "s", [seconds for seconds, _ in rounds], at_most=8.0, references=beside),
        Figure(f"{name}: processor time", "s", [used for _, used in rounds]),
        Figure(f"{name}: memory of the process", "MB", [peak], at_most=90.0),
    ]


def main() -> None:
    lan()  # the tests' network namespaces, and root
    from probes.entered import a_network, entered

    if missing := [command for command in ("fping", "nft") if not shutil.which(command)]:
        progress(f" skipped: needs {', '.join(missing)}")
        raise SystemExit(MISSING)
    with a_network(f"agent{os.getpid()}", DROP) as namespace, entered(namespace):
        measure(figures)


if __name__ == "__main__":
    main()
