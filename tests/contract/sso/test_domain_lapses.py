"""Whatever becomes of a domain's proof, runs behind the real gate remove nobody (sso.md §3 case 19)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from connector.reconcile import run
from connector.reconcile.show.outcome import RunState
from connector.sso import steps
from connector.sso.gate import evidence, sync
from connector.sso.provider.connection_steps import MAIN
from ledger.errors import Refused
from ledger.store import people, seats
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, Somebody, World, make_world, mapping, policy
from tests.parts.fences import ALONE
from tests.parts.sso_organization import prove

ORG, DOMAIN, SECOND = ORGANIZATION.id, "acme.example", "eu.example"
H, DAY = timedelta(hours=1), timedelta(days=1)
TEN = [f"p{number}" for number in range(10)]


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    """Ten people of one domain and one of another, both behind one connection that is on; all in a Team."""
    made = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=40)
    for domain in (DOMAIN, SECOND):
        await prove(ledger, ORG, domain, now)
    until = (now + 900 * DAY).isoformat()
    facts = {"certificates": [{"spki": "s", "not_before": (now - DAY).isoformat(), "not_after": until}]}
    async with ledger.write(ORG, ALONE, at=now) as book:
        await rows.put_connection(book, MAIN, "idp", "ada")
        await rows.put_version(book, rows.VersionRow(MAIN, 1, "saml", "https://idp", "f1", "", facts, now, "ada"))
        for domain in (DOMAIN, SECOND):
            await rows.link(book, domain, MAIN)
            tested = {"fingerprint": "f1", "domain": domain}
            await evidence.record(book, evidence.TESTED, MAIN, actor="ada", facts=tested, domains=[domain])
        await evidence.record(book, evidence.TURNED_ON, MAIN, actor="ada", facts={"version": 1}, domains=[DOMAIN])
    await sync.enable_sync(ledger, ORG, actor="ada", now=now)
    made.source.put(*TEN, Somebody("zoe", mail="zoe@eu.example"), groups=["design"])
    assert (await applied(made)).state is RunState.APPLIED
    return made


async def applied(world: World) -> Any:
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)


async def looked(world: World, answer: str, why: str = "", *domains: str) -> None:
    """A look at the domains, and what follows from it for sync."""
    async with world.ledger.write(ORG, ALONE, at=world.now) as book:
        for domain in domains or (DOMAIN, SECOND):
            facts = {"attempt": 1, "answer": answer, "why": why, "resolvers": []}
            await evidence.record(book, evidence.DOMAIN_CHECKED, domain, actor="job", facts=facts, domains=[domain])
        await sync.follow_gate(book)


async def standing(world: World) -> tuple[list[Any], list[Any], list[str]]:
    """Everybody, their memberships, their seats."""
    async with world.ledger.read(ORG) as reader:
        return (
            sorted(row[2:8:5] for row in await people.open_identities(reader)),
            sorted(row[1:3] for row in await people.open_memberships(reader)),
            sorted(f"{row[5]} {row[6]}" for row in await seats.open_seats(reader)),
        )


@pytest.mark.parametrize(
    ("answer", "why", "waits"),
    [
        ("absent", "the name does not exist (NXDOMAIN)", (H, H, 24 * H)),  # the record is gone
        ("absent", "1 TXT record, none of them with the token", (H, H, 24 * H)),  # a wildcard, somebody else's
        ("unreadable", "the resolver answered SERVFAIL", (DAY,) * 7),
        ("unreadable", "the resolvers disagree: a shows the record, b does not (yet)", (DAY,) * 7),
    ],
)
async def test_sso_19_a_lost_proof_suspends_removes_nobody_and_comes_back(
    world: World, answer: str, why: str, waits: tuple[timedelta, ...]
) -> None:
    before = await standing(world)
    for wait in waits[:-1]:
        world.now += wait
        await looked(world, answer, why)
        assert (await applied(world)).state is not RunState.SUSPENDED
    world.now += waits[-1]
    await looked(world, answer, why)
    world.source.drop(*TEN[:5])
    world.source.put("newcomer", groups=["design"])
    for _ in range(3):
        world.now += H
        outcome = await applied(world)
        assert outcome.state is RunState.SUSPENDED
        assert await standing(world) == before
    world.source.put(*TEN[:5], groups=["design"])
    world.now += H
    await looked(world, "found")
    assert (await applied(world)).state is RunState.APPLIED
    after = await standing(world)
    assert len(after[0]) == len(before[0]) + 1


async def test_n13_people_of_a_domain_that_left_the_file_are_frozen_and_the_others_go_on(world: World) -> None:
    before = await standing(world)
    await steps.declare(world.ledger, ORG, {SECOND: 24 * H}, actor="host", now=world.now)
    world.source.drop(*TEN)
    world.source.put("newcomer", Somebody("yan", mail="yan@eu.example"), groups=["design"])
    for _ in range(3):
        world.now += H
        outcome = await applied(world)
        assert outcome.state is not RunState.SUSPENDED
    after = await standing(world)
    came = [row for row in after[0] if row not in before[0]]
    assert [row for row in before[0] if row not in after[0]] == []
    assert [row[0] for row in came] == ["yan@eu.example"]
    assert "domain_undeclared" in str(outcome.problems)
    world.source.put(*TEN, groups=["design"])
    await steps.declare(world.ledger, ORG, {SECOND: 24 * H, DOMAIN: 24 * H}, actor="host", now=world.now)
    world.now += H
    await applied(world)
    assert "newcomer@acme.example" in str((await standing(world))[0])


async def test_n13_sync_is_suspended_when_every_domain_left_the_file_and_goes_on_when_one_is_back(world: World) -> None:
    before = await standing(world)
    await steps.declare(world.ledger, ORG, {}, actor="host", now=world.now)
    async with world.ledger.read(ORG) as reader:
        suspended = await steps.sync_status(reader)
    assert (suspended.state, suspended.reasons) == (sync.SyncState.SUSPENDED, ("domain_undeclared",))
    world.source.drop(*TEN)
    world.now += H
    assert (await applied(world)).state is RunState.SUSPENDED
    with pytest.raises(Refused, match="no longer names the domain"):
        await sync.enable_sync(world.ledger, ORG, actor="ada", now=world.now)
    assert await standing(world) == before
    await steps.declare(world.ledger, ORG, {DOMAIN: 24 * H, SECOND: 24 * H}, actor="host", now=world.now)
    async with world.ledger.read(ORG) as reader:
        assert (await steps.sync_status(reader)).state is sync.SyncState.ENABLED
