"""What goes wrong on the way to a directory server: which scopes are unknown then, and why (D1, D2, D4, D12)."""

from __future__ import annotations

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from connector.directory.base import Reading, ReadRequest
from connector.directory.mapping import AttributeRules
from connector.directory.settings import LdapSettings
from tests.contract.directory.conftest import OpenSource
from tests.parts import company, slapd
from tests.parts.ports import free_port
from tests.parts.proxy import Fault, between

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PEOPLE_SCOPE = f"people:{company.PEOPLE}"
REQUESTED = ("mail", "givenname", "sn", "displayname", "employeenumber")
PAGES = 6
"""40 people, pages of seven."""


async def read(open_ldap: OpenSource, *groups: str, deadline: timedelta | None = None, **overrides: object) -> Reading:
    source = open_ldap(**overrides)
    try:
        request = ReadRequest(groups, REQUESTED, deadline or timedelta(minutes=1))
        return await source.read(request, now=NOW)
    finally:
        await source.close()


def unknown(reading: Reading) -> dict[str, str]:
    return {name: scope.reason for name, scope in reading.scopes.items() if not scope.complete}


@pytest.mark.parametrize("limit", ["size.soft=15 size.hard=15", "size.unchecked=10"])
async def test_d1_a_size_limit_is_unknown(open_ldap: OpenSource, firm: company.Firm, limit: str) -> None:
    with slapd.running(firm.ldif(), limits=[f"users {limit}"]) as server:
        reading = await read(open_ldap, "design", servers=[server.tls_url], tls_ca=str(server.ca))
    reason = unknown(reading)[PEOPLE_SCOPE]
    assert "size limit exceeded" in reason or "administrative limit exceeded" in reason
    assert not reading.people_complete


@pytest.mark.parametrize("total", [7, 14, 20, 39])
async def test_d1_a_total_limit_midway_is_unknown_and_keeps_what_came(
    open_ldap: OpenSource, firm: company.Firm, total: int
) -> None:
    with slapd.running(firm.ldif(), limits=[f"users size.prtotal={total}"]) as server:
        reading = await read(open_ldap, "design", servers=[server.tls_url], tls_ca=str(server.ca))
    assert list(unknown(reading)) == [PEOPLE_SCOPE, "group:design"][: 1 if total >= 8 else 2]
    scope = reading.scopes[PEOPLE_SCOPE]
    assert scope.codes[-1] in {4, 11}
    assert set(scope.codes[:-1]) <= {0}
    assert f"page {scope.pages}: result {scope.codes[-1]}" in scope.reason
    assert scope.entries == len(reading.people) < 40


@pytest.mark.parametrize("page", range(1, PAGES + 1))
@pytest.mark.parametrize("more", [0, 9, 300])
@pytest.mark.parametrize("kind", ["cut", "half-close", "corrupt"])
async def test_d1_a_break_at_every_page(
    open_ldap: OpenSource, server: slapd.Slapd, page: int, more: int, kind: str
) -> None:
    with between(server.port, Fault(kind, page - 1, more)) as proxy:  # type: ignore[arg-type]
        reading = await read(open_ldap, servers=[proxy.url], plaintext=True)
    assert list(unknown(reading)) == [PEOPLE_SCOPE]
    scope = reading.scopes[PEOPLE_SCOPE]
    assert scope.codes == (0,) * (page - 1)
    assert scope.reason.startswith(f"page {page}: ")
    words = ["closed the connection", "broke off", "could not be sent", *(["not LDAP"] if kind == "corrupt" else [])]
    assert any(word in scope.reason for word in words), scope.reason
    assert 7 * (page - 1) <= len(reading.people) < 40


@pytest.mark.parametrize("results", range(3))
async def test_d1_a_break_in_the_groups_makes_groups_and_people_unknown(
    open_ldap: OpenSource, server: slapd.Slapd, results: int
) -> None:
    with between(server.port, Fault("cut", results, 20)) as proxy:
        reading = await read(open_ldap, "design", "build", servers=[proxy.url], plaintext=True)
    assert PEOPLE_SCOPE in unknown(reading)
    assert "not read: page" in unknown(reading)[PEOPLE_SCOPE]
    assert "group:build" in unknown(reading)
    assert "build" not in reading.groups


