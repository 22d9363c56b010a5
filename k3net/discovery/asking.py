"""Questions for what is missing of an instance that was heard of; all of it in zeroconf's thread."""

import asyncio
from collections.abc import Callable
from typing import Any

from zeroconf.asyncio import AsyncServiceInfo

_MOST_ASKED_FOR = 1024
_ASKED_AT_ONCE = 8
_ASK_MILLIS = 3000
_AGAIN_SECONDS = 5.0
_MOST_AGAIN = 64
_TIMES_AGAIN = 6


class Asking:
    """Asks the network for a few instances at a time; what comes of it is heard like anything else.

    `opened()` gives the Zeroconf, None once it is closed; `is_known(name)` says that an instance has been heard whole.
    One that nobody answered for is asked for again, six times in five minutes, while something still tells of it: no
    browser asks for what it knows. `dropped` counts those there was no room for; `refused(error)` gets what zeroconf
    says where it will not ask.
    """

    def __init__(
        self,
        service_type: str,
        opened: Callable[[], Any],
        is_known: Callable[[str], bool],
        refused: Callable[[BaseException], None],
    ):
        self._type = service_type
        self._zeroconf = opened
        self._is_known = is_known
        self._refused = refused
        self.under_way: dict[str, asyncio.Task[None]] = {}
        self.waiting: dict[str, None] = {}
        self.again: dict[str, int] = {}
        self.dropped = 0

    def ask_for(self, name: str) -> None:
        if name in self.under_way or name in self.waiting:
            return
        if len(self.waiting) >= _MOST_ASKED_FOR:
            self.dropped += 1
            return
        self.waiting[name] = None
        self._next()

    async def end(self) -> None:
        """End what is under way."""
        tasks = list(self.under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(self, name: str) -> None:
        await AsyncServiceInfo(self._type, name).async_request(self._zeroconf(), _ASK_MILLIS)

    def _next(self) -> None:
        while self.waiting and len(self.under_way) < _ASKED_AT_ONCE:
            name = next(iter(self.waiting))
            del self.waiting[name]
            task = self.under_way[name] = asyncio.get_running_loop().create_task(self.ask(name))
            task.add_done_callback(lambda done, name=name: self._asked(name, done))  # type: ignore[misc]

    def _asked(self, name: str, done: "asyncio.Task[None]") -> None:
        self.under_way.pop(name, None)
        error = None if done.cancelled() else done.exception()
        if error is not None:
            self._refused(error)
        if self._zeroconf() is not None:
            self._next()
            self._plan_again(name)

    def _plan_again(self, name: str) -> None:
        times = self.again.pop(name, 0)
        told_of = self._zeroconf().cache.current_entry_with_name_and_alias(self._type, name) is not None
        if told_of and not self._is_known(name) and times < _TIMES_AGAIN and len(self.again) < _MOST_AGAIN:
            self.again[name] = times + 1
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS * 2**times, self._ask_in_time, name)

    def _ask_in_time(self, name: str) -> None:
        if self._zeroconf() is not None and not self._is_known(name):
            self.ask_for(name)
        if name not in self.under_way and name not in self.waiting:
            self.again.pop(name, None)
