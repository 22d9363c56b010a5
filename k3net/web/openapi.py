"""An OpenAPI 3.1 description of a route table."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec

from k3net.web.resource import Route

_TEXT = {"type": "string"}
_ERROR = {
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {"code": _TEXT, "message": _TEXT, "details": _TEXT},
}


def openapi(routes: Iterable[Route], version: str) -> "dict[str, Any]":
    """The document for `/openapi.json` (OpenAPI 3.1.0)."""
    listed = list(routes)
    types = [shape for route in listed for shape in (route.body, route.returns) if shape and not isinstance(shape, str)]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in listed:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "k3net", "version": version},
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(route: Route, schema_of: "dict[int, dict[str, Any]]") -> "dict[str, Any]":
    if isinstance(route.returns, str):
        content = {route.returns: {"schema": _TEXT}}
    else:
        content = {"application/json": {"schema": schema_of.get(id(route.returns), {})}}
    failure = {
        "description": "Why not.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    operation: dict[str, Any] = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "responses": {
            str(route.success): {"description": route.summary or "The answer.", "content": content},
            "default": failure,
        },
    }
    parameters = [{"name": name, "in": "path", "required": True, "schema": _TEXT} for name in route.parameters]
    parameters += [
        {"name": name, "in": "query", "required": False, "description": meaning, "schema": _TEXT}
        for name, meaning in route.query.items()
    ]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        body = {"application/json": {"schema": schema_of[id(route.body)]}}
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def _identifier(route: Route) -> str:
    return "_".join([route.method.lower(), *re.findall(r"\w+", route.path)])
