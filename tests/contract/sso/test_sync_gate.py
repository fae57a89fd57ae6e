"""Sync runs only behind an open gate; a lapse suspends and removes nobody; no evidence changes unseen (R5, G5)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from connector.reconcile.state import gate
from connector.sso import steps
from connector.sso.gate import evidence, sync
from connector.sso.gate.decision import GateState
from connector.sso.gate.sync import SyncState
from connector.sso.provider.connection_steps import MAIN
from ledger.errors import Busy, Refused
from ledger.store import sso as rows
from ledger.store.engine import Ledger
from ledger.store.tables.outbox import outbox
from tests.parts.fences import ALONE
from tests.parts.sso_organization import prove

ORG, DOMAIN = "acme", "acme.example"
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
H = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
async def acme(ledger: Ledger) -> Ledger:
    """Proved, tested and on; the evidence is written as the steps write it."""
    await prove(ledger, ORG, DOMAIN, NOW)
    facts = {"certificates": [{"spki": "s", "not_before": "2026-01-01T00:00:00Z", "not_after": "2028-01-01T00:00:00Z"}]}
    version = rows.VersionRow(MAIN, 1, "saml", "https://idp", "f1", "", facts, NOW, "ada")
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        await rows.put_connection(book, MAIN, "idp", "ada")
        await rows.put_version(book, version)
        await rows.link(book, DOMAIN, MAIN)
        tested = {"fingerprint": "f1", "domain": DOMAIN}
        await evidence.record(book, evidence.TESTED, MAIN, actor="ada", facts=tested, domains=[DOMAIN])
    await switch(ledger, on=True, at=NOW)
    return ledger


async def switch(ledger: Ledger, *, on: bool, at: datetime) -> None:
    async with ledger.write(ORG, ALONE, at=at) as book:
        kind = evidence.TURNED_ON if on else evidence.TURNED_OFF
        await evidence.record(book, kind, MAIN, actor="ada", facts={"version": 1}, domains=[DOMAIN])
        await sync.follow_gate(book)


async def look(ledger: Ledger, at: datetime) -> None:
    """The daily look at the domain found the record."""
    facts = {"attempt": 1, "answer": "found", "why": "", "resolvers": []}
    async with ledger.write(ORG, ALONE, at=at) as book:
        await evidence.record(book, evidence.DOMAIN_CHECKED, DOMAIN, actor="ada", facts=facts, domains=[DOMAIN])


async def state(ledger: Ledger) -> sync.SyncStatus:
    async with ledger.read(ORG) as reader:
        return await sync.sync_status(reader)


async def test_r5_refused_with_every_missing_step_of_every_domain(ledger: Ledger) -> None:
    await prove(ledger, ORG, DOMAIN, NOW)
    await steps.add_domain(ledger, ORG, "acme-labs.example", actor="ada", now=NOW)
    with pytest.raises(Refused) as refused:
        await sync.enable_sync(ledger, ORG, actor="ada", now=NOW)
    said = refused.value.what
    assert "acme.example: no identity provider is connected" in said
    assert "acme-labs.example: the domain is not proved" in said
    assert "rosterd sso connect METADATA" in said
    assert (await state(ledger)).state is SyncState.OFF


async def test_r5_off_ready_enabled_suspended_enabled(acme: Ledger) -> None:
    async with acme.read(ORG) as reader:
        assert (await sync.sync_status(reader, now=NOW)).state is SyncState.READY
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    assert (await state(acme)).state is SyncState.ENABLED
    await switch(acme, on=False, at=NOW + H)
    assert await state(acme) == sync.SyncStatus(SyncState.SUSPENDED, ("sso_off",), NOW + H)
    with pytest.raises(Refused, match="sso_off"):
        await sync.enable_sync(acme, ORG, actor="ada", now=NOW + H)
    await switch(acme, on=True, at=NOW + 2 * H)
    assert await state(acme) == sync.SyncStatus(SyncState.ENABLED, (), NOW + 2 * H)
    await sync.disable_sync(acme, ORG, actor="ada", now=NOW + 3 * H)
    assert (await state(acme)).state is SyncState.OFF


async def test_after_seven_days_an_admin_confirms(acme: Ledger) -> None:
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    await switch(acme, on=False, at=NOW + H)
    back = NOW + H + 7 * DAY + H
    await look(acme, back - DAY * 3)
    await switch(acme, on=True, at=back)
    assert (await state(acme)).state is SyncState.SUSPENDED
    async with acme.write(ORG, ALONE, at=back) as book:
        with pytest.raises(Refused, match="an admin confirms"):
            await sync.resume(book)
    await sync.enable_sync(acme, ORG, actor="ada", now=back)
    assert (await state(acme)).state is SyncState.ENABLED


async def test_r5_without_any_domain_sync_is_suspended_and_an_admin_confirms_after_seven_days(acme: Ledger) -> None:
    """Releasing the only domain is a lapse like any other: R5 holds continuously, not only where there is a gate."""
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    await steps.release_domain(acme, ORG, DOMAIN, actor="ada", now=NOW + H, confirmed=True)
    assert await state(acme) == sync.SyncStatus(SyncState.SUSPENDED, ("domain_unverified",), NOW + H)
    [(kind, payload)] = await told(acme)
    assert (kind, payload["next"]) == ("sync.suspended", "rosterd sso status")
    assert payload["missing"][0] == "no domain is registered → rosterd sso add DOMAIN"
    back = NOW + 40 * DAY
    await steps.add_domain(acme, ORG, DOMAIN, actor="ada", now=back)
    facts = {"attempt": 2, "answer": "found", "why": "", "resolvers": []}
    async with acme.write(ORG, ALONE, at=back) as book:
        await evidence.record(book, evidence.DOMAIN_CHECKED, DOMAIN, actor="ada", facts=facts, domains=[DOMAIN])
        await rows.link(book, DOMAIN, MAIN)
        assert (await sync.follow_gate(book))[DOMAIN].state is GateState.OPEN
        with pytest.raises(Refused, match="an admin confirms"):
            await gate.resume(book)
    async with acme.read(ORG) as reader:
        found = await sync.sync_status(reader, now=back)
    assert found.state is SyncState.SUSPENDED
    assert [step for step in found.missing if step.endswith("→ rosterd sync enable")]
    await sync.enable_sync(acme, ORG, actor="ada", now=back)
    assert (await state(acme)).state is SyncState.ENABLED


async def test_r5_a_run_without_any_domain_suspends(acme: Ledger) -> None:
    """As the ledger of before finds it: released while that suspended nothing."""
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    async with acme.write(ORG, ALONE, at=NOW + H) as book:
        row = await rows.domain(book, DOMAIN)
        assert row is not None
        await rows.put_domain(book, replace(row, released_at=book.at))
        found = await gate.look(book, book.at)
        assert gate.shut(found) == ("no domain is registered",)
        await gate.suspend(book, found)
    assert await state(acme) == sync.SyncStatus(SyncState.SUSPENDED, ("domain_unverified",), NOW + H)


async def test_suspending_twice_keeps_the_first_instant(acme: Ledger) -> None:
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    async with acme.write(ORG, ALONE, at=NOW + H) as book:
        assert await sync.suspend(book, ["cert_expired", "cert_expired"])
    async with acme.write(ORG, ALONE, at=NOW + 2 * H) as book:
        assert not await sync.suspend(book, ["cert_expired"])
        assert await sync.suspend(book, ["sso_off"])
    assert await state(acme) == sync.SyncStatus(SyncState.SUSPENDED, ("sso_off",), NOW + H)
    async with acme.write(ORG, ALONE, at=NOW + 3 * H) as book:
        assert await sync.resume(book)
        assert not await sync.resume(book)


async def missed(ledger: Ledger, at: datetime) -> None:
    """A look that did not find the record."""
    facts = {"attempt": 1, "answer": "absent", "why": "the name does not exist (NXDOMAIN)", "resolvers": []}
    async with ledger.write(ORG, ALONE, at=at) as book:
        await evidence.record(book, evidence.DOMAIN_CHECKED, DOMAIN, actor="ada", facts=facts, domains=[DOMAIN])
        await sync.follow_gate(book)


async def told(ledger: Ledger) -> list[tuple[str, dict[str, Any]]]:
    """What the outbox tells of sync, oldest first."""
    async with ledger.read(ORG) as reader:
        found = await reader.all(reader.select(outbox).order_by(outbox.c.id))
    return [(row.kind, row.payload) for row in found if row.kind.startswith("sync.")]


async def test_one_lapse_is_told_once_however_its_reasons_change(acme: Ledger) -> None:
    """Stale, lost, off, on, its certificate at its end, and runs between: one suspension, one message."""
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    for hours in (1, 2, 26):
        await missed(acme, NOW + hours * H)
    assert (await state(acme)).reasons == ("domain_lost",)
    for number, on in enumerate((False, True, False)):
        await switch(acme, on=on, at=NOW + (27 + number) * H)
    for number in range(3):
        async with acme.write(ORG, ALONE, at=NOW + (31 + number) * H) as book:  # as a run that finds the gate shut
            await gate.suspend(book, await gate.look(book, book.at))
    await missed(acme, NOW + 700 * DAY)  # the certificate ended meanwhile
    assert (await state(acme)).since == NOW + 26 * H
    [(kind, payload)] = await told(acme)
    assert (kind, payload["reasons"], payload["next"]) == ("sync.suspended", ["domain_lost"], "rosterd sso status")
    assert "its proof is gone: the name does not exist (NXDOMAIN)" in payload["missing"][0]
    async with acme.read(ORG) as reader:
        recorded = [fact.facts["reasons"] for fact in await rows.evidence(reader, [evidence.SYNC_SUSPENDED])]
    assert recorded[0] == ["domain_lost"]
    assert all(one != other for one, other in pairwise(recorded)), "and only what changed is recorded"
    assert len(recorded) > 2


async def test_the_next_lapse_is_told_again(acme: Ledger) -> None:
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    for number, on in enumerate((False, True, False)):
        await switch(acme, on=on, at=NOW + (number + 1) * H)
    assert [kind for kind, _ in await told(acme)] == ["sync.suspended", "sync.resumed", "sync.suspended"]


async def test_an_organization_that_never_enabled_sync_is_never_suspended(acme: Ledger) -> None:
    async with acme.write(ORG, ALONE, at=NOW) as book:
        assert not await sync.suspend(book, ["sso_off"])
        assert not await sync.resume(book)
    assert (await state(acme)).state is SyncState.OFF


async def test_unknown_pauses_and_does_not_suspend_before_24_hours(acme: Ledger) -> None:
    await sync.enable_sync(acme, ORG, actor="ada", now=NOW)
    for hours, expected in ((1, SyncState.ENABLED), (24, SyncState.ENABLED), (25, SyncState.SUSPENDED)):
        async with acme.write(ORG, ALONE, at=NOW + hours * H) as book:
            facts = {"readable": False, "reason": "kc_unreachable"}
            await evidence.record(book, evidence.PROBED, MAIN, actor="probe", facts=facts, domains=[DOMAIN])
            await sync.follow_gate(book)
        assert (await state(acme)).state is expected


async def test_evidence_cannot_change_between_the_gate_and_the_commit(acme: Ledger) -> None:
    """What the apply transaction relies on: a second writer of evidence is kept out until the commit (no gap)."""
    second = Ledger.open(acme.url, busy_seconds=0.2)
    try:
        async with acme.write(ORG, ALONE, at=NOW + H) as book:
            assert (await evidence.gates(book, now=NOW + H))[DOMAIN].state is GateState.OPEN
            with pytest.raises(Busy):
                await switch(second, on=False, at=NOW + H)
            assert (await evidence.gates(book, now=NOW + H))[DOMAIN].state is GateState.OPEN
        await switch(second, on=False, at=NOW + H)
    finally:
        await second.close()
    async with acme.write(ORG, ALONE, at=NOW + 2 * H) as book:
        found = (await evidence.gates(book, now=NOW + 2 * H))[DOMAIN]
    assert (found.state, found.reasons) == (GateState.CLOSED, ("sso_off",))


async def test_each_change_of_evidence_counts_at_the_gate(acme: Ledger) -> None:
    async with acme.read(ORG) as reader:
        before = (await evidence.gates(reader, now=NOW))[DOMAIN].version
    await look(acme, NOW + H)
    async with acme.read(ORG) as reader:
        assert (await evidence.gates(reader, now=NOW + H))[DOMAIN].version == before + 1


async def test_evidence_shows_when_it_was_tampered_with(acme: Ledger) -> None:
    async with acme.write(ORG, ALONE, at=NOW) as book:
        await book.update(rows.sso_evidence, {"facts": {"answer": "found"}}, rows.sso_evidence.c.seq == 3)
    async with acme.read(ORG) as reader:
        assert await rows.broken_evidence(reader) == 3


async def test_organizations_do_not_see_each_other(acme: Ledger) -> None:
    async with acme.read("rival") as reader:
        assert await evidence.gates(reader, now=NOW) == {}
