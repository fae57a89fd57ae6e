"""The demo's company at each kind of real server, with the three things that happen to people there.

``table`` is its ``[[directories]]`` table. Groups are named, not given by DN, so that one organization file fits all.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import ldap3
import pytest

from rosterd.demo.company import GROUPS_BASE, PEOPLE_BASE, SUFFIX, Company, Employee, group_dn
from tests.parts import company as suffix_of_servers
from tests.parts import samba, slapd
from tests.parts.scim_server import ENTERPRISE, TOKEN, ScimServer, serving_aside

PASSWORD_VARIABLE = "COMPANY_READER_PASSWORD"
TOKEN_VARIABLE = "COMPANY_SCIM_TOKEN"
GROUP = "10000000-0000-4000-8000-0000000000"
"""Ids of groups at the SCIM provider begin so."""


class Place(Protocol):
    """A running directory that holds the company."""

    table: str

    def leaves(self, person: Employee) -> None:
        """The entry and its memberships are gone."""

    def moves(self, person: Employee, old: str, new: str) -> None:
        """Out of one group, into another."""

    def is_disabled(self, person: Employee) -> str:
        """The account is switched off; returns how ``explain`` names the sign."""


@contextlib.contextmanager
def at_suffix(people: Company) -> Iterator[None]:
    """Servers and credentials for the company's own suffix; set for as long as the block runs."""
    assert people.people
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suffix_of_servers, "SUFFIX", SUFFIX)
        patch.setattr(suffix_of_servers, "READER", f"cn=reader,{SUFFIX}")
        patch.setenv(PASSWORD_VARIABLE, suffix_of_servers.PASSWORD)
        patch.setenv(TOKEN_VARIABLE, TOKEN)
        yield


def ldif_table(file: str) -> str:
    """The company's export."""
    return f"""\
[[directories]]
id = "corp"
kind = "ldif"
file = "{file}"
require_count = true
people_base = "{PEOPLE_BASE}"
groups_base = "{GROUPS_BASE}"
disabled = {{ attribute = "employeeType", values = ["disabled"] }}
"""


@contextlib.contextmanager
def at_slapd(people: Company) -> Iterator[Place]:
    """A real OpenLDAP."""
    with at_suffix(people), slapd.running(people.to_ldif()) as server:
        yield _Tree(
            f"""\
[[directories]]
id = "corp"
kind = "ldap"
servers = ["{server.tls_url}"]
tls_ca = "{server.ca}"
bind = "anonymous"
people_base = "{PEOPLE_BASE}"
groups_base = "{GROUPS_BASE}"
page_size = 50
disabled = {{ attribute = "employeeType", values = ["disabled"] }}
"""
        )


@contextlib.contextmanager
def at_samba(people: Company) -> Iterator[Place]:
    """A real Active Directory domain controller."""
    with at_suffix(people):
        members = "\n".join(
            samba.adding(group_dn(name), [_member_dn(people, member) for member in members])
            for name, members in people.groups.items()
        )
        with samba.running(_domain(people), members) as server:
            yield _Domain(
                f"""\
[[directories]]
id = "corp"
kind = "active_directory"
servers = ["{server.tls_url}"]
tls_ca = "{server.ca}"
tls_name = "{server.tls_name}"
bind_dn = "cn=reader,{SUFFIX}"
bind_password = "env:{PASSWORD_VARIABLE}"
people_base = "{PEOPLE_BASE}"
groups_base = "{GROUPS_BASE}"
page_size = 50
attempts = 1
connect_timeout = "5s"
""",
                server,
            )


@contextlib.contextmanager
def at_scim(people: Company) -> Iterator[Place]:
    """A SCIM 2.0 provider on real HTTP, in a thread of its own."""
    with at_suffix(people), serving_aside(_provider(people)) as server:
        yield _Provider(
            f"""\
[[directories]]
id = "corp"
kind = "scim"
url = "{server.url}"
plaintext = true
token = "env:{TOKEN_VARIABLE}"
page_size = 50
attempts = 1
""",
            server,
        )


