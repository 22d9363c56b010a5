"""Where Node records are kept: one driver per kind of store, each imported only when it is opened."""

from collections.abc import Callable
from typing import Any

from k3net.errors import ConfigError
from k3net.store.interface import OpenDriver


def _open_memory(_settings: Any) -> Any:
    from k3net.store.memory import MemoryStore

    return MemoryStore()


def _open_sqlite(settings: Any) -> Any:
    from k3net.store.sqlite import SqliteStore

    return SqliteStore(settings.sqlite.path)


DRIVERS: dict[str, Callable[[Any], Any]] = {"memory": _open_memory, "sqlite": _open_sqlite}
"""`storage.type` to what opens the driver, given the settings under `storage`."""


def opener(settings: Any) -> OpenDriver:
    """What opens the configured driver, in the thread that is to own it; ConfigError when there is no such type."""
    open_driver = DRIVERS.get(settings.type)
    if open_driver is None:
        raise ConfigError("storage.type", f"expected one of {', '.join(DRIVERS)}, not {settings.type!r}")
    return lambda: open_driver(settings)
