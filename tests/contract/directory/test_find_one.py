"""What every finder promises (P6), alike on LDIF, slapd, Samba AD and a SCIM provider: what a reading shows."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connector.directory.base import ReadRequest
from connector.directory.finding import Finder, Finding, FindRequest, of_reading
from connector.directory.ldap.find import anchor_values, escaped
from connector.directory.sources import open_finder
from tests.contract.directory.conftest import OpenSource
from tests.parts import company, directory_words, samba, slapd
from tests.parts.ports import free_port
from tests.parts.scim_server import ScimServer, of_firm, serving

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALL_GROUPS = ("design", "build", "site", "crane", "partners", "Żuraw, dźwig", "unix", "signers")


@contextlib.asynccontextmanager
async def finder(open_any: OpenSource, folder: Path, **overrides: object) -> AsyncIterator[Finder]:
    """The finder for the same settings that the contract's sources have."""
    source: Any = open_any(**overrides)
    opened = open_finder(source._settings, folder=folder, mailbox=getattr(source, "_mailbox", None))
    try:
        yield opened
    finally:
        await opened.close()
        await source.close()


async def find(
    open_any: OpenSource, folder: Path, *mails: str, anchors: tuple[str, ...] = (), **overrides: Any
) -> Finding:
    groups = overrides.pop("groups", ALL_GROUPS)
    async with finder(open_any, folder, **overrides) as opened:
        return await opened.find(FindRequest(mails, anchors, groups), now=NOW)


