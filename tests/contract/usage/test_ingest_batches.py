"""Ingest on both databases: accepted, duplicate, quarantined or dropped, and never anything else."""

from __future__ import annotations

import asyncio
import unicodedata
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from connector.usage.formats.bodies import MAX_BYTES, BatchTooLarge
from connector.usage.ingest import IngestReport, ingest
from connector.usage.quarantine import Replayed, replay_page
from connector.usage.settings import ReportingSettings
from ledger.errors import NotFound
from ledger.store import consent, usage, usage_quarantine
from ledger.store.engine import Ledger
from ledger.store.tables import audit, people
from ledger.store.tables import usage as tables
from ledger.store.usage_quarantine import Chosen
from ledger.usage import CollectionState, UsageDay, UsageSource
from tests.parts.fences import ALONE
from tests.parts.usage_company import BASIS, NOW, ORG, PEOPLE, add_person, event, found, ndjson


async def send(ledger: Ledger, *rows: Any, now: datetime = NOW, **settings: Any) -> IngestReport:
    body = rows[0] if rows and isinstance(rows[0], bytes) else ndjson(*rows)
    report = await ingest(ledger, ORG, body, now=now, source="test", settings=ReportingSettings(**settings))
    assert (
        report.accepted + report.duplicates + report.conflicts + report.quarantined_count + sum(report.dropped.values())
        == report.rows
    )
    return report


async def staged(ledger: Ledger, *days: date) -> list[UsageDay]:
    async with ledger.read(ORG) as reader:
        return await usage.folded(reader, days or [mark.day for mark in await usage.touched(reader)])


async def test_r11_an_event_becomes_a_staged_day_without_its_time(ledger: Ledger) -> None:
    await found(ledger)
    report = await send(ledger, event(1, source="flex", tokens=3), event(2, source="flex", tokens=4))
    assert (report.accepted, report.quarantined_count) == (2, 0)
    day = UsageDay(date(2026, 3, 1), "anna", "CAD", "2026.1", UsageSource.FLEX, 7, CollectionState.OBSERVED)
    assert await staged(ledger) == [day]


async def test_the_same_batch_again_counts_nothing_twice(ledger: Ledger) -> None:
    await found(ledger)
    body = ndjson(event(1), event(2), event(1))
    first = await send(ledger, body)
    second = await send(ledger, body)
    assert (first.accepted, first.duplicates) == (2, 1)
    assert (second.accepted, second.duplicates) == (0, 3)
    async with ledger.read(ORG) as reader:
        assert [mark.events for mark in await usage.touched(reader)] == [2]


async def test_days_are_days_of_the_report_zone(ledger: Ledger) -> None:
    await found(ledger, zone="Europe/Warsaw")
    await send(ledger, event(1, occurred_at="2026-02-28T23:30:00Z"), event(2, occurred_at="2026-02-28T22:30:00Z"))
    assert [row.day for row in await staged(ledger)] == [date(2026, 2, 28), date(2026, 3, 1)]


async def test_polish_and_idn_addresses_find_their_people_in_any_case_and_form(ledger: Ledger) -> None:
    await found(ledger)
    decomposed = unicodedata.normalize("NFD", PEOPLE["łucja"])
    report = await send(
        ledger,
        event(1, mail="ŁUCJA.ŻÓŁĆ@ACME.example"),
        event(2, mail=decomposed),
        event(3, mail="Jörg@BÜCHER.example"),
        event(4, mail="jörg@xn--bcher-kva.example"),
    )
    assert (report.accepted, report.quarantined) == (4, ())
    assert [row.identity_id for row in await staged(ledger)] == ["jorg", "łucja"]


