"""What every directory source promises (D1–D8), run alike on LDIF, slapd, Samba AD and a SCIM provider."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from connector.directory import dn
from connector.directory.base import Reading, ReadRequest, Source
from connector.directory.mapping import Person, Unmappable, map_entry
from tests.contract.directory.conftest import OpenSource
from tests.parts import company, directory_words

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PEOPLE_SCOPE = f"people:{company.PEOPLE}"
ALL_GROUPS = ("design", "build", "site", "crane", "partners", "Żuraw, dźwig", "unix", "signers")


@contextlib.asynccontextmanager
async def opened(open_any: OpenSource, **overrides: object) -> AsyncIterator[Source]:
    source = open_any(**overrides)
    try:
        yield source
    finally:
        await source.close()


async def read(open_any: OpenSource, *groups: str, **overrides: object) -> Reading:
    async with opened(open_any, **overrides) as source:
        return await source.read(ReadRequest(groups, directory_words.of(open_any).rules.requested), now=NOW)


def people(reading: Reading) -> dict[str, Person | Unmappable]:
    rules = directory_words.of(reading).rules
    return {anchor: map_entry(entry, rules, now=NOW) for anchor, entry in reading.people.items()}


async def test_d1_a_whole_reading_is_complete_with_its_evidence(open_any: OpenSource, firm: company.Firm) -> None:
    reading = await read(open_any, *ALL_GROUPS)
    words = directory_words.of(open_any)
    assert list(reading.scopes) == [words.people_scope, *(f"group:{name}" for name in ALL_GROUPS)]
    assert {scope.reason for scope in reading.scopes.values()} == {""}
    assert reading.people_complete
    assert all(reading.group_complete(name) for name in ALL_GROUPS)
    assert reading.scopes[words.people_scope].entries == len(firm.people)
    assert reading.scopes[words.people_scope].server
    assert all(code == words.good_code for scope in reading.scopes.values() for code in scope.codes)
    assert (reading.source_id, reading.started_at) == ("corp", NOW)
    assert reading.finished_at > NOW


async def test_d5_people_are_keyed_by_anchor_and_mapped(open_any: OpenSource, firm: company.Firm) -> None:
    found = people(await read(open_any))
    assert set(found) == {human.anchor for human in firm.people}
    person = found[firm.people[5].anchor]
    assert isinstance(person, Person)
    human = firm.people[5]
    assert (person.given_name, person.family_name, person.mail.text) == (human.given, human.family, human.mail)
    assert person.display_name == f"{human.given} {human.family}"
    assert person.employee_number == human.number


async def test_d7_disabled_accounts_are_disabled_and_not_absent(open_any: OpenSource, firm: company.Firm) -> None:
    found = people(await read(open_any))
    disabled = {anchor for anchor, person in found.items() if isinstance(person, Person) and not person.enabled}
    assert disabled == {firm.people[number].anchor for number in (10, 11, 12)}


async def test_d8_a_bad_entry_is_unmappable_and_fails_nothing(open_any: OpenSource, firm: company.Firm) -> None:
    reading = await read(open_any, "design")
    found = people(reading)
    bad = {anchor: entry.reasons for anchor, entry in found.items() if isinstance(entry, Unmappable)}
    assert set(bad) == {firm.people[13].anchor, firm.people[15].anchor}
    words = directory_words.of(open_any)
    assert f"mail: {words.attribute('mail')} is not usable" in bad[firm.people[13].anchor][0]
    assert bad[firm.people[15].anchor][0] == f"given_name: {words.attribute('givenname')} holds control characters"
    assert reading.people_complete
    several = found[firm.people[16].anchor]
    assert isinstance(several, Person)
    assert several.mail.text == "a@firma.example"


async def test_d6_members_by_dn_uid_and_nesting(open_any: OpenSource, firm: company.Firm) -> None:
    reading = await read(open_any, *ALL_GROUPS)
    first, second, third = firm.people[:10], firm.people[10:20], firm.people[20:]
    groups = reading.groups
    assert groups["design"].members == {human.anchor for human in first}
    assert groups["design"].paths == {}
    whole = {human.anchor for human in (*second, *third[:5])}
    assert groups["build"].members == groups["site"].members == groups["crane"].members == whole
    assert groups["build"].paths[second[5].anchor] == ("build", "site")
    assert groups["build"].paths[third[0].anchor] == ("build", "site", "crane")
    assert second[0].anchor not in groups["build"].paths
    assert groups["unix"].members == {human.anchor for human in third[:6]}
    assert groups["signers"].members == {human.anchor for human in first[:3]}
    assert groups["Żuraw, dźwig"].members == {human.anchor for human in third[-4:]}
    assert groups["design"].anchor == company.anchor(company.group_dn("design"))


async def test_d6_a_member_of_elsewhere_is_unknown_by_itself(
    open_any: OpenSource, firm: company.Firm, stranger: str
) -> None:
    reading = await read(open_any, "partners")
    assert reading.group_complete("partners")
    assert reading.groups["partners"].members == {firm.people[0].anchor}
    assert reading.groups["partners"].unresolved == {stranger}


@pytest.mark.parametrize(
    "reference",
    [
        "Design",
        f"CN=design , ou=groups,{company.SUFFIX.upper()}",
        f"anchor:{company.anchor(company.group_dn('design'))}",
    ],
)
async def test_d2_a_group_is_found_however_it_is_named(
    open_any: OpenSource, reference: str, firm: company.Firm
) -> None:
    reference = directory_words.of(open_any).reference(reference)
    reading = await read(open_any, reference)
    assert reading.groups[reference].members == {human.anchor for human in firm.people[:10]}


@pytest.mark.parametrize("reference", ["painters", f"cn=painters,{company.GROUPS}", "anchor:0-0"])
async def test_d2_a_missing_group_is_not_an_empty_one(open_any: OpenSource, reference: str) -> None:
    reading = await read(open_any, "design", reference)
    scope = reading.scopes[f"group:{reference}"]
    assert scope.missing
    assert not scope.complete
    assert "no such group" in scope.reason
    assert reference not in reading.groups
    assert reading.people_complete
    assert reading.group_complete("design")


async def test_d3_a_visible_sentinel_changes_nothing(open_any: OpenSource, firm: company.Firm) -> None:
    reading = await read(open_any, sentinels=directory_words.of(open_any).visible(firm))
    assert reading.sentinels_missing == frozenset()
    assert reading.people_complete


async def test_d3_a_missing_sentinel_makes_its_base_unknown(open_any: OpenSource) -> None:
    words = directory_words.of(open_any)
    person, group = (words.sentinel(name) for name in (f"uid=watch,{company.PEOPLE}", f"cn=watch,{company.GROUPS}"))
    reading = await read(open_any, "design", sentinels=[person])
    assert reading.sentinels_missing == {person}
    assert not reading.people_complete
    assert reading.scopes[words.people_scope].reason == f"the sentinel {person} is not visible"
    assert reading.group_complete("design")
    reading = await read(open_any, "design", sentinels=[group])
    assert reading.scopes[words.people_scope].complete
    assert not reading.people_complete  # base.py: every sentinel must be visible
    assert reading.scopes["group:design"].reason == f"the sentinel {group} is not visible"
    assert reading.groups == {}


async def test_d1_several_bases_are_several_scopes(open_tree: OpenSource, firm: company.Firm) -> None:
    bases = [company.PEOPLE, company.GROUPS]
    reading = await read(open_tree, people_base=bases)
    assert reading.scopes[PEOPLE_SCOPE].complete
    assert not reading.scopes[f"people:{company.GROUPS}"].complete
    assert "no entry is a person" in reading.scopes[f"people:{company.GROUPS}"].reason
    assert len(reading.people) == len(firm.people)


async def test_d5_entries_without_the_anchor_prove_nothing(open_tree: OpenSource) -> None:
    reading = await read(open_tree, anchor_attribute="departmentURN")
    assert not reading.people_complete
    assert "departmentURN" in reading.scopes[PEOPLE_SCOPE].reason
    reading = await read(open_tree, anchor_attribute="departmentNumber")
    assert "have the same departmentNumber" in reading.scopes[PEOPLE_SCOPE].reason


async def test_check_says_what_it_found_and_shows_people_masked(open_any: OpenSource) -> None:
    words = directory_words.of(open_any)
    async with opened(open_any) as source:
        lines = (await source.check(ReadRequest(("design", "painters"), words.rules.requested))).lines
    bad = [line for line in lines if not line.ok]
    assert [line.what.split(":")[0] for line in bad] == ["group", "2 entries cannot be mapped"]
    assert all(line.fix for line in bad)
    shown = "\n".join(line.what for line in lines)
    assert f"{words.people_scope}: 40 entries" in shown
    assert words.standing in shown
    assert "Gęślą" not in shown
    assert "u00000@" not in shown
    assert "<u…@firma.example>" in shown


async def test_progress_is_told(open_any: OpenSource) -> None:
    seen: list[tuple[int, int, int]] = []
    async with opened(open_any) as source:
        requested = directory_words.of(open_any).rules.requested
        request = ReadRequest(("design",), requested, progress=lambda *numbers: seen.append(numbers))
        await source.read(request, now=NOW)
    assert seen == sorted(seen)
    assert seen[-1][0] >= 40


def plain(found: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with DNs in one writing (servers escape as they like)."""
    return {key: _one_writing(value) for key, value in found.items()}


