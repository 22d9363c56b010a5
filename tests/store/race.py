"""Both sides of the race for records: controllers that take Nodes over and give them back, and k3net.

python race.py controller PATH NAMES SEED TAKEOVERS    prints how many it made, and how many were written over
python race.py k3net PATH NAMES guarded|naive           until its stdin ends; prints a count for each outcome
"""

import json
import select
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from contracts import manifest_of, node
from store.controllers import SqliteController, text_of

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


def main(role: str, path: str, *rest: str) -> None:
    if role == "controller":
        names, seed, takeovers = rest
        clobbered = contend(SqliteController(path), names.split(","), Random(int(seed)), int(takeovers))
        print(json.dumps({"takeovers": int(takeovers), "clobbered": clobbered}))
        return
    names, kind = rest
    if kind == "naive":
        from mutants.naive_store import NaiveStore as Store
    else:
        from k3net.store.sqlite import SqliteStore as Store
    outcomes = reconcile(Store(path), names.split(","), lambda: not select.select([sys.stdin], [], [], 0)[0])
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(*sys.argv[1:])
