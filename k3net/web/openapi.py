"""An OpenAPI 3.1 description of a route table: what may be asked, who may ask it, and every answer there is."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from k3net.web.resource import Parameter, Route

_TEXT = {"type": "string"}
_SEGMENT = {"type": "string", "minLength": 1, "pattern": r"^[^\x00-\x1f\x7f]+$"}
_ERROR = {
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {"code": _TEXT, "message": _TEXT, "details": _TEXT},
}
_REFUSALS = {
    400: "The path, the query, a header or the body is not as it should be.",
    401: "A token that is valid is needed.",
    403: "Not with this token, or not by this name of the host, or not this.",
    404: "There is none of this name.",
    405: "The path knows other methods.",
    408: "The headers or the body took too long.",
    409: "There is one of this name already.",
    412: "It is no longer as If-Match has it.",
    413: "The body is too long.",
    415: "The body is not application/json.",
    429: "Too many requests; ask again later.",
    431: "The headers are too long.",
    500: "It was tried, and failed.",
    503: "Not now: something that is needed does not answer, or is not set up.",
}
_ALWAYS = (400, 405, 408, 413, 431)
_TELL = {401: {"WWW-Authenticate": "Bearer"}, 405: {"Allow": "the methods"}, 429: {"Retry-After": "in seconds"}}
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "A token of one of the files that are configured."},
    "certificate": {"type": "mutualTLS", "description": "A certificate of clusters.internal_ca."},
}


def openapi(
    routes: Iterable[Route], version: str, *, checks: Sequence[Any] = (), certificate: bool = False, about: str = ""
) -> "dict[str, Any]":
    """The document of one listener (OpenAPI 3.1.0).

    `checks` are the listener's own, with `certificate` it asks for one; `about` says what the listener is.
    """
    listed = list(routes)
    schemas, components = _schemas(listed)
    about = f"{about} HEAD is answered where GET is.".strip()
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        own = checks if route.checks is None else route.checks
        paths.setdefault(route.path, {})[route.method.lower()] = {
            **_asked(route, schemas),
            **_security(own, certificate),
            "responses": _responses(route, own, schemas),
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "k3net", "version": version, "description": about},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "responses": {f"Status{status}": _refusal(status) for status in _REFUSALS},
            "securitySchemes": _SCHEMES,
        },
    }


def _schemas(routes: "list[Route]") -> "tuple[dict[int, dict[str, Any]], dict[str, Any]]":
    """The schema of each type that the routes name, by its id, and what they refer to."""
    types = [shape for route in routes for shape in _types(route)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    return dict(zip(map(id, types), schemas, strict=True)), components


def _types(route: Route) -> "Iterator[Any]":
    parameters = (*route.query.values(), *route.headers.values())
    yield from (one.type for one in parameters if isinstance(one, Parameter))
    yield from (shape for shape in (route.body, route.returns) if shape is not None and not isinstance(shape, str))


def _asked(route: Route, schemas: "dict[int, Any]") -> "dict[str, Any]":
    operation: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *re.findall(r"\w+", route.path)]),
        "summary": route.summary,
    }
    parameters = [{"name": name, "in": "path", "required": True, "schema": _SEGMENT} for name in route.parameters]
    for place, described in (("query", route.query), ("header", route.headers)):
        parameters += [{"name": name, "in": place, **_parameter(one, schemas)} for name, one in described.items()]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        body = {"application/json": {"schema": schemas[id(route.body)]}}
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _parameter(one: "str | Parameter", schemas: "dict[int, Any]") -> "dict[str, Any]":
    known = one if isinstance(one, Parameter) else Parameter(one)
    schema = schemas.get(id(known.type), _TEXT)
    return {"required": known.required, "description": known.meaning, "schema": schema}


def _security(checks: Sequence[Any], certificate: bool) -> "dict[str, Any]":
    """All that a request has to show; what kind of token, as text."""
    tokens = [asks for check in checks if (asks := getattr(check, "asks", ""))]
    needs: dict[str, list[str]] = {"token": []} if tokens else {}
    if certificate:
        needs["certificate"] = []
    described = {"description": f"Needs {' and '.join(tokens)}."} if tokens else {}
    return {"security": [needs] if needs else [], **described}


def _responses(route: Route, checks: Sequence[Any], schemas: "dict[int, Any]") -> "dict[str, Any]":
    statuses = {*_ALWAYS, *(error.status for check in checks for error in getattr(check, "refuses", ()))}
    statuses |= {error.status for error in route.refuses}
    if route.parameters:
        statuses.add(404)
    if route.body is not None:
        statuses.add(415)
    good = _good(route, schemas)
    answers = {str(status): {"$ref": f"#/components/responses/Status{status}"} for status in sorted(statuses)}
    return {**{str(status): good for status in (route.success, *route.also)}, **answers}


def _good(route: Route, schemas: "dict[int, Any]") -> "dict[str, Any]":
    if isinstance(route.returns, str):
        content = {route.returns: {"schema": _TEXT}}
    else:
        content = {"application/json": {"schema": schemas.get(id(route.returns), {})}}
    answer: dict[str, Any] = {"description": route.summary or "The answer.", "content": content}
    if route.gives:
        answer["headers"] = _headers(route.gives)
    return answer


def _refusal(status: int) -> "dict[str, Any]":
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    answer: dict[str, Any] = {"description": _REFUSALS[status], "content": content}
    if status in _TELL:
        answer["headers"] = _headers(_TELL[status])
    return answer


def _headers(meanings: "dict[str, str] | Any") -> "dict[str, Any]":
    return {name: {"description": meaning, "required": True, "schema": _TEXT} for name, meaning in meanings.items()}
