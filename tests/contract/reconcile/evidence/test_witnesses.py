"""An older copy that was put back, a failover that lags, an older export: nobody is absent by it, and every run says so
(E2). Real servers; every run is twenty minutes after the one before."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.settings import AnyDirectory, LdapSettings, LdifSettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome, RunState
from ledger.store import people
from ledger.store.engine import Ledger
from tests.parts import company, slapd
from tests.parts.directories import ORGANIZATION, make_world, mapping, open_gate, policy, stand_in_gate
from tests.parts.fences import ALONE
from tests.parts.reconciled_directory import nothing_happened

FIRM = company.firm(12)
ZOE = f"uid=zoe,{company.PEOPLE}"
NEW = (
    f"dn: {ZOE}\nchangetype: add\nobjectClass: inetOrgPerson\nuid: zoe\ncn: Zoe\nsn: Nowak\nmail: zoe@firma.example\n\n"
    f"dn: {company.group_dn('design')}\nchangetype: modify\nadd: member\nmember: {ZOE}\n"
)
GONE = (
    f"dn: {company.group_dn('design')}\nchangetype: modify\ndelete: member\nmember: {ZOE}\n\n"
    f"dn: {ZOE}\nchangetype: delete\n"
)
WRITTEN = f"dn: {company.PEOPLE}\nchangetype: modify\nreplace: description\ndescription: something else\n"
RULES = policy(mapping("design", "Design"))


@pytest.fixture(autouse=True)
def _ground(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)
    monkeypatch.setenv("READER_PASSWORD", company.PASSWORD)


@dataclass
class Office:
    """An organization over one directory."""

    ledger: Ledger
    settings: AnyDirectory
    folder: Path = Path()
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def run(self, **later: float) -> RunOutcome:
        """What the schedule does, twenty minutes later unless told otherwise."""
        self.now += timedelta(**(later or {"minutes": 20}))
        source = open_source(self.settings, folder=self.folder)
        try:
            rules = AttributeRules.from_settings(self.settings)
            setup = Setup(ORGANIZATION, RULES, (ConfiguredSource(source, rules),))
            return await run.apply(self.ledger, setup, fence=ALONE, now=self.now, actor="test", auto=True)
        finally:
            await source.close()

    async def zoe(self) -> str:
        """The state of who came last."""
        async with self.ledger.read(ORGANIZATION.id) as reader:
            return next(row[7] for row in await people.open_identities(reader) if row[3] == "zoe@firma.example")

    async def leaves(self) -> None:
        """Zoe is gone from a directory that is believed: two readings and she is off-boarded."""
        noted, confirmed = await self.run(), await self.run()
        assert (noted.state, noted.exit_code, noted.counts) == (RunState.NOTHING, 0, {})
        assert (confirmed.state, confirmed.counts) == (RunState.APPLIED, {"DisableIdentity": 1})
        assert await self.zoe() == "absent"


async def opened(ledger: Ledger, settings: AnyDirectory, folder: Path = Path()) -> Office:
    """After the first run."""
    office = Office(ledger, settings, folder)
    await make_world(ledger, office.now, RULES)
    await open_gate(ledger, office.now, "firma.example")
    assert (await office.run()).state is RunState.APPLIED
    return office


def reads(*servers: slapd.Slapd, **values: Any) -> LdapSettings:
    settings: dict[str, Any] = {
        "id": "corp", "servers": [server.url for server in servers], "plaintext": True, "bind_dn": company.READER,
        "bind_password": "env:READER_PASSWORD", "people_base": company.PEOPLE, "groups_base": company.GROUPS,
        "attempts": 1, "retry_wait": "0", "page_timeout": "10s",
    }  # fmt: skip
    return LdapSettings.model_validate({**settings, **values})


@pytest.fixture
def server() -> Iterator[slapd.Slapd]:
    with slapd.running(FIRM.ldif(), schema=True, extra=slapd.SYNCPROV) as running:
        yield running


@pytest.fixture
def replica() -> Iterator[slapd.Slapd]:
    """Another server; a test says what it holds."""
    with slapd.running(FIRM.ldif(), schema=True, extra=slapd.SYNCPROV) as running:
        yield running


def said(outcomes: list[RunOutcome], words: str) -> bool:
    """Whether each run says it first, and once."""
    return all(
        item.lines[0].startswith("UNKNOWN people:")
        and "Nobody leaves for absence because of it." in item.lines[0]
        and "\n".join(item.lines).count(words) == 1
        for item in outcomes
    )


async def test_e2_an_older_copy_that_was_put_back_takes_nobody(ledger: Ledger, server: slapd.Slapd) -> None:
    office = await opened(ledger, reads(server))
    older = server.copied()
    server.modify(NEW)
    joined = await office.run()
    assert (joined.counts, [line.scope for line in joined.scopes]) == ({"Invite": 1, "JoinTeam": 1}, ["changes"])
    newest = server.copied()
    server.reload(older)
    outcomes = [await office.run() for _ in range(3)]
    assert nothing_happened(outcomes)
    assert said(outcomes, f"{server.url} is at an older state than when people were last read: contextCSN of ou=")
    server.reload(newest)
    assert (await office.run()).exit_code == 0
    server.modify(GONE)
    await office.leaves()


async def test_e2_an_older_copy_that_was_written_to_is_believed_after_seven_days(
    ledger: Ledger, server: slapd.Slapd
) -> None:
    office = await opened(ledger, reads(server))
    yesterday = f"CSN: {datetime.now(UTC) - timedelta(days=1):%Y%m%d%H%M%S}"
    older = re.sub(r"CSN: \d{14}", yesterday, server.copied())
    server.modify(NEW)
    await office.run()
    server.reload(older)
    outcomes = [await office.run()]
    server.modify(WRITTEN)
    outcomes += [await office.run(), await office.run()]
    assert nothing_happened(outcomes)
    assert said(outcomes[1:], f"{server.url} was behind and was written to since")
    assert nothing_happened([await office.run(days=6)])
    await office.run(hours=23)
    await office.leaves()


async def test_e2_a_failover_that_lags_takes_nobody_and_is_believed_when_it_has_caught_up(
    ledger: Ledger, server: slapd.Slapd, replica: slapd.Slapd
) -> None:
    office = await opened(ledger, reads(server, replica))
    replica.reload(server.copied())
    server.modify(NEW)
    assert (await office.run()).counts == {"Invite": 1, "JoinTeam": 1}
    server.modify(GONE)
    assert (await office.run()).exit_code == 0, "absent once, by the first server"
    newest = server.copied()
    server.stop()
    outcomes = [await office.run(), await office.run()]
    assert nothing_happened(outcomes)
    assert said(outcomes, f"{replica.url} lags behind {server.url}, where people were last read")
    replica.reload(newest)
    await office.leaves()


async def test_e2_a_failover_that_says_nothing_of_itself_is_no_witness_until_the_organization_file_names_it_alone(
    ledger: Ledger, server: slapd.Slapd
) -> None:
    with slapd.running(FIRM.ldif(), schema=True) as silent:
        office = await opened(ledger, reads(server, silent))
        server.modify(NEW)
        await office.run()
        server.stop()
        outcomes = [await office.run(), await office.run()]
        assert nothing_happened(outcomes)
        assert said(outcomes, f"{silent.url} cannot be compared with {server.url}, where people were last read")
        silent.modify(NEW.replace("zoe", "yan").replace("Zoe", "Yan").partition("\n\n")[0])
        silent.modify(NEW.replace("zoe", "yan").partition("\n\n")[2])
        assert (await office.run()).counts == {"Invite": 1, "JoinTeam": 1}, "who is seen is added all the same"
        office.settings = reads(silent)
        await office.leaves()


async def test_e2_whom_a_doubted_reading_shows_enabled_is_not_reinstated_and_whom_it_states_disabled_leaves(
    ledger: Ledger, server: slapd.Slapd, replica: slapd.Slapd
) -> None:
    flag = {"disabled": {"attribute": "employeeType", "values": ["left"]}}
    office = await opened(ledger, reads(server, replica, **flag))
    server.modify(NEW)
    await office.run()
    replica.reload(server.copied())
    left = f"dn: {ZOE}\nchangetype: modify\nadd: employeeType\nemployeeType: left\n"
    server.modify(left)
    assert (await office.run()).counts == {"DisableIdentity": 1}
    server.stop()
    outcomes = [await office.run(), await office.run()]
    assert nothing_happened(outcomes)
    assert await office.zoe() == "disabled"
    replica.modify(left.replace(ZOE, FIRM.people[2].dn))
    assert (await office.run()).counts == {"DisableIdentity": 1}, "what an entry states counts at once"


def export(*people_: company.Human, time: str = "") -> str:
    """The company with these people too, and when it was exported."""
    firm = company.Firm((*FIRM.people, *people_), {"design": tuple(human.dn for human in (*FIRM.people, *people_))})
    return (f"# exported: {time}\n" if time else "") + firm.ldif()


LATE = company.Human("zoe", ZOE, "Zoe", "Nowak", "zoe@firma.example", "77")


@pytest.mark.parametrize("declared", [True, False])
async def test_e2_an_older_export_under_the_same_name_takes_nobody_where_it_declares_its_time(
    ledger: Ledger, tmp_path: Path, declared: bool
) -> None:
    settings = {"id": "corp", "file": "firm.ldif", "people_base": company.PEOPLE, "groups_base": company.GROUPS}
    times = ["2026-03-01T10:00:00Z", "2026-03-02T09:00:00+01:00", "2026-03-02T08:00:01Z"] if declared else [""] * 3
    (tmp_path / "firm.ldif").write_text(export(LATE, time=times[1]), encoding="utf-8")
    office = await opened(ledger, LdifSettings.model_validate(settings), tmp_path)
    (tmp_path / "firm.ldif").write_text(export(time=times[0]), encoding="utf-8")
    if declared:
        outcomes = [await office.run(), await office.run()]
        assert nothing_happened(outcomes)
        assert said(outcomes, "than when people were last read: export time is 2026-03-01T10")
        (tmp_path / "firm.ldif").write_text(export(), encoding="utf-8")
        assert said([await office.run()], "firm.ldif: it does not say how new it is (export time) any more")
        (tmp_path / "firm.ldif").write_text(export(time=times[2]), encoding="utf-8")
    await office.leaves()


async def test_e2_an_older_copy_of_a_database_as_a_file_takes_nobody(
    ledger: Ledger, server: slapd.Slapd, tmp_path: Path
) -> None:
    settings = {"id": "corp", "file": "copy.ldif", "people_base": company.PEOPLE, "groups_base": company.GROUPS}
    older = server.copied()
    server.modify(NEW)
    (tmp_path / "copy.ldif").write_text(server.copied(), encoding="utf-8")
    office = await opened(ledger, LdifSettings.model_validate(settings), tmp_path)
    (tmp_path / "copy.ldif").write_text(older, encoding="utf-8")
    outcomes = [await office.run(), await office.run()]
    assert nothing_happened(outcomes)
    assert said(outcomes, f"than when people were last read: contextCSN of {company.SUFFIX}")
    server.modify(GONE)
    (tmp_path / "copy.ldif").write_text(server.copied(), encoding="utf-8")
    await office.leaves()
