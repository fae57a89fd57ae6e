"""The three discovery documents (RFC 7643 §5–7), said exactly as this provider is (S-R7, S-R8, S-R9).

Pure: no I/O here. What is not built is not offered: no bulk, no sorting, no cursors, no change of passwords.
"""

from __future__ import annotations

from typing import Any

from connector.scim.schemas import KINDS, SCHEMAS, Attribute, Schema

CONFIG = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"
RESOURCE_TYPE = "urn:ietf:params:scim:schemas:core:2.0:ResourceType"
SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Schema"
LIST = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

PAGE = 100
"""Resources of a page when nobody says how many."""
LARGEST_PAGE = 1000


def provider_config(base: str) -> dict[str, Any]:
    """What is supported; every part says so or says no (a client took silence for "no": authentik #25056)."""
    return {
        "schemas": [CONFIG],
        "patch": {"supported": True},
        "bulk": {"supported": False, "maxOperations": 0, "maxPayloadSize": 0},
        "filter": {"supported": True, "maxResults": LARGEST_PAGE},
        "changePassword": {"supported": False},
        "sort": {"supported": False},
        "etag": {"supported": True},
        "pagination": {
            "cursor": False,
            "index": True,
            "defaultPaginationMethod": "index",
            "defaultPageSize": PAGE,
            "maxPageSize": LARGEST_PAGE,
        },
        "authenticationSchemes": [
            {
                "type": "oauthbearertoken",
                "name": "Bearer token",
                "description": "A token of one connection, sent as Authorization: Bearer",
                "specUri": "https://www.rfc-editor.org/info/rfc6750",
                "primary": True,
            }
        ],
        "meta": {"resourceType": "ServiceProviderConfig", "location": f"{base}/ServiceProviderConfig"},
    }


def resource_types(base: str) -> list[dict[str, Any]]:
    """User and Group; ``id`` is the name."""
    return [
        {
            "schemas": [RESOURCE_TYPE],
            "id": kind.name,
            "name": kind.name,
            "endpoint": kind.path,
            "description": kind.schema.about,
            "schema": kind.schema.urn,
            "schemaExtensions": [{"schema": one.urn, "required": False} for one in kind.extensions],
            "meta": {"resourceType": "ResourceType", "location": f"{base}/ResourceTypes/{kind.name}"},
        }
        for kind in KINDS
    ]


def schemas(base: str) -> list[dict[str, Any]]:
    """Every schema with every attribute that is kept; nothing in it is null."""
    return [_schema(one, base) for one in SCHEMAS]


def listed(resources: list[dict[str, Any]], total: int | None = None, start: int = 1) -> dict[str, Any]:
    """A ListResponse (RFC 7644 §3.4.2); all there is when no ``total`` is given."""
    return {
        "schemas": [LIST],
        "totalResults": len(resources) if total is None else total,
        "startIndex": start,
        "itemsPerPage": len(resources),
        "Resources": resources,
    }


def _schema(schema: Schema, base: str) -> dict[str, Any]:
    return {
        "schemas": [SCHEMA],
        "id": schema.urn,
        "name": schema.name,
        "description": schema.about,
        "attributes": [_attribute(one) for one in schema.attributes],
        "meta": {"resourceType": "Schema", "location": f"{base}/Schemas/{schema.urn}"},
    }


def _attribute(attribute: Attribute) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": attribute.name,
        "type": attribute.type,
        "multiValued": attribute.multi,
        "description": attribute.about,
        "required": attribute.required,
        "mutability": attribute.mutability,
        "returned": attribute.returned,
    }
    if attribute.type not in ("complex", "boolean"):
        found |= {"caseExact": attribute.exact, "uniqueness": attribute.uniqueness}
    if attribute.canonical:
        found["canonicalValues"] = list(attribute.canonical)
    if attribute.references:
        found["referenceTypes"] = list(attribute.references)
    if attribute.subs:
        found["subAttributes"] = [_attribute(one) for one in attribute.subs]
    return found
