"""A part of a plan, applied alone and then the rest, on both databases (decision 0033)."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.apply.commit import PlanChanged
from connector.reconcile.show.outcome import Planned, RunOutcome, RunState
from connector.reconcile.state.load import load
from connector.reconcile.state.teams import ensure_organization
from ledger.errors import BadInput
from ledger.store import runs
from ledger.store.engine import Ledger
from tests.contract.reconcile.reading.test_near_equals_whole import GROUPS, regroup, stir
from tests.parts.directories import (
    ORGANIZATION,
    HandSource,
    Somebody,
    TracingSource,
    World,
    make_world,
    mapping,
    policy,
    sell,
    stand_in_gate,
)
from tests.parts.fences import ALONE

STEPS = 16
RULES = (mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD"))
LIMITED = {"day_floor": 3, "day_percent": 0, "month_percent": 100, "team_day_floor": 99}


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture
async def twin(sqlite_template: Path, tmp_path: Path) -> AsyncIterator[Ledger]:
    """A second, empty ledger."""
    shutil.copytree(sqlite_template, tmp_path / "twin")
    opened = Ledger.open(f"sqlite:///{tmp_path / 'twin'}")
    yield opened
    await opened.close()


async def shown(world: World, *only: str) -> Planned:
    return await run.plan(world.ledger, world.setup, now=world.now, only=only)


async def apply(world: World, *only: str, digest: str = "") -> RunOutcome:
    """The part about ``only`` by the digest that is shown, or whatever the guard lets through."""
    digest = digest or ((await shown(world, *only)).digest if only else "")
    return await run.apply(
        world.ledger, world.setup, fence=ALONE, now=world.now, actor="ada", digest=digest or None, auto=not digest,
        only=only,
    )  # fmt: skip


async def approve(world: World, digest: str) -> RunOutcome:
    return await run.approve(world.ledger, world.setup, digest, reason="meant", actor="ada", fence=ALONE, now=world.now)


async def people(ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Identity → what they are and have, and the line they stand in, without row ids and instants."""
    async with ledger.read(ORGANIZATION.id) as reader:
        recorded = await load(reader, with_edges=True)
    teams, groups = recorded.team_names(), {row.id: row.anchor for row in recorded.groups.values()}
    return {
        who: {
            "is": (row.mail, row.given_name, row.state, row.employee_number, row.attributes),
            "links": sorted((link.source_id, link.anchor, link.fingerprint) for link in recorded.links_of(who)),
            "teams": sorted((teams[m.team_id], m.provenance) for m in recorded.memberships.get(who, ())),
            "seats": sorted(
                (teams[s.team_id], s.offering_code, s.state, sorted(g.provenance for g in recorded.grants[s.id]))
                for s in recorded.seats.get(who, ())
            ),
            "waits": sorted((teams[w.team_id], w.offering_code, w.provenance) for w in recorded.waiting.get(who, ())),
            "roles": sorted((role.role, role.provenance) for role in recorded.roles.get(who, ())),
            "groups": sorted(groups[member.group_id] for member in recorded.group_members.get(who, ())),
            "leaves": who in recorded.removal_due,
        }
        for who, row in recorded.identities.items()
    }  # fmt: skip


async def state(ledger: Ledger) -> dict[str, Any]:
    """The same by names, with who comes first in line, what is held, and what is remembered of readings."""
    async with ledger.read(ORGANIZATION.id) as reader:
        recorded = await load(reader, with_edges=True)
        held = await runs.held_sets(reader, ("open",))
    names = {row.id: f"{row.mail_key} {row.state}" for row in recorded.identities.values()}
    line = [(row.priority, row.since, names[who], row.offering_code) for who, rows in recorded.waiting.items()
            for row in rows]  # fmt: skip
    return {
        "people": sorted((names[who], repr(found)) for who, found in (await people(ledger)).items()),
        "line": [(priority, who, code) for priority, _, who, code in sorted(line)],
        "absences": sorted(recorded.absences),
        "paths": sorted((at, names.get(who, who), sorted(known)) for (at, who), known in recorded.edges.items()),
        "held": sorted(item.digest for item in held),
    }


