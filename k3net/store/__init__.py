"""Where Node records are kept: one driver per kind of store, each imported only when it is opened."""

from collections.abc import Callable
from typing import Any

from k3net.errors import ConfigError, StoreUnavailable
from k3net.store.interface import OpenDriver


def _open_memory(_settings: Any) -> Any:
    from k3net.store.memory import MemoryStore

    return MemoryStore()


def _open_sqlite(settings: Any) -> Any:
    from k3net.store.sqlite import SqliteStore

    return SqliteStore(settings.sqlite.path)


def _open_etcd(settings: Any) -> Any:
    try:
        from k3net.store.etcd import EtcdStore, Login
    except (ImportError, TypeError) as error:  # TypeError: protobuf was imported before with its C code
        why = str(error).partition("\n")[0]
        raise StoreUnavailable(f"etcd store: the etcd3 library cannot be used: {why}") from error
    etcd = settings.etcd
    login = Login(etcd.username, etcd.password, etcd.ca, etcd.cert, etcd.key)
    return EtcdStore(etcd.endpoints, timeout=etcd.dial_timeout, login=login)


def _open_mysql(settings: Any) -> Any:
    from k3net.store.mysql import Login, MysqlStore

    s = settings.mysql
    return MysqlStore(Login(s.host, s.port, s.user, s.password, s.database, s.ca, s.cert, s.key))


DRIVERS: dict[str, Callable[[Any], Any]] = {
    "memory": _open_memory,
    "sqlite": _open_sqlite,
    "mysql": _open_mysql,
    "etcd": _open_etcd,
}
"""`storage.type` to what opens the driver, given the settings under `storage`."""


def opener(settings: Any) -> OpenDriver:
    """What opens the configured driver, in the thread that is to own it; ConfigError when there is no such type."""
    open_driver = DRIVERS.get(settings.type)
    if open_driver is None:
        raise ConfigError("storage.type", f"expected one of {', '.join(DRIVERS)}, not {settings.type!r}")
    return lambda: open_driver(settings)
