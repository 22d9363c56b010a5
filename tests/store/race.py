"""Both sides of the race for records: controllers that take Nodes over and give them back, and k3net.

python race.py controller PLACE NAMES SEED TAKEOVERS    prints how many it made, and how many were written over
python race.py k3net PLACE NAMES guarded|naive           until its stdin ends; prints a count for each outcome
"""

import json
import select
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from subprocess import PIPE, Popen
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from contracts import manifest_of, node
from store.controllers import text_of
from store.places import controller_at, store_at

from k3net.model.node import Node
from k3net.model.plan import plan


def contend(controller: Any, names: Sequence[str], random: Random, takeovers: int) -> int:
    """Take managed Nodes over `takeovers` times; how many of them did not stay as the controller left them.

    Only this controller works on these names: what it left unmanaged must be there when it looks again.
    """
    left: dict[str, bytes] = {}
    nonces = count()
    clobbered = 0

    def write(name: str, managed: Any) -> bytes:
        manifest = manifest_of(name, managed=managed, nonce=f"{names[0]}-{next(nonces)}")
        how = random.randrange(4)
        if how == 0:
            controller.delete(name)
        if how < 3:
            controller.put(manifest)
        else:
            controller.edit_without_version_bump(name, manifest)
        return text_of(manifest)

    def unharmed(name: str) -> bool:
        return name not in left or controller.raw(name) == left[name]

    done = 0
    while done < takeovers:
        name = random.choice(names)
        clobbered += not unharmed(name)
        if name in left and random.random() < 0.7:
            del left[name]
            write(name, "true")
        else:
            done += name not in left
            left[name] = write(name, None)
    return clobbered + sum(not unharmed(name) for name in names)


def reconcile(store: Any, names: Sequence[str], going_on: Callable[[], bool]) -> "Counter[str]":
    """Plan from what was read and apply it, over and over; how often each outcome came."""
    outcomes: Counter[str] = Counter()
    for port in rounds(going_on):
        stored = {record.name: record for record in store.list() if isinstance(record, Node)}
        desired = {name: node(name, port=str(port)) for name in names}
        steps = list(plan(desired, stored, now=0.0, report_every=0.0))
        outcomes.update(type(outcome).__name__ for outcome in store.apply(steps))
    return outcomes


def rounds(going_on: Callable[[], bool]) -> Iterator[int]:
    for number in count():
        if not going_on():
            return
        yield number


def names_of(controllers: int, each: int = 6) -> list[list[str]]:
    return [[f"n{c}-{i}" for i in range(each)] for c in range(controllers)]


def race_at(
    place: str,
    kind: str,
    takeovers: int,
    *,
    controllers: int = 2,
    reconcilers: int = 2,
    each: int = 6,
    timeout: float = 180,
) -> "Counter[str]":
    """Processes on one store, which is there; the sums of what they counted."""
    groups = names_of(controllers, each)
    everything = ",".join(name for names in groups for name in names)

    def start(*args: str) -> "Popen[str]":
        return Popen([sys.executable, __file__, *args], stdin=PIPE, stdout=PIPE, text=True)

    ours = [start("k3net", place, everything, kind) for _ in range(reconcilers)]
    theirs = [
        start("controller", place, ",".join(names), str(seed), str(takeovers // controllers))
        for seed, names in enumerate(groups)
    ]
    try:
        answers = [process.communicate(timeout=timeout)[0] for process in (*theirs, *ours)]
    finally:
        for process in (*theirs, *ours):
            process.kill()
            process.wait()
    assert all(process.returncode == 0 for process in (*theirs, *ours))
    return sum((Counter(json.loads(answer)) for answer in answers), Counter())


def main(role: str, place: str, *rest: str) -> None:
    if role == "controller":
        names, seed, takeovers = rest
        clobbered = contend(controller_at(place), names.split(","), Random(int(seed)), int(takeovers))
        print(json.dumps({"takeovers": int(takeovers), "clobbered": clobbered}))
        return
    names, kind = rest
    outcomes = reconcile(store_at(place, kind), names.split(","), lambda: not select.select([sys.stdin], [], [], 0)[0])
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
