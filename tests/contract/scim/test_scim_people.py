"""``/Users`` of the inbox (S-R11 to S-R34, S-R55, S-R57)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ledger.store import inbox
from tests.contract.scim.conftest import ENTERPRISE, HOST, USER, Provider


def body(user_name: str = "eva@x.pl", **more: Any) -> dict[str, Any]:
    """A user's body."""
    return {"schemas": [USER], "userName": user_name, **more}


async def test_s_r11_a_user_is_made_and_answered_whole(provider: Provider) -> None:
    found = await provider.ask("POST", "/Users", body(externalId="E-1", name={"givenName": "Eva"}))
    assert found.status == 201, found.body
    one = found.body["id"]
    assert (found.status, found.headers["Location"]) == (201, f"{HOST}/scim/v2/Users/{one}")
    assert (found.headers["ETag"], found.body["meta"]["version"]) == ('W/"1"', 'W/"1"')
    assert found.body == await provider.get(f"/Users/{one}")
    assert found.body["meta"]["location"] == found.headers["Location"]
    assert found.body["meta"]["created"] == found.body["meta"]["lastModified"] == "2026-03-02T09:00:01Z"
    assert (found.body["schemas"], found.body["active"], found.body["name"]) == ([USER], True, {"givenName": "Eva"})
    assert provider.told == ["entra"]


@pytest.mark.parametrize("name", ["EVA@x.pl", "eva@X.PL", " eva@x.pl "])
async def test_s_r12_a_name_is_taken_in_any_case(provider: Provider, name: str) -> None:
    await provider.person("eva@x.pl")
    other = await provider.person("bo@x.pl")
    answers = [
        await provider.ask("POST", "/Users", body(name)),
        await provider.ask("PUT", f"/Users/{other}", body(name)),
        await provider.patch(f"/Users/{other}", {"op": "replace", "path": "userName", "value": name}),
    ]
    assert [(one.status, one.body["scimType"]) for one in answers] == [(409, "uniqueness")] * 3
    assert (await provider.get(f"/Users/{other}"))["userName"] == "bo@x.pl"


async def test_s_r12_of_many_at_once_one_gets_the_name(provider: Provider) -> None:
    answers = await asyncio.gather(*(provider.ask("POST", "/Users", body(name)) for name in ("eva", "EVA") * 5))
    assert sorted(one.status for one in answers) == [201] + [409] * 9
    assert (await provider.get("/Users"))["totalResults"] == 1


async def test_s_r39_patches_of_one_person_at_once_are_all_kept(provider: Provider) -> None:
    eva = await provider.person("eva")
    parts = ("title", "nickName", "displayName", "locale", "timezone", "name.givenName", "name.familyName", "userType")
    answers = await asyncio.gather(
        *(provider.patch(f"/Users/{eva}", {"op": "add", "path": part, "value": part}) for part in parts)
    )
    assert [one.status for one in answers] == [200] * len(parts)
    found = await provider.get(f"/Users/{eva}")
    assert found["name"] == {"givenName": "name.givenName", "familyName": "name.familyName"}
    assert all(found[part] == part for part in parts if "." not in part)
    assert found["meta"]["version"] == f'W/"{len(parts) + 1}"'


async def test_s_r49_an_external_id_is_compared_byte_for_byte(provider: Provider) -> None:
    await provider.person("a", externalId="Łódź-1")
    await provider.person("b", externalId="łódź-1")
    await provider.person("ŁÓDŹ@x.pl")
    assert await provider.names("Users", 'externalId eq "Łódź-1"') == ["a"]
    assert await provider.names("Users", 'userName eq "łódź@X.pl"') == ["ŁÓDŹ@x.pl"]
    assert (await provider.ask("POST", "/Users", body("łódź@x.pl"))).status == 409


async def test_s_r13_what_entra_posts_is_taken(provider: Provider) -> None:
    found = await provider.ask(
        "POST",
        "/Users",
        {
            "schemas": [USER, ENTERPRISE],
            "externalId": "58342554",
            "userName": "babs@x.pl",
            "active": True,
            "addresses": None,
            "displayName": "Babs",
            "emails": [{"type": "work", "value": "babs@x.pl", "primary": True}],
            "meta": {"resourceType": "User"},
            "roles": [],
            "groups": [],
            ENTERPRISE: {"department": "CAD", "manager": {"value": "26118915", "$ref": None}},
        },
    )
    assert found.status == 201
    assert set(found.body) == {
        "schemas", "id", "externalId", "userName", "active", "displayName", "emails", "meta", ENTERPRISE
    }  # fmt: skip
    assert found.body[ENTERPRISE] == {"department": "CAD", "manager": {"value": "26118915"}}
    assert found.body["schemas"] == [USER, ENTERPRISE]


