"""Planning only who is near a change gives what planning everybody gives (D13, D14), through random histories."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.guard.guard import Guarded
from connector.reconcile.plan.changes import Plan
from connector.reconcile.reading.ground import grounded, judged
from connector.reconcile.reading.how import observe
from connector.reconcile.reading.memory import recall
from connector.reconcile.run import Setup
from connector.reconcile.show.outcome import RunState
from connector.reconcile.state import gate
from connector.reconcile.state.teams import ensure_organization
from connector.reconcile.state.windows import load_permit
from ledger.store import kept_groups, runs
from ledger.store.engine import Ledger
from tests.parts.directories import (
    BASE,
    ORGANIZATION,
    HandSource,
    Somebody,
    TracingSource,
    World,
    make_world,
    mapping,
    open_gate,
    policy,
    sell,
    stand_in_gate,
)
from tests.parts.fences import ALONE

STEPS = 30
GROUPS = ("design", "site", "leads")


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def near(ledger: Ledger, setup: Setup, now: datetime) -> tuple[Plan, Guarded] | None:
    """The plan of a run that looks only at who is near a change; None when it would look at everybody."""
    async with ledger.read(ORGANIZATION.id) as reader:
        domains = await gate.look(reader, now)
        memory = await recall(ledger, reader, setup.policy, domains, now, setup.whole_every)
    observed = await observe(setup.sources, setup.policy, now, None, memory)
    if not observed.near:
        return None
    async with ledger.read(ORGANIZATION.id) as reader:
        base = await grounded(reader, setup.policy, observed, domains, now)
        judgement = await judged(reader, base, lambda _: load_permit(reader, now))
    return judgement.plan, judgement.guarded


def stir(world: World, chance: random.Random, step: int) -> None:
    """A few things happen in the directories: hires, leavers, movers, renames, rehires, collisions, outages."""
    kinds = ("hire", "hire", "leave", "vanish", "disable", "enable", "move", "rename", "swap", "rehire", "collide",
             "break", "mend", "outage", "unresolved", "second", "tombstone", "filter out", "move out", "come back",
             "delete")  # fmt: skip
    for _ in range(chance.randint(0, 4)):
        source = chance.choice([world.source, world.source, *world.others])
        uids = sorted(source.people)
        what = chance.choice(kinds)
        if what == "hire" or len(uids) < 3:
            uid = f"h{step}x{chance.randint(0, 99)}"
            source.put(
                Somebody(uid, number=f"n{uid}"),
                groups=chance.sample(sorted(source.groups), chance.randint(0, min(2, len(source.groups)))),
            )
            continue
        uid, other = chance.sample(uids, 2)
        listed = [name for name, members in source.groups.items() if uid in members]
        if what == "leave":
            source.drop(uid)
        elif what == "vanish":  # the entry only: its groups still list it, as far as anybody sees
            source.people.pop(uid)
            for name in listed:
                source.unresolved.setdefault(name, set()).add(f"uid={uid},ou=People")
        elif what in {"filter out", "move out"} and isinstance(source, TracingSource):
            source.leave(uid, disabled=what == "filter out")
        elif what == "come back" and isinstance(source, TracingSource) and source.elsewhere:
            back = chance.choice(sorted(source.elsewhere))
            source.come_back(back, chance.choice(sorted(source.groups)), disabled=chance.random() < 0.3)
        elif what == "delete" and isinstance(source, TracingSource):
            source.deleted.add(source.people[uid].key)
            source.drop(uid)
        elif what == "tombstone":
            source.tombstones.add(source.people[uid].key)
            source.drop(uid)
        elif what in {"disable", "enable"}:
            source.change(uid, disabled=what == "disable")
        elif what == "move" and listed and len(source.groups) > 1:
            source.move(uid, listed[0], chance.choice([name for name in source.groups if name != listed[0]]))
        elif what == "rename":
            source.change(uid, mail=f"{uid}.{step}@acme.example")
        elif what == "swap":
            one, two = source.people[uid], source.people[other]
            mails = [person.mail or f"{person.uid}@acme.example" for person in (one, two)]
            source.change(uid, mail=mails[1])
            source.change(other, mail=mails[0])
        elif what == "rehire":
            source.change(uid, anchor=f"again-{uid}-{step}")
        elif what == "collide":
            source.change(uid, mail=source.people[other].mail or f"{other}@acme.example")
        elif what in {"break", "mend"}:
            source.change(uid, broken=what == "break")
        elif what == "unresolved":
            source.unresolved.pop(chance.choice(sorted(source.groups)), None)
        elif what == "second" and world.others:
            other_source = world.others[0]
            other_source.put(replace(source.people[uid], anchor=f"second-{uid}"), groups=["lab"])
        elif what == "outage":
            source.unknown[chance.choice([BASE, f"group:{chance.choice(sorted(source.groups))}"])] = "cut off"


@pytest.mark.parametrize("seed", range(8))
async def test_d14_near_a_change_is_all_there_is_to_plan(ledger: Ledger, now: datetime, seed: int) -> None:
    chance = random.Random(seed)
    limits: dict[str, Any] | None = {"day_floor": 3, "team_day_floor": 2} if seed % 2 else None
    chosen = policy(
        mapping("design", "Design", "CAD", "RENDER", priority=10, keep_group=seed % 4 > 0),
        mapping("site", "Site", "CAD", priority=20, release_after="1d"),
        mapping("leads", "Design", "CAD", priority=5, keep_group=seed % 4 > 1),
        mapping("lab", "Lab", "RENDER", priority=7, directory="second", keep_group=seed % 4 > 2),
        offboarding={"release_after": "2d", "remove_after": "5d"},
        limits=limits,
        sync={"protected": ["p1@acme.example"]},
        admins={"Design": "q0@acme.example"},
    )
    world = await make_world(ledger, now, chosen, Design_CAD=4, Design_RENDER=3, Site_CAD=4, Lab_RENDER=2)
    world.source = HandSource(told=True) if seed >= 6 else TracingSource()
    world.others = (HandSource("second", groups={"lab": []}, told=seed % 3 == 0),)
    world.source.groups = {name: [] for name in GROUPS}
    world.source.put(*(Somebody(f"p{n}", number=f"np{n}") for n in range(4)), groups=["design"])
    world.source.put(*(Somebody(f"q{n}", number=f"nq{n}") for n in range(4)), groups=["site"])
    setup = replace(world.setup, whole_every=timedelta(days=1000))
    seen: Counter[str] = Counter()
    for step in range(STEPS):
        world.later(hours=chance.choice([1, 1, 5, 30]))
        await ensure_organization(ledger, ORGANIZATION, chosen.teams, now=world.now)
        whole = await run.plan(ledger, setup, now=world.now)
        part = await near(ledger, setup, world.now)
        seen["whole" if part is None else "near"] += 1
        if part is not None:
            plan, guarded = part
            assert plan.bundles == whole.plan.bundles, f"step {step}"
            assert plan.digest == whole.plan.digest
            assert guarded.held_digest == whole.guarded.held_digest
            assert guarded.counts == whole.guarded.counts
            seen["changes"] += sum(plan.counts.values())
        outcome = await run.apply(ledger, setup, fence=ALONE, now=world.now, actor="test", auto=True)
        seen[outcome.state.value] += 1
        assert outcome.digest == whole.plan.digest
        assert dict(outcome.counts) == dict(whole.guarded.counts)
        assert outcome.held == whole.guarded.held_digest
        named = {(problem.code, subject) for problem in whole.plan.problems for subject in problem.subjects}
        assert {(p.code, s) for p in outcome.problems for s in p.subjects} == named, f"step {step}"
        await _besides(world, chance, outcome.run_id, outcome.state)
        world.source.unknown.clear()
        world.others[0].unknown.clear()
        if not world.source.told:
            world.source.tombstones.clear()
        stir(world, chance, step)
        regroup(world, step)
        async with ledger.read(ORGANIZATION.id) as reader:
            seen["in groups"] += len(await kept_groups.members(reader, None))
    assert not isinstance(world.source, TracingSource) or world.source.asked
    assert seen["near"] >= STEPS // 3, seen
    assert seen["changes"] > 10, seen
    assert bool(seen["in groups"]) is (seed % 4 > 0), seen


def regroup(world: World, step: int) -> None:
    """Now and then a group has a new name; once the names of two groups are exchanged: each means the other one."""
    world.source.named["design"] = f"design {step // 7}"
    if step == STEPS // 2:
        world.source.meant |= {"design": "anchor-leads", "leads": "anchor-design"}


async def _besides(world: World, chance: random.Random, run_id: str, state: RunState) -> None:
    """What changes the ledger outside a run: undo, purchases, a domain that closes or opens, an approval."""
    what = chance.choice(["nothing"] * 6 + ["undo", "sell", "gate", "approve"])
    if what == "undo" and state is RunState.APPLIED:
        await run.undo(
            world.ledger, world.setup, run_id, actor="t", reason="r", fence=ALONE, now=world.now, dry_run=False
        )
    elif what == "sell":
        ends = date(2026, 3, chance.randint(5, 28))
        await sell(world.ledger, world.now, chance.choice(["Design", "Site"]), "CAD", 1, ends_on=ends)
    elif what == "gate":
        await open_gate(world.ledger, world.now, "acme.example", *chance.choice([(), ("other.example",)]))
    elif what == "approve" and state is RunState.HELD:
        async with world.ledger.read(ORGANIZATION.id) as reader:
            held = await runs.held_sets(reader, ("open",))
        await run.approve(
            world.ledger, world.setup, held[0].digest, reason="r", actor="t", fence=ALONE, now=world.later(minutes=1)
        )
