"""An access rule that hides what disabled somebody lets nobody in again (E1): on a real server, read and followed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
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
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

OFF = {"PauseSeat": 1, "DisableIdentity": 1}
LOCKED = "pwdAccountLockedTime: 000001010000Z"
KINDS = {
    "lock": ("pwdAccountLockedTime", LOCKED, "", {}),
    "value": ("employeeType", "employeeType: left", "employeeType: staff",
              {"disabled": {"attribute": "employeeType", "values": ["left"]}}),
}  # fmt: skip
"""Attribute, what a disabled account shows of it, what an enabled one does, and the settings."""


def ldif(line: str, *off: str, enabled: str = "") -> str:
    entries = [f"dn: {SUFFIX}\nobjectClass: domain\ndc: {SUFFIX.partition(',')[0].removeprefix('dc=')}\n"]
    entries += [f"dn: ou={unit},{SUFFIX}\nobjectClass: organizationalUnit\nou: {unit}\n" for unit in ("People", "G")]
    names = ("anna", "bo", "cy")
    for number, uid in enumerate(names, 1):
        said = line if uid in off else enabled
        entries.append(
            f"dn: uid={uid},ou=People,{SUFFIX}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: Test\n"
            f"mail: {uid}@acme.example\nentryUUID: 00000000-0000-4000-8000-{number:012}\n"
            + (f"{said}\n" if said else "")
        )
    members = "".join(f"member: uid={uid},ou=People,{SUFFIX}\n" for uid in names)
    entries.append(f"dn: cn=design,ou=G,{SUFFIX}\nobjectClass: groupOfNames\ncn: design\n{members}")
    return "\n".join(entries)


@dataclass
class Company:
    """Three people of a server that can be started with other access rules and other content."""

    world: World
    folder: Path
    settings: dict[str, object]

    async def reads(self, server: slapd.Slapd, **later: float) -> RunOutcome:
        now = self.world.later(**(later or {"hours": 1}))
        async with self.setup(server) as setup:
            return await run.apply(self.world.ledger, setup, fence=ALONE, now=now, actor="test", auto=True)

    async def approves(self, server: slapd.Slapd, digest: str) -> RunOutcome:
        now = self.world.later(minutes=1)
        async with self.setup(server) as setup:
            return await run.approve(
                self.world.ledger, setup, digest, reason="back", actor="boss", fence=ALONE, now=now
            )

    @asynccontextmanager
    async def setup(self, server: slapd.Slapd) -> AsyncIterator[Setup]:
        settings = LdapSettings.model_validate({
            "id": "corp", "servers": [server.url], "plaintext": True, "bind": "anonymous", "attempts": 1,
            "people_base": f"ou=People,{SUFFIX}", "groups_base": f"ou=G,{SUFFIX}", **self.settings,
        })  # fmt: skip
        source = open_source(settings, folder=self.folder)
        try:
            rules = AttributeRules.from_settings(settings)
            yield Setup(ORGANIZATION, self.world.policy, (ConfiguredSource(source, rules),))
        finally:
            await source.close()

    async def states(self) -> dict[str, str]:
        async with self.world.ledger.read(ORGANIZATION.id) as reader:
            return {row[3].partition("@")[0]: row[7] for row in await people.open_identities(reader)}


@contextmanager
def showing(content: str, *hidden: str) -> Iterator[slapd.Slapd]:
    """A server that hides: access rules before "everybody reads"."""
    with slapd.running(content, access=hidden) as server:
        yield server


@pytest.fixture
async def world(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, now: datetime) -> World:
    stand_in_gate(monkeypatch)
    chosen = policy(mapping("design", "Design", "CAD"))
    return await make_world(ledger, now, chosen, Design_CAD=9)


@pytest.mark.parametrize("of", ["bo", "all"])
@pytest.mark.parametrize("kind", KINDS)
async def test_e1_hiding_what_disabled_somebody_lets_nobody_in(
    world: World, tmp_path: Path, kind: str, of: str
) -> None:
    attribute, line, enabled, settings = KINDS[kind]
    company = Company(world, tmp_path, dict(settings))
    rule = f"attrs={attribute} by * none"
    hidden: Sequence[str] = [f'dn.exact="uid=bo,ou=People,{SUFFIX}" {rule}' if of == "bo" else rule]
    with showing(ldif(line, enabled=enabled)) as server:
        await company.reads(server)
    with showing(ldif(line, "bo", "cy", enabled=enabled)) as server:
        assert (await company.reads(server)).counts == {name: 2 * count for name, count in OFF.items()}
    off = {"anna": "active", "bo": "disabled", "cy": "disabled"}
    if kind == "lock" and of == "bo":
        return  # hidden of one alone: cannot be told from an unlocked account (critiques.md 24)
    with showing(ldif(line, "bo", "cy", enabled=enabled), *hidden) as server:
        for _ in range(2):
            outcome = await company.reads(server)
            assert outcome.counts == {}
            [said] = [problem for problem in outcome.problems if problem.code == "frozen"]
            assert attribute.lower() in said.what
            assert set(said.subjects) == ({"bo@acme.example"} if of == "bo" else {"bo@acme.example", "cy@acme.example"})
            assert outcome.held_counts == ({} if of == "bo" else {"Reinstate": 4})
        assert await company.states() == off
        assert (await company.reads(server, days=8)).counts["ReleaseSeat"] >= 1, "the stages go on"
    with showing(ldif(line, "cy", enabled=enabled)) as server:
        assert (await company.reads(server)).counts["Reinstate"] >= 1
    assert await company.states() == {**off, "bo": "active"}


async def test_e1_a_sign_that_was_taken_away_while_followed_lets_in_again(world: World, tmp_path: Path) -> None:
    """Whether others still show it takes a whole reading, which follows by itself. Of the last one a person decides."""
    settings = {"disabled": {"attribute": "employeeType", "values": ["left"]}}
    company = Company(world, tmp_path, dict(settings))
    change = "dn: uid={},ou=People," + SUFFIX + "\nchangetype: modify\n{}: employeeType\n"
    with slapd.running(ldif(""), extra=(*slapd.SYNCPROV, "syncprov-sessionlog 100"), schema=True) as server:
        await company.reads(server, minutes=5)
        for who in ("bo", "cy"):
            server.modify(change.format(who, "add") + "employeeType: left\n")
            assert (await company.reads(server, minutes=5)).counts == OFF
        server.modify(change.format("bo", "delete"))
        assert (await company.reads(server, minutes=5)).counts == {"Reinstate": 2}
        server.modify(change.format("cy", "delete"))
        last = await company.reads(server, minutes=5)
        assert (last.counts, last.held_counts, last.exit_code) == ({}, {"Reinstate": 2}, 3)
        again = await company.reads(server, minutes=5)
        assert again.held == last.held
        assert any("if the account was enabled again, approve" in line for line in again.lines)
        done = await company.approves(server, again.held)
        assert done.counts == {"Reinstate": 2}
    assert set((await company.states()).values()) == {"active"}
