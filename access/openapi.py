"""What the OpenAPI 3.1 documents of both programs have in common: envelope, credentials, problems (RFC 9457).

Pure: no I/O here. Each face brings its own paths and schemas.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

PROBLEM = {"$ref": "#/components/responses/Problem"}
"""What an operation answers when it fails."""

_TEXT = {"type": "string"}
_SCHEMES: Mapping[str, dict[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "basic": {"type": "http", "scheme": "basic", "description": "The token is the password."},
}


def document(
    info: Mapping[str, str],
    paths: Mapping[str, Any],
    *,
    schemes: Iterable[str],
    problem: Mapping[str, Any],
    schemas: Mapping[str, Any],
    servers: Iterable[str] = (),
) -> dict[str, Any]:
    """The whole document. ``info``: title and version; ``schemes``: ``bearer``, ``basic``; ``problem``: as ``problem``
    makes it."""
    chosen = list(schemes)
    found: dict[str, Any] = {"openapi": "3.1.0", "info": dict(info)}
    if urls := [{"url": url} for url in servers]:
        found["servers"] = urls
    return {
        **found,
        "security": [{name: []} for name in chosen],
        "paths": dict(paths),
        "components": {
            "securitySchemes": {name: _SCHEMES[name] for name in chosen},
            "schemas": {"Problem": problem, **schemas},
            "responses": {
                "Problem": {
                    "description": "RFC 9457 problem",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
        },
    }


def problem(kinds: Iterable[str], **more: Any) -> dict[str, Any]:
    """The schema of a problem body whose type ends in one of ``kinds``; ``more``: further properties."""
    return {
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string", "format": "uri", "description": f"Ends in one of: {', '.join(kinds)}."},
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "next_step": _TEXT,
            **more,
        },
    }


def parameter(
    name: str, schema: Any, *, place: str = "query", required: bool = False, what: str = ""
) -> dict[str, Any]:
    """One parameter of an operation."""
    found = {"name": name, "in": place, "required": required, "schema": schema}
    return {**found, "description": what} if what else found
