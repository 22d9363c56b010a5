"""A MariaDB server for each module that wants one, and databases on it."""

from itertools import count

import pytest
from mariadb import GO_TABLE, MariaDb, MysqlController

from k3net.store.mysql import MysqlStore

databases = count()


@pytest.fixture(scope="module")
def mariadb():
    with MariaDb() as mariadb:
        yield mariadb


@pytest.fixture
def database(mariadb):
    name = f"k3_only_{next(databases)}"
    mariadb.sql(f"create database {name} character set utf8mb4", database="mysql")
    return name


@pytest.fixture
def open_mysql(mariadb, database):
    stores = []

    def open_mysql(login=None, **timeouts):
        stores.append(MysqlStore(login or mariadb.login(database), **timeouts))
        return stores[-1]

    yield open_mysql
    for store in stores:
        store.close()


@pytest.fixture
def go(mariadb, database):
    """The Go programs' table and rows, and a controller at work on them."""
    mariadb.sql(*filter(str.strip, GO_TABLE.split(";\n")), database=database)
    controller = MysqlController(mariadb.login(database))
    yield controller
    controller.close()
