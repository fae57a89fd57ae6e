"""Whole runs that read only what a real Active Directory says has changed (D13)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from connector.directory.mapping import AttributeRules
from connector.directory.settings import DirectorySettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store import runs
from ledger.store.engine import Ledger
from rosterd.demo import company
from tests.parts import company_at_servers
from tests.parts.company_at_servers import Place
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

EVERYBODY = company.found(60)
GROUPS = ("design", "engineering", "site", "visual")


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture
def place() -> Iterator[Place]:
    with company_at_servers.at_samba(EVERYBODY) as running:
        yield running


def setup_of(place: Place, **values: object) -> Setup:
    table = tomllib.loads(place.table)["directories"][0] | values
    settings = TypeAdapter(DirectorySettings).validate_python(table)  # type: ignore[var-annotated]
    chosen = policy(*(mapping(name, name.title(), "CAD", group=name) for name in GROUPS))
    source = open_source(settings, folder=Path())
    return Setup(ORGANIZATION, chosen, (ConfiguredSource(source, AttributeRules.from_settings(settings)),))


async def test_d13_changes_of_a_domain_give_the_plan_of_a_whole_reading(ledger: Ledger, place: Place) -> None:
    now = datetime.now(UTC)

    async def applied() -> RunOutcome:
        setup = setup_of(place)
        try:
            return await run.apply(ledger, setup, fence=ALONE, now=now, actor="test", auto=True)
        finally:
            await setup.sources[0].source.close()

    async def would() -> str:
        setup = setup_of(place)
        try:
            return (await run.plan(ledger, setup, now=now)).digest
        finally:
            await setup.sources[0].source.close()

    await make_world(ledger, now, setup_of(place).policy, Design_CAD=30, Engineering_CAD=40, Site_CAD=20, Visual_CAD=9)
    assert (await applied()).state is RunState.APPLIED
    async with ledger.read(ORGANIZATION.id) as reader:
        cursor = await runs.cursor(reader, "corp")
    assert cursor is not None
    now += timedelta(minutes=15)
    quiet = await applied()
    assert [line.scope for line in quiet.scopes] == ["changes"], quiet.problems
    assert (quiet.state, quiet.exit_code) == (RunState.NOTHING, 0)
    off, mover = EVERYBODY.in_group("engineering")[0], EVERYBODY.in_group("site")[0]
    place.is_disabled(off)
    place.moves(mover, "site", "visual")
    for kinds in ({"DisableIdentity": 1}, {"LeaveTeam": 1, "JoinTeam": 1}):
        now += timedelta(minutes=15)
        digest = await would()
        outcome = await applied()
        assert [line.scope for line in outcome.scopes] == ["changes"], outcome.problems
        assert outcome.digest == digest
        assert {kind: outcome.counts.get(kind) for kind in kinds} == kinds


ENABLED = "(&(objectCategory=person)(objectClass=user)(!(userAccountControl:1.2.840.113556.1.4.803:=2)))"
LEAVER = {"DisableIdentity": 1, "PauseSeat": 1}


async def test_e1_a_domain_states_who_left_though_its_filter_shows_enabled_accounts_only(
    ledger: Ledger, place: Place
) -> None:
    """Whoever is disabled leaves the filter; whoever is deleted is proved to be by a whole reading too."""
    now = datetime.now(UTC)

    async def applied(*, whole: bool) -> RunOutcome:
        nonlocal now
        now += timedelta(minutes=15)
        setup = setup_of(place, people_filter=ENABLED)
        if whole:
            setup = replace(setup, whole_every=timedelta())
        try:
            return await run.apply(ledger, setup, fence=ALONE, now=now, actor="test", auto=True)
        finally:
            await setup.sources[0].source.close()

    await make_world(ledger, now, setup_of(place).policy, Design_CAD=30, Engineering_CAD=40, Site_CAD=20, Visual_CAD=9)
    assert (await applied(whole=False)).state is RunState.APPLIED
    leavers = EVERYBODY.in_group("engineering")
    for person, whole in zip(leavers[:2], (False, True), strict=True):
        place.is_disabled(person)
        outcome = await applied(whole=whole)
        assert ([line.scope for line in outcome.scopes] == ["changes"]) is not whole, outcome.problems
        assert (dict(outcome.counts), outcome.exit_code) == (LEAVER, 0)
    place.leaves(leavers[2])
    hidden = await applied(whole=True)
    assert dict(hidden.counts) == {}, "an ordinary account does not see deleted objects: absent once"
    assert isinstance(place, company_at_servers._Domain)
    place.server.allow(f"CN=Deleted Objects,{company.SUFFIX}", "(A;;LCRP;;;AU)")
    place.leaves(leavers[3])
    proved = await applied(whole=True)
    assert dict(proved.counts) == {kind: 2 * count for kind, count in LEAVER.items()}
    assert not [problem for problem in proved.problems if problem.code == "unconfirmed"]
    assert (await applied(whole=True)).exit_code == 0
