"""R6: who administers a Team is the file's word; a plan says beforehand what that changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.show.outcome import Planned
from connector.reconcile.state.teams import ensure_organization
from ledger.store import people
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

ANNA, BO, CEM = (f"{name}@acme.example" for name in ("anna", "bo", "cem"))


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    """Anna, who administers Design, and Bo."""
    made = await make_world(ledger, now, administered_by(ANNA), Design_CAD=5)
    made.source.put("anna", "bo", groups=["design"])
    await run.apply(ledger, made.setup, fence=ALONE, now=made.now, actor="test", auto=True)
    await ensure_organization(ledger, ORGANIZATION, made.policy.teams, now=made.later(minutes=1))
    return made


def administered_by(mail: str) -> Policy:
    return policy(mapping("design", "Design", "CAD"), admins={"Design": mail})


async def planned(world: World, mail: str) -> Planned:
    world = replace(world, policy=administered_by(mail), now=world.later(minutes=1))
    return await run.plan(world.ledger, world.setup, now=world.now)


async def test_nothing_is_said_where_nothing_changes(world: World) -> None:
    assert (await planned(world, ANNA)).roles == ()
    assert (await planned(world, "")).roles == ()


async def test_a_team_that_is_handed_over_is_said_before(world: World) -> None:
    found = await planned(world, BO)
    assert found.roles == (f"{BO} becomes Primary Admin of Team Design, in place of {ANNA}",)
    assert found.lines[-1] == f"note: {found.roles[0]}"
    assert found.to_json()["roles"] == list(found.roles)
    assert found.roles[0] in found.markdown
    await ensure_organization(world.ledger, ORGANIZATION, administered_by(BO).teams, now=world.later(minutes=1))
    async with world.ledger.read(ORGANIZATION.id) as reader:
        assert len(await people.open_roles(reader)) == 1
    assert (await planned(world, BO)).roles == ()


async def test_an_address_that_nobody_has_is_said(world: World) -> None:
    found = await planned(world, "ana@acme.example")
    assert found.roles == ("nobody has the address ana@acme.example, Primary Admin of Team Design in the file",)


async def test_whoever_comes_by_the_plan_has_the_team_a_run_later(world: World) -> None:
    world.source.put("cem", groups=["design"])
    found = await planned(world, CEM)
    says = f"{CEM}, who comes by this plan, becomes Primary Admin of Team Design in the next run, in place of {ANNA}"
    assert found.roles == (says,)
