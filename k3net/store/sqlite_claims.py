"""Claims on subnets in the sqlite file: a table of their own, made when it is first asked for."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

from zope.interface import implementer

from k3net.model.claims import Claim, may_write
from k3net.store.claims import IClaimStore, known, new_version, of_columns

_TABLE = """create table if not exists pod_cidrs (
    subnet text primary key, owner text not null, exact integer not null, version text not null) without rowid"""
_COLUMNS = "select subnet, owner, exact, version from pod_cidrs"


@implementer(IClaimStore)
class SqliteClaims:
    """`_opened()` is the connection of `k3net.store.sqlite.SqliteStore` for one call."""

    _opened: Callable[[], AbstractContextManager[sqlite3.Connection]]
    _with_claims: sqlite3.Connection | None = None

    def claims(self) -> list[Claim]:
        with self._claims_table() as connection:
            return known(of_columns(*row) for row in connection.execute(_COLUMNS))

    def claim(self, wanted: Claim, instead_of: str = "") -> Claim:
        with self._claims_table() as connection:
            row = connection.execute(f"{_COLUMNS} where subnet = ?", (wanted.subnet,)).fetchone()
            held = row and of_columns(*row)
            if held and not may_write(wanted, held, instead_of):
                return held  # the usual case, without a lock
            connection.execute("begin immediate")
            row = connection.execute(f"{_COLUMNS} where subnet = ?", (wanted.subnet,)).fetchone()
            held = row and of_columns(*row)
            if held and not may_write(wanted, held, instead_of):
                connection.execute("rollback")
                return held
            new = replace(wanted, version=new_version())
            values = (new.subnet, new.owner, new.exact, new.version)
            connection.execute("insert or replace into pod_cidrs values (?, ?, ?, ?)", values)
            connection.execute("commit")
        return new

    def release(self, claim: Claim) -> None:
        with self._claims_table() as connection:
            connection.execute("delete from pod_cidrs where subnet = ? and version = ?", (claim.subnet, claim.version))

    @contextmanager
    def _claims_table(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as connection:
            if self._with_claims is not connection:
                connection.execute(_TABLE)
                self._with_claims = connection
            yield connection
