"""Kept groups on both databases: joined, renamed, left, held, restored, undone, explained (P2, D5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine, event

from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store import kept_groups, people
from ledger.store.engine import Ledger
from ledger.store.tables import people as tables
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, sell, stand_in_gate
from tests.parts.fences import ALONE

EVERYBODY = ("anna", "bo", "cy", "dan")
DELAYS = {"release_after": "1d", "remove_after": "3d"}


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


def kept(*, keep: bool = True, **values: Any) -> Policy:
    return policy(mapping("design", "Design", "CAD", keep_group=keep), mapping("site", "Site"),
                  offboarding=DELAYS, **values)  # fmt: skip


async def company(ledger: Ledger, now: datetime, chosen: Policy | None = None) -> World:
    """Four people in a kept group; nothing was applied yet."""
    world = await make_world(ledger, now, chosen or kept(), Design_CAD=9)
    world.source.put(*EVERYBODY, groups=["design"])
    world.source.groups["site"] = []
    return world


async def apply(world: World, **parts: float) -> RunOutcome:
    world.later(**parts)
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)


async def undo(world: World, run_id: str) -> Any:
    world.later(minutes=1)
    return await run.undo(
        world.ledger, world.setup, run_id, actor="anna", reason="oops", fence=ALONE, now=world.now, dry_run=False
    )


async def members(world: World, *, everything: bool = False) -> list[tuple[str, str, str]]:
    """(uid, group, provenance) of every open membership (``everything``: the uids of ended ones too)."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        who = {row[1]: row[3].partition("@")[0] for row in await people.open_identities(reader)}
        table = tables.group_membership
        rows = await reader.all(reader.select(table) if everything else reader.open(table))
        names = await kept_groups.names(reader, {row.group_id for row in rows})
        return sorted((who[row.identity_id], names[row.group_id], row.provenance) for row in rows)


