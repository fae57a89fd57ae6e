"""The OpenAPI 3.1 document of ``/v1``, generated from the list of datasets and the list of problems.

Pure: no I/O here.
"""

from __future__ import annotations

from typing import Any

from access import openapi
from ledger.published.datasets import DATASETS, Column, ColumnType, Dataset
from reporting_api.catalog import filters_of
from reporting_api.errors import KINDS
from reporting_api.settings import ApiSettings

_TYPES: dict[ColumnType, dict[str, Any]] = {
    ColumnType.STRING: {"type": "string"},
    ColumnType.INT32: {"type": "integer", "format": "int32"},
    ColumnType.INT64: {"type": "integer", "format": "int64"},
    ColumnType.DOUBLE: {"type": "number", "format": "double"},
    ColumnType.BOOLEAN: {"type": "boolean"},
    ColumnType.DATE: {"type": "string", "format": "date"},
    ColumnType.TIMESTAMP: {"type": "string", "format": "date-time"},
}
_TEXT = {"type": "string"}
_DAY = {"type": "string", "format": "date"}


def document(settings: ApiSettings, public_url: str, version: str) -> dict[str, Any]:
    """The document as a value; ``version``: of the product."""
    paths: dict[str, Any] = {
        "/v1/teams": _simple("Teams of the credential", "teams"),
        "/v1/meta": _simple("Datasets, fields, parameters, metrics", "meta"),
        "/v1/freshness": _simple("How far each dataset reaches", "freshness"),
    }
    for dataset in DATASETS.values():
        paths[f"/v1/datasets/{dataset.name}"] = {"get": _dataset(dataset, settings)}
    return openapi.document(
        {"title": "rosterd reporting API", "version": version},
        paths,
        schemes=("bearer", "basic"),
        problem=openapi.problem(KINDS),
        schemas={name: _row(dataset) for name, dataset in DATASETS.items()},
        servers=(public_url,),
    )


def _simple(summary: str, name: str) -> dict[str, Any]:
    answers = {"200": {"description": summary, "content": {"application/json": {"schema": {"type": "object"}}}}}
    return {"get": {"operationId": name, "summary": summary, "responses": answers | _failures()}}


def _dataset(dataset: Dataset, settings: ApiSettings) -> dict[str, Any]:
    body = {
        "type": "object",
        "required": ["columns", "value", "next", "meta"],
        "properties": {
            "columns": {"type": "array", "items": _TEXT},
            "value": {
                "type": "array",
                "items": {"anyOf": [{"type": "array"}, {"$ref": f"#/components/schemas/{dataset.name}"}]},
            },
            "next": {"type": ["string", "null"], "format": "uri"},
            "meta": {"type": "object"},
        },
    }
    found = {
        "description": "One page",
        "headers": {name: {"schema": _TEXT} for name in ("ETag", "Link", "Rosterd-Snapshot", "RateLimit-Policy")},
        "content": {"application/json": {"schema": body}, "text/csv": {"schema": _TEXT}},
    }
    answers = {"200": found, "304": {"description": "Nothing has changed"}}
    return {
        "operationId": dataset.name,
        "summary": dataset.description,
        "parameters": _parameters(dataset, settings),
        "responses": answers | _failures(),
    }


def _parameters(dataset: Dataset, settings: ApiSettings) -> list[dict[str, Any]]:
    found = []
    if dataset.day_column:
        found.append(openapi.parameter("from", _DAY, what="First day, inclusive."))
        found.append(openapi.parameter("to", _DAY, what="Day after the last one, exclusive."))
    for name in filters_of(dataset):
        found.append(
            openapi.parameter(name, {"type": "array", "items": _TEXT}, what="May be repeated: any of the values.")
        )
    most = {"type": "integer", "minimum": 1, "maximum": settings.max_page_rows, "default": settings.page_rows}
    names = ", ".join(dataset.names)
    return [
        *found,
        openapi.parameter("select", _TEXT, what=f"Columns, separated by commas, out of: {names}."),
        openapi.parameter(
            "order", _TEXT, what="Columns, separated by commas; - before a name for descending. Nulls come last."
        ),
        openapi.parameter("limit", most, what="Rows of a page. A greater limit is an error."),
        openapi.parameter("cursor", _TEXT, what="From `next`; opaque."),
        openapi.parameter(
            "count", {"type": "string", "enum": ["none", "exact"]}, what="exact: rows on all pages, in meta.count."
        ),
        openapi.parameter("format", {"type": "string", "enum": ["json", "csv"]}, what="Wins over Accept."),
        openapi.parameter(
            "shape", {"type": "string", "enum": ["arrays", "objects"]}, what="Rows as arrays, or as objects."
        ),
        openapi.parameter("snapshot", _TEXT, what="A publication to answer from instead of the latest."),
    ]


def _row(dataset: Dataset) -> dict[str, Any]:
    return {
        "type": "object",
        "description": dataset.description,
        "properties": {column.name: _column(column) for column in dataset.columns},
    }


def _column(column: Column) -> dict[str, Any]:
    shape = dict(_TYPES[column.type])
    if column.nullable:
        shape["type"] = [shape["type"], "null"]
    return {**shape, "description": column.description, "x-privacy": str(column.privacy)}


def _failures() -> dict[str, Any]:
    return {str(status): openapi.PROBLEM for status in sorted({kind.status for kind in KINDS.values()})}