def _one_writing(value: Any) -> Any:
    inner = {"listings": tuple(map(_one_writing, value.listings))} if hasattr(value, "listings") else {}
    return dataclasses.replace(value, dn=dn.key(value.dn), **inner)


async def test_both_sources_give_the_same_people_groups_and_scopes(
    open_ldif: OpenSource, open_ldap: OpenSource
) -> None:
    one, other = await read(open_ldif, *ALL_GROUPS, "painters"), await read(open_ldap, *ALL_GROUPS, "painters")
    assert plain(people(one)) == plain(people(other))
    assert plain(one.groups) == plain(other.groups)
    assert shown_scopes(one) == shown_scopes(other)


async def test_active_directory_gives_the_same_people_groups_and_scopes(
    open_ldif: OpenSource, open_samba: OpenSource
) -> None:
    groups = [name for name in ALL_GROUPS if name != "partners"]  # a stranger has another name there
    one, other = await read(open_ldif, *groups, "painters"), await read(open_samba, *groups, "painters")
    # Another RDN, and another attribute that says how long the account lasts: the rest is the same.
    apart = ("dn", "fingerprint", "other_mails", "blank")  # mail has one value in a domain, and other signs of a lock
    assert without(people(one), *apart) == without(people(other), *apart)
    assert plain(one.groups) == plain(other.groups)
    assert shown_scopes(one) == shown_scopes(other)


