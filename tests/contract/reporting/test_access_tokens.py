"""Opaque tokens on both databases: shown once, revoked at once, checked without telling why not."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from access import tokens
from access import trail as trails
from access.errors import Forbidden, Unauthenticated
from access.principal import Principal, Purpose, Scope, operator
from access.tokens import TokenSpec
from access.trail import Trail
from ledger.errors import BadInput, NotFound, Unavailable
from ledger.store import tokens as token_rows
from ledger.store.engine import Ledger
from ledger.store.tables.audit import audit_event, audit_payload
from ledger.store.tables.people import team
from ledger.store.tokens import Access
from ledger.team import Role
from tests.parts.fences import ALONE

PEPPER = b"pepper-of-the-tests"
ROOT = operator("acme", "root")


def _spec(now: datetime, **changes: Any) -> TokenSpec:
    return TokenSpec(**{"name": "bi", "expires_at": now + timedelta(days=30), **changes})


async def _create(ledger: Ledger, now: datetime, **changes: Any) -> tokens.NewToken:
    return await tokens.create(ledger, "acme", _spec(now, **changes), pepper=PEPPER, actor=ROOT, now=now)


async def _ask(ledger: Ledger, text: str, now: datetime, remote: str = "") -> Principal:
    return await tokens.authenticate(ledger, text, pepper=PEPPER, now=now, remote=remote)


async def test_a_token_authenticates_its_organization_and_scopes(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now, purpose=Purpose.RENEWAL)
    assert re.fullmatch(r"rpt_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", made.text)
    found = await _ask(ledger, made.text, now)
    assert found.organization == "acme"
    assert found.actor == f"token:{made.row.id}"
    assert found.reports is Scope.REPORTS_PSEUDONYM
    assert found.purpose is Purpose.RENEWAL
    assert found.team_ids == frozenset()


async def test_the_text_of_a_token_is_kept_nowhere(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    (row,) = await tokens.list(ledger, "acme")
    assert made.text not in repr(made)
    assert made.text[13:45] not in repr(row)
    assert "digest" not in row.to_json()
    assert made.to_json()["token"] == made.text


async def test_making_and_revoking_is_audited_without_the_token(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    await tokens.revoke(ledger, "acme", made.row.id, actor=ROOT, now=now)
    async with ledger.read("acme") as reader:
        events = await reader.all(reader.select(audit_event).order_by(audit_event.c.seq))
        payloads = await reader.all(reader.select(audit_payload, "payload"))
    assert [(e.actor, e.verb, e.subject) for e in events] == [
        ("operator:root", "token.created", made.row.id),
        ("operator:root", "token.revoked", made.row.id),
    ]
    assert not any(made.text[13:45] in row.payload or made.row.digest in row.payload for row in payloads)


async def test_every_refusal_reads_the_same(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    other = await _create(ledger, now)
    revoked = await _create(ledger, now)
    fenced = await _create(ledger, now, networks=("192.0.2.0/24",))
    await tokens.revoke(ledger, "acme", revoked.row.id, actor=ROOT, now=now)
    swapped = tokens._signed(f"{made.text[:13]}{other.text[13:-6]}")
    refused = [
        ("", now),
        ("rpt_", now),
        ("Bearer", now),
        ("rpt_aaaaaaaa_" + "ą" * 49, now),
        (made.text[:-1] + ("0" if made.text[-1] != "0" else "1"), now),
        (tokens._signed("rpt_aaaaaaaa_" + "0" * 43), now),
        (swapped, now),
        (made.text, now + timedelta(days=30)),
        (revoked.text, now),
        (fenced.text, now),
    ]
    told = set()
    for text, at in refused:
        with pytest.raises(Unauthenticated) as caught:
            await _ask(ledger, text, at, "198.51.100.7")
        told.add(str(caught.value))
        assert caught.value.cause
        assert not text or text not in caught.value.cause
    assert len(told) == 1
    assert (await _ask(ledger, fenced.text, now, "192.0.2.9")).organization == "acme"
    assert (await _ask(ledger, fenced.text, now, "::ffff:192.0.2.9")).organization == "acme"


async def test_another_pepper_opens_nothing(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    with pytest.raises(Unauthenticated):
        await tokens.authenticate(ledger, made.text, pepper=b"another", now=now)


@pytest.mark.parametrize("days", [0, 367])
async def test_a_token_lives_at_most_a_year(ledger: Ledger, now: datetime, days: int) -> None:
    with pytest.raises(BadInput, match="one year"):
        await _create(ledger, now, expires_at=now + timedelta(days=days))


async def test_a_token_is_bound_to_teams_that_exist(ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme", ALONE, at=now) as book:
        await book.begin(team, ("id", "name", "name_key"), [("t1", "Design", "design")])
    async with ledger.write("beta", ALONE, at=now) as book:
        await book.begin(team, ("id", "name", "name_key"), [("t9", "Other", "other")])
    made = await _create(ledger, now, team_ids=("t1",))
    assert (await _ask(ledger, made.text, now)).team_ids == {"t1"}
    with pytest.raises(NotFound, match="'t9'"):
        await _create(ledger, now, team_ids=("t1", "t9"))


async def test_tokens_of_another_organization_do_not_exist(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    stranger = operator("beta", "root")
    assert await tokens.list(ledger, "beta") == ()
    for organization in ("acme", "beta"):
        with pytest.raises(NotFound):
            await tokens.revoke(ledger, organization, made.row.id, actor=stranger, now=now)
    with pytest.raises(NotFound):
        await tokens.create(ledger, "acme", _spec(now), pepper=PEPPER, actor=stranger, now=now)
    assert (await _ask(ledger, made.text, now)).organization == "acme"


async def test_a_reader_cannot_revoke(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    reader = Principal("token:x", "acme", frozenset({Role.REPORT_READER}), frozenset({Scope.REPORTS_PSEUDONYM}))
    with pytest.raises(Forbidden):
        await tokens.revoke(ledger, "acme", made.row.id, actor=reader, now=now)


async def test_use_is_noted_at_most_once_a_minute(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    seen = []
    for seconds in (0, 30, 59, 60, 90):
        await _ask(ledger, made.text, now + timedelta(seconds=seconds))
        seen.append((await tokens.list(ledger, "acme"))[0].last_used_at)
    minute = now + timedelta(seconds=60)
    assert seen == [now, now, now, minute, minute]


async def test_the_trail_keeps_lines_and_uses(ledger: Ledger, now: datetime) -> None:
    made = await _create(ledger, now)
    async with Trail.running(ledger) as trail:
        await tokens.authenticate(ledger, made.text, pepper=PEPPER, now=now, trail=trail)
        trail.add(Access("acme", now, made.row.id, "report", "pseudonym", "seats", ("seat_id",), ("t1",), rows=3))
        trail.add(Access("beta", now, "other", "report", "pseudonym", "seats"))
    async with ledger.read("acme") as reader:
        (line,) = await token_rows.accesses(reader)
    assert (line.resource, line.columns, line.team_ids, line.rows, line.purpose) == (
        "seats",
        ("seat_id",),
        ("t1",),
        3,
        "report",
    )
    assert (await tokens.list(ledger, "acme"))[0].last_used_at == now


async def test_a_fault_that_nobody_foresaw_ends_no_trail(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults, log = [ValueError("unforeseen")], token_rows.log

    async def faulty(*args: Any) -> None:
        if faults:
            raise faults.pop()
        await log(*args)

    monkeypatch.setattr(token_rows, "log", faulty)
    monkeypatch.setattr(trails, "_FLUSH_SECONDS", 0.01)
    monkeypatch.setattr(trails, "_RETRY_SECONDS", 0.01)
    async with Trail.running(ledger) as trail:
        trail.add(Access("acme", now, "t", "report", "pseudonym", "seats"))
        for _ in range(200):
            await asyncio.sleep(0.01)
            async with ledger.read("acme") as reader:
                if kept := await token_rows.accesses(reader):
                    break
    assert (faults, len(kept)) == ([], 1)


async def test_nothing_is_read_that_cannot_be_accounted_for(ledger: Ledger, now: datetime) -> None:
    trail = Trail(ledger, most=1)
    trail.check()
    trail.add(Access("acme", now, "t", "report", "pseudonym", "seats"))
    with pytest.raises(Unavailable, match="access log"):
        trail.check()
    await trail.flush()
    trail.check()
