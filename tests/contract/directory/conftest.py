"""Two directories with the same company: an LDIF file and a real slapd. Not mocked: servers, files, sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from connector.directory.base import Source
from connector.directory.settings import LdapSettings, LdifSettings
from connector.directory.sources import open_source
from tests.parts import company, slapd

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


@pytest.fixture(params=["ldif", "ldap"])
def open_any(request: pytest.FixtureRequest) -> OpenSource:
    """The contract's subject: every implementation in turn."""
    return request.getfixturevalue(f"open_{request.param}")  # type: ignore[no-any-return]
