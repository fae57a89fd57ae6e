"""A2, A4 on both databases: an approval or an undo that was overtaken writes nothing, and a job is settled with what it
did."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.show.outcome import RunState
from ledger.errors import Refused, Stale
from ledger.jobs import Job, JobState, Lease, Leased
from ledger.store import audit, jobs, leases, people, runs, seats
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


def rules(**limits: Any) -> Policy:
    return policy(mapping("design", "Design", "CAD"), limits={"day_floor": 0, "day_percent": 0, **limits})


async def with_a_held_set(ledger: Ledger, now: datetime, **limits: Any) -> tuple[World, str]:
    """Six people, two of whom are disabled since, held."""
    world = await make_world(ledger, now, rules(), Design_CAD=9)
    world.source.put(*(f"p{number}" for number in range(6)), groups=["design"])
    seen = await run.plan(ledger, world.setup, now=now)
    await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=seen.digest)
    world.policy = rules(**limits)
    for uid in ("p0", "p1"):
        world.source.change(uid, disabled=True)
    held = await run.apply(ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
    assert held.state is RunState.HELD
    return world, held.held


async def taken(ledger: Ledger, holder: str, now: datetime) -> Lease:
    lease = await leases.acquire(ledger, "run:acme", holder, now=now, ttl=MINUTE)
    assert lease is not None
    return lease


async def claimed(ledger: Ledger, now: datetime, kind: str) -> Job:
    await jobs.enqueue(ledger, "acme", kind, now=now)
    job = await jobs.claim(ledger, [kind], "worker", now=now, deadline=HOUR)
    assert job is not None
    return job


async def with_a_job(ledger: Ledger, now: datetime, kind: str) -> tuple[World, str, Job]:
    """A worker has claimed the job: of an undo after the held set was approved."""
    world, digest = await with_a_held_set(ledger, now)
    if kind == "undo":
        await run.approve(ledger, world.setup, digest, reason="left", actor="ada", fence=ALONE, now=world.now)
    return world, digest, await claimed(ledger, world.now, kind)


async def standing(ledger: Ledger) -> tuple[Any, ...]:
    """What a run writes, held sets and run records too."""
    async with ledger.read(ORGANIZATION.id) as reader:
        return (
            sorted(await people.open_identities(reader)),
            sorted(map(str, await seats.open_seats(reader))),
            [(held.digest, held.state, held.approvals) for held in await runs.held_sets(reader, STATES)],
            len(await runs.latest(reader)),
            (await audit.verify(reader)).events,
        )


STATES = ("open", "approved", "applied", "superseded", "expired")


@pytest.mark.parametrize("approvers", [1, 2])
async def test_a2_an_approval_whose_lease_was_taken_over_writes_nothing(
    ledger: Ledger, now: datetime, approvers: int
) -> None:
    world, digest = await with_a_held_set(ledger, now, approvers=approvers)
    mine = await taken(ledger, "one", world.now)
    theirs = await taken(ledger, "two", world.later(minutes=2))
    before = await standing(ledger)
    request: dict[str, Any] = {"reason": "left", "actor": "ada", "now": world.now}
    with pytest.raises(Stale, match="taken over"):
        await run.approve(ledger, world.setup, digest, fence=Leased(mine), **request)
    assert await standing(ledger) == before
    done = await run.approve(ledger, world.setup, digest, fence=Leased(theirs), **request)
    assert done.state is (RunState.APPLIED if approvers == 1 else RunState.HELD)


async def test_a2_an_undo_whose_lease_was_taken_over_writes_nothing(ledger: Ledger, now: datetime) -> None:
    world, digest = await with_a_held_set(ledger, now)
    bad = await run.approve(ledger, world.setup, digest, reason="left", actor="ada", fence=ALONE, now=world.now)
    mine = await taken(ledger, "one", world.now)
    theirs = await taken(ledger, "two", world.later(minutes=2))
    before = await standing(ledger)
    request: dict[str, Any] = {"reason": "a mistake", "actor": "ada", "now": world.now, "dry_run": False}
    with pytest.raises(Stale, match="taken over"):
        await run.undo(ledger, world.setup, bad.run_id, fence=Leased(mine), **request)
    assert await standing(ledger) == before
    assert (await run.undo(ledger, world.setup, bad.run_id, fence=Leased(theirs), **request)).changes


@pytest.mark.parametrize("kind", ["approve", "undo", "apply"])
async def test_a4_a_job_is_settled_by_the_transaction_that_does_it(ledger: Ledger, now: datetime, kind: str) -> None:
    world, digest, job = await with_a_job(ledger, now, kind)
    fence = Leased(await taken(ledger, "one", world.now), job.claim)
    shown = await act(world, kind, digest, fence)
    settled = await jobs.get(ledger, job.id)
    assert (settled.state, settled.outcome) == (JobState.DONE, shown)
    # the worker dies before it can answer: nobody does it again, and nobody is told that it failed
    with pytest.raises(Stale):
        await jobs.fail(ledger, job, now=world.now, outcome={"error": "no answer"}, retry_at=world.now)
    assert await jobs.claim(ledger, [kind], "another", now=world.later(days=1), deadline=HOUR) is None
    assert (await jobs.get(ledger, job.id)).outcome == shown


@pytest.mark.parametrize("kind", ["approve", "undo", "apply"])
async def test_a4_an_attempt_that_was_given_up_commits_nothing(ledger: Ledger, now: datetime, kind: str) -> None:
    world, digest, job = await with_a_job(ledger, now, kind)
    await jobs.fail(ledger, job, now=world.now, outcome={"error": "silent"}, retry_at=world.now)
    before = await standing(ledger)
    with pytest.raises(Stale, match="was taken from worker after attempt 1"):
        await act(world, kind, digest, Leased(await taken(ledger, "one", world.now), job.claim))
    assert await standing(ledger) == before
    again = await jobs.claim(ledger, [kind], "worker", now=world.now, deadline=HOUR)
    assert again is not None
    await act(world, kind, digest, Leased(await taken(ledger, "one", world.now), again.claim))
    assert (await jobs.get(ledger, job.id)).state is JobState.DONE


async def act(world: World, kind: str, digest: str, fence: Leased) -> dict[str, Any]:
    """Do what a worker does for a job of this kind; what it would answer."""
    ledger, setup, now = world.ledger, world.setup, world.now
    if kind == "approve":
        done = await run.approve(ledger, setup, digest, reason="left", actor="ada", now=now, fence=fence)
        return done.for_job()
    if kind == "undo":
        async with ledger.read(ORGANIZATION.id) as reader:
            last = (await runs.latest(reader))[0].id
        undone = await run.undo(ledger, setup, last, actor="ada", reason="no", now=now, fence=fence, dry_run=False)
        return undone.for_job()
    return (await run.apply(ledger, setup, now=now, actor="service", auto=True, fence=fence)).for_job()


async def test_g3_where_one_approval_is_enough_now_whoever_approved_completes_it(ledger: Ledger, now: datetime) -> None:
    world, digest = await with_a_held_set(ledger, now, approvers=2)
    request: dict[str, Any] = {"reason": "left", "actor": "ada", "now": world.now, "fence": ALONE}
    assert (await run.approve(ledger, world.setup, digest, **request)).state is RunState.HELD
    with pytest.raises(Refused, match="one more approval by another principal"):
        await run.approve(ledger, world.setup, digest, **request)
    world.policy = rules(approvers=1)
    assert (await run.approve(ledger, world.setup, digest, **request)).counts == {"PauseSeat": 2, "DisableIdentity": 2}