async def test_d4_a_reading_that_broke_off_is_begun_again(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    with between(server.port, Fault("cut", 3, 50, connections=2)) as proxy:
        reading = await read(open_ldap, "design", servers=[proxy.url], plaintext=True, attempts=3)
    assert unknown(reading) == {}
    assert proxy.connections == 3
    assert len(reading.people) == 40


async def test_d12_the_next_server_is_used_and_the_reading_stays_on_it(
    open_ldap: OpenSource, server: slapd.Slapd
) -> None:
    dead = f"ldap://127.0.0.1:{free_port()}"
    reading = await read(open_ldap, "design", servers=[dead, server.tls_url])
    assert unknown(reading) == {}
    assert {scope.server for scope in reading.scopes.values()} == {server.tls_url}


async def test_d4_after_a_break_the_next_server_is_read_from_its_beginning(
    open_ldap: OpenSource, server: slapd.Slapd
) -> None:
    with between(server.port, Fault("cut", 2, 5)) as proxy:
        reading = await read(
            open_ldap, "design", servers=[proxy.url, server.url], plaintext=True, attempts=2
        )  # fmt: skip
    assert unknown(reading) == {}
    assert proxy.connections == 1
    assert {scope.server for scope in reading.scopes.values()} == {server.url}


async def test_d12_an_unreachable_server_is_unknown(open_ldap: OpenSource) -> None:
    url = f"ldaps://127.0.0.1:{free_port()}"
    reading = await read(open_ldap, "design", servers=[url], attempts=2, sentinels=[company.READER])
    assert set(unknown(reading)) == {PEOPLE_SCOPE, "group:design"}
    assert all(reason.startswith(f"{url}: cannot connect") for reason in unknown(reading).values())
    assert reading.people == {}
    assert reading.sentinels_missing == {company.READER}


async def test_d12_a_wrong_password_is_unknown_and_tried_once(
    open_ldap: OpenSource, server: slapd.Slapd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("READER_PASSWORD", "wrong-password")
    with between(server.port) as proxy:
        urls = [proxy.url, proxy.url]
        reading = await read(open_ldap, "design", servers=urls, plaintext=True, attempts=3)
    assert set(unknown(reading)) == {PEOPLE_SCOPE, "group:design"}
    assert all("bind failed: result 49 (invalid credentials" in reason for reason in unknown(reading).values())
    assert "wrong-password" not in repr(reading)
    assert proxy.connections == 1


async def test_d12_a_secret_that_is_not_set_is_unknown(open_ldap: OpenSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("READER_PASSWORD")
    reading = await read(open_ldap)
    assert (
        "secret env:READER_PASSWORD: the environment variable READER_PASSWORD is not set"
        in unknown(reading)[PEOPLE_SCOPE]
    )


@pytest.mark.parametrize("start_tls", [False, True])
async def test_d12_an_untrusted_certificate_is_unknown(
    open_ldap: OpenSource, server: slapd.Slapd, start_tls: bool
) -> None:
    url = server.url if start_tls else server.tls_url
    reading = await read(open_ldap, servers=[url], tls_ca="")
    assert "certificate is not trusted" in unknown(reading)[PEOPLE_SCOPE]
    assert (await read(open_ldap, servers=[url], tls_ca="", tls_verify=False)).people_complete


@pytest.mark.parametrize("start_tls", [False, True])
async def test_d12_a_certificate_for_another_name_is_unknown(
    open_ldap: OpenSource, server: slapd.Slapd, start_tls: bool
) -> None:
    url = server.url if start_tls else server.tls_url
    reading = await read(open_ldap, servers=[url], tls_name="ldap.acme.example")
    assert "certificate is not trusted" in unknown(reading)[PEOPLE_SCOPE]
    assert (await read(open_ldap, servers=[url], tls_name="localhost")).people_complete


async def test_d12_ldapi_with_external(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    reading = await read(
        open_ldap, "design", servers=[server.socket_url], bind="external", bind_dn="", bind_password=None
    )
    assert unknown(reading) == {}


async def test_d12_anonymous_only_when_asked(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    with pytest.raises(ValueError, match="needs bind_dn and bind_password"):
        open_ldap(bind_dn="", bind_password=None)
    reading = await read(open_ldap, bind="anonymous", bind_dn="", bind_password=None)
    assert reading.people_complete


async def test_d12_a_referral_is_reported_and_never_followed(open_ldap: OpenSource, firm: company.Firm) -> None:
    with between(1) as elsewhere:
        reference = company.record(
            [
                ("dn", f"ou=branch,{company.PEOPLE}"),
                ("objectClass", "referral"),
                ("objectClass", "extensibleObject"),
                ("ou", "branch"),
                ("ref", f"{elsewhere.url}/ou=branch,{company.PEOPLE}"),
            ]
        )
        with slapd.running(f"{firm.ldif()}\n{reference}") as server:
            reading = await read(open_ldap, "design", servers=[server.tls_url], tls_ca=str(server.ca))
        assert elsewhere.connections == 0
    assert list(unknown(reading)) == [PEOPLE_SCOPE]
    assert f"1 referral not followed ({elsewhere.url}" in unknown(reading)[PEOPLE_SCOPE]


async def test_d12_a_referral_instead_of_an_answer(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    reading = await read(open_ldap, people_base="dc=elsewhere,dc=example", groups_base="")
    reason = unknown(reading)["people:dc=elsewhere,dc=example"]
    assert "no such base" in reason or "referral" in reason


async def test_d1_a_base_that_does_not_exist_is_unknown(open_ldap: OpenSource) -> None:
    base = f"ou=Nobody,{company.SUFFIX}"
    reading = await read(open_ldap, "design", people_base=base)
    assert "no such base" in unknown(reading)[f"people:{base}"]
    reading = await read(open_ldap, "design", groups_base=base)
    assert "no such base" in unknown(reading)["group:design"]
    assert not reading.scopes["group:design"].missing


async def test_d1_a_filter_that_matches_nobody_is_unknown(open_ldap: OpenSource) -> None:
    reading = await read(open_ldap, people_filter="(objectClass=nonsense)")
    assert "no entry is a person" in unknown(reading)[PEOPLE_SCOPE]


async def test_d1_a_filter_that_is_none_is_unknown(open_ldap: OpenSource) -> None:
    reading = await read(open_ldap, people_filter="(objectClass=inetOrgPerson")
    assert "filter" in unknown(reading)[PEOPLE_SCOPE]


async def test_d1_members_hidden_by_an_acl_are_unknown_not_gone(open_ldap: OpenSource, firm: company.Firm) -> None:
    rules = ["attrs=member by * none"]
    with slapd.running(firm.ldif(), access=rules) as server:
        reading = await read(open_ldap, "design", "unix", servers=[server.tls_url], tls_ca=str(server.ca))
    assert list(unknown(reading)) == ["group:design"]
    assert "may not read its members" in unknown(reading)["group:design"]


async def test_d1_anchors_hidden_by_an_acl_are_unknown_not_gone(open_ldap: OpenSource, firm: company.Firm) -> None:
    rules = [f'dn.subtree="{company.PEOPLE}" attrs=entryUUID by * none']
    with slapd.running(firm.ldif(), access=rules) as server:
        reading = await read(open_ldap, servers=[server.tls_url], tls_ca=str(server.ca))
    assert "has no entryUUID (and 39 more)" in unknown(reading)[PEOPLE_SCOPE]
    assert reading.people == {}


@pytest.mark.parametrize("reference", ["cn=straße,{base}", "cn=strasse,{base}", "straße"])
async def test_d2_of_two_groups_that_only_the_server_tells_apart_neither_stands_for_the_other(
    open_ldap: OpenSource, firm: company.Firm, reference: str
) -> None:
    added = "".join(
        f"dn: cn={name},{company.GROUPS}\nchangetype: add\nobjectClass: groupOfNames\ncn: {name}\n"
        f"member: {human.dn}\n\n"
        for name, human in zip(("straße", "strasse"), firm.people, strict=False)
    )
    with slapd.running(firm.ldif()) as server:
        server.modify(added)
        named = reference.format(base=company.GROUPS)
        reading = await read(open_ldap, named, servers=[server.tls_url], tls_ca=str(server.ca))
    assert "rename one of them" in unknown(reading)[f"group:{named}"]
    assert reading.people_complete


async def test_d6_groups_without_a_groups_base_by_dn(open_ldap: OpenSource, firm: company.Firm) -> None:
    build = company.group_dn("build")
    reading = await read(open_ldap, build, "design", groups_base="")
    assert len(reading.groups[build].members) == 15
    assert list(unknown(reading)) == ["group:design"]
    assert "groups_base is not set" in unknown(reading)["group:design"]


async def test_d6_many_groups_are_swept_and_few_are_asked_for_with_the_same_result(open_ldap: OpenSource) -> None:
    names = ("design", "build", "site", "crane", "partners", "Żuraw, dźwig", "unix", "signers")
    padded = (*names, *(f"missing{number}" for number in range(40)))
    few, many = await read(open_ldap, *names), await read(open_ldap, *padded)
    assert few.groups == many.groups
    assert sum(scope.missing for scope in many.scopes.values()) == 40


async def test_d4_a_server_that_says_nothing_more_is_unknown_after_its_time(
    open_ldap: OpenSource, server: slapd.Slapd
) -> None:
    with between(server.port, Fault("stall", 2, 10)) as proxy:
        reading = await read(open_ldap, servers=[proxy.url], plaintext=True, page_timeout="1s")
    assert unknown(reading)[PEOPLE_SCOPE] == "page 3: timed out after 1 s"


async def test_d4_the_deadline_of_the_whole_reading_counts(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    with between(server.port, Fault("stall", 2, 10)) as proxy:
        reading = await read(
            open_ldap, servers=[proxy.url], plaintext=True, attempts=10, deadline=timedelta(seconds=0.4)
        )
    assert "deadline" in unknown(reading)[PEOPLE_SCOPE]


async def test_d12_a_server_that_never_answers_the_bind(open_ldap: OpenSource) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"ldap://127.0.0.1:{silent.getsockname()[1]}"
        reading = await read(open_ldap, servers=[url], plaintext=True, bind_timeout="1s")
    assert "cannot bind" in unknown(reading)[PEOPLE_SCOPE]


async def test_a_cancelled_reading_ends_its_thread(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    with between(server.port, Fault("stall", 1, 10)) as proxy:
        source = open_ldap(servers=[proxy.url], plaintext=True)
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        request = ReadRequest((), REQUESTED, progress=lambda *_: loop.call_soon_threadsafe(arrived.set))
        task = asyncio.create_task(source.read(request, now=NOW))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await source.close()


async def test_closing_a_source_ends_its_reading(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    with between(server.port, Fault("stall", 1, 10)) as proxy:
        source = open_ldap(servers=[proxy.url], plaintext=True, attempts=5)
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        request = ReadRequest((), REQUESTED, progress=lambda *_: loop.call_soon_threadsafe(arrived.set))
        task = asyncio.create_task(source.read(request, now=NOW))
        await arrived.wait()
        await source.close()
        assert unknown(await task)[PEOPLE_SCOPE] == "the reading was stopped"


async def test_check_names_the_fix_for_each_server(open_ldap: OpenSource, server: slapd.Slapd) -> None:
    dead = f"ldaps://127.0.0.1:{free_port()}"
    source = open_ldap(servers=[dead, server.tls_url])
    lines = (await source.check(ReadRequest(("design",), REQUESTED))).lines
    await source.close()
    assert not lines[0].ok
    assert lines[0].what.startswith(f"{dead}: cannot connect")
    assert lines[0].fix == "check the address, the firewall, and that the server runs"
    assert lines[1].ok
    assert "TLS, certificate verified" in lines[1].what
    source = open_ldap(tls_ca="")
    (line,) = (await source.check(ReadRequest((), REQUESTED))).lines
    await source.close()
    assert "tls_ca" in line.fix


def test_what_is_asked_for_is_what_the_rules_need(tmp_path: Path) -> None:
    settings = LdapSettings.model_validate(
        {
            "id": "corp",
            "servers": ["ldaps://x"],
            "bind_dn": "cn=r",
            "bind_password": "env:X",
            "people_base": "dc=x",
            "attributes": {"country": ["c"]},
            "disabled": {"dialects": ["nsAccountLock"]},
        }
    )
    assert AttributeRules.from_settings(settings).requested == (
        "mail", "givenname", "sn", "displayname", "cn", "employeenumber", "c", "nsaccountlock",
    )  # fmt: skip
