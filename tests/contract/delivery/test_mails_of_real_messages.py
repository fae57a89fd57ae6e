"""L7: what runs and edits really write to the outbox becomes a mail in both languages, with nothing missing."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import get_args

import pytest

from connector.delivery.mail.kinds import KINDS, Readers
from connector.delivery.mail.message import compose
from connector.delivery.mail.settings import Language
from connector.delivery.mail.words import Item, Letter, Templates
from connector.reconcile import run
from connector.reconcile.by_hand.restrictions import lift, restrict
from connector.reconcile.by_hand.rules import Act
from ledger.store import outbox
from ledger.store.engine import Ledger
from tests.parts.directories import BASE, ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def step(world: World, **later: float) -> run.RunOutcome:
    world.later(**later)
    return await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)


async def test_l7_every_message_of_a_bad_day_becomes_a_mail(ledger: Ledger, now: datetime) -> None:
    limits = {"day_floor": 0, "day_percent": 0, "team_day_floor": 99, "approvers": 2}
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=4)
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
    messages = await outbox.claim(ledger, now=world.now, hold=timedelta(days=1), limit=1000)
    found = {message.kind for message in messages}
    assert found >= {
        "invite.mail", "plan.held", "plan.approval_needed", "seats.short", "source.stale", "source.fresh",
        "team.restricted", "team.lifted",
    }  # fmt: skip
    templates = Templates()
    languages: tuple[Language, ...] = get_args(Language)
    for message in messages:
        kind = KINDS[message.kind]
        assert set(message.payload) == set(kind.example)
        letter = Letter(
            organization="Acme",
            items=(Item(message.payload, message.created_at),),
            link="https://accounts.vendor.example/login" if kind.readers is Readers.PERSON else "",
        )
        for language in languages:
            mail = compose(
                templates.render(kind, language, letter),
                message_id=message.id,
                sender="accounts@vendor.example",
                sender_name="Acme",
                recipient="ada@acme.example",
                recipient_name="Ada",
                reply_to="",
                date=world.now,
                language=language,
            )
            assert message.id.encode() in mail.as_bytes()
