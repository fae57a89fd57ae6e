"""Whole runs over a SCIM provider of which only active users are listed (E1)."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.scim.settings import ScimSettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store.engine import Ledger
from rosterd.demo import company
from tests.parts import company_at_servers
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

EVERYBODY = company.found(60)
GROUPS = ("design", "engineering", "site", "visual")


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def test_e1_a_user_whom_the_filter_leaves_out_says_that_they_left(ledger: Ledger) -> None:
    now = datetime.now(UTC)
    chosen = policy(*(mapping(name, name.title(), "CAD", group=name) for name in GROUPS))
    with company_at_servers.at_scim(EVERYBODY) as place:
        assert isinstance(place, company_at_servers._Provider)
        place.server.behaviour.filters |= {"active"}
        table = tomllib.loads(place.table)["directories"][0]
        settings = ScimSettings.model_validate({**table, "users_filter": "active eq true"})

        async def applied() -> RunOutcome:
            nonlocal now
            now += timedelta(minutes=20)
            source = open_source(settings, folder=Path())
            setup = Setup(ORGANIZATION, chosen, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))
            return await run.apply(ledger, setup, fence=ALONE, now=now, actor="test", auto=True)

        await make_world(ledger, now, chosen, Design_CAD=30, Engineering_CAD=40, Site_CAD=20, Visual_CAD=9)
        assert (await applied()).state is RunState.APPLIED
        before = place.server.requests
        assert (await applied()).state is RunState.NOTHING
        quiet = place.server.requests - before
        off, gone = EVERYBODY.in_group("engineering")[:2]
        place.is_disabled(off)  # the group goes on listing them
        outcome = await applied()
        assert (dict(outcome.counts), outcome.exit_code) == ({"DisableIdentity": 1, "PauseSeat": 1}, 0)
        place.leaves(gone)
        assert dict((await applied()).counts) == {}, "404 proves nothing more: absent once"
        assert dict((await applied()).counts) == {"DisableIdentity": 1, "PauseSeat": 1}
        before = place.server.requests
        assert (await applied()).state is RunState.NOTHING
        assert place.server.requests - before == quiet, "nobody is missing"
