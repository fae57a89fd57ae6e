"""What only Active Directory does (D5, D6, D7, D12), against a real Samba domain controller."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from connector.directory.base import Reading, ReadRequest
from connector.directory.mapping import AttributeRules, Person, map_entry
from connector.directory.settings import ActiveDirectorySettings
from connector.reconcile.evidence.witness import Kept, Verdict, judge
from tests.contract.directory.conftest import CROWD, CROWD_GROUP, CROWD_SIZE, OpenSource
from tests.parts import company, samba, slapd
from tests.parts.proxy import Fault, between

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DOMAIN_USERS = f"CN=Domain Users,CN=Users,{company.SUFFIX}"
EVERYBODY = ("Administrator", "Guest", "krbtgt", "reader")
CROWDED: dict[str, object] = {"people_base": CROWD, "people_filter": "(objectClass=contact)", "page_size": 1000}
NOT_EXPIRED = "134483328000000000"
"""accountExpires of 2027-03-01."""


def rules(**attributes: list[str]) -> AttributeRules:
    settings = {"id": "corp", "servers": ["ldaps://x"], "bind_dn": "cn=r", "bind_password": "env:X"}
    table = {**settings, "people_base": "dc=x", "attributes": attributes}
    return AttributeRules.from_settings(ActiveDirectorySettings.model_validate(table))


async def read(open_samba: OpenSource, *groups: str, **overrides: object) -> Reading:
    source = open_samba(**overrides)
    try:
        return await source.read(ReadRequest(groups, rules(upn=["userPrincipalName"]).requested), now=NOW)
    finally:
        await source.close()


def reasons(reading: Reading) -> dict[str, str]:
    return {name: scope.reason for name, scope in reading.scopes.items() if not scope.complete}


class Lab:
    """An organizational unit of one test, which changes it over LDAP as the administrator would."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.base = f"OU=lab-{uuid.uuid4().hex[:8]},{company.SUFFIX}"
        connection.add(self.base, ["organizationalUnit"])

    def user(self, name: str, **attributes: str) -> str:
        mail = f"{name}@firma.example"
        login = f"{name}{uuid.uuid4().hex[:8]}"
        values = {"sAMAccountName": login, "userAccountControl": "544", "mail": mail, "displayName": name, **attributes}
        self.connection.add(f"CN={name},{self.base}", ["user"], values)
        return f"CN={name},{self.base}"

    def group(self, name: str, *members: str) -> str:
        values: dict[str, Any] = {"sAMAccountName": f"{name}{uuid.uuid4().hex[:8]}"}
        self.connection.add(f"CN={name},{self.base}", ["group"], {**values, **({"member": members} if members else {})})
        return f"CN={name},{self.base}"


@pytest.fixture
def lab(controller: samba.DomainController) -> Iterator[Lab]:
    with controller.administrator() as connection:
        yield Lab(connection)


async def test_d6_members_beyond_one_range_are_all_read(open_samba: OpenSource) -> None:
    for base in ("", CROWD):  # by itself, and found by an index of groups
        reading = await read(open_samba, CROWD_GROUP, groups_base=base, **CROWDED)
        assert reasons(reading) == {}
        assert len(reading.groups[CROWD_GROUP].members) == CROWD_SIZE > 1500
        assert reading.groups[CROWD_GROUP].members == set(reading.people)
        assert reading.groups[CROWD_GROUP].unresolved == frozenset()


async def test_d6_the_primary_group_holds_people_whom_it_does_not_list(
    open_samba: OpenSource, firm: company.Firm, lab: Lab
) -> None:
    outer = lab.group("outer", DOMAIN_USERS)
    reading = await read(open_samba, DOMAIN_USERS, outer)
    assert reasons(reading) == {}
    whole = {human.anchor for human in firm.people}
    assert reading.groups[DOMAIN_USERS].members == reading.groups[outer].members == whole
    assert set(reading.groups[outer].paths.values()) == {("outer", "Domain Users")}
    asked = set(rules(upn=["userPrincipalName"]).requested)
    assert all(set(entry.attributes) <= asked for entry in reading.people.values())


async def test_d6_a_changed_primary_group_moves_the_person(open_samba: OpenSource, lab: Lab) -> None:
    person = lab.user("ann")
    group = lab.group("staff", person)
    lab.connection.search(group, "(objectClass=*)", "BASE", attributes=["primaryGroupToken"])
    token = lab.connection.response[0]["raw_attributes"]["primaryGroupToken"][0].decode()
    lab.connection.modify(person, {"primaryGroupID": [("MODIFY_REPLACE", [token])]})
    reading = await read(open_samba, group, DOMAIN_USERS, people_base=lab.base)
    # The server takes her out of `member` of the new group and puts her into that of the old one.
    assert reading.groups[group].members == reading.groups[DOMAIN_USERS].members == set(reading.people)
    assert len(reading.people) == 1