@pytest.mark.parametrize("number", [0, 1, 5, 10, 12, 17, 20, 23, 36, 39])
async def test_p6_what_is_found_is_what_a_reading_shows(
    number: int, open_any: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    human = firm.people[number]
    words = directory_words.of(open_any)
    request = FindRequest((human.mail,), (), ALL_GROUPS)
    source: Any = open_any()
    reading = await source.read(ReadRequest(ALL_GROUPS, words.rules.requested), now=NOW)
    await source.close()
    expected = of_reading(reading, request, words.rules)
    found = await find(open_any, tmp_path, human.mail)
    assert (found.source_id, found.unread, dict(found.unread_groups)) == ("corp", "", {})
    assert [item.entry.anchor for item in found.entries] == [human.anchor]
    assert dict(found.entries[0].groups) == dict(expected.entries[0].groups)
    assert {name: sorted(values) for name, values in found.entries[0].entry.attributes.items()
            if name in words.rules.requested} == {
        name: sorted(values) for name, values in expected.entries[0].entry.attributes.items()
        if name in words.rules.requested
    }  # fmt: skip
    assert found.server


async def test_p6_the_group_path_is_walked_upward_and_a_cycle_ends(
    open_any: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    found = await find(open_any, tmp_path, firm.people[20].mail)
    groups = found.entries[0].groups
    assert groups["build"] == ("build", "site", "crane")
    assert groups["crane"] == ("crane",)
    assert groups["unix"] == ("unix",)
    assert "design" not in groups


async def test_p6_by_anchor_whatever_the_address_is_now(
    open_any: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    human = firm.people[13]  # its address is none
    found = await find(open_any, tmp_path, "another@firma.example", anchors=(human.anchor,))
    assert [item.entry.anchor for item in found.entries] == [human.anchor]


async def test_p6_an_address_is_found_in_any_case_and_second_addresses_too(
    open_any: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    loud = await find(open_any, tmp_path, firm.people[5].mail.upper())
    assert [item.entry.anchor for item in loud.entries] == [firm.people[5].anchor]
    second = await find(open_any, tmp_path, "a@firma.example")
    assert [item.entry.anchor for item in second.entries] == [firm.people[16].anchor]


@pytest.mark.parametrize(
    "mail", ["nobody@firma.example", "*@firma.example", "a)(uid=*@firma.example", "\\2a@x.example"]
)
async def test_p6_nobody_is_an_answer_and_signs_of_filters_mean_nothing(
    mail: str, open_any: OpenSource, tmp_path: Path
) -> None:
    found = await find(open_any, tmp_path, mail)
    assert (found.entries, found.unread) == ((), "")


async def test_p6_an_anchor_that_is_gone_finds_nobody(open_any: OpenSource, tmp_path: Path) -> None:
    gone = company.anchor("gone")
    found = await find(open_any, tmp_path, "nobody@firma.example", anchors=(gone, "not-an-anchor", "*"))
    assert (found.entries, found.unread) == ((), "")


@pytest.mark.parametrize(
    "reference",
    [
        "Design",
        f"CN=design , ou=groups,{company.SUFFIX.upper()}",
        f"anchor:{company.anchor(company.group_dn('design'))}",
    ],
)
async def test_p6_groups_however_they_are_named(
    reference: str, open_any: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    reference = directory_words.of(open_any).reference(reference)
    found = await find(open_any, tmp_path, firm.people[2].mail, groups=(reference, "no such group"))
    assert dict(found.entries[0].groups) == {reference: ("design",)}


async def test_p6_a_group_elsewhere_is_read_downward(open_tree: OpenSource, firm: company.Firm, tmp_path: Path) -> None:
    reference = company.group_dn("build")
    found = await find(open_tree, tmp_path, firm.people[20].mail, groups=(reference,), groups_base="")
    assert dict(found.entries[0].groups) == {reference: ("build", "site", "crane")}
    assert (await find(open_tree, tmp_path, firm.people[2].mail, groups=(reference,), groups_base="")).entries[
        0
    ].groups == {}


# What directory servers do


async def test_p6_a_name_without_a_groups_base_is_not_told(
    open_server: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    found = await find(open_server, tmp_path, firm.people[2].mail, groups=("design",), groups_base="")
    assert "groups_base is not set" in found.unread_groups["design"]


@pytest.fixture(params=["ldap", "samba"])
def open_server(request: pytest.FixtureRequest) -> OpenSource:
    return request.getfixturevalue(f"open_{request.param}")  # type: ignore[no-any-return]


async def test_p6_an_entry_outside_the_filter_is_named_and_is_nobody(
    open_server: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    human = firm.people[17]
    found = await find(open_server, tmp_path, human.mail, people_filter="(sn=nobody)")
    assert found.entries == ()
    assert [name.lower().partition("=")[2] for name in found.outside] == [human.dn.lower().partition("=")[2]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # ldap3 forgets a refused socket
async def test_p6_a_directory_that_cannot_be_asked_says_why(
    open_server: OpenSource, firm: company.Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = f"ldaps://localhost:{free_port()}"
    found = await find(open_server, tmp_path, firm.people[5].mail, servers=[nowhere])
    assert nowhere in found.unread
    monkeypatch.setenv("READER_PASSWORD", "wrong")
    found = await find(open_server, tmp_path, firm.people[5].mail)
    assert "result 49" in found.unread
    monkeypatch.delenv("READER_PASSWORD")
    assert "READER_PASSWORD" in (await find(open_server, tmp_path, firm.people[5].mail)).unread


async def test_p6_the_next_server_is_asked(open_ldap: OpenSource, server: slapd.Slapd, firm: company.Firm,
                                           tmp_path: Path) -> None:  # fmt: skip
    nowhere = f"ldaps://localhost:{free_port()}"
    found = await find(open_ldap, tmp_path, firm.people[5].mail, servers=[nowhere, server.tls_url])
    assert len(found.entries) == 1
    assert found.server == server.tls_url


async def test_p6_a_base_that_is_not_there_is_no_answer(
    open_ldap: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    found = await find(open_ldap, tmp_path, firm.people[5].mail, people_base=f"ou=Nowhere,{company.SUFFIX}")
    assert "result 32" in found.unread


async def test_p6_a_name_two_groups_have_is_not_told(open_samba: OpenSource, controller: samba.DomainController,
                                                     firm: company.Firm, tmp_path: Path) -> None:  # fmt: skip
    unit = f"ou=Twice,{company.GROUPS}"
    with controller.administrator() as administrator:
        administrator.add(unit, "organizationalUnit")
        administrator.add(f"cn=design,{unit}", "group", {"sAMAccountName": "twice"})
        try:
            found = await find(open_samba, tmp_path, firm.people[2].mail, groups=("design",))
        finally:
            administrator.delete(f"cn=design,{unit}")
            administrator.delete(unit)
    assert "2 groups have this name" in found.unread_groups["design"]


async def test_p6_the_primary_group_reaches_whom_it_does_not_list(
    open_samba: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    users = f"CN=Domain Users,CN=Users,{company.SUFFIX}"
    found = await find(open_samba, tmp_path, firm.people[5].mail, groups=(users,))
    assert found.entries[0].groups == {users: ("Domain Users",)}
    assert not {"primarygroupid", "objectsid"} & found.entries[0].entry.attributes.keys()


async def test_p6_no_controller_no_answer(open_samba: OpenSource, server: slapd.Slapd, firm: company.Firm,
                                          tmp_path: Path) -> None:  # fmt: skip
    found = await find(open_samba, tmp_path, firm.people[5].mail, servers=[server.tls_url], tls_ca=str(server.ca))
    assert "not an Active Directory domain controller" in found.unread


# What SCIM providers do


@contextlib.asynccontextmanager
async def provider(firm: company.Firm, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScimServer]:
    monkeypatch.setenv("SCIM_TOKEN", "scim-reader-token")
    async with serving(of_firm(firm)) as running:
        yield running


async def ask(
    running: ScimServer, folder: Path, *mails: str, anchors: tuple[str, ...] = (), **overrides: Any
) -> Finding:
    from connector.directory.scim.settings import ScimSettings

    values = {
        "id": "corp",
        "url": running.url,
        "plaintext": True,
        "token": "env:SCIM_TOKEN",
        "attempts": 1,
        **overrides,
    }
    opened = open_finder(ScimSettings.model_validate(values), folder=folder)
    try:
        return await opened.find(FindRequest(mails, anchors, ALL_GROUPS, timedelta(seconds=30)), now=NOW)
    finally:
        await opened.close()


@pytest.mark.parametrize(
    ("ways", "settings", "listed"),
    [
        ({}, {}, False),
        ({"filters": frozenset()}, {}, True),
        ({"ignores_filters": True}, {}, True),
        ({"hide_members": True, "user_groups": True}, {}, False),
        ({"shape": "entra"}, {"profile": "entra"}, False),
        ({"shape": "aws"}, {"profile": "aws", "membership": "filter"}, False),
    ],
)
async def test_p6_a_provider_is_asked_as_far_as_it_can(
    ways: dict[str, Any], settings: dict[str, Any], listed: bool, firm: company.Firm, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    async with provider(firm, monkeypatch) as running:
        for name, value in ways.items():
            setattr(running.behaviour, name, value)
        found = await ask(running, tmp_path, firm.people[2].mail, **settings)
        assert [item.entry.anchor for item in found.entries] == [firm.people[2].anchor]
        assert found.entries[0].groups["design"] == ("design",)
        seen = [query for kind, query in running.seen if kind == "Users"]
        assert any("filter" not in query for query in seen) is listed


async def test_p6_a_user_filter_of_the_settings_counts(
    firm: company.Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider(firm, monkeypatch) as running:
        chosen = {"users_filter": f'userName eq "{firm.people[2].uid}"'}
        assert len((await ask(running, tmp_path, firm.people[2].mail, **chosen)).entries) == 1
        assert (await ask(running, tmp_path, firm.people[3].mail, **chosen)).entries == ()


async def test_p6_a_provider_that_does_not_answer_says_why(
    firm: company.Firm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with provider(firm, monkeypatch) as running:
        monkeypatch.setenv("SCIM_TOKEN", "wrong")
        assert "answers 401" in (await ask(running, tmp_path, firm.people[2].mail)).unread
    monkeypatch.setenv("SCIM_TOKEN", "scim-reader-token")
    found = await ask(running, tmp_path, firm.people[2].mail)
    assert "cannot connect" in found.unread


async def test_p6_an_export_that_was_cut_off_says_so_for_whom_it_does_not_show(
    open_ldif: OpenSource, firm: company.Firm, tmp_path: Path
) -> None:
    file = tmp_path / "firm.ldif"
    file.write_text(file.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    found = await find(open_ldif, tmp_path, firm.people[2].mail)
    assert len(found.entries) == 1
    assert found.unread_groups["design"]
    assert (await find(open_ldif, tmp_path, "nobody@firma.example")).unread


@pytest.mark.parametrize("text", ["a*b", "(x)", "\\", "żółć", "nul\0", "a&b|c!d"])
def test_p6_a_value_in_a_filter_is_only_a_value(text: str) -> None:
    written = escaped(text)
    assert not set("*()\0&|!") & set(written)
    assert bytes.fromhex("".join(f"{ord(c):02x}" if len(c) == 1 else c[1:] for c in _units(written))) == text.encode()


def _units(written: str) -> Iterator[str]:
    at = 0
    while at < len(written):
        size = 3 if written[at] == "\\" else 1
        yield written[at : at + size]
        at += size


def test_p6_anchors_are_written_as_the_server_holds_them() -> None:
    text = "0b5e1a52-0f6c-4d3f-9a37-6a2a64a1d6c1"
    assert list(anchor_values("objectGUID", text)) == [
        "\\52\\1a\\5e\\0b\\6c\\0f\\3f\\4d\\9a\\37\\6a\\2a\\64\\a1\\d6\\c1"
    ]
    assert list(anchor_values("objectGUID", "no guid")) == []
    assert list(anchor_values("entryUUID", text)) == [text]
    assert list(anchor_values("nsUniqueId", "00ff")) == ["00ff", "\\00\\ff"]
