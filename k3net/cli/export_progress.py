"""A bar on standard error for somebody who waits at a terminal for longer than a second."""

import sys
from typing import Any

from twisted.internet.task import LoopingCall

from k3net.cli.table import is_terminal

_AFTER = 1.0
_EVERY = 0.1


class NameProgress:
    """`step()` counts a name; nothing is drawn where nobody looks, and nothing is left when it `end`s."""

    def __init__(self, reactor: Any, total: int):
        self._total = total
        self._done = 0
        self._bar: Any = None
        self._loop = LoopingCall(self._draw)
        self._loop.clock = reactor
        self._start = reactor.callLater(_AFTER, self._loop.start, _EVERY) if is_terminal(sys.stderr) else None

    def step(self) -> None:
        self._done += 1

    def _draw(self) -> None:
        if self._bar is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            columns = (TextColumn("names"), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False)
            self._task = self._bar.add_task("names", total=self._total)
            self._bar.start()
        self._bar.update(self._task, completed=self._done, refresh=True)

    def end(self) -> None:
        if self._start is not None and self._start.active():
            self._start.cancel()
        if self._loop.running:
            self._loop.stop()
        if self._bar is not None:
            self._bar.stop()