async def test_s_r16_unknown_attributes_are_dropped_or_refused(provider: Provider) -> None:
    pushed = body(mailNickname="e", **{"urn:custom:2.0:User": {"a": 1}})
    pushed["schemas"] = [USER, "urn:custom:2.0:User"]
    found = await provider.ask("POST", "/Users", pushed)
    assert (found.status, found.body["schemas"]) == (201, [USER])
    assert "mailNickname" not in found.body
    [write] = await provider.writes()
    assert len(write.bent) == 3
    provider.token = "strict"
    refused = await provider.ask("POST", "/Users", pushed)
    assert (refused.status, refused.body["scimType"]) == (400, "invalidSyntax")


async def test_s_r17_a_password_is_kept_nowhere(provider: Provider) -> None:
    eva = await provider.person("eva", password="hunter2")
    await provider.patch(f"/Users/{eva}", {"op": "replace", "path": "password", "value": "hunter2"})
    await provider.patch(f"/Users/{eva}", {"op": "replace", "value": {"password": "hunter2", "title": "x"}})
    await provider.ask("PUT", f"/Users/{eva}", body("eva", password="hunter2"))
    assert "hunter2" not in str(await provider.get(f"/Users/{eva}"))
    assert "hunter2" not in str(await provider.writes())
    async with provider.box.read("acme") as reader:
        assert "hunter2" not in str(await inbox.page(reader, "entra", "User"))
    refused = await provider.ask("GET", '/Users?filter=password eq "hunter2"')
    assert (refused.status, refused.body["scimType"]) == (400, "invalidFilter")


async def test_s_r18_who_is_inactive_is_still_there(provider: Provider) -> None:
    eva = await provider.person("eva", active=False)
    assert (await provider.get(f"/Users/{eva}"))["active"] is False
    assert await provider.names("Users", "active eq false") == ["eva"]


async def test_s_r19_put_clears_what_it_does_not_name_but_never_reactivates(provider: Provider) -> None:
    eva = await provider.person("eva", active=False, title="CTO", emails=[{"value": "e@x.pl"}], externalId="E1")
    old = await provider.get(f"/Users/{eva}")
    found = await provider.ask("PUT", f"/Users/{eva}", {**old, "emails": None, "active": None, "groups": []})
    assert (found.status, found.body["active"], found.body["title"]) == (200, False, "CTO")
    assert "emails" not in found.body
    found = await provider.ask("PUT", f"/Users/{eva}", body("eva"))
    assert set(found.body) == {"schemas", "id", "userName", "active", "meta"}
    assert found.body["active"] is False
    assert (await provider.ask("PUT", "/Users/nobody", body("x"))).status == 404


async def test_s_r20_deleted_is_gone_and_its_name_is_free(provider: Provider) -> None:
    eva, bo = await provider.person("eva"), await provider.person("bo")
    cad = await provider.group("CAD", eva, bo)
    assert (await provider.ask("DELETE", f"/Users/{eva}")).status == 204
    assert [(await provider.ask(verb, f"/Users/{eva}")).status for verb in ("DELETE", "GET")] == [404, 404]
    again = await provider.person("EVA")
    assert again != eva
    assert await provider.members(cad) == {bo}
    assert (await provider.get(f"/Groups/{cad}"))["meta"]["version"] == 'W/"2"'
    async with provider.box.read("acme") as reader:
        assert await inbox.deleted(reader, "entra", "User") == {eva}


async def test_s_r21_groups_of_a_user_are_computed(provider: Provider) -> None:
    eva = await provider.person("eva", groups=[{"value": "made up"}])
    cad = await provider.group("CAD", eva)
    expected = [{"value": cad, "$ref": f"{HOST}/scim/v2/Groups/{cad}", "display": "CAD", "type": "direct"}]
    assert (await provider.get(f"/Users/{eva}"))["groups"] == expected
    assert (await provider.get("/Users"))["Resources"][0]["groups"] == expected
    assert "groups" not in await provider.get(f"/Users/{eva}?excludedAttributes=groups")
    assert await provider.names("Users", f'groups.value eq "{cad}"') == ["eva"]
    refused = await provider.patch(f"/Users/{eva}", {"op": "add", "path": "groups", "value": [{"value": "x"}]})
    assert (refused.status, refused.body["scimType"]) == (400, "mutability")


