"""A short simulation on both databases: random directories, outages and days; invariants checked after each run."""

from __future__ import annotations

import random
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.outcome import RunState
from ledger.identity import IdentityState
from ledger.store import audit, people, runs, seats
from ledger.store.engine import Ledger
from tests.parts.directories import BASE, ORGANIZATION, Somebody, World, make_world, mapping, policy, stand_in_gate

STEPS = 25
QUANTITY = {"Design_CAD": 5, "Design_RENDER": 4, "Site_CAD": 4}


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


def stir(world: World, chance: random.Random, step: int) -> None:
    """One or a few things happen in the directory."""
    source = world.source
    source.unknown.clear()
    for _ in range(chance.randint(1, 4)):
        uids = sorted(source.people)
        what = chance.choice(["hire", "hire", "leave", "disable", "enable", "move", "rename", "rehire", "outage"])
        if what == "hire" or not uids:
            uid = f"h{step}x{chance.randint(0, 99)}"
            if uid not in source.people:
                source.put(Somebody(uid, number=f"n{uid}"), groups=chance.sample(["design", "site", "leads"], 2)[:1])
            continue
        uid = chance.choice(uids)
        if what == "leave":
            source.drop(uid)
        elif what in {"disable", "enable"}:
            source.change(uid, disabled=what == "disable")
        elif what == "move":
            old = next((name for name, members in source.groups.items() if uid in members), None)
            if old:
                source.move(uid, old, chance.choice([name for name in source.groups if name != old]))
        elif what == "rename":
            source.change(uid, mail=f"{uid}.{step}@acme.example")
        elif what == "rehire":
            source.change(uid, anchor=f"again-{uid}-{step}")
        else:
            source.unknown[chance.choice([BASE, "group:design", "group:site"])] = "cut off"


async def picture(ledger: Ledger) -> dict[str, Any]:
    """What people have, without row ids and instants."""
    async with ledger.read(ORGANIZATION.id) as reader:
        return {
            "people": sorted(row[1:9] for row in await people.open_identities(reader)),
            "links": sorted(row[1:4] for row in await people.directory_links(reader)),
            "teams": sorted(row[1:] for row in await people.open_memberships(reader)),
            "seats": sorted(row[1:8] for row in await seats.open_seats(reader)),
            "grants": sorted(row[1:] for row in await seats.open_grants(reader)),
        }


async def check(ledger: Ledger) -> None:
    """Invariants of the recorded state."""
    async with ledger.read(ORGANIZATION.id) as reader:
        identities = {row[1]: row for row in await people.open_identities(reader)}
        teams = {row[0]: row[1] for row in await people.open_teams(reader)}
        held = await seats.open_seats(reader)
        used = Counter(f"{teams[row[3]]}_{row[4]}" for row in held)
        assert all(count <= QUANTITY[pool] for pool, count in used.items()), "P4"
        assert max(Counter((row[5], row[4]) for row in held).values(), default=1) == 1, "one seat per offering (P4)"
        granted = {row[1] for row in await seats.open_grants(reader)}
        assert granted == {row[1] for row in held}, "a seat is held while a grant holds it, no longer (P3)"
        removed = {key for key, row in identities.items() if row[7] == IdentityState.REMOVED}
        assert not removed & {row[5] for row in held}
        assert not removed & {row[1] for row in await people.open_memberships(reader)}
        waiting = {(row[1], row[3]) for row in await seats.open_waiting(reader)}
        assert not waiting & {(row[5], row[4]) for row in held}, "nobody waits for what they have"
        mails = Counter(row[3] for row in identities.values() if row[7] != IdentityState.REMOVED)
        assert max(mails.values(), default=1) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_invariants_hold_through_random_months(ledger: Ledger, now: datetime, seed: int) -> None:
    chance = random.Random(seed)
    chosen = policy(
        mapping("design", "Design", "CAD", "RENDER", priority=10),
        mapping("site", "Site", "CAD", priority=20),
        mapping("leads", "Design", "CAD", priority=5),
        offboarding={"release_after": "2d", "remove_after": "5d"},
    )
    world = await make_world(ledger, now, chosen, **QUANTITY)
    world.source.groups = {"design": [], "site": [], "leads": []}
    world.source.put(*(Somebody(f"p{n}", number=f"np{n}") for n in range(4)), groups=["design"])
    world.source.put(*(Somebody(f"q{n}", number=f"nq{n}") for n in range(4)), groups=["site"])
    for step in range(STEPS):
        world.later(hours=chance.choice([1, 5, 30]))
        before = await picture(ledger)
        outcome = await run.apply(ledger, world.setup, now=world.now, actor="sim", auto=True)
        await check(ledger)
        again = await run.plan(ledger, world.setup, now=world.now)
        held = {change.key for bundle in again.guarded.held for change in bundle.changes}
        left = [change for bundle in again.plan.bundles for change in bundle.changes if change.key not in held]
        assert left == [], "apply, then plan: empty but for what is held"
        if outcome.state is RunState.APPLIED and chance.random() < 0.3:
            await _undone(world, outcome.run_id, before)
        stir(world, chance, step)
    async with ledger.read(ORGANIZATION.id) as reader:
        assert (await audit.verify(reader)).ok
        assert len(await runs.latest(reader, limit=1000)) >= STEPS


async def _undone(world: World, run_id: str, before: dict[str, Any]) -> None:
    """Undo right after apply restores; people the run invited stay as removed."""
    undone = await run.undo(world.ledger, world.setup, run_id, actor="sim", reason="r", now=world.now, dry_run=False)
    await check(world.ledger)
    after = await picture(world.ledger)
    known = {row[0] for row in before["people"]}
    assert [row for row in after["people"] if row[0] in known] == before["people"]
    assert all(row[6] == IdentityState.REMOVED for row in after["people"] if row[0] not in known)
    for name in ("teams", "seats", "grants"):
        assert after[name] == before[name], name
    assert undone.kept == ()
    world.later(hours=1)
    await run.apply(world.ledger, world.setup, now=world.now, actor="sim", auto=True)
