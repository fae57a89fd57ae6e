"""Transport and discovery of the inbox (S-R1 to S-R10, S-R58)."""

from __future__ import annotations

import gzip
import io
from typing import Any

import pytest

from connector.scim.answering import MOST_BODY, PREFIX
from connector.scim.schemas import SCHEMAS
from tests.contract.scim.conftest import ENTERPRISE, HOST, USER, Provider

ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"


def nulls(value: Any) -> int:
    """How many there are anywhere."""
    if isinstance(value, dict):
        return sum(nulls(one) for one in value.values())
    return sum(nulls(one) for one in value) if isinstance(value, list) else int(value is None)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/Users", {"Authorization": "Bearer who"}, 401),
        ("GET", "/ServiceProviderConfig", {"Authorization": ""}, 401),
        ("GET", "/Users", {"Authorization": "Bearer reports"}, 403),
        ("GET", "/Users", {"Authorization": "Bearer late"}, 503),
        ("GET", "/Users/nobody", {}, 404),
        ("GET", "/Users/a%00b", {}, 404),
        ("GET", "/Nothing", {}, 404),
        ("DELETE", "/Users", {}, 405),
        ("GET", "/Me", {}, 501),
        ("POST", "/Bulk", {}, 501),
        ("GET", "/Users?attributes=id&excludedAttributes=name", {}, 400),
        ("GET", "/Users?count=many", {}, 400),
    ],
)
async def test_s_r4_every_error_is_a_scim_error(
    provider: Provider, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    found = await provider.ask(method, path, **headers)
    assert (found.status, found.body["schemas"], found.body["status"]) == (status, [ERROR], str(status))
    assert found.headers["Content-Type"] == "application/scim+json"
    assert found.body["detail"]
    assert ("WWW-Authenticate" in found.headers) == (status == 401)
    assert found.headers.get("Retry-After") == ("7" if status == 503 else None)


async def test_s_r2_a_refused_token_is_told_nothing(provider: Provider) -> None:
    found = await provider.ask("POST", "/Users", {"userName": "eva"}, Authorization="Bearer who")
    assert (found.status, found.headers["WWW-Authenticate"]) == (401, 'Bearer realm="rosterd"')
    assert "unknown" not in found.body["detail"]
    assert provider.told == []


@pytest.mark.parametrize(
    ("body", "headers", "status", "word"),
    [
        (b"{}", {"Content-Type": "text/plain"}, 415, None),
        (b"{}", {"Content-Type": "application/scim+json; charset=latin-1"}, 415, None),
        (b"{", {}, 400, "invalidSyntax"),
        (b"", {}, 400, "invalidSyntax"),
        (b"[]", {}, 400, "invalidSyntax"),
        (b"\xff", {}, 400, "invalidSyntax"),
        (b'{"userName":' + b"[" * 5000 + b"]" * 5000 + b"}", {}, 400, "invalidSyntax"),
        (b'{"userName":"a\\u0000b"}', {}, 400, "invalidValue"),
        (b'{"userName":"a","x\\u0007":1}', {}, 400, "invalidValue"),
        (b'{"userName":"a\\nb"}', {}, 400, "invalidValue"),
        (b" " * (MOST_BODY + 1), {}, 413, None),
        (gzip.compress(b'{"userName":"eva"}' * 9, mtime=0)[:-20], {"Content-Encoding": "gzip"}, 400, "invalidSyntax"),
        (gzip.compress(b" " * (MOST_BODY + 1), mtime=0), {"Content-Encoding": "gzip"}, 413, None),
    ],
)
async def test_s_r4_bodies_that_are_not_read(
    provider: Provider, body: bytes, headers: dict[str, str], status: int, word: str | None
) -> None:
    own = {"Authorization": "Bearer entra", "Content-Type": "application/scim+json", **headers}
    async with provider.client.post(f"{PREFIX}/Users", data=io.BytesIO(body), headers=own) as response:
        found = await response.json(content_type=None)
    assert (response.status, found["status"], found.get("scimType")) == (status, str(status), word)
    assert (await provider.get("/Users"))["totalResults"] == 0


@pytest.mark.parametrize("kind", ["application/scim+json", "application/json", "application/json; charset=UTF-8"])
async def test_s_r1_both_content_types_are_read_and_one_is_answered(provider: Provider, kind: str) -> None:
    found = await provider.ask("POST", "/Users", {"schemas": [USER], "userName": "eva"}, Content_Type=kind)
    assert (found.status, found.headers["Content-Type"]) == (201, "application/scim+json")


@pytest.mark.parametrize("path", ["/Users/", "/Users?aadOptscim062020", "/Users/?aadOptscim062020=1&x=y&sortBy=id"])
async def test_s_r3_slashes_and_unknown_parameters_are_let_be(provider: Provider, path: str) -> None:
    await provider.person("eva")
    assert (await provider.get(path))["totalResults"] == 1


async def test_s_r6_no_connection_sees_or_changes_anothers(provider: Provider) -> None:
    eva = await provider.person("eva", externalId="E1")
    cad = await provider.group("CAD", eva)
    for other in ("okta", "globex", "strict"):
        provider.token = other
        assert (await provider.get("/Users"))["totalResults"] == 0
        assert await provider.names("Users", 'userName eq "eva"') == []
        assert await provider.names("Groups", f'members.value eq "{eva}"') == []
        for method in ("GET", "PUT", "PATCH", "DELETE"):
            body = None if method in ("GET", "DELETE") else {"schemas": [USER], "userName": "x", "Operations": []}
            found = await provider.ask(method, f"/Users/{eva}", body)
            assert found.status in (404, 400), found.body
        assert (await provider.ask("DELETE", f"/Groups/{cad}")).status == 404
    provider.token = "okta"
    mine = await provider.group("Mine")
    await provider.patch(f"/Groups/{mine}", {"op": "add", "path": "members", "value": [{"value": eva}]})
    assert await provider.members(mine) == set()
    provider.token = "entra"
    assert await provider.members(cad) == {eva}


async def test_s_r7_the_configuration_is_true_and_whole(provider: Provider) -> None:
    found = await provider.get("/ServiceProviderConfig")
    supported = {
        name: found[name]["supported"] for name in ("patch", "bulk", "filter", "changePassword", "sort", "etag")
    }
    assert supported == {
        "patch": True,
        "bulk": False,
        "filter": True,
        "changePassword": False,
        "sort": False,
        "etag": True,
    }
    assert set(found["bulk"]) == {"supported", "maxOperations", "maxPayloadSize"}
    assert found["filter"]["maxResults"] == found["pagination"]["maxPageSize"] == 1000
    assert (found["pagination"]["cursor"], found["pagination"]["index"]) == (False, True)
    assert "cursorTimeout" not in found["pagination"]  # c01: RFC 9865 has a positive one or none
    assert found["authenticationSchemes"][0]["type"] == "oauthbearertoken"


async def test_s_r8_resource_types_are_named_by_their_id(provider: Provider) -> None:
    found = await provider.get("/ResourceTypes")
    assert [(one["id"], one["name"], one["endpoint"]) for one in found["Resources"]] == [
        ("User", "User", "/Users"),
        ("Group", "Group", "/Groups"),
    ]
    assert found["Resources"][0]["schemaExtensions"] == [{"schema": ENTERPRISE, "required": False}]
    one = await provider.get("/ResourceTypes/User")
    assert one["meta"]["location"] == f"{HOST}/scim/v2/ResourceTypes/User"
    assert (await provider.ask("GET", "/ResourceTypes/Team")).status == 404


async def test_s_r9_schemas_are_a_list_without_nulls(provider: Provider) -> None:
    found = await provider.get("/Schemas")
    assert found["totalResults"] == 3
    assert [one["id"] for one in found["Resources"]] == [schema.urn for schema in SCHEMAS]
    assert nulls(found) == 0
    user = await provider.get(f"/Schemas/{USER}")
    attributes = {one["name"]: one for one in user["attributes"]}
    assert (attributes["userName"]["caseExact"], attributes["userName"]["uniqueness"]) == (False, "server")
    assert (attributes["groups"]["mutability"], attributes["password"]["returned"]) == ("readOnly", "never")


@pytest.mark.parametrize("path", ["/ServiceProviderConfig", "/ResourceTypes", "/Schemas"])
async def test_s_r10_a_filter_on_discovery_is_forbidden(provider: Provider, path: str) -> None:
    assert (await provider.ask("GET", f'{path}?filter=id eq "x"')).status == 403


async def test_s_r58_nobody_is_me(provider: Provider) -> None:
    assert (await provider.ask("GET", "/Me/")).status == 501
