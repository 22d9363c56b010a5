"""Where Node records are kept: one driver per kind of store, each imported only when it is opened."""

from importlib import import_module
from typing import Any

from k3net.errors import StoreUnavailable
from k3net.store.interface import OpenDriver

_DEADLINE = 10.0


def deadline(settings: Any) -> float:
    """After how many seconds a call of the driver counts as hung, which is longer than the driver itself waits."""
    return max(_DEADLINE, 2.0 * settings.etcd.dial_timeout) if settings.type == "etcd" else _DEADLINE


def opener(settings: Any) -> OpenDriver:
    """What opens the driver, given the settings under `storage`; to be called in the thread that is to own it.

    The module of this package that `storage.type` names has `opened(settings)`.
    """

    def open_driver() -> Any:
        try:
            driver = import_module(f"k3net.store.{settings.type}")
        except (ImportError, TypeError) as error:  # TypeError: protobuf was imported before with its C code
            why = str(error).partition("\n")[0]
            raise StoreUnavailable(f"{settings.type} store: its library cannot be used: {why}") from error
        return driver.opened(settings)

    return open_driver
