"""The loop of `--watch`: look once a second, show what changed, outlast a restart of the daemon."""

import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from k3net.cli.client import ApiError, BadAnswer, NoAnswer
from k3net.cli.text import escaped

INTERVAL = 1.0


def watch(
    look: Callable[[], Iterable[tuple[str, Any, Any]]],
    show: Callable[[list[Any]], None],
    *,
    interval: float = INTERVAL,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Call `show` with the items that are new or changed, for ever.

    `look` gives (name, what is compared, item) for each. The first look raises what it raises; a later one that
    fails gives one line on standard error per outage. An item that is gone is not shown, and not forgotten either:
    after a restart a daemon that still collects its items would have all of them come back as new.
    """
    known: dict[str, Any] = {}
    lost = False
    first = True
    while True:
        try:
            seen = list(look())
        except (NoAnswer, BadAnswer, ApiError) as error:
            if first:
                raise
            if not lost:
                print(f"k3net: {escaped(str(error))}; looking again every {interval:g} s", file=sys.stderr)
            lost = True
        else:
            lost = False
            changed = [item for name, compared, item in seen if name not in known or known[name] != compared]
            known.update((name, compared) for name, compared, _ in seen)
            if changed or first:
                show(changed)
                print(end="", flush=True)
            first = False
        sleep(interval)
