"""What a MySQL or MariaDB server says when it cannot: which of it may be tried again, and what it means to a user."""

import ssl

_DUPLICATE = {1062}
_NO_TABLE = {1146}
_DEADLOCK = {1213}
_LOCKED = {1205}
_LOST = {1053, 1152, 1158, 1159, 1160, 1161, 1317, 1927, 2006, 2013, 2055, 3169, 4031}
_DENIED = {1142, 1143, 1209, 1290, 1792, 1836}
_UNFIT = {1048, 1264, 1292, 1364, 1366, 1406, 1644, 3140, 3819, 3105, 4025, 4038}
_READ_ONLY = {1209, 1290, 1792, 1836}
_FULL = {1021, 1114, 3675}
_NO_ROOM = ("No space left on device", "error 28", "Errcode: 28")

_MEANINGS = {
    **dict.fromkeys(
        (1045, 1698), "access denied for user {user!r}; check storage.mysql.user and storage.mysql.password"
    ),
    1044: "user {user!r} may not use the database {database!r}; grant it select, insert, update and create there",
    1049: "there is no database {database!r}; create it, or correct storage.mysql.database",
    **dict.fromkeys(
        (1142, 1143, 1227, 1370),
        "{said}; grant user {user!r} select, insert, update and create on the database {database!r}",
    ),
    **dict.fromkeys((1040, 1203, 1226), "too many connections are open there; raise the limit or find who holds them"),
    **dict.fromkeys(_READ_ONLY, "the server is read-only; point storage.mysql.host at one that takes writes"),
    **dict.fromkeys(_FULL, "the disk of the server is full"),
    **dict.fromkeys((1205, 1213), "rows are locked by another transaction for too long; find who holds it open"),
    1665: "binlog_format is STATEMENT there; set it to ROW or MIXED",
    2026: "TLS: {said}; check storage.mysql.ca, cert and key",
    **dict.fromkeys((3159, 4150), "the server takes encrypted connections only; set storage.mysql.ca"),
}


class Fault(Exception):
    """The server refused a statement, or did not answer: `number` is MySQL's (0 for what has none), `said` one line."""

    def __init__(self, number: int, said: str):
        super().__init__(number, said)
        self.number = number
        self.said = " ".join(said.split())

    @classmethod
    def of(cls, error: Exception) -> "Fault":
        """From anything that PyMySQL raises; what is no answer of a MySQL server becomes number 0."""
        cause = getattr(error, "original_exception", error)
        if isinstance(cause, ssl.SSLError):
            return cls(2026, getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or str(cause))
        if isinstance(cause, OSError):
            return cls(2003, "cannot be reached: " + (cause.strerror or str(cause)))
        number = error.args[0] if error.args and isinstance(error.args[0], int) else -1
        if number == 0:  # PyMySQL's InterfaceError(0, ""): the connection is closed
            return cls(2006, "the connection was closed")
        if number > 0 and len(error.args) > 1:
            return cls(number, str(error.args[1]))
        return cls(
            0, f"what answers there is not MySQL ({type(error).__name__}: {error}); check storage.mysql.host and port"
        )

    @property
    def duplicate(self) -> bool:
        return self.number in _DUPLICATE

    @property
    def no_table(self) -> bool:
        return self.number in _NO_TABLE

    @property
    def deadlock(self) -> bool:
        """The transaction was given up for another's; the same again may go through."""
        return self.number in _DEADLOCK

    @property
    def locked(self) -> bool:
        """A row stayed locked for all the time that this session waits."""
        return self.number in _LOCKED

    @property
    def lost(self) -> bool:
        """The connection is of no more use; whether the last statement was done is unknown."""
        return self.number in _LOST

    @property
    def denied(self) -> bool:
        """The user may not do this, or nobody may for now."""
        return self.number in _DENIED

    @property
    def unfit(self) -> bool:
        """A value does not fit its column: of this row, not of the store."""
        return self.number in _UNFIT

    def meaning(self, user: str, database: str) -> str:
        """One line for the user: what is wrong, and where it is known what to do."""
        if any(sign in self.said for sign in _NO_ROOM):
            return _MEANINGS[1114]
        if self.lost:
            return "does not answer" if "timed out" in self.said else f"the connection was lost ({self.said})"
        return _MEANINGS.get(self.number, "{said}").format(said=self.said, user=user, database=database)


class Unfit(Exception):
    """The tables there cannot be used; `str()` is one line that says why."""


class Overtaken(Exception):
    """Another transaction wrote the same names first; done again, this one sees what it wrote."""
