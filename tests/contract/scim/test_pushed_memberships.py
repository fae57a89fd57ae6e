"""A membership of the inbox ends by the push that took it, and by nothing else: pushes by HTTP, losses by SQL (G6)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.contract.scim.conftest import GROUP, STAFF, Firm, mails
from tests.parts.directories import mapping, policy

LEFT = {"LeaveTeam": 1, "ReleaseSeat": 1}
KEPT = dict.fromkeys(STAFF, "active invited")
BOTH = [timedelta(hours=24), timedelta(0)]


async def lost(firm: Firm, table: str, where: str) -> None:
    await firm.lost(f"DELETE FROM {table} WHERE {where}")  # noqa: S608 - the test's own


async def take(firm: Firm, name: str, group: str = "") -> None:
    path = f'members[value eq "{firm.ids[name]}"]'
    assert (await firm.provider.patch(f"/Groups/{group or firm.group}", {"op": "remove", "path": path})).status == 204


async def put(firm: Firm, *names: str) -> None:
    """A PUT of the whole group."""
    body = {"schemas": [GROUP], "displayName": "design", "members": [{"value": firm.ids[name]} for name in names]}
    assert (await firm.provider.ask("PUT", f"/Groups/{firm.group}", body)).status == 200


async def counts(firm: Firm, runs: int = 3) -> list[dict[str, int]]:
    """What runs twenty minutes apart do."""
    return [dict((await firm.run(minutes=20)).counts) for _ in range(runs)]


def whole(firm: Firm, every: timedelta) -> None:
    firm.setup = replace(firm.setup, whole_every=every)


@pytest.mark.parametrize("every", BOTH, ids=["near", "whole"])
async def test_g6_a_membership_that_is_only_gone_is_kept_and_said(firm: Firm, every: timedelta) -> None:
    whole(firm, every)
    await lost(firm, "inbox_member", f"member_id = '{firm.ids['p15']}'")
    for _ in range(4):
        outcome = await firm.run(minutes=20)
        assert (outcome.counts, outcome.held_counts) == ({}, {})
        [said] = [problem for problem in outcome.problems if "has lost them" in problem.what]
        assert said.subjects == ("p15@acme.example",)
    assert await firm.held() == KEPT


@pytest.mark.parametrize("every", BOTH, ids=["near", "whole"])
async def test_g6_what_a_push_takes_counts_on_the_second_reading(firm: Firm, every: timedelta) -> None:
    whole(firm, every)
    await take(firm, "p15")
    assert await counts(firm) == [{}, LEFT, {}]
    await put(firm, *(name for name in STAFF if name not in {"p15", "p16"}))
    assert await counts(firm) == [{}, LEFT, {}]


@pytest.mark.parametrize("every", BOTH, ids=["near", "whole"])
async def test_g6_a_push_that_takes_whose_row_was_lost_before_counts(firm: Firm, every: timedelta) -> None:
    whole(firm, every)
    await lost(firm, "inbox_member", f"member_id = '{firm.ids['p15']}'")
    assert await counts(firm) == [{}, {}, {}]
    await take(firm, "p15")
    assert await counts(firm) == [{}, LEFT, {}]


async def test_g6_who_was_added_again_has_not_left(firm: Firm) -> None:
    """What took them the last time says nothing of a row that is lost later."""
    await take(firm, "p15")
    await put(firm, *STAFF)
    await lost(firm, "inbox_member", f"member_id = '{firm.ids['p15']}'")
    assert await counts(firm) == [{}, {}, {}]


@pytest.mark.parametrize(
    ("table", "where"),
    [
        ("inbox_member", "1 = 1"),
        ("inbox_resource", "kind = 'Group'"),
        ("inbox_resource", "kind = 'User' AND id <> '{other}'"),
    ],
)
async def test_g6_rows_lost_by_the_table_take_nothing(firm: Firm, table: str, where: str) -> None:
    other = await firm.provider.person("other@acme.example", emails=mails("other@acme.example"))
    await lost(firm, table, where.format(other=other))
    assert await counts(firm) == [{}, {}, {}]
    assert await firm.held() == KEPT


Push = Callable[[Firm], Awaitable[None]]


async def _lost_group(firm: Firm) -> None:
    await lost(firm, "inbox_resource", f"id = '{firm.group}'")


async def _deleted_group(firm: Firm) -> None:
    assert (await firm.provider.ask("DELETE", f"/Groups/{firm.group}")).status == 204


@pytest.mark.parametrize("push", [_lost_group, _deleted_group])
async def test_d2_a_mapped_group_that_is_no_more_freezes_its_mapping_and_no_leaver(firm: Firm, push: Push) -> None:
    """Lost or deleted: the mapping is what has to be corrected. What is stated of a person goes on (E4)."""
    await push(firm)
    assert await counts(firm) == [{}, {}, {}]
    assert any(problem.code == "group-missing" for problem in (await firm.run()).problems)
    assert (await firm.provider.ask("DELETE", f"/Users/{firm.ids['p14']}")).status == 204
    assert (await firm.run()).counts == {"PauseSeat": 1, "DisableIdentity": 1}
    again = await firm.provider.group("design", *(firm.ids[name] for name in STAFF if name not in {"p14", "p19"}))
    assert await counts(firm) == [{}, {}, {}], "p19 was never in the new group, and no push took them out of it"
    firm.group = again
    await take(firm, "p19")
    assert await counts(firm) == [{}, LEFT, {}]


@pytest.mark.parametrize("every", BOTH, ids=["near", "whole"])
@pytest.mark.parametrize("how", ["member lost", "member taken", "group lost", "group taken", "group deleted"])
async def test_g6_a_group_inside_another(firm: Firm, how: str, every: timedelta) -> None:
    """The outer group is mapped; somebody came through the inner one."""
    whole(firm, every)
    firm.ids["new"] = await firm.provider.person("new@acme.example", active=True, emails=mails("new@acme.example"))
    firm.ids["inner"] = inner = await firm.provider.group("inner", firm.ids["new"])
    add = {"op": "add", "path": "members", "value": [{"value": inner}]}
    await firm.provider.patch(f"/Groups/{firm.group}", add)
    await firm.run()
    everybody = {**KEPT, "new": "active invited"}
    assert await firm.held() == everybody
    match how:
        case "member lost":
            await lost(firm, "inbox_member", f"member_id = '{firm.ids['new']}'")
        case "group lost":
            await lost(firm, "inbox_member", f"member_id = '{inner}'")
        case "member taken":
            await take(firm, "new", inner)
        case "group taken":
            await take(firm, "inner")
        case "group deleted":
            await firm.provider.ask("DELETE", f"/Groups/{inner}")
    assert await counts(firm) == [{}, {} if "lost" in how else LEFT, {}]


async def test_g6_a_second_group_keeps_what_it_gives(firm: Firm) -> None:
    site = await firm.provider.group("site", firm.ids["p14"], firm.ids["p15"])
    rules = (mapping("design", "Design", "CAD", directory="entra"), mapping("site", "Design", "CAD", directory="entra"))
    firm.setup = replace(firm.setup, policy=policy(*rules, limits={}))
    await firm.run()
    await take(firm, "p15")
    seen = await counts(firm)
    assert not any(kind in found for found in seen for kind in ("LeaveTeam", "ReleaseSeat", "PauseSeat"))
    assert await firm.held() == KEPT
    await take(firm, "p15", site)
    assert await counts(firm) == [{}, LEFT, {}]


async def test_d9_deleted_and_made_anew_keeps_what_no_push_took_from_the_new_id(firm: Firm) -> None:
    """A new id with the same number is the same person; the group never listed it, and no push took it out."""
    urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
    body = {"userName": "p15@acme.example", "active": True, "emails": mails("p15@acme.example"),
            urn: {"employeeNumber": "4711"}}  # fmt: skip
    await firm.provider.ask("PUT", f"/Users/{firm.ids['p15']}", {"schemas": [urn], **body})
    await firm.run()
    await firm.provider.ask("DELETE", f"/Users/{firm.ids['p15']}")
    firm.ids["p15"] = await firm.provider.person(body.pop("userName"), **body)
    assert await counts(firm) == [{"RelinkAnchor": 1}, {}, {}]
    assert await firm.held() == KEPT
    await take(firm, "p15")
    assert await counts(firm) == [{}, LEFT, {}]


async def test_g6_a_group_emptied_by_one_push_is_held(firm: Firm) -> None:
    await put(firm)
    outcomes = [await firm.run(minutes=20) for _ in range(3)]
    assert [outcome.counts for outcome in outcomes] == [{}, {}, {}]
    assert outcomes[1].held_counts == {"LeaveTeam": 6, "ReleaseSeat": 6}
    assert await firm.held() == KEPT
