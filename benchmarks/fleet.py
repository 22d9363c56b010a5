"""A fleet of 1,000 daemons and 100 machines that are no members, on one memory store: what it asks of the store.

    benchmarks/fleet.py [DAEMONS [MACHINES]]

Every one of the daemons is a real Reconciler with the defaults of etc/k3net.yaml, on one clock in steps of 0.25 s.
What they see is made by hand: each machine, members too, is heard by multicast and answers a probe once in 15 s, in
another second for each of five views, and 200 daemons share a view, so that a million peers fit in memory. A Node
that many list is decoded once, and the hash of a machine and a member worked out once, for all of them.
The table of all operations goes to stderr, the figures to stdout.
"""

import sys
import time
from functools import lru_cache
from pathlib import Path

from figure import Figure, progress, stay_on_first_core, tell

import k3net.model.members

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from reconciler.fleet import Fleet
from reconciler.world import PEER_TTL, REPORT_EVERY

DAEMONS, MACHINES = 1000, 100
SETTLES = 270
QUIET = 600
COLUMNS = (
    "phase",
    "seconds",
    "list",
    "get",
    "transactions",
    "done",
    "conflict",
    "asked",
    "writes/Node/report",
    "CPU ms/daemon/s",
)


class Phases:
    """Lets time pass in a fleet and prints what it asked of its store meanwhile."""

    def __init__(self, daemons: int, machines: int):
        self.fleet = Fleet(daemons, machines)
        self.fleet.switch_on()
        self._nodes = daemons + machines
        progress(f"{daemons} daemons, {machines} machines\n" + _row(COLUMNS))

    def pass_by(self, phase: str, seconds: int) -> float:
        """The processor milliseconds that a daemon took for a second of its time, the making of its world included."""
        fleet, ledger = self.fleet, self.fleet.ledger
        ledger.forget()
        fleet.asked = 0
        begun = time.process_time()
        fleet.advance(seconds)
        cpu = 1000 * (time.process_time() - begun) / seconds / len(fleet.names)
        mean = sum(ledger.written.values()) * REPORT_EVERY / seconds / self._nodes
        counts = [ledger.calls[verb] for verb in ("list", "get", "apply")]
        counts += [ledger.outcomes["done"], ledger.outcomes["conflict"], fleet.asked]
        progress(_row([phase, f"{seconds}", *(f"{count:,}" for count in counts), f"{mean:.3f}", f"{cpu:.3f}"]))
        return cpu


def _row(cells: "list[str] | tuple[str, ...]") -> str:
    first, *others = zip(cells, COLUMNS, strict=True)
    return first[0].ljust(22) + "".join(cell.rjust(max(len(column), 7) + 2) for cell, column in others)


def figures(daemons: int, machines: int) -> list[Figure]:
    small = Phases(daemons // 10, machines)
    small.pass_by("all start", SETTLES)
    beside = small.pass_by("nothing changes", QUIET)

    phases = Phases(daemons, machines)
    fleet, ledger = phases.fleet, phases.fleet.ledger
    phases.pass_by("all start", SETTLES)
    cpu = phases.pass_by("nothing changes", QUIET)
    most = max(ledger.written.values()) * REPORT_EVERY / QUIET
    gets, listings = ledger.calls["get"], ledger.calls["list"] / daemons

    victim, restarts = fleet.names[daemons // 2], fleet.names[daemons // 3]
    died = fleet.clock.seconds()
    fleet.kill(victim)
    phases.pass_by("one is killed", round(PEER_TTL + REPORT_EVERY))
    writes = [at - died for _, at in ledger.writers.get(victim, ())]
    phases.pass_by("the others see it", 120)

    fleet.kill(restarts)
    fleet.advance(5)
    fleet.start(restarts)
    phases.pass_by("one restarts in 5 s", 120)
    foreign = sum(who != restarts for who, _ in ledger.writers[restarts])
    n = f"{daemons:,} daemons"
    return [
        Figure(f"{n}, nothing changes: writes of the Node most written, per report_every", "", [most], at_most=1.2),
        Figure("single records read meanwhile", "", [gets], at_most=0),
        Figure("listings meanwhile, of each daemon in 10 minutes", "", [listings], at_most=1.2),
        Figure(f"one of {n} killed: writes of its Node", "", [len(writes)], at_most=1, at_least=1),
        Figure("from its end to that write", "s", [max(writes, default=float("inf"))], at_most=PEER_TTL + 1),
        Figure("one restarts: writes of its Node by others", "", [foreign], at_most=0),
        Figure(
            f"processor time of a daemon among {n}",
            "%",
            [cpu / 10],
            at_most=1,
            references={f"among {daemons // 10:,}": [beside / 10]},
        ),
    ]


if __name__ == "__main__":
    stay_on_first_core()
    k3net.model.members._score = lru_cache(None)(k3net.model.members._score)
    tell(figures(*(map(int, sys.argv[1:]) if len(sys.argv) > 1 else (DAEMONS, MACHINES))))