async def test_d7_flags_and_dates_of_accounts(open_samba: OpenSource, lab: Lab) -> None:
    lab.user("on", accountExpires="0")
    lab.user("off", userAccountControl="546")
    lab.user("gone", accountExpires=samba.LEFT_LONG_AGO)
    lab.user("going", accountExpires=NOT_EXPIRED)
    reading = await read(open_samba, people_base=lab.base)
    people = [map_entry(entry, rules(), now=NOW) for entry in reading.people.values()]
    found = {person.display_name: person for person in people if isinstance(person, Person)}
    assert {name: person.enabled for name, person in found.items()} == {
        "on": True, "off": False, "gone": False, "going": True,
    }  # fmt: skip
    assert found["on"].expires_at is found["off"].expires_at is None
    assert found["going"].expires_at == datetime(2027, 3, 1, tzinfo=UTC)


async def test_d5_anchors_survive_a_rename_and_a_moved_unit(open_samba: OpenSource, lab: Lab) -> None:
    person = lab.user("ann")
    group = lab.group("design", person)
    before = await read(open_samba, group, people_base=lab.base)
    (anchor,) = before.people
    assert uuid.UUID(anchor).bytes_le == raw_guid(lab, person)
    lab.connection.modify_dn(person, "CN=ann married")
    moved = lab.base.replace("OU=lab", "OU=moved")
    lab.connection.modify_dn(lab.base, moved.partition(",")[0])
    by_anchor = f"anchor:{before.groups[group].anchor}"
    after = await read(open_samba, by_anchor, people_base=moved, groups_base=moved)
    assert reasons(after) == {}
    assert set(after.people) == {anchor} == after.groups[by_anchor].members
    assert after.people[anchor].dn.startswith(f"CN=ann married,{moved.partition(',')[0]},")


def raw_guid(lab: Lab, name: str) -> bytes:
    lab.connection.search(name, "(objectClass=*)", "BASE", attributes=["objectGUID"])
    return bytes(lab.connection.response[0]["raw_attributes"]["objectGUID"][0])


async def test_d2_a_renamed_mapped_group_is_found_by_anchor_and_missing_by_name(
    open_samba: OpenSource, lab: Lab
) -> None:
    person = lab.user("ann")
    group = lab.group("design", person)
    by_anchor = f"anchor:{uuid.UUID(bytes_le=raw_guid(lab, group))}"
    lab.connection.modify_dn(group, "CN=drawing")
    reading = await read(open_samba, by_anchor, group, "design", people_base=lab.base, groups_base=lab.base)
    assert reading.groups[by_anchor].name == "drawing"
    assert reading.groups[by_anchor].members == set(reading.people)
    assert reading.scopes[f"group:{group}"].missing
    assert reading.scopes["group:design"].missing
    assert reading.people_complete


async def test_d6_a_foreign_principal_is_unknown_by_itself_wherever_it_is(open_samba: OpenSource, lab: Lab) -> None:
    person = lab.user("ann")
    inner = lab.group("inner", person, f"<SID={samba.STRANGER}>")
    outer = lab.group("outer", inner)
    reading = await read(open_samba, outer, people_base=lab.base, groups_base=lab.base)
    assert reasons(reading) == {}
    assert reading.groups[outer].members == set(reading.people)
    assert reading.groups[outer].unresolved == {samba.FOREIGN}


async def test_d12_references_to_other_partitions_of_the_domain_are_no_doubt(
    open_samba: OpenSource, firm: company.Firm
) -> None:
    reading = await read(open_samba, "crane", people_base=company.SUFFIX, groups_base=company.SUFFIX)
    assert reasons(reading) == {}
    assert {human.anchor for human in firm.people} < set(reading.people)
    names = {entry.dn.partition(",")[0].partition("=")[2] for entry in reading.people.values()}
    assert names.issuperset(EVERYBODY)


async def test_d12_another_domain_is_not_read(open_samba: OpenSource) -> None:
    reading = await read(open_samba, people_base="dc=elsewhere,dc=example")
    assert not reading.people_complete
    assert reading.people == {}


async def test_d12_a_wrong_authority_lets_nothing_through(open_samba: OpenSource, tmp_path: Path) -> None:
    other = slapd.Authority(tmp_path / "other")
    for authority in ("", str(other.ca)):
        reading = await read(open_samba, "design", tls_ca=authority)
        assert all("certificate is not trusted" in reason for reason in reasons(reading).values())
        assert len(reasons(reading)) == 2
    source = open_samba(tls_ca=str(other.ca))
    (line,) = (await source.check(ReadRequest((), ()))).lines
    await source.close()
    assert not line.ok
    assert "tls_ca" in line.fix


