"""Entries that a reading leaves out, asked for by anchor alone (E1): a real slapd and a real SCIM provider."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from aiohttp import web

from connector.directory.base import Source
from connector.directory.changes import Traced, Tracer, TraceRequest
from connector.directory.ldap.follow.lookups import AT_ONCE
from connector.directory.mapping import AttributeRules, map_entry
from connector.directory.names import dn_key
from connector.directory.scim.settings import ScimSettings
from connector.directory.sources import open_source
from tests.contract.directory.conftest import OpenSource
from tests.parts import company, scim_server, slapd
from tests.parts.ports import free_port
from tests.parts.proxy import Fault, between
from tests.parts.scim_server import ScimServer, identifier
from tests.parts.tamper import lying

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ASKED = ("mail", "employeetype", "pwdaccountlockedtime", "shadowexpire")
SEARCH_DONE = 0x65
STRANGER = "0e2a1f4c-90c1-4a6e-8a55-2d3c0b6e1f00"


async def trace(source: Source, *anchors: str, attributes: tuple[str, ...] = ASKED, seconds: float = 20) -> Traced:
    assert isinstance(source, Tracer)
    try:
        return await source.trace(TraceRequest(anchors, attributes, timedelta(seconds=seconds)), now=NOW)
    finally:
        await source.close()


async def test_e1_entries_beside_the_filter_and_outside_the_base_are_found(
    open_ldap: OpenSource, firm: company.Firm
) -> None:
    left, locked, other = firm.people[12], firm.people[11], firm.people[0]
    elsewhere = {"people_base": company.GROUPS, "people_filter": "(objectClass=groupOfNames)"}
    for narrow in ({"people_filter": "(&(objectClass=inetOrgPerson)(!(employeeType=left)))"}, elsewhere):
        found = await trace(open_ldap(**narrow), left.anchor, locked.anchor, other.anchor, STRANGER)
        assert (found.unknown, found.deleted) == ("", frozenset())
        assert {anchor: dn_key(entry.dn) for anchor, entry in found.found.items()} == {
            human.anchor: dn_key(human.dn) for human in (left, locked, other)
        }
        assert found.found[left.anchor].attributes["employeetype"] == (b"left",)
        assert found.found[locked.anchor].attributes["pwdaccountlockedtime"] == (b"000001010000Z",)
        assert found.logins == {human.anchor: (human.uid,) for human in (left, locked, other)}


async def test_e1_many_are_asked_for_in_few_requests(
    open_ldap: OpenSource, server: slapd.Slapd, firm: company.Firm
) -> None:
    strangers = [f"0e2a1f4c-90c1-4a6e-8a55-{number:012x}" for number in range(2 * AT_ONCE)]
    results: list[int] = []

    def counted(operation: int, message: bytes) -> bytes:
        results.extend([operation] if operation == SEARCH_DONE else [])
        return message

    with lying(server.port, counted) as url:
        source = open_ldap(servers=[url], plaintext=True)
        found = await trace(source, *strangers, firm.people[0].anchor, "no anchor")
    assert list(found.found) == [firm.people[0].anchor]
    assert found.unknown == "'no anchor' is no entryUUID"
    assert len(results) == 4, "the root entry, and three filters in one place"


async def test_e1_an_anchor_that_people_write_names_nobody_for_sure(open_ldap: OpenSource, firm: company.Firm) -> None:
    found = await trace(open_ldap(anchor_attribute="employeeNumber"), firm.people[0].number)
    assert (dict(found.found), "no anchor that servers make" in found.unknown) == ({}, True)


async def test_e1_what_cannot_be_asked_is_unknown(
    open_ldap: OpenSource, server: slapd.Slapd, firm: company.Firm
) -> None:
    somebody = firm.people[0].anchor
    gone = await trace(open_ldap(servers=[f"ldap://127.0.0.1:{free_port()}"], plaintext=True), somebody)
    assert (dict(gone.found), "cannot connect" in gone.unknown) == ({}, True)
    for fault in (Fault("cut", 0, 3), Fault("code", 0, 51), Fault("code", 0, 50)):
        with between(server.port, fault) as proxy:
            broken = await trace(open_ldap(servers=[proxy.url], plaintext=True), somebody)
            assert broken.unknown, fault
    with between(server.port, Fault("stall", 0, 3)) as proxy:
        late = await trace(open_ldap(servers=[proxy.url], plaintext=True), somebody, seconds=1)
    assert (dict(late.found), "deadline" in late.unknown) == ({}, True)


async def test_e1_a_hidden_entry_is_not_found_and_nothing_is_proved(open_ldap: OpenSource, firm: company.Firm) -> None:
    hidden = [f'filter="(uid={firm.people[0].uid})" by * none']
    with slapd.running(firm.ldif(), extra=["overlay ppolicy"], access=hidden) as server:
        found = await trace(
            open_ldap(servers=[server.tls_url], tls_ca=str(server.ca)), firm.people[0].anchor, firm.people[1].anchor
        )
    assert (list(found.found), found.deleted, found.unknown) == ([firm.people[1].anchor], frozenset(), "")


@pytest.fixture
def provider() -> ScimServer:
    return scim_server.of_size(12)


def scim(server: ScimServer, **values: object) -> ScimSettings:
    settings = {"id": "corp", "url": server.url, "plaintext": True, "token": "env:SCIM_TOKEN", "attempts": 1}
    return ScimSettings.model_validate({**settings, "users_filter": "active eq true", **values})


async def test_e1_a_provider_says_of_single_users_what_its_filtered_list_leaves_out(
    provider: ScimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIM_TOKEN", scim_server.TOKEN)
    provider.behaviour.filters |= {"active"}
    provider.users[identifier(3)]["active"] = False
    async with scim_server.serving(provider) as server:
        settings = scim(server)
        rules = AttributeRules.from_settings(settings)
        source = open_source(settings, folder=Path())
        found = await trace(source, identifier(3), identifier(4), identifier(99), attributes=rules.requested)
        enabled = {anchor: map_entry(entry, rules).enabled for anchor, entry in found.found.items()}
        assert enabled == {identifier(3): False, identifier(4): True}
        assert (found.unknown, found.deleted) == ("", frozenset())
        assert server.requests == 3


@pytest.mark.parametrize(("status", "asked"), [(500, 3), (403, 3), (401, 1), (429, 1)])
async def test_e1_a_provider_that_does_not_answer_proves_nothing(
    provider: ScimServer, monkeypatch: pytest.MonkeyPatch, status: int, asked: int
) -> None:
    monkeypatch.setenv("SCIM_TOKEN", scim_server.TOKEN)

    async def refused(_request: web.Request) -> web.Response:
        provider.requests += 1
        return scim_server.error(status, "not now")

    monkeypatch.setattr(provider, "_one", refused)
    async with scim_server.serving(provider) as server:
        source = cast(Source, open_source(scim(server), folder=Path()))
        found = await trace(source, identifier(3), identifier(4), identifier(99))
    assert (dict(found.found), bool(found.unknown), provider.requests) == ({}, True, asked)
