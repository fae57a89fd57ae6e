"""What can happen to somebody in a real Active Directory, read by each way there is (E1–E7)."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ldap3
import pytest

from connector.directory.ldap.active_directory import dirsync
from connector.directory.ldap.session.connection import Failed
from connector.directory.mapping import AttributeRules
from connector.directory.settings import ActiveDirectorySettings
from connector.directory.sources import open_source
from ledger.store import runs
from ledger.store.engine import Ledger
from tests.parts import company, samba
from tests.parts.directories import ORGANIZATION, stand_in_gate
from tests.parts.playing import PEOPLE, Play, play
from tests.parts.situations import LEFT, NOTHING, OFF, SITUATIONS, Situation

AUDITOR = f"cn=auditor,{company.SUFFIX}"
"""Sees deleted objects, as an ordinary account does not."""
READERS = {
    "DirSync": (AUDITOR, timedelta(hours=24)),
    "uSNChanged": (AUDITOR, timedelta(hours=24)),
    "whole": (company.READER, timedelta()),
}
"""How a domain is read: as which account, and how often whole."""
STAFF_ONLY = "(&(objectCategory=person)(objectClass=user)(!(title=guest)))"
HIDDEN, SHOWN = "(D;;RPLCLORC;;;AU)", "(A;;RPLCLORC;;;AU)"


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture(scope="module")
def controller() -> Iterator[samba.DomainController]:
    readers = [
        [*samba.user(name, company.SUFFIX), ("userAccountControl", "512"), samba.password(company.PASSWORD)]
        for name in ("reader", "auditor")
    ]
    with samba.running(readers) as running:
        with running.administrator() as connection:
            connection.search(AUDITOR, "(objectClass=*)", "BASE", attributes=["objectSid"])
            (sid,) = connection.response[0]["raw_attributes"]["objectSid"]
            connection.add(f"CN=old,{company.SUFFIX}", ["container"])
            connection.delete(f"CN=old,{company.SUFFIX}")  # only seeing one proves that deleted objects are shown
        running.allow(f"CN=Deleted Objects,{company.SUFFIX}", f"(A;;LCRP;;;{_text(sid)})")
        yield running


def _text(sid: bytes) -> str:
    parts = (int.from_bytes(sid[at : at + 4], "little") for at in range(8, len(sid), 4))
    return "-".join(["S-1-5", *map(str, parts)])


@dataclass
class Domain:
    """A unit of the domain, changed as its administrators would. Values that name an entry follow it by themselves."""

    server: samba.DomainController
    connection: Any
    base: str = field(default_factory=lambda: f"OU=s{uuid.uuid4().hex[:8]},{company.SUFFIX}")
    dns: dict[str, str] = field(default_factory=dict)
    can = frozenset(
        {
            "renamed, group told", "moved out, group told", "left the filter", "hidden", "hidden and shown",
            "deleted, group told", "disabled, then deleted", "disabled with a spoiled mail", "inner group hidden",
            "inner group renamed, outer told", "inner group deleted, outer told", "taken out of the inner group",
            "taken out of one of two", "one path hidden, the other ended", "taken out of the group",
            "alias that sorts first", "twin with the address", "made anew under the address",
        }
    )  # fmt: skip

    def found(self) -> None:
        for unit in (self.base, *(f"OU={name},{self.base}" for name in ("People", "Groups", "Away"))):
            self.connection.add(unit, ["organizationalUnit"])
        for name in PEOPLE:
            self.person(name)
        self.group("second", "ed")
        self.group("inner", "di", "ed")
        self.group("design", "anna", "bo", "cy", "inner", "second")

    def person(self, name: str, mail: str = "") -> None:
        self.dns[name] = f"CN={name},OU=People,{self.base}"
        values = {
            "sAMAccountName": f"{name}{uuid.uuid4().hex[:8]}",
            "userAccountControl": "544",
            "otherMailbox": f"{mail or name}@acme.example",
            "displayName": name,
        }
        self.connection.add(self.dns[name], ["user"], values)

    def group(self, name: str, *members: str) -> None:
        self.dns[name] = f"CN={name},OU=Groups,{self.base}"
        values = {"sAMAccountName": f"{name}{uuid.uuid4().hex[:8]}", "member": [self.dns[one] for one in members]}
        self.connection.add(self.dns[name], ["group"], values)

    def change(self, name: str, **values: str | list[str]) -> None:
        changes = {kind: [(ldap3.MODIFY_REPLACE, [value] if isinstance(value, str) else value)]
                   for kind, value in values.items()}  # fmt: skip
        self.connection.modify(self.dns[name], changes)

    def moved(self, name: str, first: str = "", place: str = "") -> None:
        old, _, rest = self.dns[name].partition(",")
        first, place = first or old, place or rest
        superior = {"new_superior": place} if place != rest else {}
        self.connection.modify_dn(self.dns[name], first, **superior)
        self.dns[name] = f"{first},{place}"

    def guid(self, name: str) -> bytes:
        self.connection.search(self.dns[name], "(objectClass=*)", "BASE", attributes=["objectGUID"])
        return bytes(self.connection.response[0]["raw_attributes"]["objectGUID"][0])

    def undelete(self, name: str, guid: bytes) -> None:
        """As an administrator does it: the tombstone gets its place back (MS-ADTS 3.1.1.5.3.7.2)."""
        changes = {"isDeleted": [(ldap3.MODIFY_DELETE, [])],
                   "distinguishedName": [(ldap3.MODIFY_REPLACE, [self.dns[name]])]}  # fmt: skip
        controls = [("1.2.840.113556.1.4.417", True, None)]  # deleted objects are shown
        value = "".join(f"\\{byte:02x}" for byte in guid)
        self.connection.search(company.SUFFIX, f"(objectGUID={value})", attributes=["cn"], controls=controls)
        self.connection.modify(self.connection.response[0]["dn"], changes, controls=controls)

    async def rename(self, name: str, *, told: bool) -> None:
        self.moved(name, f"CN={name} married")
        self.change(name, sAMAccountName=f"{name}{uuid.uuid4().hex[:8]}")

    async def move_out(self, name: str, *, told: bool) -> None:
        self.moved(name, place=f"OU=Away,{self.base}")

    async def leave_filter(self, name: str) -> None:
        self.change(name, title="guest")

    async def hide(self, *names: str) -> None:
        for name in names:
            self.server.allow(self.dns[name], HIDDEN)

    async def show(self, *names: str) -> None:
        for name in names:
            self.server.allow(self.dns[name], SHOWN)

    async def delete(self, name: str, *, told: bool) -> None:
        self.connection.delete(self.dns[name])

    async def disable(self, name: str) -> None:
        self.change(name, userAccountControl="546")

    async def take(self, name: str, group: str) -> None:
        self.connection.modify(self.dns[group], {"member": [(ldap3.MODIFY_DELETE, [self.dns[name]])]})

    async def rename_group(self, name: str, *, told: bool) -> None:
        self.moved(name, f"CN={name} of old")

    async def spoil_mail(self, name: str) -> None:
        self.change(name, otherMailbox="no address")

    async def add(self, name: str, *, mail: str = "", place: str = "") -> None:
        self.person(name, mail)

    async def alias(self, name: str, mail: str) -> None:
        self.change(name, otherMailbox=[f"{name}@acme.example", mail])


@pytest.fixture(scope="module")
def administrator(controller: samba.DomainController) -> Iterator[Any]:
    with controller.administrator() as connection:
        yield connection


@pytest.fixture
def domain(controller: samba.DomainController, administrator: Any) -> Domain:
    domain = Domain(controller, administrator)
    domain.found()
    return domain


Begin = Callable[..., Any]


@pytest.fixture
async def begin(
    domain: Domain, sqlite_url: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Begin]:
    """Begins to read the domain in one of the ways. The ledger's part is played on both databases elsewhere."""
    monkeypatch.setenv("READER_PASSWORD", company.PASSWORD)
    ledger = Ledger.open(sqlite_url)
    closed = []

    def refused(*_: object) -> bytes:
        raise Failed("DirSync: result 53 (unwilling to perform)", transient=False)

    async def begun(reader: str, *groups: str, **more: object) -> Play:
        account, every = READERS[reader]
        if reader == "uSNChanged":
            monkeypatch.setattr(dirsync, "here", refused)
        settings = ActiveDirectorySettings.model_validate({
            "id": "corp", "kind": "active_directory", "servers": [domain.server.tls_url],
            "tls_ca": str(domain.server.ca), "tls_name": domain.server.tls_name, "bind_dn": account, **more,
            "bind_password": "env:READER_PASSWORD", "people_base": f"OU=People,{domain.base}",
            "groups_base": f"OU=Groups,{domain.base}", "people_filter": STAFF_ONLY, "attempts": 1,
            "attributes": {"mail": ["otherMailbox"]},
        })  # fmt: skip
        source = open_source(settings, folder=Path())
        closed.append(source)
        play = await Play.begun(ledger, now, source, AttributeRules.from_settings(settings), every, *groups)
        async with ledger.read(ORGANIZATION.id) as book:
            cursor = await runs.cursor(book, "corp")
        assert cursor is not None
        assert every == timedelta() or cursor["method"] == reader
        return play

    yield begun
    for source in closed:
        await source.close()
    await ledger.close()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("situation", [item for item in SITUATIONS if item.name in Domain.can], ids=lambda s: s.name)
