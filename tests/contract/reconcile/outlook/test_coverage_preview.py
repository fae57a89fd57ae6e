"""P5, R8, R13: what a plan says about coverage is what ``ledger.coverage`` finds after it was applied."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, datetime
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.plan.recorded import Recorded
from connector.reconcile.state.load import load
from ledger.coverage import Facts, Manages, Member, coverage, violations
from ledger.identity import fold
from ledger.instant import new_id
from ledger.seat import Offering, OfferingKind, Seat, SeatState, Subscription, Tier
from ledger.store import people, seats
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, Somebody, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

OFFERINGS = (
    Offering("CAD", "Cad", OfferingKind.SINGLE_USER, True),
    Offering("RENDER", "Render", OfferingKind.SINGLE_USER, True),
    Offering("BOOKS", "Books", OfferingKind.SINGLE_USER, False),
    Offering("FARM", "Farm", OfferingKind.MULTI_USER, True),
)
GROUPS = ("design", "site", "lab", "leads")


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def sell(ledger: Ledger, now: datetime, team: str, code: str, quantity: int, tier: Tier) -> None:
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        for offering in OFFERINGS:
            await seats.put_offering(book, offering)
        ids = {row[2]: row[0] for row in await people.open_teams(book)}
        bought = Subscription(new_id(), ids[fold(team)], code, quantity, tier, date(2026, 1, 1), date(2027, 1, 1))
        await seats.put_subscription(book, bought)


async def company(ledger: Ledger, now: datetime, **values: Any) -> World:
    """Three Teams; one admin manages Design and Site, another the Lab."""
    chosen = policy(
        mapping("design", "Design", "CAD", "FARM", priority=10),
        mapping("site", "Site", "CAD", "BOOKS", priority=20),
        mapping("lab", "Lab", "CAD", "RENDER", priority=30),
        mapping("leads", "Lab", "RENDER", priority=5),
        admins={"Design": "ada@acme.example", "Site": "ada@acme.example", "Lab": "ben@acme.example"},
        offboarding={"release_after": "0", "remove_after": "1d"},
        **values,
    )
    world = await make_world(ledger, now, chosen)
    world.source.groups = {group: [] for group in GROUPS}
    world.source.put("ada", groups=["design", "site"])
    world.source.put("ben", groups=["lab"])
    return world


def facts(recorded: Recorded, day: date) -> Facts:
    """Everything, one value per row: the slow and obvious way."""
    return Facts(
        day,
        OFFERINGS,
        recorded.subscriptions,
        tuple(
            Seat(
                seat.id, seat.subscription_id, seat.team_id, seat.offering_code, seat.identity_id, SeatState(seat.state)
            )
            for rows in recorded.seats.values()
            for seat in rows
        ),
        tuple(Member(who, row.team_id) for who, rows in recorded.memberships.items() for row in rows),
        tuple(Manages(admin, team) for team, admins in recorded.primary_admins.items() for admin in admins),
    )


async def judged(world: World) -> tuple[set[tuple[str, str, str]], set[tuple[str, str]]]:
    """(admin, person, offering) of everything unpaid, (kind, Team or admin) of every broken duty; in natural names."""
    async with world.ledger.read(ORGANIZATION.id) as reader:
        recorded = await load(reader)
    mails = {row.id: row.mail_key for row in recorded.identities.values()}
    found = facts(recorded, world.now.date())
    unpaid = {(mails[admin], mails[item.identity_id], item.offering_code)
              for item in coverage(found).unpaid for admin in item.admins}  # fmt: skip
    names = {**mails, **recorded.team_names()}
    return unpaid, {(item.kind, names[item.subject]) for item in violations(found)}


def stir(world: World, chance: random.Random, step: int) -> None:
    source = world.source
    for _ in range(chance.randint(2, 6)):
        uid = f"p{chance.randint(0, 14)}"
        group = chance.choice(GROUPS)
        if uid not in source.people:
            source.put(Somebody(uid, number=f"n{uid}"), groups=[group])
        elif chance.random() < 0.3:
            source.change(uid, disabled=not source.people[uid].disabled)
        elif uid in source.groups[group]:
            source.groups[group].remove(uid)
        else:
            source.groups[group].append(uid)


@pytest.mark.parametrize("seed", range(5))
async def test_p5_the_preview_is_what_coverage_finds_after_the_plan(ledger: Ledger, now: datetime, seed: int) -> None:
    chance = random.Random(seed)
    world = await company(ledger, now)
    for team in ("Design", "Site", "Lab"):
        for code in ("CAD", "RENDER", "BOOKS", "FARM"):
            for _ in range(chance.randint(0, 2)):
                await sell(ledger, now, team, code, chance.randint(1, 5), chance.choice(list(Tier)))
    await sell(ledger, now, "Lab", "RENDER", 1, Tier.BUSINESS)
    await sell(ledger, now, "Site", "CAD", 2, Tier.STANDARD)
    for step in range(7):
        world.later(hours=chance.choice([1, 20]))
        before, broken = await judged(world)
        planned = await run.plan(ledger, world.setup, now=world.now)
        await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", digest=planned.digest)
        after, broken_after = await judged(world)
        found = planned.outlook.coverage
        assert found is not None
        created, cured = Counter(item[0] for item in after - before), Counter(item[0] for item in before - after)
        assert {(item.admin, item.created, item.cured) for item in found.owed} == {
            (admin, created[admin], cured[admin]) for admin in {*created, *cured}
        }
        apart = {item[1:] for item in after}, {item[1:] for item in before}
        assert (found.created, found.cured) == (len(apart[0] - apart[1]), len(apart[1] - apart[0]))
        new = broken_after - broken
        assert {("empty_team", team) for team in found.empty_teams} | {
            ("admin_without_subscription", admin) for admin in found.admins
        } == new
        stir(world, chance, step)


async def test_r13_a_first_business_seat_makes_the_standard_ones_of_its_admin_unpaid(
    ledger: Ledger, now: datetime
) -> None:
    world = await company(ledger, now)
    await sell(ledger, now, "Site", "CAD", 9, Tier.STANDARD)
    await sell(ledger, now, "Lab", "CAD", 9, Tier.STANDARD)
    world.source.put("cy", "dan", groups=["site"])
    world.source.put("eve", groups=["lab"])
    planned = await run.plan(ledger, world.setup, now=now)
    assert planned.outlook.coverage is None, "no Business subscription, nothing to cover"
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    await sell(ledger, now, "Design", "CAD", 9, Tier.BUSINESS)
    world.source.put("fay", groups=["design"])
    planned = await run.plan(ledger, world.setup, now=world.later(hours=1))
    assert planned.outlook.coverage is not None
    assert planned.outlook.coverage.lines == (
        "coverage (R13): this plan creates 3 unpaid Business subscriptions of ada@acme.example",
    )
    assert any("creates 3 unpaid Business subscriptions of ada@acme.example" in line for line in planned.lines)
    assert "creates 3 unpaid" in planned.markdown
    assert planned.to_json()["outlook"]["coverage"]["owed"] == [{"admin": "ada@acme.example", "created": 3, "cured": 0}]


async def test_r8_a_plan_says_which_team_with_business_it_would_empty(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now, sync={"protect_admins": False})
    await sell(ledger, now, "Design", "CAD", 9, Tier.STANDARD)
    await sell(ledger, now, "Lab", "RENDER", 9, Tier.BUSINESS)
    world.source.groups["lab"].remove("ben")
    world.source.put("cy", groups=["leads"])
    planned = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    world.source.groups["leads"].remove("cy")
    await run.apply(ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
    planned = await run.plan(ledger, world.setup, now=world.later(hours=1))
    assert planned.plan.counts == {"LeaveTeam": 1, "ReleaseSeat": 1}
    assert planned.outlook.coverage is not None
    assert planned.outlook.coverage.lines == ("coverage (R8): Business without a user would be left in Lab",)
