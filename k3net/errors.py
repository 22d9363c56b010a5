"""Every error k3net raises on purpose, each carrying the key it is about."""


class K3netError(Exception):
    """The root; `str()` of any of them is one line, fit for a user."""


class ConfigError(K3netError):
    """A setting cannot be read: `path` names it (`storage.etcd.endpoints[0]`), `origin` the file, flag or variable."""

    def __init__(self, path: str, reason: str, origin: str = ""):
        super().__init__(path, reason, origin)
        self.path = path
        self.reason = reason
        self.origin = origin

    def __str__(self) -> str:
        return ": ".join(part for part in (self.origin, self.path, self.reason) if part)


class InvalidObservation(K3netError):
    """A claim about a peer that breaks a rule: `field` names which."""

    def __init__(self, field: str, reason: str):
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class CorruptRecord(K3netError):
    """A stored record that is not a Node; it is listed, and left alone."""

    def __init__(self, name: str, reason: str):
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class NoSubnetLeft(K3netError):
    """Every subnet of the cluster CIDR that a node could have is taken; the text names the CIDR and the size."""


class StoreUnavailable(K3netError):
    """The store did not do it, or did not say so: after a write the outcome is unknown, so read again."""


class StoreOverloaded(StoreUnavailable):
    """Too many calls are waiting for the store; this one was not begun."""


class RequestError(K3netError):
    """An HTTP request that cannot be answered; `web` maps each subclass to a status."""

    status = 500


class BadRequest(RequestError):
    status = 400


class Unauthorized(RequestError):
    status = 401


class Forbidden(RequestError):
    status = 403


class NotFound(RequestError):
    status = 404


class AlreadyThere(RequestError):
    """What was to be created has a name that is taken."""

    status = 409


class Changed(RequestError):
    """What was to be changed is no longer as the caller knows it."""

    status = 412


class TooManyRequests(RequestError):
    status = 429


class Unavailable(RequestError):
    status = 503


def reason_and_place(error: Exception) -> tuple[str, str]:
    """What msgspec says of a document, and the path in it that it means (`$.nodes[0].name`), or ""."""
    reason, _, place = str(error).partition(" - at ")
    return reason, place.strip("`")
