"""``/Groups`` of the inbox: nobody's push undoes another's, and no list is taken for everybody (S-R35 to S-R45)."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from connector.scim import answering, long_lists
from ledger.instant import new_ids
from ledger.store import inbox
from ledger.store.tables.inbox import inbox_resource
from tests.contract.scim.conftest import GROUP, HOST, PATCH, Provider


def adding(*ids: str) -> dict[str, Any]:
    """As Entra adds."""
    return {"op": "Add", "path": "members", "value": [{"$ref": None, "value": one} for one in ids]}


async def people(provider: Provider, count: int) -> list[str]:
    """Ids of new users."""
    return [await provider.person(f"person{number}@x.pl") for number in range(count)]


async def test_s_r35_what_entra_posts_is_taken(provider: Provider) -> None:
    urn = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"
    body = {"schemas": [GROUP, urn], "externalId": "8aa1", "displayName": "CAD", "meta": {"resourceType": "Group"}}
    found = await provider.ask("POST", "/Groups", body)
    group = found.body["id"]
    assert (found.status, found.headers["Location"]) == (201, f"{HOST}/scim/v2/Groups/{group}")
    assert (found.body["schemas"], "members" in found.body) == ([GROUP], False)
    assert await provider.names("Groups", 'externalId eq "8aa1"') == ["CAD"]


async def test_s_r36_adding_and_removing_twice_changes_nothing(provider: Provider) -> None:
    eva, bo = await people(provider, 2)
    cad = await provider.group("CAD", eva)
    before = await provider.get(f"/Groups/{cad}")
    provider.told.clear()
    gone = {"op": "Remove", "path": "members", "value": [{"value": bo}]}
    for operation in (adding(eva), gone, {"op": "remove", "path": f'members[value eq "{bo}"]'}):
        assert (await provider.patch(f"/Groups/{cad}", operation)).status == 204
    assert await provider.get(f"/Groups/{cad}") == before
    assert provider.told == []


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        ({"op": "Remove", "path": "members", "value": [{"$ref": None, "value": "@0"}]}, "12"),
        ({"op": "remove", "path": "members", "value": {"value": "@0"}}, "12"),
        ({"op": "remove", "path": "members", "value": "@0"}, "12"),
        ({"op": "remove", "path": "members", "value": ["@0", "@2"]}, "1"),
        ({"op": "remove", "path": 'members[value eq "@0"]'}, "12"),
        ({"op": "remove", "path": 'Members[Value EQ "@0" or value eq "@1"]'}, "2"),
        ({"op": "remove", "path": f'{GROUP}:members[value eq "@0"]'}, "12"),
        ({"op": "remove", "path": "members", "value": []}, "012"),
        ({"op": "remove", "path": "members", "value": None}, ""),  # null and absent are the same (RFC 7643 §2.5)
        ({"op": "remove", "path": 'members[type eq "user" and value eq "@0" or value eq "@1"]'}, "2"),
        ({"op": "remove", "path": 'members[value eq "@0" and type eq "Group"]'}, "012"),
        ({"op": "remove", "path": "members", "value": [{"value": None}]}, "012"),
        ({"op": "remove", "path": "members"}, ""),
        ({"op": "add", "path": "members", "value": []}, "012"),
        ({"op": "add", "value": {"members": []}}, "012"),
        ({"op": "replace", "path": "members", "value": []}, ""),
        ({"op": "replace", "value": {"members": [], "id": "@g", "displayName": "CAD"}}, ""),
        ({"op": "replace", "path": "members", "value": None}, ""),
        ({"op": "replace", "path": "members", "value": [{"value": None}]}, "012"),
        ({"op": "replace", "value": {"members": ""}}, "012"),
        ({"op": "add", "path": "members", "value": [{"value": "@g"}]}, "012"),
        ({"op": "replace", "value": {"displayName": "CAM"}}, "012"),
        ({"op": "replace", "path": "members", "value": [{"value": "@2", "display": "c"}]}, "2"),
    ],
)
async def test_s_r37_s_r38_only_who_is_named_goes(provider: Provider, operation: Any, left: str) -> None:
    ids = await people(provider, 3)
    cad = await provider.group("CAD", *ids)

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(one) for key, one in value.items()}
        if isinstance(value, list):
            return [filled(one) for one in value]
        for number, one in enumerate(ids):
            value = value.replace(f"@{number}", one) if isinstance(value, str) else value
        return value.replace("@g", cad) if isinstance(value, str) else value

    found = await provider.patch(f"/Groups/{cad}", filled(operation))
    assert found.status == 204, found.body
    assert await provider.members(cad) == {ids[int(number)] for number in left}


@pytest.mark.parametrize(
    ("more", "left"), [({}, 2), ({"members": None}, 0), ({"members": [{}]}, 2), ({"members": []}, 0)]
)
async def test_s_r38_put_without_members_leaves_them(provider: Provider, more: Any, left: int) -> None:
    ids = await people(provider, 2)
    cad = await provider.group("CAD", *ids)
    body = {"schemas": [GROUP], "displayName": "CAD two", **more}
    found = await provider.ask("PUT", f"/Groups/{cad}", body)
    assert (found.status, found.body["displayName"]) == (200, "CAD two")
    assert len(await provider.members(cad)) == left


async def test_s_r38_put_makes_the_list_exactly_this(provider: Provider) -> None:
    eva, bo, cy = await people(provider, 3)
    cad = await provider.group("CAD", eva, bo)
    await provider.ask("PUT", f"/Groups/{cad}", {"displayName": "CAD", "members": [{"value": bo}, {"value": cy}]})
    assert await provider.members(cad) == {bo, cy}
    write = (await provider.writes())[0]
    assert write.change == {"members": {"added": [cy], "removed": [eva]}}


async def test_s_r39_fifty_pushes_at_once_lose_nobody(provider: Provider) -> None:
    ids = await people(provider, 50)
    cad = await provider.group("CAD", *ids[:25])
    changes = [
        {"op": "Remove", "path": "members", "value": [{"value": one}]} if number < 25 else adding(one)
        for number, one in enumerate(ids)
    ]
    answers = await asyncio.gather(*(provider.patch(f"/Groups/{cad}", change) for change in changes))
    assert [one.status for one in answers] == [204] * 50
    assert await provider.members(cad) == set(ids[25:])
    assert (await provider.get(f"/Groups/{cad}"))["meta"]["version"] == 'W/"51"'


async def test_s_r39_a_push_that_names_a_version_is_refused_when_it_is_late(provider: Provider) -> None:
    eva, bo = await people(provider, 2)
    cad = await provider.group("CAD")
    answers = [await provider.patch(f"/Groups/{cad}", adding(one), If_Match='W/"1"') for one in (eva, bo)]
    assert [one.status for one in answers] == [204, 412]
    assert await provider.members(cad) == {eva}


async def test_s_r40_unknown_members_are_told_and_the_others_come(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    [eva] = await people(provider, 1)
    cad = await provider.group("CAD")
    with caplog.at_level(logging.WARNING):
        found = await provider.patch(f"/Groups/{cad}", adding("nobody", eva))
    assert (found.status, await provider.members(cad)) == (204, {eva})
    write = (await provider.writes())[0]
    assert write.change == {"members": {"added": [eva], "unknown": ["nobody"]}}
    assert any("nobody" in reason for reason in write.bent)
    [record] = [one for one in caplog.records if one.message == "scim.members_unknown"]
    assert vars(record)["fields"]["members"] == "nobody"


async def test_s_r40_strict_refuses_unknown_members_by_name(provider: Provider) -> None:
    provider.token = "strict"
    [eva] = await people(provider, 1)
    cad = await provider.group("CAD")
    operation = {"op": "add", "path": "members", "value": [{"value": eva}, {"value": "nobody"}]}
    found = await provider.patch(f"/Groups/{cad}", operation)
    assert (found.status, found.body["scimType"]) == (400, "invalidValue")
    assert "nobody" in found.body["detail"]
    assert await provider.members(cad) == set()


async def test_s_r41_a_list_that_takes_many_is_applied_here_and_told(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    ids = await people(provider, 6)
    cad = await provider.group("CAD", *ids)
    with caplog.at_level(logging.WARNING):
        await provider.patch(f"/Groups/{cad}", {"op": "replace", "path": "members", "value": [{"value": ids[0]}]})
    assert await provider.members(cad) == {ids[0]}
    assert "scim.members_shrunk" in caplog.messages
    assert any("took 5 of 6" in reason for reason in (await provider.writes())[0].bent)


@pytest.mark.parametrize("shape", ["list", "object", "text", "typed"])
async def test_s_r42_members_in_every_shape(provider: Provider, shape: str) -> None:
    [eva] = await people(provider, 1)
    value = {
        "list": [{"value": eva, "display": "Eva"}],
        "object": {"value": eva},
        "text": eva,
        "typed": [{"Value": eva, "type": "User", "$ref": "x"}],
    }[shape]
    cad = await provider.group("CAD")
    assert (await provider.patch(f"/Groups/{cad}", {"op": "add", "path": "members", "value": value})).status == 204
    [member] = (await provider.get(f"/Groups/{cad}"))["members"]
    assert member == {"value": eva, "$ref": f"{HOST}/scim/v2/Users/{eva}", "type": "User"}


async def test_s_r34_s_r53_a_group_patch_is_answered_without_a_body_unless_asked(provider: Provider) -> None:
    [eva] = await people(provider, 1)
    cad = await provider.group("CAD")
    silent = await provider.patch(f"/Groups/{cad}", adding(eva))
    assert (silent.status, silent.body, silent.headers["ETag"]) == (204, None, 'W/"2"')
    told = await provider.patch(
        f"/Groups/{cad}?attributes=displayName", {"op": "replace", "value": {"displayName": "X"}}
    )
    assert (told.status, told.body) == (200, {"schemas": [GROUP], "id": cad, "displayName": "X"})


async def test_okta_renames_with_the_id_echoed_and_another_id_is_refused(provider: Provider) -> None:
    [eva] = await people(provider, 1)
    cad = await provider.group("CAD", eva)
    renamed = {"op": "replace", "value": {"id": cad, "displayName": "CAM"}}
    assert (await provider.patch(f"/Groups/{cad}", renamed)).status == 204
    wrong = {"op": "replace", "value": {"id": "x", "displayName": "CNC", "members": []}}
    found = await provider.patch(f"/Groups/{cad}", wrong)
    assert (found.status, found.body["scimType"]) == (400, "mutability")
    shown = await provider.get(f"/Groups/{cad}")
    assert (shown["displayName"], len(shown["members"])) == ("CAM", 1)


async def test_s_r30_members_and_name_change_together_or_not_at_all(provider: Provider) -> None:
    eva, bo = await people(provider, 2)
    cad = await provider.group("CAD", eva)
    before = await provider.get(f"/Groups/{cad}")
    found = await provider.patch(f"/Groups/{cad}", adding(bo), {"op": "remove", "path": "displayName"})
    assert (found.status, found.body["scimType"]) == (400, "mutability")
    found = await provider.patch(f"/Groups/{cad}", adding(bo), {"op": "remove", "path": 'members[type eq "User"]'})
    assert (found.status, found.body["scimType"]) == (400, "invalidFilter")
    assert await provider.get(f"/Groups/{cad}") == before


async def test_s_r44_members_are_asked_for_in_every_way(provider: Provider) -> None:
    eva, bo = await people(provider, 2)
    cad, _cam = await provider.group("CAD", eva), await provider.group("CAM", eva, bo)
    assert await provider.names("Groups", f'members.value eq "{eva}"') == ["CAD", "CAM"]
    assert await provider.names("Groups", f'members eq "{bo}"') == ["CAM"]
    assert await provider.names("Groups", f'members[value eq "{bo}"]') == ["CAM"]
    assert await provider.names("Groups", f'id eq "{cad}" and members eq "{eva}"') == ["CAD"]
    assert await provider.names("Groups", f'id eq "{cad}" and members eq "{bo}"') == []
    assert await provider.names("Groups", f'not (members eq "{bo}")') == ["CAD"]
    assert await provider.names("Groups", f'members[value ne "{eva}"]') == ["CAM"]
    assert await provider.names("Groups", "members pr") == ["CAD", "CAM"]
    assert await provider.names("Groups", 'displayName eq "cad" and externalId pr') == []


async def test_s_r45_strict_has_one_group_of_a_name(provider: Provider) -> None:
    assert await provider.group("CAD") != await provider.group("cad")
    provider.token = "strict"
    await provider.group("CAD")
    found = await provider.ask("POST", "/Groups", {"schemas": [GROUP], "displayName": "cad"})
    assert (found.status, found.body["scimType"]) == (409, "uniqueness")


async def test_s_r43_without_members_none_is_read(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = await people(provider, 3)
    cad = await provider.group("CAD", *ids)

    async def never(*_arguments: object) -> None:
        raise AssertionError("members were read")

    for name in ("members", "members_with_kinds", "memberships"):
        monkeypatch.setattr(inbox, name, never)
    found = await provider.get(f"/Groups/{cad}?excludedAttributes=members")
    assert "members" not in found
    found = await provider.get('/Groups?excludedAttributes=members&filter=displayName eq "CAD"')
    assert [one["id"] for one in found["Resources"]] == [cad]
    assert (await provider.patch(f"/Groups/{cad}", adding(ids[0]))).status == 204
    gone = {"op": "remove", "path": "members", "value": [{"value": ids[0]}]}
    assert (await provider.patch(f"/Groups/{cad}", gone)).status == 204


async def crowd(provider: Provider, count: int) -> list[str]:
    """Ids of very many users, straight into the store."""
    ids = new_ids(count)
    same = {"connection_id": "entra", "kind": "User", "external_id": "", "key": "", "version": 1}
    same |= {"created_at": provider.now, "modified_at": provider.now}
    async with provider.box.write("acme", at=provider.now) as book:
        await book.insert(inbox_resource, ("id", "document"), [(one, {"userName": one}) for one in ids], same=same)
    return ids


async def test_s_r43_c06_what_is_handed_out_is_taken_back(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """In every way a whole list is sent, while others are answered; nothing is lost by a push that is cut."""
    begun, answered = threading.Event(), threading.Event()

    def read_late(raw: bytes) -> Any:
        begun.set()
        assert len(raw) <= answering.MOST_BODY or answered.wait(30), "nobody is answered while a long body is read"
        return decoded(raw)

    decoded = long_lists.decoded
    ids = await crowd(provider, 12_000)
    members = [{"value": one} for one in ids]
    made = await provider.ask("POST", "/Groups", {"displayName": "All", "members": members * 3})
    assert (made.status, len(made.body["members"])) == (201, 12_000)
    path = f"/Groups/{made.body['id']}"
    whole = await provider.get(path)
    assert len(str(whole)) > 1024 * 1024
    monkeypatch.setattr(long_lists, "decoded", read_late)
    asking = asyncio.create_task(provider.ask("PUT", path, whole))
    assert await asyncio.to_thread(begun.wait, 30)
    assert (await provider.ask("GET", f"/Users/{ids[0]}")).status == 200
    answered.set()
    assert ((await asking).status, asking.result().body) == (200, whole)
    half = {"op": "replace", "path": "members", "value": [{**one, "display": "},{"} for one in whole["members"][::2]]}
    assert (await provider.patch(path, half)).status == 204
    assert await provider.members(made.body["id"]) == set(ids[::2])
    away = {"op": "remove", "path": "members", "value": whole["members"][::4]}
    assert (await provider.patch(path, away, {"op": "add", "path": "members", "value": members[:4]})).status == 204
    assert await provider.members(made.body["id"]) == {*ids[:4], *ids[2::4]}


async def test_s_r43_c06_a_list_without_end_is_refused(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    eva = await provider.person("eva")
    group = await provider.group("CAD", eva)
    monkeypatch.setattr(answering, "MOST_LIST", 4 * answering.MOST_BODY)
    long = {"displayName": "CAD", "members": [{"value": "x" * 100}] * 45_000}
    many = {"displayName": "CAD", "members": [{}] * 600_000}
    odd = {"displayName": "CAD", "members": [{"value": "\u0007" + "x" * 100}] * 12_000}
    answers = [await provider.ask("PUT", f"/Groups/{group}", body) for body in (long, many, odd)]
    assert [(one.status, one.body["status"]) for one in answers] == [(413, "413"), (413, "413"), (400, "400")]
    assert await provider.members(group) == {eva}
    monkeypatch.setattr(answering, "LIST_WITHIN", 0.2)

    async def slow() -> AsyncIterator[bytes]:
        yield b" " * (answering.MOST_BODY + 1)
        await asyncio.sleep(60)

    own = {"Authorization": "Bearer entra", "Content-Type": "application/scim+json"}
    async with provider.client.put(f"{answering.PREFIX}/Groups/{group}", data=slow(), headers=own) as late:
        assert (late.status, int(late.headers["Retry-After"]) > 0) == (503, True)


async def test_a_group_inside_a_group_and_what_is_left_when_either_goes(provider: Provider) -> None:
    [eva] = await people(provider, 1)
    inner = await provider.group("Inner", eva)
    outer = await provider.group("Outer", inner)
    assert (await provider.get(f"/Groups/{outer}"))["members"][0]["type"] == "Group"
    assert (await provider.ask("DELETE", f"/Groups/{inner}")).status == 204
    assert await provider.members(outer) == set()
    assert "groups" not in await provider.get(f"/Users/{eva}")


async def test_any_body_of_a_patch_op_is_read_whatever_the_case_of_its_keys(provider: Provider) -> None:
    [eva] = await people(provider, 1)
    cad = await provider.group("CAD")
    body = {"Schemas": [PATCH], "operations": [{"OP": "ADD", "Path": "MEMBERS", "Value": [{"value": eva}]}]}
    assert (await provider.ask("PATCH", f"/Groups/{cad}", body)).status == 204
    assert await provider.members(cad) == {eva}