@dataclass
class _Tree:
    table: str

    def leaves(self, person: Employee) -> None:
        raise NotImplementedError(f"read only: {person}")

    def moves(self, person: Employee, old: str, new: str) -> None:
        raise NotImplementedError(f"read only: {person} {old} {new}")

    def is_disabled(self, person: Employee) -> str:
        raise NotImplementedError(f"read only: {person}")


@dataclass
class _Domain:
    table: str
    server: samba.DomainController

    def leaves(self, person: Employee) -> None:
        with self.server.administrator() as administrator:
            administrator.delete(_person_dn(person))

    def moves(self, person: Employee, old: str, new: str) -> None:
        with self.server.administrator() as administrator:
            administrator.modify(group_dn(old), {"member": [(ldap3.MODIFY_DELETE, [_person_dn(person)])]})
            administrator.modify(group_dn(new), {"member": [(ldap3.MODIFY_ADD, [_person_dn(person)])]})

    def is_disabled(self, person: Employee) -> str:
        with self.server.administrator() as administrator:
            administrator.modify(_person_dn(person), {"userAccountControl": [(ldap3.MODIFY_REPLACE, ["546"])]})
        return "userAccountControl is 546"


@dataclass
class _Provider:
    table: str
    server: ScimServer

    def leaves(self, person: Employee) -> None:
        del self.server.users[person.anchor]
        for group in self.server.groups.values():
            group["members"] = [item for item in group["members"] if item["value"] != person.anchor]

    def moves(self, person: Employee, old: str, new: str) -> None:
        groups = {group["displayName"]: group for group in self.server.groups.values()}
        groups[old]["members"] = [item for item in groups[old]["members"] if item["value"] != person.anchor]
        groups[new]["members"].append({"value": person.anchor})

    def is_disabled(self, person: Employee) -> str:
        self.server.users[person.anchor]["active"] = False
        return "active is false"


def _person_dn(person: Employee) -> str:
    return f"cn={person.uid},{PEOPLE_BASE}"


def _member_dn(people: Company, member: str) -> str:
    if member.startswith("group:"):
        return group_dn(member.removeprefix("group:"))
    return _person_dn(people.people[member])


def _domain(people: Company) -> list[samba.Lines]:
    entries: list[samba.Lines] = [samba.unit(name, SUFFIX) for name in ("People", "Groups")]
    reader = samba.user("reader", SUFFIX)
    entries.append([*reader, ("userAccountControl", "512"), samba.password(suffix_of_servers.PASSWORD)])
    for number, person in enumerate(people.people.values()):
        entries.append([
            ("dn", _person_dn(person)), ("objectClass", "user"), ("sAMAccountName", f"u{number}"),
            ("objectGUID", person.anchor), ("userAccountControl", "544"), ("displayName", person.display_name),
            ("givenName", person.given_name), ("sn", person.family_name), ("mail", person.mail),
            ("employeeNumber", person.number),
        ])  # fmt: skip
    return entries + [samba.group(f"g{number}", group_dn(name)) for number, name in enumerate(people.groups)]


def _provider(people: Company) -> ScimServer:
    server = ScimServer()
    ids = {name: f"{GROUP}{number:02d}" for number, name in enumerate(people.groups)}
    for person in people.people.values():
        server.users[person.anchor] = _user(person)
    for name, members in people.groups.items():
        values = [ids[member.removeprefix("group:")] if member.startswith("group:") else people.people[member].anchor
                  for member in members]  # fmt: skip
        server.groups[ids[name]] = {
            "id": ids[name], "displayName": name, "members": [{"value": value} for value in values],
        }  # fmt: skip
    return server


def _user(person: Employee) -> dict[str, Any]:
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", ENTERPRISE],
        "id": person.anchor,
        "userName": person.uid,
        "name": {"givenName": person.given_name, "familyName": person.family_name},
        "displayName": person.display_name,
        "emails": [{"value": person.mail, "type": "work", "primary": True}],
        "active": True,
        ENTERPRISE: {"employeeNumber": person.number},
    }