async def test_e1_e7_what_happens_in_a_domain(domain: Domain, begin: Begin, situation: Situation, reader: str) -> None:
    followed = reader != "whole"
    await play(situation, domain, await begin(reader), proves=followed, unseen=followed and "hidden" in situation.name)


def attribute_hidden(schema_id: str) -> str:
    """The entry that keeps one attribute of an object from everybody."""
    return f"(OD;;RP;{schema_id};;AU)"


ACCOUNT_CONTROL = "bf967a68-0de6-11d0-a285-00aa003049e2"
OBJECT_SID = "bf9679e8-0de6-11d0-a285-00aa003049e2"
"""schemaIDGUID of userAccountControl and of objectSid."""


def primary(domain: Domain, name: str, group: str) -> None:
    """Make a group somebody's primary one: then it lists them no longer, and the one before does."""
    domain.connection.search(domain.dns[group], "(objectClass=*)", "BASE", attributes=["primaryGroupToken"])
    token = domain.connection.response[0]["raw_attributes"]["primaryGroupToken"][0].decode()
    domain.change(name, primaryGroupID=token)


async def test_e2_a_primary_group_stands_and_falls_with_the_entry_that_names_it(domain: Domain, begin: Begin) -> None:
    """No value of the group names them, so that nothing keeps whom nobody sees."""
    primary(domain, "anna", "design")
    playing = await begin("whole")
    await domain.hide("anna")
    assert await playing.counts() == [NOTHING, OFF, NOTHING]