async def test_every_reason_of_a_bad_row_is_named_at_once(ledger: Ledger) -> None:
    await found(ledger)
    report = await send(
        ledger,
        event(1, occurred_at="2026-03-01T10:00:00", offering_code="CADD", mail="nobody@acme.example", colour="red"),
        event(2),
    )
    assert report.accepted == 1
    [row] = report.quarantined
    assert (row.place, row.event_id) == ("line 1", "e-1")
    assert row.reasons == (
        "a field is not known: 'colour'",
        "occurred_at has no time zone: '2026-03-01T10:00:00'; write it with Z or an offset",
        "the person is not known",
        "offering_code is not known: CADD",
    )
    async with ledger.read(ORG) as reader:
        [kept] = await usage_quarantine.page(reader, Chosen(), None, 1000)
    assert kept.event_id == "e-1"
    assert "nobody@acme.example" in kept.payload


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"occurred_at": "2026-03-02T09:06:00Z"}, "occurred_at lies in the future"),
        ({"occurred_at": "2026-01-25T23:59:59Z"}, "occurred_at is older than is accepted: 35 days"),
        ({"offering_code": "cad"}, "offering_code is not known: cad"),
        ({"mail": "stranger@acme.example"}, "the person is not known"),
        ({"mail": "anna kowalska@acme.example"}, "mail is not a mail address"),
    ],
)
async def test_what_the_ledger_does_not_accept_is_quarantined(ledger: Ledger, fields: Any, reason: str) -> None:
    await found(ledger)
    report = await send(ledger, event(1, **fields))
    assert [row.reasons for row in report.quarantined] == [(reason,)]


async def test_the_edges_of_time_are_accepted(ledger: Ledger) -> None:
    await found(ledger)
    edges = ("2026-03-02T09:05:00Z", "2026-01-26T00:00:00Z", "2026-01-26T05:30:00+05:30")
    report = await send(ledger, *(event(n, occurred_at=at) for n, at in enumerate(edges)))
    assert (report.accepted, report.quarantined) == (3, ())


async def test_a_bad_row_sent_again_is_kept_once_and_leaves_when_it_is_accepted(ledger: Ledger) -> None:
    await found(ledger)
    row = event(1, mail="new@acme.example")
    assert (await send(ledger, row)).quarantined_count == 1
    assert (await send(ledger, row)).quarantined_count == 1
    async with ledger.read(ORG) as reader:
        assert len(await usage_quarantine.page(reader, Chosen(), None, 1000)) == 1
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        await add_person(book, "new", "new@acme.example")
    assert (await send(ledger, row)).accepted == 1
    async with ledger.read(ORG) as reader:
        assert await usage_quarantine.page(reader, Chosen(), None, 1000) == []


async def test_the_same_id_with_other_content_is_a_conflict_whatever_differs(ledger: Ledger) -> None:
    await found(ledger)
    first = event(1, source="flex", tokens=3)
    others = [
        {**first, "mail": PEOPLE["ola"]},
        {**first, "occurred_at": "2026-02-28T10:00:00Z"},
        {**first, "version": "x", "offering_code": "RENDER"},
        {**first, "tokens": 3.5},
        {**first, "collection_state": "offline"},
    ]
    same = {**first, "occurred_at": "2026-03-01T23:00:00Z", "mail": PEOPLE["anna"].upper(), "tokens": "3.000"}
    report = await send(ledger, first, others[0], same)
    assert (report.accepted, report.duplicates, report.conflicts) == (1, 1, 1)
    report = await send(ledger, *others, same)
    assert (report.accepted, report.duplicates, report.conflicts) == (0, 1, 5)
    assert [row.reasons[0].partition(": ")[2] for row in report.quarantined] == [
        "mail", "occurred_at", "offering_code, version", "tokens", "collection_state"
    ]  # fmt: skip
    async with ledger.read(ORG) as reader:
        assert await usage_quarantine.sums(reader, Chosen(cause="other content")) == (
            5,
            {"event_id is known with other content": 5},
        )
        batches = await reader.all(reader.select(tables.usage_batch, "conflicts").order_by("received_at", "id"))
    assert [row.conflicts for row in batches] == [1, 5]
    assert [(row.identity_id, row.tokens) for row in await staged(ledger)] == [("anna", 3)]


