"""One MySQL or MariaDB server behind one connection: opened when needed, bounded in time, dropped on error."""

import random
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Timer
from time import monotonic, sleep
from typing import Any, TypeVar

import pymysql
from pymysql.constants import CLIENT

from k3net.errors import StoreUnavailable
from k3net.store.mysql_faults import Fault, Overtaken, Unfit

T = TypeVar("T")
Row = tuple[Any, ...]

_TRIES = 4
_SESSION = (
    "set session sql_mode = 'STRICT_ALL_TABLES', time_zone = '+00:00'",
    "set session innodb_lock_wait_timeout = 1, lock_wait_timeout = 1",
    "set session transaction isolation level read committed",
)


@dataclass(frozen=True)
class Login:
    """Where the database is and who asks; `ca`, `cert` and `key` are files, and any of them asks for verified TLS."""

    host: str = "localhost"
    port: int = 3306
    user: str = "root"
    password: str = field(default="", repr=False)
    database: str = "k3"
    ca: str = ""
    cert: str = ""
    key: str = ""


class Session:
    """An open connection; all that goes wrong on it leaves as Fault."""

    def __init__(self, connection: Any):
        self._connection = connection

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[Row]:
        """What a select finds."""
        cursor = self._executed(statement, values)
        return list(cursor.fetchall())

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """How many rows the statement matched."""
        count: int = self._executed(statement, values).rowcount
        return count

    def _executed(self, statement: str, values: Sequence[Any]) -> Any:
        try:
            cursor = self._connection.cursor()
            cursor.execute(statement, tuple(values))
        except Exception as error:  # a server that is none makes PyMySQL raise anything
            raise Fault.of(error) from error
        return cursor


class Server:
    """Runs work on a Session; `prepare(session)` is called on each new connection.

    Connecting, sending and receiving have their own timeouts, and a `call` as a whole ends within `patience` seconds:
    then the connection is cut, whatever it was doing. What goes wrong leaves a call as StoreUnavailable.
    """

    def __init__(
        self,
        login: Login,
        prepare: Callable[[Session], None],
        *,
        connect_timeout: float = 3.0,
        timeout: float = 5.0,
        patience: float = 9.0,
    ):
        self._login = login
        self._prepare = prepare
        self._connect_timeout = connect_timeout
        self._timeout = timeout
        self._patience = patience
        self._until = 0.0
        self._connection: Any = None
        self._line: socket.socket | None = None
        self.place = f"mysql store {login.host}:{login.port}/{login.database}"

    @contextmanager
    def call(self) -> Iterator[None]:
        """Around the units of one verb."""
        self._until = monotonic() + self._patience
        timer = Timer(self._patience, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Fault as fault:
            self.close()
            late = f"no answer within {self._patience:g} s" if self._is_late() else ""
            meaning = late or fault.meaning(self._login.user, self._login.database)
            raise StoreUnavailable(f"{self.place}: {meaning}") from fault
        except Unfit as error:
            self.close()
            raise StoreUnavailable(f"{self.place}: {error}") from error
        except BaseException:
            self.close()
            raise
        finally:
            timer.cancel()

    def ask(self, work: "Callable[[Server], T]", make: Callable[[Session], None]) -> T:
        """The result of `work(self)`, a call; where its tables are missing `make(session)` makes them first."""
        with self.call():
            try:
                return work(self)
            except Fault as fault:
                if not fault.no_table:
                    raise
            self.unit(make)
            return work(self)

    def unit(self, work: Callable[[Session], T]) -> T:
        """`work(session)`; once more when the connection, idle till now, turns out to be lost.

        So work is only what may be done twice.
        """
        idle = self._connection is not None
        try:
            return work(self._session())
        except Fault as fault:
            if not (idle and fault.lost) or self._is_late():
                raise
            self.close()
        return work(self._session())

    def transaction(self, work: Callable[[Session], T]) -> T:
        """A unit whose changes are made together or not at all; up to three times more when others came between."""

        def bracketed(session: Session) -> T:
            session.change("begin")
            try:
                result = work(session)
                session.change("commit")
            except BaseException:
                self._rollback(session)
                raise
            return result

        for attempt in range(1, _TRIES):
            try:
                return self.unit(bracketed)
            except Overtaken:
                pass
            except Fault as fault:
                if not fault.deadlock or self._is_late():
                    raise
            sleep(random.uniform(0.5, 1.5) * 0.02 * 2**attempt)  # noqa: S311 - so that two do not meet again
        try:
            return self.unit(bracketed)
        except Overtaken:
            raise Fault(1213, "others write the same names all the time") from None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        if connection is not None:
            with suppress(Exception):  # it may be broken in any way
                connection.close()

    def _rollback(self, session: Session) -> None:
        try:
            session.change("rollback")
        except Fault:
            self.close()

    def _session(self) -> Session:
        if self._connection is None:
            try:
                self._connect()
            except Fault:
                self.close()
                raise
        return Session(self._connection)

    def _connect(self) -> None:
        login, tls = self._login, self._tls()
        try:
            line = socket.create_connection((login.host, login.port), self._connect_timeout)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._line = line.dup()
            self._connection = pymysql.Connection(
                defer_connect=True,
                host=login.host,
                port=login.port,
                user=login.user,
                password=login.password.encode(),
                database=login.database,
                charset="utf8mb4",
                autocommit=True,
                client_flag=CLIENT.FOUND_ROWS,
                read_timeout=self._timeout,
                write_timeout=self._timeout,
                ssl=tls,
            )
            self._connection.connect(line)
        except Exception as error:  # a server that is none makes PyMySQL raise anything
            raise Fault.of(error) from error
        session = Session(self._connection)
        for statement in _SESSION:
            session.change(statement)
        self._prepare(session)

    def _tls(self) -> ssl.SSLContext | None:
        login = self._login
        files = [file for file in (login.ca, login.cert, login.key) if file]
        if not files:
            return None
        try:
            for file in files:
                open(file, "rb").close()  # OpenSSL does not say which
            context = ssl.create_default_context(cafile=login.ca or None)
            if login.cert:
                context.load_cert_chain(login.cert, login.key or None)
        except ssl.SSLError as error:
            raise Fault(2026, f"{' or '.join(files)} is not what it should be: {error.reason}") from error
        except OSError as error:
            raise Fault(2026, f"{error.filename}: {error.strerror}") from error
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the certificates that MySQL makes itself would not pass
        return context

    def _is_late(self) -> bool:
        return monotonic() >= self._until

    def _cut(self) -> None:
        """From the timer's thread: what waits for the server gets an end of file."""
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
