"""L7: what runs and edits really write to the outbox becomes a mail in both languages, with nothing missing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import get_args

import pytest

from connector.delivery.mail.kinds import KINDS
from connector.delivery.mail.settings import MailSettings, OrganizationMailSettings
from connector.delivery.mail.target import MailTarget, Sender
from connector.reconcile import run
from connector.reconcile.by_hand.restrictions import lift, restrict
from connector.reconcile.by_hand.rules import Act
from ledger.settings import Language
from ledger.store import deliveries
from ledger.store.deliveries import Batch, Digest, Told
from ledger.store.engine import Ledger
from tests.parts.directories import BASE, ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE
from tests.parts.outbox_rows import written


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def step(world: World, **later: float) -> run.RunOutcome:
    world.later(**later)
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)


async def test_l7_every_message_of_a_bad_day_becomes_a_mail(ledger: Ledger, now: datetime) -> None:
    limits = {"day_floor": 0, "day_percent": 0, "team_day_floor": 99, "approvers": 2}
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=4)
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await deliveries.start(book, "mail", target(world, "en").kinds, keep_before=now)
    world.source.put(*(f"p{number}" for number in range(6)), groups=["design"])
    planned = await run.plan(ledger, world.setup, now=now)
    first = await run.apply(ledger, world.setup, fence=ALONE, now=now, actor="test", digest=planned.digest)
    assert first.state == "applied"
    world.policy = policy(mapping("design", "Design", "CAD"), limits=limits)
    world.source.change("p0", disabled=True)
    held = (await step(world, hours=1)).held
    await run.approve(ledger, world.setup, held, reason="meant", actor="ada", fence=ALONE, now=world.now)
    act = Act("ada", world.now, "the invoice is not paid")
    await restrict(ledger, ORGANIZATION.id, "Design", act)
    await lift(ledger, ORGANIZATION.id, "Design", act)
    world.source.unknown[BASE] = "connection refused"
    await step(world, days=3)
    world.source.unknown.clear()
    await step(world, hours=1)
    batches = await deliveries.claim(
        ledger, "mail", {ORGANIZATION.id: 1000}, now=world.now, hold=timedelta(days=1), limit=1000, digest=Digest()
    )
    found = {batch.kind for batch in batches}
    # the second message of a subject waits for the first: what it is about is claimed one by one
    rest = [row for row in await written(ledger, *KINDS) if row.kind not in found]
    for row in rest:
        told = (Told(row.id, row.subject, row.payload, row.created_at),)
        batches.append(Batch(ORGANIZATION.id, "mail", row.id, row.kind, told, 1, 0, None, ()))
    assert {batch.kind for batch in batches} >= {
        "invite.mail", "plan.held", "plan.approval_needed", "seats.short", "source.stale", "source.fresh",
        "team.restricted", "team.lifted",
    }  # fmt: skip
    for batch in batches:
        [told] = batch.messages
        assert set(told.payload) == set(KINDS[batch.kind].example)
        for language in get_args(Language):
            async with ledger.read(ORGANIZATION.id) as reader:
                parcels = await target(world, language).prepare(reader, batch)
            assert parcels, batch.kind
            for parcel in parcels:
                assert batch.id.encode() in parcel.content.message.as_bytes()


def target(world: World, language: Language) -> MailTarget:
    settings = MailSettings(
        host="127.0.0.1", security="none", sender="accounts@vendor.example", operator="op@vendor.example"
    )
    sender = Sender("Acme", OrganizationMailSettings(language=language))
    return MailTarget(
        settings,
        senders=lambda: {ORGANIZATION.id: sender},
        links=lambda organization, identity: f"https://rosterd.example/sso/{organization}/invite?i={identity}",
        public_url="https://rosterd.example",
        clock=lambda: world.now,
    )
