"""The route table: what a request asks for, what an answer may be, and how an error becomes JSON."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from k3net.errors import BadRequest, NotFound, RequestError, StoreUnavailable, Unavailable, reason_and_place

JSON_TYPE = "application/json; charset=utf-8"
TEXT_TYPE = "text/plain; charset=utf-8"
NO_BODY_LIMIT = 4096

_PARAMETER = re.compile(r"\{(\w+)\}")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class MethodNotAllowed(RequestError):
    """The path is known, the method is not; `headers` names those that are."""

    status = 405

    def __init__(self, allowed: Iterable[str]):
        names = ", ".join(allowed)
        super().__init__(f"use {names}")
        self.headers = {"Allow": names}


class BodyTooLarge(RequestError):
    status = 413


class UnsupportedMediaType(RequestError):
    status = 415


class BadBody(BadRequest):
    """A JSON body that does not fit its type; `details` is the path in it (`$.nodes[0].name`)."""

    def __init__(self, message: str, details: str = ""):
        super().__init__(message)
        self.details = details


@dataclass(frozen=True)
class JSON:
    """A value msgspec can encode, with a status other than 200, or headers of its own."""

    value: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Text:
    body: "str | bytes"
    content_type: str = TEXT_TYPE
    status: int = 200


@dataclass(frozen=True)
class JSONStream:
    """A large JSON document, sent as it is encoded: `prefix`, the items joined by commas, `suffix`.

    The items must not change under the iterator: hand over a snapshot.
    """

    prefix: bytes
    items: Iterable[Any]
    suffix: bytes


@dataclass(frozen=True)
class JSONPieces:
    """A large JSON document in pieces that are encoded already, sent one after the other."""

    pieces: Sequence[bytes]


@dataclass(frozen=True)
class RequestView:
    """What an answer may know of its request; texts are decoded, `body` is of the route's type.

    `speaks_for` are the addresses its token is bound to; None is a token that is not, or no token at all.
    """

    method: str
    path: Mapping[str, str]
    query: Mapping[str, str]
    peer: str
    header: Callable[[str], "str | None"]
    body: Any = None
    speaks_for: "frozenset[str] | None" = None


@dataclass(frozen=True)
class Parameter:
    """A query parameter or header as `/openapi.json` tells of it; `type` is what its text must be, for msgspec."""

    meaning: str
    type: Any = str
    required: bool = False


@dataclass(frozen=True)
class Route:
    """One method of one path (`/api/v1/nodes/{name}`); `answer(view)` gives a value or an answer, or a Deferred of one.

    A route with a `body` type takes JSON of at most `max_body` bytes; what does not fit raises `unfit(message,
    details)`. `checks` stand in for the listener's. The rest is told by `/openapi.json`: `query` and `headers` map name
    to meaning, `returns` is a type msgspec knows, or a content type for text, `success` the status of a good answer,
    `also` others with the same shape, `gives` its headers, and `refuses` the errors of `answer` itself.
    """

    method: str
    path: str
    answer: Callable[[RequestView], Any]
    summary: str = ""
    query: "Mapping[str, str | Parameter]" = field(default_factory=dict)
    headers: "Mapping[str, str | Parameter]" = field(default_factory=dict)
    body: Any = None
    max_body: int = 1 << 16
    returns: Any = None
    success: int = 200
    also: tuple[int, ...] = ()
    gives: Mapping[str, str] = field(default_factory=dict)
    refuses: "tuple[type[RequestError], ...]" = ()
    unfit: "Callable[[str, str], RequestError]" = BadBody
    checks: "tuple[Callable[[Any], None], ...] | None" = None

    @property
    def parameters(self) -> "list[str]":
        return _PARAMETER.findall(self.path)

    def decode(self, content_type: "str | None", raw: bytes) -> Any:
        """The body in this route's type, or None where it takes none; UnsupportedMediaType, BadBody."""
        if self.body is None:
            return None
        if (content_type or "").split(";")[0].strip().lower() != "application/json":
            raise UnsupportedMediaType("the body must be application/json")
        try:
            return msgspec.json.decode(raw, type=self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self.unfit(*reason_and_place(error)) from None


class Table:
    """Routes by path, then method."""

    def __init__(self, routes: Iterable[Route]):
        self._paths: dict[tuple[str | None, ...], dict[str, Route]] = {}
        self._plain: dict[bytes, dict[str, Route]] = {}
        for route in routes:
            methods = self._paths.setdefault(_shape(route.path), {})
            if not route.parameters:
                self._plain[route.path.encode()] = methods
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            methods[route.method] = route

    def match(self, method: str, path: bytes) -> "tuple[Route, dict[str, str]]":
        """The route and its path parameters, each percent-decoded once; BadRequest, NotFound, MethodNotAllowed."""
        if (plain := self._plain.get(path, {}).get(method)) is not None:
            return plain, {}
        segments = _segments(path)
        for shape, methods in self._paths.items():
            values = _fit(shape, segments)
            if values is None:
                continue
            route = methods.get("GET" if method == "HEAD" else method)
            if route is None:
                raise MethodNotAllowed(sorted({*methods, *(["HEAD"] if "GET" in methods else [])}))
            return route, dict(zip(route.parameters, values, strict=True))
        raise NotFound("no such path")


def _shape(path: str) -> "tuple[str | None, ...]":
    """The segments of a template, None standing for a parameter."""
    return tuple(None if _PARAMETER.fullmatch(part) else part for part in path.split("/")[1:])


def _segments(path: bytes) -> "list[str]":
    if not path.startswith(b"/"):
        raise BadRequest("the request target must be a path")
    return [_unquoted(part) for part in path.split(b"/")[1:]]


def _unquoted(part: bytes) -> str:
    if _BAD_PERCENT.search(part):
        raise BadRequest("the path has a bad percent-encoding")
    try:
        text = unquote_to_bytes(part).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest("the path is not UTF-8") from None
    if _CONTROL.search(text):
        raise BadRequest("the path has a control character")
    return text


def _fit(shape: "tuple[str | None, ...]", segments: "list[str]") -> "list[str] | None":
    if len(shape) != len(segments):
        return None
    values = []
    for part, segment in zip(shape, segments, strict=True):
        if part is None and segment:
            values.append(segment)
        elif part != segment:
            return None
    return values


def decode_query(args: Mapping[bytes, "list[bytes]"]) -> "dict[str, str]":
    """Query parameters as texts, the first of each; BadRequest when one is not UTF-8."""
    try:
        return {name.decode("utf-8"): values[0].decode("utf-8") for name, values in args.items()}
    except UnicodeDecodeError:
        raise BadRequest("the query is not UTF-8") from None


@dataclass(frozen=True)
class Refusal:
    """An error as an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def refusal(error: RequestError) -> Refusal:
    """`{"code": "NOT_FOUND", "message": ..., "details": ...}` with the error's status and headers."""
    code = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(error).__name__).upper()
    body = {"code": code, "message": str(error), "details": getattr(error, "details", "")}
    headers = {"Content-Type": JSON_TYPE, **getattr(error, "headers", {})}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 429:
        headers.setdefault("Retry-After", "1")
    return Refusal(error.status, headers, msgspec.json.encode(body))


class InternalError(RequestError):
    """Something failed that has no status of its own; its text is for the log only."""


def as_request_error(error: BaseException) -> RequestError:
    """The error a client may see: nothing of one that was not meant for it."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, StoreUnavailable):
        return Unavailable("the store is not available")
    return InternalError("internal error; see the log of the daemon")