async def test_d16_scim_pull_gives_the_same_people_and_groups(open_ldif: OpenSource, open_scim: OpenSource) -> None:
    one, other = await read(open_ldif, *ALL_GROUPS, "painters"), await read(open_scim, *ALL_GROUPS, "painters")
    # Another path, attributes of other names, and no date at which the account ends: the rest is the same.
    apart = ("dn", "fingerprint", "expires_at", "reasons", "other_mails", "blank")
    assert without(people(one), *apart) == without(people(other), *apart)
    # groups inside are named by DN, and only LDAP has members by login name
    written = ("dn", "nested", "by_uid", "listings")
    assert without(one.groups, *written) == without(other.groups, *written)
    assert {name: len(view.nested) for name, view in one.groups.items()} == {
        name: len(view.nested) for name, view in other.groups.items()
    }
    assert shown_scopes(one)[1:] == shown_scopes(other)[1:]
    assert shown_scopes(one)[0][1:] == shown_scopes(other)[0][1:]


def without(found: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {
        key: {name: item for name, item in dataclasses.asdict(value).items() if name not in names}
        for key, value in found.items()
    }


def shown_scopes(reading: Reading) -> list[tuple[object, ...]]:
    return [(scope.name, scope.state, scope.reason, scope.missing) for scope in reading.scopes.values()]