async def groups(world: World) -> list[tuple[str, str, str, bool]]:
    """(id, anchor, name, whether it is open) of every group row, oldest first."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        table = tables.directory_group
        rows = await reader.all(reader.select(table).order_by(table.c.valid_from, table.c.row_id))
        return [(row.id, row.anchor, row.name, row.valid_to is None) for row in rows]


ALL = [(uid, "design", "mapping:design") for uid in EVERYBODY]


async def test_p2_a_kept_group_is_joined_once(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    shown = await run.plan(ledger, world.setup, now=world.now)
    assert await groups(world) == [], "a plan writes nothing"
    first = await apply(world)
    assert first.digest == shown.digest
    assert first.counts == {"Invite": 4, "JoinTeam": 4, "AssignSeat": 4, "JoinGroup": 4}
    assert await members(world) == ALL
    assert [row[1:] for row in await groups(world)] == [("anchor-design", "design", True)]
    for hours in (0, 1):
        assert (await apply(world, hours=hours)).counts == {}
    assert (await run.plan(ledger, world.setup, now=world.now)).plan.empty
    assert len(await groups(world)) == 1


async def test_d5_a_group_rename_is_a_new_row_of_the_same_group(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    world.source.named["design"] = "Design & Build"
    renamed = await apply(world, hours=1)
    assert (renamed.counts, renamed.state) == ({}, RunState.NOTHING)
    rows = await groups(world)
    assert [row[1:] for row in rows] == [
        ("anchor-design", "design", False),
        ("anchor-design", "Design & Build", True),
    ]
    assert rows[0][0] == rows[1][0]
    assert await members(world, everything=True) == [(uid, "Design & Build", by) for uid, _, by in ALL]
    assert (await apply(world, hours=1)).counts == {}
    assert len(await groups(world)) == 2


async def test_d3_a_group_is_left_when_the_leave_is_confirmed(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    world.source.groups["design"].remove("bo")
    assert (await apply(world, hours=1)).counts == {}
    assert (await apply(world, minutes=14)).counts == {}
    assert await members(world) == ALL
    done = await apply(world, minutes=1)
    assert done.counts == {"LeaveTeam": 1, "ReleaseSeat": 1, "LeaveGroup": 1}
    assert await members(world) == [row for row in ALL if row[0] != "bo"]
    assert (await apply(world, hours=1)).counts == {}
    undone = await undo(world, done.run_id)
    assert [change.kind for change in undone.changes] == ["JoinTeam", "AssignSeat", "JoinGroup"]
    assert undone.changes[-1].object == "design"
    assert await members(world) == ALL


async def test_g2_a_held_leave_keeps_team_and_group_together(ledger: Ledger, now: datetime) -> None:
    strict = {"team_day_floor": 0, "team_day_percent": 0}
    world = await company(ledger, now, kept(limits=strict))
    await apply(world)
    world.source.move("bo", "design", "site")
    await apply(world, hours=1)
    held = await apply(world, hours=1)
    assert (held.counts, held.state) == ({}, RunState.HELD)
    wanted = {"JoinTeam": 1, "LeaveTeam": 1, "ReleaseSeat": 1, "LeaveGroup": 1}
    assert held.held_counts == wanted
    assert await members(world) == ALL
    world.later(minutes=1)
    done = await run.approve(ledger, world.setup, held.held, reason="meant", actor="ada", fence=ALONE, now=world.now)
    assert done.counts == wanted
    assert await members(world) == [row for row in ALL if row[0] != "bo"]


async def test_g7_a_return_within_the_delay_finds_the_group_as_it_was(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    world.source.change("bo", disabled=True)
    off = await apply(world, hours=1)
    assert off.counts == {"PauseSeat": 1, "DisableIdentity": 1}
    assert (await apply(world, days=1)).counts == {"ReleaseSeat": 1}
    assert await members(world) == ALL
    world.source.change("bo", disabled=False)
    assert "JoinGroup" not in (await apply(world, hours=1)).counts
    assert await members(world) == ALL
    assert len(await members(world, everything=True)) == 4, "nothing was left and joined again"


async def test_g7_a_removal_ends_the_group_and_an_undo_gives_it_back(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    world.source.drop("bo")
    await apply(world, hours=1)
    await apply(world, hours=1)
    await apply(world, days=2)
    gone = await apply(world, days=1)
    assert gone.counts == {"LeaveTeam": 1, "LeaveGroup": 1, "RemoveIdentity": 1}
    assert await members(world) == [row for row in ALL if row[0] != "bo"]
    undone = await undo(world, gone.run_id)
    assert "JoinGroup" in [change.kind for change in undone.changes]
    assert await members(world) == ALL


async def test_p2_switching_it_off_and_on_again(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    first = (await groups(world))[0][0]
    world.policy = kept(keep=False)
    held = await apply(world, hours=1)
    assert (held.counts, held.held_counts) == ({}, {"LeaveGroup": 4})
    assert [row[3] for row in await groups(world)] == [True], "somebody is in it"
    world.later(minutes=1)
    ended = await run.approve(ledger, world.setup, held.held, reason="meant", actor="ada", fence=ALONE, now=world.now)
    assert ended.counts == {"LeaveGroup": 4}
    assert await members(world) == []
    assert [row[3] for row in await groups(world)] == [False], "nobody keeps it, and nobody is in it"
    undone = await undo(world, ended.run_id)
    assert [change.kind for change in undone.changes] == ["JoinGroup"] * 4
    assert [(row[0], row[3]) for row in await groups(world)] == [(first, False), (first, True)]
    again = await apply(world, hours=1)
    assert again.held_counts == {"LeaveGroup": 4}, "the file still says so"
    world.policy = kept()
    assert (await apply(world, hours=1)).counts == {}
    assert await members(world) == ALL


async def test_p2_a_group_kept_again_is_the_same_group(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    world.policy = kept(keep=False)
    digest = (await run.plan(ledger, world.setup, now=world.later(hours=1))).digest
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="ada", digest=digest)
    world.policy = kept()
    assert (await apply(world, hours=1)).counts == {"JoinGroup": 4}
    assert {row[0] for row in await groups(world)} == {(await groups(world))[0][0]}


async def test_a3_undoing_the_run_that_gave_a_group_takes_it_with_the_team(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    world.source.put("eve", groups=["design"])
    joined = await apply(world, hours=1)
    assert joined.counts == {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1, "JoinGroup": 1}
    undone = await undo(world, joined.run_id)
    assert {"LeaveTeam", "LeaveGroup"} <= {change.kind for change in undone.changes}
    assert await members(world) == ALL


async def test_a3_a_group_stays_with_a_team_that_a_later_run_rests_on(ledger: Ledger, now: datetime) -> None:
    chosen = policy(mapping("design", "Design", "CAD", "RENDER", keep_group=True))
    world = await make_world(ledger, now, chosen, Design_CAD=9, Design_RENDER=0)
    world.source.put("anna", "bo", groups=["design"])
    first = await apply(world)
    assert first.counts == {"Invite": 2, "JoinTeam": 2, "AssignSeat": 2, "JoinGroup": 2, "Wait": 2}
    await sell(ledger, world.now, "Design", "RENDER", 1)
    later = await apply(world, hours=1)
    assert later.counts["AssignSeat"] == 1
    done = await undo(world, first.run_id)
    assert any(problem.code == "edited-since" for problem in done.kept)
    async with ledger.read(ORGANIZATION.id) as reader:
        teams = {row[1] for row in await people.open_memberships(reader)}
        inside = {row[1] for row in await kept_groups.members(reader, None)}
    assert len(teams) == 1
    assert inside == teams


async def test_d2_an_unread_kept_group_keeps_its_row_and_its_people(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    world.source.unknown["group:design"] = "timeout"
    world.source.groups["design"].remove("bo")
    for _ in range(2):
        assert (await apply(world, hours=1)).counts == {}
    assert await members(world) == ALL
    assert [row[3] for row in await groups(world)] == [True]


async def test_d2_an_unread_group_keeps_its_row_though_nobody_is_in_it(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, policy(mapping("design", "Design"), mapping("site", "Site", keep_group=True)))
    await apply(world)
    assert [row[2:] for row in await groups(world)] == [("site", True)]
    world.source.unknown["group:site"] = "timeout"
    await apply(world, hours=1)
    assert [row[2:] for row in await groups(world)] == [("site", True)]
    world.policy = policy(mapping("design", "Design"), mapping("site", "Site"))
    await apply(world, hours=1)
    assert [row[2:] for row in await groups(world)] == [("site", False)], "nobody keeps it"


async def test_p6_explain_says_which_groups_and_why(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    first = await apply(world)
    told = await run.explain(ledger, world.setup, "bo@acme.example", now=world.now)
    line = "  in group design because uid=bo,ou=People → design → mapping design"
    assert f"{line} (since 2026-03-02T09:00:00Z by run {first.run_id})" in told.lines
    assert told.to_json()["groups"][0]["what"] == "in group design"
    world.source.groups["design"].remove("bo")
    await apply(world, hours=1)
    await apply(world, hours=1)
    after = await run.explain(ledger, world.setup, "bo@acme.example", now=world.now)
    assert after.groups == ()
    assert "in group design" in [fact.what for fact in after.past]


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that is executed meanwhile."""
    found: list[str] = []

    def told(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        found.append(statement)

    event.listen(Engine, "before_cursor_execute", told)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", told)


async def test_p2_where_no_group_is_kept_there_is_one_cheap_look(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, kept(keep=False))
    for _ in range(2):
        with statements() as asked:
            await apply(world, hours=1)
        assert len(asked) > 10
        assert not [text for text in asked if "group_membership" in text]
        assert len([text for text in asked if "directory_group" in text]) == 1
