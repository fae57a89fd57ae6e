"""The policy language on both databases: filters, exclusions, roles and guests applied, undone and explained."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunOutcome
from ledger.store import people
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, Somebody, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def apply(world: World) -> RunOutcome:
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)


async def undo(world: World, run_id: str) -> Any:
    return await run.undo(
        world.ledger, world.setup, run_id, actor="anna", reason="oops", fence=ALONE, now=world.now, dry_run=False
    )


async def roles(world: World) -> list[tuple[str, str, str]]:
    """(uid, role, provenance) of every open role."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        who = {row[1]: row[3].partition("@")[0] for row in await people.open_identities(reader)}
        return sorted((who[row[1]], row[2], row[4]) for row in await people.held_roles(reader))


async def members(world: World) -> list[tuple[str, str]]:
    """(uid, provenance) of every open membership."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        who = {row[1]: row[3].partition("@")[0] for row in await people.open_identities(reader)}
        return sorted((who[row[1]], row[3]) for row in await people.open_memberships(reader))


async def test_d3_a_hidden_attribute_takes_nothing_until_a_second_reading(ledger: Ledger, now: datetime) -> None:
    chosen = policy(mapping("design", "Design", "CAD", where={"department": ["Design"]}, exclude_groups=["interns"]))
    world = await make_world(ledger, now, chosen, Design_CAD=5)
    world.source.put(*(Somebody(uid, department="Design") for uid in ("anna", "bo", "cy", "dan")))
    world.source.groups["interns"] = ["dan"]
    assert (await apply(world)).counts == {"Invite": 3, "JoinTeam": 3, "AssignSeat": 3}
    assert (await apply(world)).counts == {}
    before = await members(world)
    world.source.change("bo", department="")
    world.source.change("cy", department="Sales")
    world.later(hours=1)
    first = await apply(world)
    assert first.counts == {"UpdateIdentity": 2, "LeaveTeam": 1, "ReleaseSeat": 1}, "another value is evidence"
    assert await members(world) == [row for row in before if row[0] != "cy"]
    world.source.change("bo", department="DESIGN")
    world.later(hours=1)
    assert (await apply(world)).counts == {"UpdateIdentity": 1}, "shown again: nothing is remembered"
    world.source.change("bo", department="")
    world.later(hours=1)
    await apply(world)
    world.later(minutes=14)
    assert (await apply(world)).counts == {}
    world.later(minutes=1)
    assert (await apply(world)).counts == {"LeaveTeam": 1, "ReleaseSeat": 1}
    world.source.groups["interns"] = []
    assert (await apply(world)).counts == {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1}, "dan is no intern any more"


async def test_a3_roles_are_granted_ended_undone_and_explained(ledger: Ledger, now: datetime) -> None:
    chosen = policy(
        mapping("design", "Design", "CAD"),
        mapping("leads", "Design", role="secondary_admin"),
        mapping("sso", "Design", role="sso_admin"),
        sync={"allow_roles": True},
        admins={"Design": "dan@acme.example"},
    )
    world = await make_world(ledger, now, chosen, Design_CAD=9)
    world.source.put("anna", "bo", "cy", "dan", groups=["design"])
    world.source.groups |= {"leads": ["anna", "bo"], "sso": ["cy"]}
    first = await apply(world)
    assert first.counts["GrantRole"] == 3
    granted = [
        ("anna", "secondary_admin", "mapping:leads"),
        ("bo", "secondary_admin", "mapping:leads"),
        ("cy", "sso_admin", "mapping:sso"),
        ("dan", "primary_admin", "manual"),
    ]
    assert await roles(world) == granted
    assert (await apply(world)).counts == {}
    bo = await run.explain(ledger, world.setup, "bo@acme.example", now=world.now)
    assert ("secondary_admin of Design", "uid=bo,ou=People → leads → mapping leads") in [
        (fact.what, fact.why) for fact in bo.teams
    ]
    world.source.change("bo", disabled=True)
    world.later(hours=1)
    off = await apply(world)
    assert off.counts == {"PauseSeat": 1, "DisableIdentity": 1, "EndRole": 1}
    assert await roles(world) == [row for row in granted if row[0] != "bo"]
    world.later(minutes=1)
    done = await undo(world, off.run_id)
    assert [change.kind for change in done.changes] == ["Reinstate", "Reinstate", "GrantRole"]
    assert await roles(world) == granted
    world.later(minutes=1)
    again = await apply(world)
    assert (again.counts, again.held_counts) == ({}, off.counts), "the entry is still disabled, and it was undone (E14)"
    world.source.change("bo", disabled=False)
    world.later(hours=1)
    assert (await apply(world)).counts == {}
    assert await roles(world) == granted
    gone = await run.explain(ledger, world.setup, "bo@acme.example", now=world.now)
    assert sum(fact.what == "secondary_admin of Design" for fact in gone.past) == 1


async def test_a3_undoing_the_run_that_granted_a_role_keeps_what_the_file_names(ledger: Ledger, now: datetime) -> None:
    chosen = policy(
        mapping("design", "Design"),
        mapping("leads", "Design", role="secondary_admin"),
        sync={"allow_roles": True},
        admins={"Design": "anna@acme.example"},
    )
    world = await make_world(ledger, now, chosen)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["leads"] = []
    await apply(world)
    world.source.groups["leads"] = ["anna", "bo"]
    world.later(hours=1)
    promoted = await apply(world)
    assert promoted.counts == {"JoinTeam": 2, "GrantRole": 2}
    world.later(minutes=1)
    done = await undo(world, promoted.run_id)
    assert sorted(change.kind for change in done.changes) == ["EndRole", "EndRole", "LeaveTeam", "LeaveTeam"]
    assert await roles(world) == [("anna", "primary_admin", "manual")]


async def test_a3_a_role_given_by_hand_since_is_kept(ledger: Ledger, now: datetime) -> None:
    chosen = policy(
        mapping("design", "Design"), mapping("leads", "Design", role="secondary_admin"), sync={"allow_roles": True}
    )
    world = await make_world(ledger, now, chosen)
    world.source.put("anna", "bo", groups=["design"])
    world.source.groups["leads"] = ["bo"]
    await apply(world)
    world.source.groups["leads"] = []
    world.later(hours=1)
    await apply(world)
    world.later(hours=1)
    ended = await apply(world)
    assert ended.counts == {"EndGrant": 1, "EndRole": 1}
    async with ledger.write(ORGANIZATION.id, ALONE, at=world.later(minutes=1)) as book:
        bo = (await people.identities_by_mail(book, "bo@acme.example"))[0][1]
        await people.begin_roles(book, [(bo, "secondary_admin", (await people.open_teams(book))[0][0])])
    world.later(minutes=1)
    await undo(world, ended.run_id)
    assert await roles(world) == [("bo", "secondary_admin", "manual")]
    assert (await apply(world)).counts == {}, "undo clears the absence: it is to be confirmed again"


async def test_d11_guests_are_granted_and_undone(ledger: Ledger, now: datetime) -> None:
    rule = {"domains": ["partner.example"], "mappings": ["design"]}
    chosen = policy(mapping("design", "Design", "CAD"), mapping("site", "Site"), guests=[rule])
    world = await make_world(ledger, now, chosen, Design_CAD=5)
    world.source.put("anna", groups=["design"])
    world.source.groups["site"] = []
    await apply(world)
    world.source.put(Somebody("gus", mail="gus@partner.example"), groups=["design", "site"])
    world.later(hours=1)
    outcome = await apply(world)
    assert outcome.counts == {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1}
    assert (await apply(world)).counts == {}
    assert await members(world) == [("anna", "mapping:design"), ("gus", "mapping:design")]
    world.policy = policy(mapping("design", "Design", "CAD"), mapping("site", "Site"))
    world.later(hours=1)
    kept = await apply(world)
    assert kept.counts == {}
    assert any(problem.subjects == ("gus@partner.example",) for problem in kept.problems if problem.code == "frozen")
    refused = await undo(world, outcome.run_id)
    assert refused.changes == ()
    world.policy = chosen
    world.later(minutes=1)
    await undo(world, outcome.run_id)
    assert await members(world) == [("anna", "mapping:design")]
