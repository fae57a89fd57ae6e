"""The same organization file over an LDIF file and over each real directory server holding the same 300 people (P1)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from connector.directory.mapping import AttributeRules
from connector.directory.scim.settings import ScimSettings
from connector.directory.settings import DirectorySettings, LdapSettings, LdifSettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunState
from ledger.store.engine import Ledger
from rosterd.demo import company
from tests.parts import company_at_servers
from tests.parts.company_at_servers import Place
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

EVERYBODY = company.found(300)
GROUPS = ("design", "engineering", "site", "visual")


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


def chosen(directory: str) -> Policy:
    """One Team per group, by name; only the directory's id differs."""
    return policy(*(mapping(name, name.title(), "CAD", group=name, directory=directory) for name in GROUPS))


def setup(settings: LdapSettings | LdifSettings | ScimSettings, folder: Path) -> Setup:
    source = open_source(settings, folder=folder)
    rules = AttributeRules.from_settings(settings)
    return Setup(ORGANIZATION, chosen(settings.id), (ConfiguredSource(source, rules),))


def ldif_settings(**values: Any) -> LdifSettings:
    return LdifSettings(id="export", file="people.ldif", people_base=company.PEOPLE_BASE, **values)


@pytest.fixture(scope="module", params=["slapd", "samba", "scim"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """Each kind of real server, with the whole company."""
    start: AbstractContextManager[Place] = getattr(company_at_servers, f"at_{request.param}")(EVERYBODY)
    with start as running:
        yield running


def live_settings(place: Place) -> Any:
    """The settings of its ``[[directories]]`` table."""
    table = tomllib.loads(place.table)["directories"][0]
    return TypeAdapter(DirectorySettings).validate_python(table)


async def test_p1_every_directory_with_the_same_people_gives_the_same_digest(
    place: Place, ledger: Ledger, now: datetime, tmp_path: Path
) -> None:
    (tmp_path / "people.ldif").write_text(EVERYBODY.to_ldif(), encoding="utf-8")
    await make_world(ledger, now, chosen("export"), Design_CAD=80, Engineering_CAD=200, Site_CAD=60, Visual_CAD=30)
    from_file = await run.plan(ledger, setup(ldif_settings(), tmp_path), now=now)
    live = setup(live_settings(place), tmp_path)
    from_server = await run.plan(ledger, live, now=now)
    assert from_file.plan.counts["Invite"] == 300
    assert not from_file.plan.unknown
    assert not from_server.plan.unknown
    assert from_server.digest == from_file.digest
    outcome = await run.apply(ledger, live, fence=ALONE, now=now, actor="test", digest=from_file.digest)
    assert outcome.state is RunState.APPLIED
    assert (await run.apply(ledger, live, fence=ALONE, now=now, actor="test", auto=True)).state is RunState.NOTHING
    await live.sources[0].source.close()


async def test_d15_a_truncated_export_removes_nobody(ledger: Ledger, now: datetime, tmp_path: Path) -> None:
    file = tmp_path / "people.ldif"
    text = company.found(40).to_ldif()
    file.write_text(text, encoding="utf-8")
    await make_world(ledger, now, chosen("export"), Design_CAD=80, Engineering_CAD=200, Site_CAD=60, Visual_CAD=30)
    prepared = setup(ldif_settings(), tmp_path)
    await run.apply(ledger, prepared, fence=ALONE, now=now, actor="test", auto=True)
    file.write_text(text[: len(text) // 2], encoding="utf-8")
    planned = await run.plan(ledger, prepared, now=now)
    assert planned.lines[0].startswith("UNKNOWN people:")
    assert planned.lines[0].endswith("Nobody leaves for absence because of it.")
    outcome = await run.apply(ledger, prepared, fence=ALONE, now=now, actor="test", auto=True)
    assert (outcome.state, outcome.exit_code, outcome.counts) == (RunState.UNKNOWN, 4, {})
