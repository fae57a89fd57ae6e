"""Five directories with the same company: an LDIF file, a real slapd, a real Samba AD, a SCIM provider and the inbox.

Nothing here is mocked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connector.directory.base import Source
from connector.directory.scim.inbox import Mailbox
from connector.directory.scim.settings import ScimInboxSettings, ScimSettings
from connector.directory.settings import ActiveDirectorySettings, LdapSettings, LdifSettings
from connector.directory.sources import open_source
from ledger.store.inbox import Inbox
from tests.parts import company, directory_words, pushing, samba, scim_server, slapd

CROWD = f"ou=Crowd,{company.SUFFIX}"
CROWD_GROUP = f"cn=crowd,{CROWD}"
CROWD_SIZE = 1600

OpenSource = Callable[..., Source]


def awkward_firm() -> company.Firm:
    """The company, with entries that cannot be mapped and accounts that are disabled in several ways."""
    firm = company.firm(40)
    people = list(firm.people)
    people[10] = replace(people[10], extra=(("objectClass", "shadowAccount"), ("shadowExpire", "100")))
    people[11] = replace(people[11], extra=(("pwdAccountLockedTime", "000001010000Z"),))
    people[12] = replace(people[12], extra=(("employeeType", "left"),))
    people[13] = replace(people[13], mail="not an address")
    people[14] = replace(people[14], extra=(("description", "x" * 100_000),))
    people[15] = replace(people[15], given="Tab\tbed")
    people[16] = replace(
        people[16], extra=(("mail;lang-pl", f"{people[16].uid}@work.example"), ("mail", "a@firma.example"))
    )
    return replace(firm, people=tuple(people))


@pytest.fixture(scope="session")
def firm() -> company.Firm:
    return awkward_firm()


@pytest.fixture(scope="session")
def server(firm: company.Firm) -> Iterator[slapd.Slapd]:
    with slapd.running(firm.ldif(), extra=["overlay ppolicy"]) as running:
        yield running


@pytest.fixture
def open_ldap(server: slapd.Slapd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenSource:
    """Opens the slapd (or another one: ``servers=``, ``tls_ca=``) as a source."""
    monkeypatch.setenv("READER_PASSWORD", company.PASSWORD)

    def opened(**overrides: object) -> Source:
        settings = {
            "id": "corp",
            "servers": [server.tls_url],
            "tls_ca": str(server.ca),
            "bind_dn": company.READER,
            "bind_password": "env:READER_PASSWORD",
            "people_base": company.PEOPLE,
            "groups_base": company.GROUPS,
            "disabled": {"attribute": "employeeType", "values": ["left"]},
            "page_size": 7,
            "attempts": 1,
            "retry_wait": "0",
            "page_timeout": "10s",
            **overrides,
        }
        return open_source(LdapSettings.model_validate(settings), folder=tmp_path)

    return opened


@pytest.fixture
def open_ldif(firm: company.Firm, tmp_path: Path) -> OpenSource:
    (tmp_path / "firm.ldif").write_text(firm.ldif(count=True), encoding="utf-8")

    def opened(**overrides: object) -> Source:
        settings = {
            "id": "corp",
            "file": "firm.ldif",
            "people_base": company.PEOPLE,
            "groups_base": company.GROUPS,
            "disabled": {"attribute": "employeeType", "values": ["left"]},
            **overrides,
        }
        return open_source(LdifSettings.model_validate(settings), folder=tmp_path)

    return opened


@pytest.fixture(scope="session")
def controller(firm: company.Firm) -> Iterator[samba.DomainController]:
    """The domain controller: the company, and a crowd in one group. What a test adds is in a unit of its own."""
    members = samba.adding(CROWD_GROUP, [f"cn=c{number},{CROWD}" for number in range(CROWD_SIZE)])
    with samba.running([*samba.firm_entries(firm), *crowd()], f"{samba.firm_members(firm)}\n{members}") as running:
        yield running


def crowd() -> list[samba.Lines]:
    """More people than one range of members holds (contacts load faster than users), and their group."""
    people: list[samba.Lines] = [[("dn", f"cn=c{n},{CROWD}"), ("objectClass", "contact")] for n in range(CROWD_SIZE)]
    return [samba.unit("Crowd"), *people, samba.group("crowd", CROWD_GROUP)]


@pytest.fixture
def open_samba(controller: samba.DomainController, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> OpenSource:
    """Opens the domain as a source."""
    monkeypatch.setenv("READER_PASSWORD", company.PASSWORD)

    def opened(**overrides: object) -> Source:
        settings = {
            "id": "corp",
            "kind": "active_directory",
            "servers": [controller.tls_url],
            "tls_ca": str(controller.ca),
            "tls_name": controller.tls_name,
            "bind_dn": company.READER,
            "bind_password": "env:READER_PASSWORD",
            "people_base": company.PEOPLE,
            "groups_base": company.GROUPS,
            "disabled": {"attribute": "employeeType", "values": ["left"]},
            "page_size": 7,
            "attempts": 1,
            "retry_wait": "0",
            "page_timeout": "20s",
            **overrides,
        }
        return open_source(ActiveDirectorySettings.model_validate(settings), folder=tmp_path)

    return opened


@pytest.fixture
async def open_scim(firm: company.Firm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[OpenSource]:
    """Opens a SCIM provider with the same company as a source."""
    monkeypatch.setenv("SCIM_TOKEN", scim_server.TOKEN)
    async with scim_server.serving(scim_server.of_firm(firm)) as server:

        def opened(**overrides: object) -> Source:
            settings = {
                "id": "corp",
                "url": server.url,
                "plaintext": True,
                "token": "env:SCIM_TOKEN",
                "page_size": 7,
                "attempts": 1,
                **overrides,
            }
            return open_source(ScimSettings.model_validate(settings), folder=tmp_path)

        opened.words = directory_words.SCIM  # type: ignore[attr-defined]
        yield opened


@pytest.fixture
async def open_inbox(firm: company.Firm, sqlite_url: str) -> AsyncIterator[OpenSource]:
    """Opens the inbox of an organization whose identity provider pushed the same company."""
    store = Inbox.open(sqlite_url)
    await store.migrate()
    await pushing.push_everybody(store, "acme", "corp", scim_server.of_firm(firm))

    def opened(**overrides: object) -> Source:
        known = ScimInboxSettings.model_fields
        settings = {"id": "corp", **{name: value for name, value in overrides.items() if name in known}}
        mailbox = Mailbox(store, "acme")
        return open_source(ScimInboxSettings.model_validate(settings), folder=Path(), mailbox=mailbox)

    opened.words = directory_words.SCIM  # type: ignore[attr-defined]
    yield opened
    await store.close()


@pytest.fixture(params=["ldif", "ldap", "samba"])
def open_tree(request: pytest.FixtureRequest) -> OpenSource:
    """Every implementation whose entries lie in a tree of DNs."""
    return request.getfixturevalue(f"open_{request.param}")  # type: ignore[no-any-return]


@pytest.fixture(params=["ldif", "ldap", "samba", "scim", "inbox"])
def open_any(request: pytest.FixtureRequest) -> OpenSource:
    """The contract's subject: every implementation in turn."""
    return request.getfixturevalue(f"open_{request.param}")  # type: ignore[no-any-return]


@pytest.fixture
def stranger(request: pytest.FixtureRequest) -> str:
    """How the subject names the member of partners that belongs to somebody else's directory."""
    is_samba = request.node.callspec.params["open_any"] == "samba"
    return samba.FOREIGN if is_samba else "cn=Stranger,dc=elsewhere,dc=example"