async def test_a_replay_takes_what_has_become_good_and_counts_every_row(ledger: Ledger) -> None:
    await found(ledger)
    rows = [event(n, mail="new@acme.example", source="flex", tokens=0.5) for n in range(3)]
    await send(ledger, *rows, event(3, mail="never@acme.example"), event(4, offering_code="?"))
    assert (await send(ledger, b"{torn\n")).quarantined_count == 1
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        await add_person(book, "new", "new@acme.example")
    await send(ledger, rows[0])

    async def replay(now: datetime = NOW) -> Replayed:
        done, following = await replay_page(
            ledger, ORG, Chosen(), None, now=now, actor="operator:test", settings=ReportingSettings()
        )
        assert following is None
        left = done.accepted + done.duplicates + done.conflicts + done.quarantined + done.dropped
        assert done.rows == left
        return done

    assert await replay() == Replayed(5, accepted=2, quarantined=3)
    assert await replay() == Replayed(3, quarantined=3)
    assert sum(day.tokens or 0 for day in await staged(ledger)) == Decimal("1.5")
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        await consent.withdraw_basis(book, actor="admin")
    assert await replay(NOW + timedelta(minutes=1)) == Replayed(3, dropped=3)
    async with ledger.read(ORG) as reader:
        verbs = await reader.all(reader.select(audit.audit_event, "verb").order_by("seq"))
        assert await usage_quarantine.page(reader, Chosen(), None, 10) == []
    assert [row.verb for row in verbs].count("usage.replay") == 3


async def test_a_row_in_quarantine_beside_a_good_one_of_its_event_stays_as_long_as_it_is_counted(
    ledger: Ledger,
) -> None:
    await found(ledger)
    await send(ledger, event(1, mail="new@acme.example"), event(1, mail="never@acme.example"))
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        await add_person(book, "new", "new@acme.example")
    done, _ = await replay_page(
        ledger, ORG, Chosen(), None, now=NOW, actor="operator:test", settings=ReportingSettings()
    )
    assert done == Replayed(2, accepted=1, quarantined=1)
    async with ledger.read(ORG) as reader:
        assert (await usage_quarantine.sums(reader, Chosen()))[0] == 1


async def test_r13c_without_a_legal_basis_nothing_is_kept_and_all_is_counted(ledger: Ledger) -> None:
    await found(ledger, basis=None)
    report = await send(ledger, event(1), event(2, mail="stranger@acme.example"), {"broken": 1})
    assert report.dropped == {"no_legal_basis": 3}
    assert await staged(ledger) == []
    async with ledger.read(ORG) as reader:
        assert await usage_quarantine.page(reader, Chosen(), None, 1000) == []
        assert await usage.dropped_counts(reader) == {"no_legal_basis": 3}


async def test_r13c_a_basis_covers_days_from_its_effective_date_until_it_is_withdrawn(ledger: Ledger) -> None:
    await found(ledger, basis=replace(BASIS, effective_on=date(2026, 3, 1)))
    report = await send(ledger, event(1), event(2, occurred_at="2026-02-28T23:59:59Z"))
    assert (report.accepted, report.dropped) == (1, {"no_legal_basis": 1})
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        assert await consent.withdraw_basis(book, actor="admin")
    assert (await send(ledger, event(3), now=NOW + timedelta(minutes=1))).dropped == {"no_legal_basis": 1}


async def test_r13c_people_who_opted_out_are_dropped_and_counted(ledger: Ledger) -> None:
    await found(ledger)
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        assert await consent.opt_out(book, ["anna", "anna"], cause="asked", actor="admin") == 1
    later = NOW + timedelta(hours=2)
    report = await send(ledger, event(1), event(2, mail=PEOPLE["ola"]), event(3, offering_code="?"), now=later)
    assert (report.accepted, report.dropped, report.quarantined) == (1, {"opted_out": 2}, ())
    async with ledger.write(ORG, ALONE, at=later) as book:
        assert await consent.opt_in(book, ["anna"], actor="admin") == 1
    during, after = later - timedelta(hours=1), later + timedelta(minutes=1)
    report = await send(
        ledger,
        event(4, occurred_at=during.isoformat()),
        event(5, occurred_at=after.isoformat()),
        now=later + timedelta(hours=1),
    )
    assert (report.accepted, report.dropped) == (1, {"opted_out": 1})