async def test_d12_starttls_works(open_samba: OpenSource, controller: samba.DomainController) -> None:
    assert reasons(await read(open_samba, "design", servers=[controller.url])) == {}


@pytest.mark.parametrize("results", range(5))
async def test_d1_a_cut_at_any_answer_never_gives_a_part_of_a_group(
    open_samba: OpenSource, controller: samba.DomainController, results: int
) -> None:
    # The answers: root entry, first and second part of the members, two pages of people.
    with between(389, Fault("cut", results, 20), host=controller.address) as proxy:
        reading = await read(open_samba, CROWD_GROUP, servers=[proxy.url], plaintext=True, groups_base="", **CROWDED)
    assert not reading.people_complete
    assert reading.group_complete(CROWD_GROUP) is (results >= 3)
    assert [len(view.members | view.unresolved) for view in reading.groups.values()] in ([], [CROWD_SIZE])


async def test_d6_a_part_of_the_members_that_fails_leaves_that_group_alone_unknown(
    open_samba: OpenSource, controller: samba.DomainController
) -> None:
    with between(389, Fault("code", 2, 51), host=controller.address) as proxy:
        reading = await read(
            open_samba, CROWD_GROUP, DOMAIN_USERS, servers=[proxy.url], plaintext=True, groups_base="", **CROWDED
        )
    assert set(reasons(reading)) == {f"group:{CROWD_GROUP}"}
    assert "its members from 1500 on were not read: page 1: result 51 (busy" in reasons(reading)[f"group:{CROWD_GROUP}"]
    assert len(reading.people) == CROWD_SIZE


async def test_d12_the_account_is_named_by_dn_or_by_principal_name(open_samba: OpenSource) -> None:
    assert reasons(await read(open_samba, "design", bind_dn="reader@firma.example")) == {}
    refused = await read(open_samba, "design", bind_dn="nobody@firma.example")
    assert all("bind failed: result 49" in reason for reason in reasons(refused).values())
    assert len(reasons(refused)) == 2


async def test_the_guide_shows_settings_that_are_accepted() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "guides" / "active-directory.md").read_text(encoding="utf-8")
    table = tomllib.loads(guide.partition("```toml\n")[2].partition("```")[0])
    settings = ActiveDirectorySettings.model_validate(table["directories"][0])
    assert AttributeRules.from_settings(settings).fields["employee_number"] == ("employeeid",)


async def test_d8_the_principal_name_instead_of_the_mail(open_samba: OpenSource, lab: Lab) -> None:
    lab.user("ann", userPrincipalName="ann.k@work.example")
    lab.user("bob")
    reading = await read(open_samba, people_base=lab.base)
    chosen = rules(mail=["userPrincipalName", "mail"])
    people = [map_entry(entry, chosen, now=NOW) for entry in reading.people.values()]
    assert {person.mail.text for person in people if isinstance(person, Person)} == {
        "ann.k@work.example", "bob@firma.example",
    }  # fmt: skip


async def test_check_says_which_domain_it_is(open_samba: OpenSource) -> None:
    source = open_samba()
    lines = (await source.check(ReadRequest(("design",), rules().requested))).lines
    await source.close()
    assert lines[0].ok
    assert lines[0].what.endswith(f"bound as {company.READER}, Active Directory DC=firma,DC=example")


async def test_d1_a_server_that_is_no_domain_controller_proves_nothing(
    open_samba: OpenSource, server: slapd.Slapd
) -> None:
    reading = await read(open_samba, "design", servers=[server.tls_url], tls_ca=str(server.ca))
    assert set(reasons(reading)) == {f"people:{company.PEOPLE}", "group:design"}
    assert all("not an Active Directory domain controller" in reason for reason in reasons(reading).values())


async def test_e2_a_domain_controller_says_how_new_it_is_and_goes_on_from_there(
    open_samba: OpenSource, lab: Lab
) -> None:
    before = await read(open_samba)
    lab.user("later")
    after = await read(open_samba)
    assert before.stand is not None
    assert after.stand is not None
    assert after.stand.kind == "highestCommittedUSN"
    assert after.stand.marks[""]["usn"] > before.stand.upto[""]["usn"], "a change was made between them"
    assert judge(Kept(before.stand), after.stand, NOW) == Verdict(Kept(after.stand))
    assert "is at an older state" in judge(Kept(after.stand), before.stand, NOW).doubt
