"""E6: an entry that moved to another directory of the forest, and one found by its number, in runs that look only at
what differs. Both databases."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunOutcome
from ledger.store.engine import Ledger
from tests.parts.directories import (
    HandSource,
    Somebody,
    World,
    make_world,
    mapping,
    policy,
    stand_in_gate,
)  # fmt: skip
from tests.parts.fences import ALONE

GUID = "9862eb80-6b15-56f1-bbd2-b98300b7d1ba"


@pytest.fixture
async def world(ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch) -> World:
    stand_in_gate(monkeypatch)
    chosen = policy(mapping("design", "Design", "CAD"), mapping("east", "Design", "CAD", directory="east"),
                    offboarding={"confirm_after": "0"})  # fmt: skip
    made = await make_world(ledger, now, chosen, Design_CAD=9)
    made.others = (HandSource("east", groups={"east": []}),)
    made.source.put("anna", Somebody("bo", anchor=GUID, number="7"), groups=["design"])
    await settle(made)
    await settle(made)
    return made


async def settle(world: World) -> RunOutcome:
    now = world.later(minutes=30)
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=now, actor="test", auto=True)


async def test_e6_an_entry_with_the_guid_elsewhere_is_found_when_the_old_one_is_deleted(world: World) -> None:
    (east,) = world.others
    east.put(Somebody("bo", mail="bo.east@acme.example", anchor=GUID), groups=[])
    assert (await settle(world)).counts == {}
    world.source.drop("bo")
    world.source.tombstones.add(GUID)
    for _ in range(2):
        outcome = await settle(world)
        assert (outcome.counts, outcome.held_counts.get("RelinkAnchor")) == ({}, 1)
    approved = await run.approve(
        world.ledger, world.setup, outcome.held, reason="moved", actor="ada", fence=ALONE, now=world.now
    )
    assert approved.counts["RelinkAnchor"] == 1


async def test_e6_a_second_account_is_found_by_its_number_when_the_first_is_gone(world: World) -> None:
    world.source.put(Somebody("adm-bo", number="7"))
    assert (await settle(world)).counts == {}
    world.source.drop("bo")
    for _ in range(3):
        outcome = await settle(world)
        assert (outcome.counts, outcome.held_counts.get("RelinkAnchor")) == ({}, 1)
    assert "was there while that one was enabled" in "\n".join(outcome.lines)


async def test_e12_who_keeps_something_by_a_mapping_of_a_directory_they_are_no_longer_known_by_is_named(
    world: World,
) -> None:
    (east,) = world.others
    east.put(Somebody("bo", mail="bo@acme.example", anchor="east-bo", number="7"), groups=["east"])
    world.source.drop("bo")
    outcomes = [await settle(world) for _ in range(3)]
    assert not any("LeaveTeam" in outcome.counts for outcome in outcomes)
    planned = await run.plan(world.ledger, world.setup, now=world.later(minutes=30))
    said = [problem for problem in planned.plan.problems if "by which they are not known any more" in problem.what]
    assert [problem.subjects for problem in said] == [("bo@acme.example",)]


async def test_e12_entries_that_share_an_address_are_named_with_their_directory(world: World) -> None:
    (east,) = world.others
    east.put(Somebody("anna"), groups=["east"])
    (collision,) = [problem for problem in (await settle(world)).problems if problem.code == "collision"]
    named = collision.what.rpartition("(")[2].split(", ")
    assert [name.partition(":")[0] for name in named] == ["corp", "east"]