async def test_s_r22_values_stay_byte_for_byte(provider: Provider) -> None:
    phones = [{"value": "tel:+48 (22) 123-45.67 ", "type": "work"}, {"value": "0048221234567"}]
    eva = await provider.person("Éva@X.PL", phoneNumbers=phones, title="e\u0301", addresses=[{"formatted": "a\r\nb"}])
    found = await provider.get(f"/Users/{eva}")
    assert (found["userName"], found["phoneNumbers"], found["title"]) == ("Éva@X.PL", phones, "e\u0301")
    assert found["addresses"] == [{"formatted": "a\r\nb"}]


async def test_s_r30_a_patch_is_done_whole_or_not_at_all(provider: Provider) -> None:
    eva = await provider.person("eva", title="CTO")
    before = await provider.get(f"/Users/{eva}")
    provider.told.clear()
    found = await provider.patch(
        f"/Users/{eva}",
        {"op": "replace", "path": "title", "value": "CEO"},
        {"op": "replace", "path": "id", "value": "other"},
    )
    assert (found.status, found.body["scimType"]) == (400, "mutability")
    assert await provider.get(f"/Users/{eva}") == before
    assert (provider.told, len(await provider.writes())) == ([], 1)


async def test_s_r32_s_r55_what_changes_nothing_keeps_version_and_time(provider: Provider) -> None:
    eva = await provider.person("eva", title="CTO")
    before = await provider.get(f"/Users/{eva}")
    provider.told.clear()
    for operation in (
        {"op": "remove", "path": "nickName"},
        {"op": "replace", "path": "title", "value": "CTO"},
        {"op": "remove", "path": 'emails[type eq "work"]'},
    ):
        found = await provider.patch(f"/Users/{eva}", operation)
        assert (found.status, found.body, found.headers["ETag"]) == (200, before, 'W/"1"')
    assert (await provider.ask("PUT", f"/Users/{eva}", before)).body == before
    assert (provider.told, len(await provider.writes())) == ([], 1)


async def test_s_r34_s_r53_a_patch_answers_with_what_was_asked_for(provider: Provider) -> None:
    eva = await provider.person("eva", name={"givenName": "E", "familyName": "N"})
    operation = {"op": "Replace", "path": "active", "value": "False"}
    found = await provider.patch(f"/Users/{eva}?attributes=active,name.givenName", operation)
    assert (found.status, found.body) == (
        200,
        {"schemas": [USER], "id": eva, "active": False, "name": {"givenName": "E"}},
    )


async def test_s_r55_etags_guard_and_spare(provider: Provider) -> None:
    eva = await provider.person("eva")
    path = f"/Users/{eva}"
    operation = {"op": "replace", "path": "title", "value": "CTO"}
    assert (await provider.patch(path, operation, If_Match='W/"1"')).headers["ETag"] == 'W/"2"'
    same = await provider.ask("GET", path, If_None_Match='W/"2"')
    assert (same.status, same.body, same.headers["ETag"]) == (304, None, 'W/"2"')
    assert (await provider.ask("GET", path, If_None_Match='W/"1"')).status == 200
    late = [
        await provider.patch(path, {**operation, "value": "x"}, If_Match='W/"1"'),
        await provider.ask("PUT", path, body("eva"), If_Match='"1"'),
        await provider.ask("DELETE", path, If_Match='W/"1"'),
    ]
    assert [(one.status, one.body["status"]) for one in late] == [(412, "412")] * 3
    assert (await provider.get(path))["title"] == "CTO"
    assert (await provider.ask("DELETE", path, If_Match="*")).status == 204


async def test_s_r57_each_push_is_written_down(provider: Provider) -> None:
    found = await provider.ask("POST", "/Users", body(title="CTO"), X_Request_ID="req-1")
    eva = found.body["id"]
    await provider.patch(
        f"/Users/{eva}",
        {"op": "replace", "value": {"active": "False", f"{ENTERPRISE}:department": "CAD"}},
    )
    await provider.ask("DELETE", f"/Users/{eva}")
    deleted, patched, created = await provider.writes()
    assert (created.verb, created.actor, created.request_id, created.resource_id) == ("create", "token:e", "req-1", eva)
    assert created.change["title"] == [None, "CTO"]
    assert patched.change == {"active": [True, False], f"{ENTERPRISE}:department": [None, "CAD"]}
    assert any("boolean" in reason for reason in patched.bent)
    assert (deleted.verb, deleted.change["userName"]) == ("delete", ["eva@x.pl", None])
    assert provider.told == ["entra"] * 3


async def test_a_deletion_and_a_recreation_survive_another_organization(provider: Provider) -> None:
    eva = await provider.person("eva")
    provider.token = "globex"
    assert (await provider.ask("DELETE", f"/Users/{eva}")).status == 404
    await provider.person("eva")
    provider.token = "entra"
    assert await provider.names("Users", 'userName eq "eva"') == ["eva"]
