"""What the operator's figures read of the ledger: ids only, and no held change is read twice."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import generate_latest

from connector.reconcile.plan.settings import MappingSettings
from ledger.store import runs
from ledger.store.engine import Ledger
from ledger.store.runs import HeldSet
from ledger.store.tables import base
from rosterd.health import Metrics
from rosterd.service import Service
from tests.parts.fences import ALONE

DN = "cn=Design,ou=groups,dc=acme,dc=example"
MAPPINGS = (
    MappingSettings(id="design", directory="corp", group=DN, team="Design", exclude_groups=("cn=out",)),
    MappingSettings(id="reports", directory="corp", group=DN, team="Reports"),
)


async def fill(ledger: Ledger, now: datetime) -> None:
    for organization, count in (("acme", 3), ("zeta", 1)):
        async with ledger.write(organization, ALONE, at=now) as book:
            for state in ("open", "superseded"):
                changes = [{"kind": "leave", "number": number} for number in range(count)]
                held = HeldSet(f"{state}{count}", "run", state, "why", changes, now, now + timedelta(days=7))
                await runs.put_held(book, held)
            scopes = (f"people:{DN}", f"group:{DN}", "group:cn=out", "group:cn=Gone,dc=acme", "drift")
            await runs.put_scopes(book, [("corp", scope, scope != "group:cn=out", "", 5) for scope in scopes])


async def shown(metrics: Metrics, ledger: Ledger) -> str:
    customers = {name: SimpleNamespace(settings=SimpleNamespace(mappings=MAPPINGS)) for name in ("acme", "zeta")}
    service: Any = SimpleNamespace(ledger=ledger, settings=SimpleNamespace(customers=customers))
    await metrics.refresh(cast(Service, service))
    return generate_latest(metrics.registry).decode()


async def test_labels_are_ids_and_held_changes_are_counted_once(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(ledger, now)
    metrics = Metrics()
    monkeypatch.setattr(base, "_decode", None)  # no change is decoded in this process
    text = await shown(metrics, ledger)
    assert 'rosterd_held_changes{organization="acme"} 3.0' in text
    assert 'rosterd_held_changes{organization="zeta"} 1.0' in text
    named = "rosterd_last_complete_reading_timestamp_seconds{"
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(named) and "acme" in line)
    assert {name.partition('scope="')[2].partition('"')[0]: float(at) > 0 for name, at in lines.items()} == {
        "people": True,
        "mapping:design": False,  # one of its groups was never read completely
        "mapping:reports": True,
    }
    assert "dc=" not in text
    assert 'rosterd_reading_drift_entries{organization="acme",source="corp"} 5.0' in text


async def test_a_held_set_is_counted_again_only_under_another_digest(ledger: Ledger, now: datetime) -> None:
    await fill(ledger, now)
    async with ledger.read("acme") as reader:
        assert await runs.held_counts(reader, {}) == {"open3": 3}
        assert await runs.held_counts(reader, {"open3": 7, "other": 1}) == {"open3": 7}
