"""The table row of a route, and the OpenAPI 3.1 document made of all rows.

Prohibition: answers nothing and knows no route by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from access import openapi
from access.principal import Scope
from connector.admin.answering import KINDS, Handler


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path. ``scope`` None: open to anybody. ``asked``: its query parameters; ``body``: its body."""

    method: str
    path: str
    summary: str
    handler: Handler
    scope: Scope | None
    asked: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    status: int = 200

    def definition(self) -> web.RouteDef:
        """For aiohttp."""
        # a GET route of aiohttp answers HEAD too, by itself
        return (
            web.get(self.path, self.handler)
            if self.method == "GET"
            else web.route(self.method, self.path, self.handler)
        )


def document(routes: Iterable[Route], prefix: str) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(prefix + route.path, {})[route.method.lower()] = _operation(route, schemas)
    info = {"title": "rosterd admin API", "version": "1"}
    return openapi.document(info, paths, schemes=("bearer",), problem=_problem(), schemas=schemas)


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {
        str(route.status): {
            "description": route.summary,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "default": openapi.PROBLEM,
    }
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{re.sub('[^a-z]+', '_', route.path).rstrip('_')}",
        "summary": route.summary,
        "parameters": [*_in_path(route.path), *_in_query(route.asked)],
        "responses": answers,
    }
    if route.scope is None:
        found["security"] = []
    else:
        found["x-scope"] = route.scope.value
    if route.body is not None:
        schemas[route.body.__name__] = route.body.model_json_schema()
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{route.body.__name__}"}}}
        found["requestBody"] = {"content": content}
    return found


def _in_path(path: str) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", path)
    return [openapi.parameter(name, {"type": "string"}, place="path", required=True) for name in names]


def _in_query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema()
    required = schema.get("required", ())
    return [openapi.parameter(name, value, required=name in required) for name, value in schema["properties"].items()]


def _problem() -> dict[str, Any]:
    text = {"type": "string"}
    fault = {"type": "object", "properties": {"where": text, "what": text}}
    about = {"type": "string", "description": "Of the person who has the address already (409 exists)."}
    kinds = [name for _, _, name in KINDS]
    return openapi.problem(kinds, where=text, errors={"type": "array", "items": fault}, id=about)
