"""Folding the same events in any order, any batches, any number of times gives the same days (R11)."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from datetime import date
from decimal import Decimal
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connector.usage.ingest import ingest
from ledger.store import usage
from ledger.store.engine import Ledger
from ledger.usage import CollectionState, UsageDay, UsageEvent, UsageSource, fold, with_days
from tests.parts.usage_company import NOW, ORG, PEOPLE, found, ndjson

TOKENS = st.integers(0, 10**15).map(lambda millionths: Decimal(millionths).scaleb(-6)) | st.integers(0, 10**9).map(
    Decimal
)
DAYS = [date(2026, 2, 27), date(2026, 2, 28), date(2026, 3, 1)]


@st.composite
def distinct_events(draw: st.DrawFn) -> list[UsageEvent]:
    """Events whose ids differ."""
    events = []
    for number in range(draw(st.integers(0, 12))):
        source = draw(st.sampled_from(UsageSource))
        tokens = draw(st.none() | TOKENS) if source is UsageSource.FLEX else None
        events.append(
            UsageEvent(
                f"e{number}",
                draw(st.sampled_from(DAYS)),
                draw(st.sampled_from(sorted(PEOPLE))),
                draw(st.sampled_from(["CAD", "RENDER"])),
                draw(st.sampled_from(["", "2026.1", "żółć"])),
                source,
                tokens,
                draw(st.sampled_from(CollectionState)),
            )
        )
    return events


def sent(event: UsageEvent) -> dict[str, object]:
    """The event as a product sends it."""
    return {
        "event_id": event.event_id,
        "occurred_at": f"{event.day}T12:00:00Z",
        "mail": PEOPLE[event.identity_id],
        "offering_code": event.offering_code,
        "version": event.version,
        "source": event.source,
        "tokens": None if event.tokens is None else str(event.tokens),
        "collection_state": event.collection_state,
    }


@given(distinct_events(), st.data())
def test_fold_ignores_order_and_repetition(events: list[UsageEvent], data: st.DataObject) -> None:
    again = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events)) if events else st.just([]))))
    assert fold(again) == fold(events)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(distinct_events(), st.data())
def test_the_store_folds_any_batching_of_the_same_events_alike(events: list[UsageEvent], data: st.DataObject) -> None:
    repeated = events + (data.draw(st.lists(st.sampled_from(events), max_size=8)) if events else [])
    order = data.draw(st.permutations(repeated))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    edges = [0, *cuts, len(order)]
    batches = [order[start:end] for start, end in itertools.pairwise(edges)]
    assert asyncio.run(_folded(batches)) == list(fold(events))


async def _folded(batches: list[list[UsageEvent]]) -> list[UsageDay]:
    folder = Path(tempfile.mkdtemp())
    try:
        ledger = Ledger.open(f"sqlite:///{folder}")
        await ledger.migrate()
        await found(ledger)
        for batch in batches:
            await ingest(ledger, ORG, ndjson(*map(sent, batch)), now=NOW, source="t")
        async with ledger.read(ORG) as reader:
            result = await usage.folded(reader, DAYS)
        await ledger.close()
        return result
    finally:
        shutil.rmtree(folder)


@given(distinct_events(), st.sets(st.sampled_from(DAYS)))
def test_activity_set_day_by_day_equals_activity_set_at_once(events: list[UsageEvent], some: set[date]) -> None:
    rows = fold(events)
    at_once = with_days({}, DAYS, rows)
    stale = with_days({}, DAYS, [UsageDay(DAYS[0], "ola", "CAD", "", UsageSource.SUS, None, CollectionState.OBSERVED)])
    steps = with_days(stale, some, [row for row in rows if row.day in some])
    rest = set(DAYS) - some
    assert with_days(steps, rest, [row for row in rows if row.day in rest]) == at_once