async def test_r13c_every_change_of_basis_and_every_opt_out_is_audited(ledger: Ledger) -> None:
    await found(ledger)
    async with ledger.write(ORG, ALONE, at=NOW) as book:
        assert not await consent.record_basis(book, BASIS, actor="admin")
        changed = replace(BASIS, evidence="agreement 8/2026")
        assert await consent.record_basis(book, changed, actor="admin", reason="renegotiated")
        assert await consent.legal_basis(book) == changed
        await consent.opt_out(book, ["anna"], cause="asked", actor="admin")
        await consent.opt_in(book, ["anna", "ola"], actor="admin")
        assert await consent.withdraw_basis(book, actor="admin")
        assert not await consent.withdraw_basis(book, actor="admin")
    async with ledger.read(ORG) as reader:
        events = await reader.all(reader.select(audit.audit_event, "verb", "subject").order_by("seq"))
        history = await reader.all(reader.select(tables.legal_basis, "evidence").order_by("valid_from"))
    assert [tuple(row) for row in events] == [
        ("legal-basis.record", ORG),
        ("legal-basis.record", ORG),
        ("usage.opt-out", "anna"),
        ("usage.opt-in", "anna"),
        ("legal-basis.withdraw", ORG),
    ]
    assert [row.evidence for row in history] == ["agreement 7/2025", "agreement 8/2026"]


async def test_a_recycled_address_is_the_person_who_held_it_at_that_time(ledger: Ledger) -> None:
    await found(ledger)
    moved = datetime(2026, 2, 20, tzinfo=UTC)
    async with ledger.write(ORG, ALONE, at=moved) as book:
        table = people.identity
        statement = book.open(table, "row_id").where(table.c.id == "anna")
        await book.end(table, [row.row_id for row in await book.all(statement)])
        await add_person(book, "anna", "anna.nowak@acme.example")
        await add_person(book, "second", PEOPLE["anna"])
    report = await send(
        ledger,
        event(1, occurred_at="2026-02-19T10:00:00Z"),
        event(2, occurred_at="2026-02-21T10:00:00Z"),
        event(3, occurred_at="2026-02-21T10:00:00Z", mail="anna.nowak@acme.example"),
    )
    assert report.accepted == 3
    rows = await staged(ledger)
    assert [(row.day.day, row.identity_id) for row in rows] == [(19, "anna"), (21, "anna"), (21, "second")]


async def test_a_batch_that_is_too_large_is_refused_whole(ledger: Ledger) -> None:
    await found(ledger)
    with pytest.raises(BatchTooLarge):
        await send(ledger, b"x" * (MAX_BYTES + 1))
    with pytest.raises(BatchTooLarge):
        await send(ledger, b"{}\n" * 10_001)
    assert (await send(ledger, b"\n" * 30_000)).rows == 0


async def test_an_organization_the_ledger_does_not_know_is_refused(ledger: Ledger) -> None:
    with pytest.raises(NotFound, match="acme"):
        await send(ledger, event(1))


async def test_two_senders_at_once_lose_nothing(ledger: Ledger) -> None:
    await found(ledger)
    batches = [ndjson(*(event(f"{n}-{m}") for m in range(20)), event("shared")) for n in range(5)]
    reports = await asyncio.gather(*(send(ledger, batch) for batch in batches))
    assert sum(report.accepted for report in reports) == 101
    assert sum(report.duplicates for report in reports) == 4


async def test_a_full_batch_of_10000_events_is_taken(ledger: Ledger) -> None:
    await found(ledger)
    report = await send(ledger, *(event(n, mail=PEOPLE["ola"]) for n in range(10_000)))
    assert report.accepted == 10_000