@pytest.mark.parametrize("seed", range(4))
async def test_a_part_and_then_the_rest_is_what_the_whole_would_have_been(
    ledger: Ledger, twin: Ledger, now: datetime, seed: int
) -> None:
    """Random histories, told to two ledgers: in one every plan is applied at once, in the other a part goes first."""
    chance = random.Random(seed)
    wide = {"day_floor": 1000, "day_percent": 100, "month_percent": 100, "team_day_floor": 2 if seed % 2 else 1000}
    chosen = policy(
        mapping("design", "Design", "CAD", "RENDER", priority=10, keep_group=True),
        mapping("site", "Site", "CAD", priority=10, release_after="1d"),
        mapping("leads", "Design", "CAD", priority=5),
        mapping("lab", "Lab", "RENDER", priority=7, directory="second", keep_group=seed % 4 > 2),
        offboarding={"release_after": "2d", "remove_after": "5d"},
        limits=wide | {"team_day_percent": 0, "approvers": 2},  # a digest approves nothing, and reads everything
        sync={"protected": ["p1@acme.example"]},
        admins={"Design": "q0@acme.example"},
    )
    worlds = [await make_world(one, now, chosen, Design_CAD=4, Design_RENDER=3, Site_CAD=3, Lab_RENDER=2)
              for one in (ledger, twin)]  # fmt: skip
    whole, parted = worlds
    whole.source = parted.source = HandSource(told=True) if seed == 3 else TracingSource()
    whole.others = parted.others = (HandSource("second", groups={"lab": []}, told=seed % 3 == 0),)
    whole.source.groups = {name: [] for name in GROUPS}
    whole.source.put(*(Somebody(f"p{n}", number=f"np{n}") for n in range(4)), groups=["design"])
    whole.source.put(*(Somebody(f"q{n}", number=f"nq{n}") for n in range(4)), groups=["site"])
    seen: Counter[str] = Counter()
    for step in range(STEPS):
        parted.now = whole.later(hours=chance.choice([1, 1, 5, 30]))
        for world in worlds:
            await ensure_organization(world.ledger, ORGANIZATION, chosen.teams, now=world.now)
        planned = await shown(whole)
        names = [*sorted({bundle.subject for bundle in planned.plan.bundles}), "Design", "Site", "lab"]
        only = chance.sample(names, min(len(names), chance.choice([1, 1, 2, 3])))
        meant = (await shown(parted, *only)).plan.bundles
        before = await people(twin)
        first = await apply(parted, *only)
        after = await people(twin)
        for who in before.keys() - {bundle.identity for bundle in meant}:
            assert after[who] == before[who], f"step {step}: only {only}"
        assert len(after.keys() - before.keys()) <= sum(not bundle.identity for bundle in meant)
        seen["parts"] += bool(first.counts)
        seen["waits for others"] += any(problem.what.startswith("waits for") for problem in first.problems)
        outcomes = [await apply(whole, digest=planned.digest), await apply(parted)]
        # the part was one run more: what waits for the next run of one ledger (an absence noted) was met in the other
        last = [await apply(world) for world in worlds]
        seen["left over"] += bool(first.counts) and bool(outcomes[1].counts)
        seen["held"] += bool(last[0].held)
        assert await state(ledger) == await state(twin), f"step {step}: only {only}"
        assert last[0].held == last[1].held
        again = [await shown(world) for world in worlds]
        assert again[0].digest == again[1].digest
        if chance.random() < 0.2:
            for world in worlds:
                await sell(world.ledger, world.now, "Site", "CAD", 1)
        whole.source.unknown.clear()
        whole.others[0].unknown.clear()
        stir(whole, chance, step)
        regroup(whole, step)
    assert seen["parts"] > STEPS // 4, seen
    assert seen["left over"], seen


async def company(ledger: Ledger, now: datetime, size: int = 12) -> World:
    """``size`` people of Design who came in by a plan that somebody saw."""
    world = await make_world(ledger, now, policy(*RULES, limits=LIMITED), Design_CAD=20, Site_CAD=20)
    world.source.put(*(f"p{number:02}" for number in range(size)), groups=["design"])
    world.source.put("s0", groups=["site"])
    await apply(world, digest=(await shown(world)).digest)
    world.later(days=40)
    return world


async def test_a_pilot_starts_with_one_group_and_the_rest_follows(ledger: Ledger, now: datetime) -> None:
    world = await make_world(
        ledger, now, policy(*RULES, limits=LIMITED),
        Design_CAD=20, Site_CAD=20,
    )  # fmt: skip
    world.source.put(*(f"p{number}" for number in range(8)), groups=["design"])
    world.source.put(*(f"s{number}" for number in range(9)), groups=["site"])
    planned = await shown(world, "Design")
    assert planned.exit_code == 0, "its invites are approved by its digest"
    assert f"`rosterd apply --digest {planned.digest[:12]} --only Design`" in planned.lines[1]
    pilot = await apply(world, "Design")
    assert (pilot.state, pilot.exit_code, pilot.digest) == (RunState.APPLIED, 0, planned.digest)
    assert dict(pilot.counts) == {"Invite": 8, "JoinTeam": 8, "AssignSeat": 8}
    assert "note: only Design: the changes of 9 people outside this part are left" in pilot.lines
    assert (await shown(world, "Design")).lines[0] == "nothing changes for Design"
    rest = await shown(world)
    assert rest.plan.counts == {"Invite": 9, "JoinTeam": 9, "AssignSeat": 9}
    assert dict((await apply(world, digest=rest.digest)).counts) == rest.plan.counts


