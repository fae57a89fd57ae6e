"""An attribute filter read from a real server: an access rule that hides it is not a person who left (D3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from connector.directory.mapping import AttributeRules
from connector.directory.settings import LdapSettings
from connector.directory.sources import open_source
from connector.reconcile import run
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.show.outcome import RunOutcome
from ledger.store import people
from ledger.store.engine import Ledger
from tests.parts import slapd
from tests.parts.company import SUFFIX
from tests.parts.directories import ORGANIZATION, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

DEPARTMENTS = {"anna": "Design", "bo": "design", "cy": "DESIGN", "dan": "Sales"}


def ldif(**departments: str) -> str:
    entries = [f"dn: {SUFFIX}\nobjectClass: domain\ndc: {SUFFIX.partition(',')[0].removeprefix('dc=')}\n"]
    entries.append(f"dn: ou=People,{SUFFIX}\nobjectClass: organizationalUnit\nou: People\n")
    entries += [
        f"dn: uid={uid},ou=People,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: Test\n"
        f"mail: {uid}@acme.example\ndepartmentNumber: {department}\n"
        f"entryUUID: 00000000-0000-4000-8000-{number:012}\n"
        for number, (uid, department) in enumerate(departments.items(), 1)
    ]
    return "\n".join(entries)


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture(scope="module")
def whole() -> Iterator[slapd.Slapd]:
    """A server that shows everything."""
    with slapd.running(ldif(**DEPARTMENTS)) as server:
        yield server


@pytest.fixture(scope="module")
def hiding() -> Iterator[slapd.Slapd]:
    """The same people; nobody may read the department of one, and another has moved to Sales."""
    rule = f'dn.exact="uid=bo,ou=People,{SUFFIX}" attrs=departmentNumber by * none'
    with slapd.running(ldif(**{**DEPARTMENTS, "cy": "Sales"}), access=[rule]) as server:
        yield server


class Company:
    """An organization whose one mapping is by department."""

    def __init__(self, ledger: Ledger, folder: Path) -> None:
        self.ledger = ledger
        self.folder = folder
        self.policy = policy(mapping("design", "Design", "CAD", where={"department": ["Design"]}))

    async def read(self, server: slapd.Slapd, now: datetime) -> RunOutcome:
        settings = LdapSettings.model_validate(
            {
                "id": "corp", "servers": [server.url], "plaintext": True, "bind": "anonymous", "attempts": 1,
                "people_base": f"ou=People,{SUFFIX}", "attributes": {"department": ["departmentNumber"]},
            }
        )  # fmt: skip
        source = open_source(settings, folder=self.folder)
        try:
            configured = ConfiguredSource(source, AttributeRules.from_settings(settings))
            setup = Setup(ORGANIZATION, self.policy, (configured,))
            return await run.apply(self.ledger, setup, fence=ALONE, now=now, actor="test", auto=True)
        finally:
            await source.close()

    async def members(self) -> list[str]:
        async with self.ledger.read(ORGANIZATION.id) as reader:
            who = {row[1]: row[3].partition("@")[0] for row in await people.open_identities(reader)}
            return sorted(who[row[1]] for row in await people.open_memberships(reader))


async def test_d3_an_access_rule_that_hides_an_attribute_takes_nothing_on_one_reading(
    ledger: Ledger, now: datetime, tmp_path: Path, whole: slapd.Slapd, hiding: slapd.Slapd
) -> None:
    company = Company(ledger, tmp_path)
    await make_world(ledger, now, company.policy, Design_CAD=5)
    await company.read(whole, now)
    assert await company.members() == ["anna", "bo", "cy"]
    first = await company.read(hiding, now + timedelta(hours=1))
    assert await company.members() == ["anna", "bo"], "cy is shown in another department, bo in none"
    assert any(
        "bo@acme.example" in who for item in first.problems if item.code == "unconfirmed" for who in item.subjects
    )
    assert (await company.read(whole, now + timedelta(hours=2))).exit_code == 0
    assert await company.members() == ["anna", "bo", "cy"]
    await company.read(hiding, now + timedelta(hours=3))
    assert await company.members() == ["anna", "bo"], "an earlier note was lifted when the value was shown again"
    await company.read(hiding, now + timedelta(hours=3, minutes=15))
    assert await company.members() == ["anna"], "hidden twice: what stays unprovable, inside the limits"
