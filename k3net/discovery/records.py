"""DNS records: which instances a packet is about, and what holds of those in a cache."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from zeroconf import DNSAddress, DNSPointer, RecordUpdateListener, Zeroconf

_MOST_TXT = 32


class Hears(Protocol):
    """Whom an Ear tells, in zeroconf's thread."""

    service_type: str
    errors: int

    def touched(self, names: Mapping[str, str], goodbyes: Mapping[str, str]) -> None: ...

    def remove(self, records: Iterable[DNSPointer]) -> None: ...


class Ear(RecordUpdateListener):
    """Notes which instances each packet is about; the cache's own expiry is not something heard.

    A pointer to a name that no packet can hold is taken out of the cache: zeroconf would fail to write it among the
    known answers of its next question, and never ask again.
    """

    def __init__(self, hears: Hears):
        self._hears = hears
        self._type = hears.service_type.lower()
        self._suffix = f".{self._type}"
        self._names: dict[str, str] = {}
        self._goodbyes: dict[str, str] = {}
        self._unwritable: dict[DNSPointer, None] = {}

    def async_update_records(self, zc: Zeroconf, now: float, records: list[Any]) -> None:
        for update in records:
            record = update.new
            if record is update.old:
                continue
            if isinstance(record, DNSPointer):
                if record.key == self._type and not is_writable(record.alias):
                    self._unwritable[record] = None
                elif record.key == self._type and record.alias_key.endswith(self._suffix):
                    (self._goodbyes if record.is_expired(now) else self._names)[record.alias_key] = record.alias
            elif isinstance(record, DNSAddress):
                for service in zc.cache.async_entries_with_server(record.name):
                    if service.key.endswith(self._suffix):
                        self._names[service.key] = service.name
            elif record.key.endswith(self._suffix) and not record.is_expired(now):
                self._names[record.key] = record.name

    def async_update_records_complete(self) -> None:
        if not self._names and not self._goodbyes and not self._unwritable:
            return
        names, self._names = self._names, {}
        goodbyes, self._goodbyes = self._goodbyes, {}
        unwritable, self._unwritable = self._unwritable, {}
        try:
            self._hears.remove(unwritable)
            self._hears.touched(names, goodbyes)
        except Exception:
            self._hears.errors += 1  # whatever a packet holds, zeroconf's thread goes on


def parse_txt(data: bytes) -> dict[str, str]:
    """The `key=value` texts of a TXT record (RFC 6763 section 6); the first of a key counts, and UTF-8 only."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data) and len(found) < _MOST_TXT:
        length = data[at]
        key, equals, value = data[at + 1 : at + 1 + length].partition(b"=")
        at += 1 + length
        if not key or not equals:
            continue
        try:
            found.setdefault(key.decode("ascii").lower(), value.decode("utf-8"))
        except UnicodeDecodeError:
            continue
    return found


def is_writable(name: str) -> bool:
    """Whether each label is at most 63 bytes (RFC 1035 section 2.3.4); bytes that are no UTF-8 grow when replaced."""
    return all(len(label.encode()) <= 63 for label in name.split("."))


def newest(records: Any) -> Any:
    """The newest record, and not one that it put out of date at the same moment (see `unflushed`)."""
    return max(records, key=lambda record: (record.created, record.ttl), default=None)


def unflushed(records: list[DNSAddress]) -> list[DNSAddress]:
    """Without those that a later cache-flush record of their type has put out of date (RFC 6762 section 10.2).

    zeroconf gives these a ttl of one second from then on.
    """
    lasting = {r.type for r in records if r.ttl > 1}
    return [r for r in records if r.ttl > 1 or r.type not in lasting]
