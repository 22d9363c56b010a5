"""DNS-SD over multicast (RFC 6762, RFC 6763) by zeroconf: what happens in its thread, handed over in plain values."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from ipaddress import ip_address
from threading import Lock
from typing import Any

from zeroconf import DNSAddress, DNSPointer, DNSService, DNSText, NonUniqueNameException, Zeroconf
from zeroconf import ServiceInfo as Announcement
from zeroconf.asyncio import AsyncServiceBrowser

from k3net.discovery.asking import Asking
from k3net.discovery.records import Ear, newest, parse_txt, unflushed
from k3net.errors import K3netError

_MOST_WAITING = 4096
_MOST_KNOWN = 6000
_OLD_WORD_MILLIS = 10_000
_NEWCOMERS_A_SECOND = 500.0
_NEWCOMERS_AT_ONCE = 2500.0
_CALL_SECONDS = 5.0
_WIND_UP_SECONDS = 3.0


class NameTaken(K3netError):
    """Another machine announces this instance name."""


@dataclass(frozen=True)
class Instance:
    """One service instance as it was heard: `name` in full, `heard_at` in monotonic seconds, texts verbatim."""

    name: str
    host: str
    port: int
    txt: Mapping[str, str]
    addresses: tuple[str, ...]
    heard_at: float
    goodbye: bool = False


class DnsSd:
    """One zeroconf. All methods block, and are called from threads that may; `handover` gets `heard(instances)` called.

    At most `_MOST_WAITING` instances wait for that and `_MOST_KNOWN` are remembered; `dropped` counts the rest.
    """

    def __init__(
        self,
        service_type: str,
        heard: Callable[[Sequence[Instance]], None],
        handover: Callable[[Callable[[], None]], None],
    ):
        self.service_type = service_type
        self._heard = heard
        self._handover = handover
        self._lock = Lock()
        self._waiting: dict[str, Instance] = {}
        self._known: dict[str, Instance] = {}
        self._zeroconf: Zeroconf | None = None
        self._browser: AsyncServiceBrowser | None = None
        self._asking = Asking(service_type, lambda: self._zeroconf, self._is_known, self._not_asked)
        self._tokens, self._refilled_at = _NEWCOMERS_AT_ONCE, 0.0
        self._closed = False
        self._dropped = 0
        self.errors = 0

    @property
    def dropped(self) -> int:
        """Instances that there was no room for."""
        return self._dropped + self._asking.dropped

    def open(self, interfaces: Sequence["str | int"]) -> None:
        """Listen and browse on these interfaces (IPv4 addresses, and indexes for IPv6), or close what was opened."""
        zeroconf = Zeroconf(interfaces=list(interfaces), use_asyncio=False)
        self._zeroconf = zeroconf
        try:
            if self._closed:
                raise K3netError("mDNS was closed while it opened")
            zeroconf.add_listener(Ear(self), None)
            self.browse()
        except BaseException:
            self.close()
            raise

    def browse(self) -> None:
        """Ask for the instances of the type (again)."""
        self._call(self._browse)

    def follow(self, interfaces: Sequence["str | int"]) -> None:
        """Speak on these interfaces from now on."""
        self._call(lambda: self._opened.async_update_interfaces(interfaces=list(interfaces)))
        self.browse()

    def announce(self, announcement: Announcement) -> None:
        """Claim the name and announce it; NameTaken when another machine has it."""

        async def register() -> None:
            cache = self._opened.cache
            heard = cache.current_entry_with_name_and_alias(announcement.type, announcement.name)
            if heard is not None and self._now() * 1000 - heard.created > _OLD_WORD_MILLIS:
                cache.async_remove_records([heard])  # who is still there says so again; their word outlives the dead
            await self._opened.async_register_service(announcement, allow_name_change=False)

        try:
            self._call(register)
        except NonUniqueNameException:
            raise NameTaken(announcement.name) from None

    def renew(self, announcement: Announcement) -> None:
        """Announce what has changed."""
        announcement.set_server_if_missing()

        async def update() -> None:
            await self._opened.async_update_service(announcement)

        self._call(update)

    def close(self) -> None:
        """Say goodbye, and end zeroconf's thread; for good, also when it is still being opened.

        Raises when the thread hangs; it ends, without a goodbye, when it does so no more.
        """
        self._closed = True
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            loop = zeroconf.loop
            assert loop is not None
            try:
                asyncio.run_coroutine_threadsafe(self._wind_up(), loop).result(_WIND_UP_SECONDS)
                zeroconf.close()
            except Exception:
                with suppress(RuntimeError):  # it has ended after all
                    loop.call_soon_threadsafe(_abandon, zeroconf)
                raise

    @property
    def _opened(self) -> Zeroconf:
        if self._zeroconf is None:
            raise K3netError("mDNS is not open")
        return self._zeroconf

    def _call(self, f: Callable[[], Any]) -> Any:
        loop = self._opened.loop
        assert loop is not None  # set by Zeroconf() before it returns
        under_way = asyncio.run_coroutine_threadsafe(f(), loop)
        try:
            return under_way.result(_CALL_SECONDS)
        finally:
            under_way.cancel()  # what took too long is not to happen later

    async def _browse(self) -> None:
        if self._browser is not None:
            await self._browser.async_cancel()
        self._browser = AsyncServiceBrowser(self._opened, self.service_type, handlers=[_nothing])

    # From here on in zeroconf's thread.

    async def _wind_up(self) -> None:
        """End what is under way: zeroconf gives tasks a second, and those that take longer end in a complaint."""
        if self._browser is not None:
            await self._browser.async_cancel()
        await self._asking.end()

    def touched(self, names: Mapping[str, str], goodbyes: Mapping[str, str]) -> None:
        """These instances, by their lower-cased names, were heard of, and are in the cache as far as they are known."""
        for key, name in names.items():
            if key not in goodbyes:
                self._tell_from_cache(key, name)
        for key in goodbyes:
            known = self._known.pop(key, None)
            if known is not None:
                self._tell(key, replace(known, heard_at=self._now(), goodbye=True))

    def remove(self, records: Iterable[DNSPointer]) -> None:
        """Take records out of the cache, as far as they are in it."""
        cache = self._opened.cache
        cache.async_remove_records([r for r in records if cache.async_get_unique(r) is not None])

    def _is_known(self, name: str) -> bool:
        return name.lower() in self._known

    def _not_asked(self, error: BaseException) -> None:
        self.errors += 1

    def _tell_from_cache(self, key: str, name: str) -> None:
        known = self._known.get(key)
        if known is None and not self._has_token():
            self._dropped += 1
            return
        instance = self._from_cache(name, known)
        if instance is None:
            self._asking.ask_for(f"{name[: -len(self.service_type)]}{self.service_type}")
            return
        self._known.pop(key, None)
        if len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[key] = instance
        self._tell(key, instance)

    def _from_cache(self, name: str, known: "Instance | None") -> "Instance | None":
        """The instance as the cache has it, gaps filled with what was known; None when there are gaps."""
        cache = self._opened.cache
        millis = self._now() * 1000
        entries = [r for r in cache.async_entries_with_name(name) if not r.is_expired(millis)]
        service = newest(r for r in entries if isinstance(r, DNSService))
        text = newest(r for r in entries if isinstance(r, DNSText))
        host = service.server if service is not None else known.host if known is not None else ""
        found = [r for r in cache.async_entries_with_name(host) if isinstance(r, DNSAddress)] if host else []
        fresh = unflushed([r for r in found if not r.is_expired(millis)])
        addresses = tuple(str(ip_address(r.address)) for r in fresh) or (known.addresses if known is not None else ())
        if not host or not addresses or (text is None and known is None):
            return None
        port = service.port if service is not None else known.port if known is not None else 0
        txt = parse_txt(text.text) if text is not None else known.txt if known is not None else {}
        return Instance(name, host, port, txt, addresses, self._now())

    def _tell(self, key: str, instance: Instance) -> None:
        with self._lock:
            first = not self._waiting
            if len(self._waiting) >= _MOST_WAITING and key not in self._waiting:
                self._dropped += 1
                return
            self._waiting[key] = instance
        if first:
            self._handover(self._hand_over)

    def _hand_over(self) -> None:
        """In the caller's thread."""
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        self._heard(list(waiting.values()))

    def _has_token(self) -> bool:
        now = self._now()
        self._tokens += (now - self._refilled_at) * _NEWCOMERS_A_SECOND
        self._tokens, self._refilled_at = min(self._tokens, _NEWCOMERS_AT_ONCE), now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _now(self) -> float:
        loop = self._opened.loop
        assert loop is not None
        return loop.time()


def _abandon(zeroconf: Zeroconf) -> None:
    """End one that hung when it was closed, and wakes: it would defend its name against the one that came after it."""
    zeroconf.engine.close()
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.stop)  # after its sockets, which are closed a turn later


def _nothing(**_: Any) -> None:
    """The browser is here for its questions; what comes is heard by the ear."""
