"""Claims on subnets in a MySQL or MariaDB database: a table of their own, made when it is first asked for."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from zope.interface import implementer

from k3net.model.claims import Claim, may_write
from k3net.store.claims import IClaimStore, known, new_version, of_columns
from k3net.store.mysql_faults import Fault, Overtaken
from k3net.store.mysql_server import Server, Session

T = TypeVar("T")

_TRIES = 5
_TABLE = """create table if not exists k3net_pod_cidrs (
    subnet varchar(50) not null primary key,
    owner varchar(253) not null,
    exact tinyint not null,
    version char(32) not null
) engine = InnoDB default character set utf8mb4 collate utf8mb4_bin"""
_COLUMNS = "select subnet, owner, exact, version from k3net_pod_cidrs"
_ALL = f"{_COLUMNS} where owner <> ''"
_ONE = f"{_COLUMNS} where subnet = %s"
_INSERT = "insert into k3net_pod_cidrs (owner, exact, version, subnet) values (%s, %s, %s, %s)"
_CHANGE = "update k3net_pod_cidrs set owner = %s, exact = %s, version = %s where subnet = %s and version = %s"


@implementer(IClaimStore)
class MysqlClaims:
    """The primary key makes a claim exclusive, and the version in the condition its replacement.

    A row without an owner is a claim that was released: nobody here needs the right to delete.
    """

    _server: Server

    def claims(self) -> list[Claim]:
        rows = self._asked_of_claims(lambda session: session.rows(_ALL))
        return known(of_columns(*row) for row in rows)

    def claim(self, wanted: Claim, instead_of: str = "") -> Claim:
        return self._asked_of_claims(lambda session: _claimed(session, wanted, instead_of))

    def release(self, claim: Claim) -> None:
        values = ("", 0, new_version(), claim.subnet, claim.version)
        self._asked_of_claims(lambda session: session.change(_CHANGE, values))

    def _asked_of_claims(self, work: Callable[[Session], T]) -> T:
        return self._server.ask(lambda server: server.transaction(work), _make)


def _make(session: Session) -> None:
    session.change(_TABLE)


def _claimed(session: Session, wanted: Claim, instead_of: str) -> Claim:
    """Whoever came between is found by reading once more."""
    for _ in range(_TRIES):
        held = _held(session, wanted.subnet)
        if held is not None and held.owner and not may_write(wanted, held, instead_of):
            return held
        new = replace(wanted, version=new_version())
        values = (new.owner, int(new.exact), new.version, new.subnet)
        if held is not None:
            session.change(_CHANGE, (*values, held.version))
        else:
            _insert(session, values)
        held = _held(session, wanted.subnet)
        if held is not None and held.version == new.version:
            return held
    raise Overtaken


def _insert(session: Session, values: "tuple[str, int, str, str]") -> None:
    try:
        session.change(_INSERT, values)
    except Fault as fault:
        if not fault.duplicate:
            raise


def _held(session: Session, subnet: str) -> "Claim | None":
    return next((of_columns(*row) for row in session.rows(_ONE, (subnet,))), None)
