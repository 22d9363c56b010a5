"""A store, or a controller of its records, by the text that says where: a file for sqlite, a URL for a server.

Each is imported only when it is asked for, as the processes of the races and of the kill tests are many.
"""

from typing import Any


def store_at(place: str, kind: str = "guarded") -> Any:
    """`kind` is guarded, or naive for the mutant of tests/mutants."""
    if place.startswith("mysql:"):
        from mariadb import login_at

        if kind == "naive":
            from mutants.naive_mysql import NaiveMysqlStore

            return NaiveMysqlStore(login_at(place))
        from k3net.store.mysql import MysqlStore

        return MysqlStore(login_at(place))
    if place.startswith("http"):
        if kind == "naive":
            from mutants.naive_etcd import NaiveEtcdStore

            return NaiveEtcdStore([place])
        from k3net.store.etcd import EtcdStore

        return EtcdStore([place])
    if kind == "naive":
        from mutants.naive_store import NaiveStore

        return NaiveStore(place)
    from k3net.store.sqlite import SqliteStore

    return SqliteStore(place)


def controller_at(place: str) -> Any:
    if place.startswith("mysql:"):
        from mariadb import MysqlController, login_at

        return MysqlController(login_at(place))
    if place.startswith("http"):
        from etcd import EtcdController

        return EtcdController(place)
    from store.controllers import SqliteController

    return SqliteController(place)