async def test_a_part_has_a_digest_of_its_own_and_a_changed_world_refuses_it(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.source.put("new1", "new2", groups=["site"])
    whole, part = (await shown(world)).digest, (await shown(world, "site")).digest
    assert whole != part
    for only, digest in (((), part), (("site",), whole), (("new1@acme.example",), part)):
        with pytest.raises(PlanChanged):
            await apply(world, *only, digest=digest)
    world.source.put("else", groups=["design"])
    world.source.change("p03", disabled=True)
    assert (await shown(world, "site")).digest == part, "what changed is not in it"
    world.source.put("new3", groups=["site"])
    with pytest.raises(PlanChanged) as refused:
        await apply(world, "site", digest=part)
    assert refused.value.next_step == "nothing was written; look at rosterd plan --only site again"
    with pytest.raises(BadInput):
        await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="a", auto=True, only=["site"])


async def test_g1_a_big_removal_in_many_small_parts_takes_nothing_from_anybody(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    gone = [f"p{number:02}" for number in range(9)]
    for uid in gone:
        world.source.change(uid, disabled=True)
    for uid in gone:
        world.later(minutes=1)
        planned = await shown(world, f"{uid}@acme.example")
        assert planned.exit_code == 3
        assert any("of 9 people; the limit is 3 in 24 hours" in line for line in planned.lines)
        outcome = await apply(world, f"{uid}@acme.example")
        assert (outcome.state, dict(outcome.counts)) == (RunState.HELD, {})
    assert {found["is"][2] for found in (await people(ledger)).values()} == {"active"}
    one = await shown(world, "p02@acme.example")
    assert f"rosterd approve {one.guarded.held_digest[:12]}" in "\n".join(one.lines)
    done = await approve(world, one.guarded.held_digest)
    assert dict(done.counts) == {"DisableIdentity": 1, "PauseSeat": 1}, "what a person approves by name, and no more"


async def test_g1_parts_count_in_the_same_twenty_four_hours(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    states = []
    for number in range(5):
        world.source.change(f"p{number:02}", disabled=True)
        world.later(hours=1)
        states.append((await apply(world, f"p{number:02}@acme.example")).state)
    assert states == [RunState.APPLIED] * 3 + [RunState.HELD] * 2, "three in a day, however they come"
    world.later(hours=25)
    assert (await apply(world)).state is RunState.APPLIED


async def test_g3_where_two_principals_are_asked_for_a_digest_approves_no_invite(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.policy = policy(*RULES, limits=LIMITED | {"approvers": 2})
    world.source.put(*(f"new{number}" for number in range(5)), groups=["site"])
    world.source.put(*(f"other{number}" for number in range(5)), groups=["design"])
    held = await apply(world, "site")
    assert (held.state, dict(held.held_counts)["Invite"], dict(held.counts)) == (RunState.HELD, 5, {})
    one = await run.approve(ledger, world.setup, held.held, reason="r", actor="ada", fence=ALONE, now=world.now)
    two = await run.approve(ledger, world.setup, held.held, reason="r", actor="bo", fence=ALONE, now=world.now)
    assert (one.state, dict(two.counts)["Invite"]) == (RunState.HELD, 5), "the pilot's five, and none of the others"


async def test_d3_a_part_notes_who_is_absent_everywhere_and_the_next_run_goes_on(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await apply(world)
    async with ledger.read(ORGANIZATION.id) as reader:
        cursor = await runs.cursor(reader, "corp")
    world.later(hours=1)
    world.source.drop("p01", "p02")
    world.source.put("new1", groups=["site"])
    world.source.put("new2", groups=["design"])
    assert dict((await apply(world, "site")).counts)["Invite"] == 1
    assert {row[1] for row in (await state(ledger))["absences"]} == {"anchor-p01", "anchor-p02"}
    async with ledger.read(ORGANIZATION.id) as reader:
        assert await runs.cursor(reader, "corp") == cursor, "D13: what was left is read again"
    world.later(minutes=20)
    rest = await apply(world)
    assert dict(rest.counts) == {"Invite": 1, "JoinTeam": 1, "AssignSeat": 1, "PauseSeat": 2, "DisableIdentity": 2}
    assert (await apply(world)).state is RunState.NOTHING


async def test_a3_a_part_is_a_run_that_can_be_undone(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    before = await state(ledger)
    world.source.change("p01", disabled=True)
    world.source.change("p02", disabled=True)
    done = await apply(world, "p01@acme.example")
    async with ledger.read(ORGANIZATION.id) as reader:
        row = await runs.get(reader, done.run_id)
    assert row is not None
    assert (row.kind, row.plan_digest) == ("apply", done.digest)
    assert [problem["what"] for problem in row.problems if problem["code"] == "part"] == [
        "only p01@acme.example: the changes of 1 person outside this part are left"
    ]
    await run.undo(
        ledger, world.setup, done.run_id, actor="a", reason="r", fence=ALONE, now=world.later(minutes=1), dry_run=False
    )
    assert (await state(ledger))["people"] == before["people"]