async def test_e3_a_group_whose_number_is_hidden_says_nothing_of_whose_primary_group_it_is(
    domain: Domain, begin: Begin
) -> None:
    primary(domain, "anna", "design")
    playing = await begin("whole")
    domain.server.allow(domain.dns["design"], attribute_hidden(OBJECT_SID))
    for _ in range(2):
        outcome = await playing.run()
        assert (dict(outcome.counts), outcome.exit_code) == (NOTHING, 4), outcome.problems
    assert "objectSid is not visible" in await playing.said(outcome)


@pytest.mark.parametrize("reader", ["DirSync", "whole"])
async def test_e1_nobody_is_let_in_or_put_out_by_an_account_control_that_is_hidden(
    domain: Domain, begin: Begin, reader: str
) -> None:
    playing = await begin(reader)
    await domain.disable("anna")
    assert await playing.counts(1) == [OFF]
    for name in ("anna", "bo"):
        domain.server.allow(domain.dns[name], attribute_hidden(ACCOUNT_CONTROL))
        domain.change(name, displayName=f"{name} once more")
    assert await playing.counts() == [{"UpdateIdentity": 1}, NOTHING, NOTHING]
    assert (await playing.held())["anna"] == "disabled member paused"


@pytest.mark.parametrize("reader", ["DirSync", "whole"])
async def test_e1_whoever_is_undeleted_is_the_same_person(domain: Domain, begin: Begin, reader: str) -> None:
    """The same objectGUID comes back disabled and in no group, and is set up again."""
    playing = await begin(reader)
    guid = domain.guid("anna")
    await domain.delete("anna", told=True)
    assert await playing.counts(2) == ([NOTHING, OFF] if reader == "whole" else [OFF, NOTHING])
    domain.undelete("anna", guid)
    assert domain.guid("anna") == guid
    assert await playing.counts(1) == [NOTHING]
    domain.change("anna", userAccountControl="544", otherMailbox="anna@acme.example", displayName="anna")
    domain.connection.modify(domain.dns["design"], {"member": [(ldap3.MODIFY_ADD, [domain.dns["anna"]])]})
    assert await playing.counts(2) == [{"Reinstate": 2}, NOTHING]
    assert set((await playing.held()).values()) == {"active member invited"}


@pytest.mark.parametrize("who", ["anna", "inner"])
async def test_e3_who_moves_where_nobody_may_look_may_be_whom_the_group_lists_since(
    domain: Domain, begin: Begin, who: str
) -> None:
    """The group's value follows the entry by itself; what it says then names nobody who is read."""
    for entry in ("(D;CI;RPLCLORC;;;AU)", "(A;CI;GA;;;DA)"):
        domain.server.allow(f"OU=Away,{domain.base}", entry)
    playing = await begin("whole")
    await domain.move_out(who, told=True)
    for _ in range(3):
        outcome = await playing.run()
        assert dict(outcome.counts) == {}, outcome.problems
        assert f"lists CN={who},OU=Away,{domain.base}" in (await playing.said(outcome)).replace("DC=", "dc=")
    await domain.take(who, "design")
    assert await playing.counts(2) == [NOTHING, OFF if who == "anna" else LEFT]


async def test_e2_a_deletion_the_account_may_not_see_is_found_within_the_hour(domain: Domain, begin: Begin) -> None:
    playing = await begin("DirSync", bind_dn=company.READER)
    await domain.delete("anna", told=True)
    assert await playing.counts(5) == [NOTHING, NOTHING, NOTHING, OFF, NOTHING]
