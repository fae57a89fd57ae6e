"""SCIM pull against providers that repeat, skip, lie, shrink and break (S-R61, S-R62, S-R63, D16).

Nothing here may ever give a complete scope with somebody missing. Real HTTP over loopback; not mocked: client, sockets.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from connector.directory.base import CheckLine, Reading, ReadRequest
from connector.directory.mapping import AttributeRules, Person, map_entry
from connector.directory.scim.settings import ScimSettings
from connector.directory.sources import open_source
from tests.parts import scim_server, slapd
from tests.parts.ports import free_port
from tests.parts.scim_server import ScimServer, error, identifier

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PEOPLE = "people:Users"
GROUPS = ("first", "second", "nobody")
SIZE = 40


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScimServer]:
    monkeypatch.setenv("SCIM_TOKEN", scim_server.TOKEN)
    async with scim_server.serving(scim_server.of_size(SIZE)) as running:
        yield running


def settings(server: ScimServer, **overrides: object) -> ScimSettings:
    values = {
        "id": "corp",
        "url": server.url,
        "plaintext": True,
        "token": "env:SCIM_TOKEN",
        "page_size": 10,
        "retry_wait": "0",
        **overrides,
    }
    return ScimSettings.model_validate(values)


async def read(
    server: ScimServer, *groups: str, deadline: timedelta = timedelta(seconds=30), **overrides: object
) -> Reading:
    chosen = settings(server, **overrides)
    rules = AttributeRules.from_settings(chosen)
    source = open_source(chosen, folder=Path())
    try:
        reading = await source.read(ReadRequest(groups, rules.requested, deadline), now=NOW)
    finally:
        await source.close()
    never_complete_and_short(server, reading)
    return reading


def never_complete_and_short(server: ScimServer, reading: Reading) -> None:
    """The one promise: whoever is in the provider is in a reading that calls itself complete."""
    if reading.people_complete:
        assert server.users.keys() <= reading.people.keys()
    for reference, view in reading.groups.items():
        group = next(group for group in server.groups.values() if group["displayName"] == reference)
        members = {item["value"] for item in group.get("members", ())}
        assert members & server.users.keys() <= view.members | view.unresolved


def unknown(reading: Reading, *words: str) -> None:
    """The people are unknown for a reason with these words; nothing proves an absence (S-R63)."""
    scope = reading.scopes[PEOPLE]
    assert not scope.complete
    assert not reading.people_complete
    assert not reading.tombstones
    for word in words:
        assert word in scope.reason, scope.reason


def on_page(kind: str, number: int, act: Callable[[], web.Response | None]) -> Callable[[str, int], Any]:
    """A hook that acts once, before that list answer."""
    return lambda asked, count: act() if (asked, count) == (kind, number) else None


def lost(server: ScimServer, *numbers: int) -> None:
    for number in numbers:
        del server.users[identifier(number)]


# What is whole is complete, in every way of paging.


@pytest.mark.parametrize("shape", ["index", "both", "cursor", "unpaged"])
@pytest.mark.parametrize("config", ["full", "none", "incomplete", "broken"])
async def test_d16_index_and_cursor_paging_are_chosen_by_what_the_provider_can(
    server: ScimServer, shape: str, config: str
) -> None:
    server.behaviour.shape, server.behaviour.config = shape, config
    reading = await read(server, *GROUPS)
    assert {name: scope.reason for name, scope in reading.scopes.items() if not scope.complete} == {}
    assert reading.people.keys() == server.users.keys()
    assert len(reading.groups["first"].members) == len(reading.groups["second"].members) == SIZE // 2
    assert reading.groups["nobody"].members == frozenset()
    by_cursor = any(query.get("cursor") for _, query in server.seen)
    assert by_cursor == (shape in {"both", "cursor"})


async def test_d16_pages_are_sorted_by_id_where_the_provider_sorts(server: ScimServer) -> None:
    assert (await read(server)).people_complete
    assert all(query["sortBy"] == "id" for _, query in server.seen if query["count"] != "0")
    server.seen.clear()
    server.behaviour.sort = False
    assert (await read(server)).people_complete
    assert not any("sortBy" in query for _, query in server.seen)


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 39, 40])
async def test_d16_every_length_of_list_is_read_whole(server: ScimServer, size: int) -> None:
    lost(server, *range(size, SIZE))
    reading = await read(server)
    assert reading.people_complete
    assert len(reading.people) == size


async def test_d3_an_empty_list_proves_nothing(server: ScimServer) -> None:
    lost(server, *range(SIZE))
    unknown(await read(server), "no users at all")


async def test_d16_tolerance_numbers_as_text_plain_json_and_no_totals(server: ScimServer) -> None:
    server.behaviour.total_text = True
    server.behaviour.content_type = "application/json"
    assert (await read(server, *GROUPS)).people_complete
    server.behaviour.no_total = True
    reading = await read(server)
    assert reading.people_complete
    assert reading.people.keys() == server.users.keys()


async def test_d7_active_false_is_disabled_and_not_absent(server: ScimServer) -> None:
    server.users[identifier(3)]["active"] = False
    server.users[identifier(4)]["active"] = "False"
    reading = await read(server)
    rules = AttributeRules.from_settings(settings(server))
    mapped = [map_entry(entry, rules) for entry in reading.people.values()]
    disabled = {person.anchor for person in mapped if isinstance(person, Person) and not person.enabled}
    assert disabled == {identifier(3), identifier(4)}


# The seven proofs (S-R61), each with a provider that breaks it.


async def test_s_r61_proof_1_a_total_that_changes_between_pages(server: ScimServer) -> None:
    def lie() -> None:
        server.behaviour.lie += 1

    server.behaviour.hook = lambda kind, number: lie() if kind == "Users" and number % 3 == 0 else None
    unknown(await read(server), "totalResults changed from 4", "(read 3 times)")


@pytest.mark.parametrize("lie", [-40, -30, -20, -1, 1, 100])
async def test_s_r61_proof_2_a_total_that_lies(server: ScimServer, lie: int) -> None:
    server.behaviour.lie = lie
    unknown(await read(server), f"totalResults says {SIZE + lie}", f"{SIZE} different ids")


async def test_s_r61_proof_2_somebody_is_skipped_and_still_counted(server: ScimServer) -> None:
    server.behaviour.hidden = {identifier(17)}
    reading = await read(server)
    unknown(reading, f"totalResults says {SIZE}")
    assert len(reading.people) == SIZE - 1  # whoever came is there: additions apply


async def test_s_r61_proof_2_a_resource_without_an_id(server: ScimServer) -> None:
    del server.users[identifier(5)]["id"]
    server.users[identifier(5)]["id"] = ""
    unknown(await read(server), "1 resource without an id")


async def test_s_r61_proof_3_the_same_page_again_and_again(server: ScimServer) -> None:
    server.behaviour.shape, server.behaviour.no_total = "unpaged", True
    unknown(await read(server), "came twice")


@pytest.mark.parametrize("total", [True, False])
async def test_s_r61_proof_3_a_list_in_another_order_at_each_request(server: ScimServer, total: bool) -> None:
    server.behaviour.shuffle, server.behaviour.sort = True, False
    server.behaviour.no_total = not total
    unknown(await read(server, page_size=7))


async def test_s_r61_proof_4_a_page_does_not_begin_where_the_last_one_ended(server: ScimServer) -> None:
    """One leaves before the place we are at, another comes: totals agree, page 1 too, and one was never seen."""

    def drift(kind: str, number: int) -> None:
        if kind == "Users" and number % 7 == 3:
            victim = sorted(server.users)[11]
            server.users[str(scim_server.uuid.UUID(int=(1 << 97) + number))] = server.users.pop(victim)
            for key, row in server.users.items():
                row["id"] = key

    server.behaviour.hook = drift
    unknown(await read(server, readings=1), "did not begin where the page before it ended")


async def test_s_r61_proof_4_drift_once_is_read_again(server: ScimServer) -> None:
    server.behaviour.hook = on_page("Users", 3, lambda: lost(server, 12))
    reading = await read(server)
    assert reading.people_complete
    assert reading.people.keys() == server.users.keys()


async def test_s_r61_proof_4_providers_that_round_start_index_need_two_passes(server: ScimServer) -> None:
    server.behaviour.page_numbers = True
    reading = await read(server)
    assert reading.people_complete
    assert reading.people.keys() == server.users.keys()
    starts = [query["startIndex"] for _, query in server.seen]
    assert starts.count("11") == starts.count("31") == 2


async def test_s_r61_proof_5_short_pages_are_legal_and_never_the_end(server: ScimServer) -> None:
    server.behaviour.most, server.behaviour.config = 3, "none"
    reading = await read(server)
    assert reading.people_complete
    assert reading.people.keys() == server.users.keys()
    server.behaviour.most = 1
    assert (await read(server)).people.keys() == server.users.keys()


async def test_s_r61_proof_6_page_one_changed_at_the_end(server: ScimServer) -> None:
    fresh = str(scim_server.uuid.UUID(int=1))

    def swap() -> None:
        lost(server, 0)
        server.users[fresh] = {**server.users[identifier(1)], "id": fresh}

    # The last list request before the closing ones: pages 1 to 4, and the empty one.
    server.behaviour.hook = on_page("Users", 6, swap)
    unknown(await read(server, readings=1), "page 1 was another at the end")


async def test_s_r61_proof_7_a_list_that_shrinks_while_it_is_read(server: ScimServer) -> None:
    server.behaviour.hook = on_page("Users", 3, lambda: lost(server, *range(10, SIZE)))
    unknown(await read(server), "shrank from 40 to 10")


async def test_s_r61_a_list_that_shrinks_page_by_page(server: ScimServer) -> None:
    def leave(kind: str, number: int) -> None:
        if kind == "Users" and len(server.users) > 1:
            lost(server, SIZE - len(server.users))

    server.behaviour.hook = leave
    unknown(await read(server))


# Cursors (RFC 9865).


@pytest.mark.parametrize("kind", ["expiredCursor", "invalidCursor"])
async def test_s_r61_an_expired_cursor_begins_the_reading_again(server: ScimServer, kind: str) -> None:
    server.behaviour.shape = "cursor"
    server.behaviour.hook = on_page("Users", 3, lambda: error(400, "too late", kind))
    reading = await read(server)
    assert reading.people_complete
    assert reading.people.keys() == server.users.keys()


async def test_s_r61_cursors_that_always_expire_end_as_unknown(server: ScimServer) -> None:
    server.behaviour.shape = "cursor"
    server.behaviour.hook = lambda kind, number: error(400, "x", "expiredCursor") if number % 3 == 0 else None
    unknown(await read(server), "page 3 of Users", "expiredCursor", "(read 3 times)")


async def test_s_r61_a_cursor_that_leads_in_a_circle(server: ScimServer) -> None:
    server.behaviour.shape = "cursor"
    same = scim_server.answer({"schemas": [scim_server.LIST], "Resources": [], "nextCursor": "c10"})
    server.behaviour.hook = lambda kind, number: (
        web.Response(body=same.body, content_type="application/json") if number > 2 else None
    )
    unknown(await read(server), "same cursor came twice")


# Requests that fail.


@pytest.mark.parametrize("page", [1, 2, 3, 4, 5, 6, 7])
async def test_s_r61_500_on_page_k(server: ScimServer, page: int) -> None:
    broken = on_page("Users", page, lambda: error(500, "row 17 is bad"))
    server.behaviour.hook = broken
    assert (await read(server)).people_complete  # once: tried again (D4)
    server.seen.clear()
    server.behaviour.hook = lambda kind, number: error(500, "bad row") if kind == "Users" and number >= page else None
    reading = await read(server, *GROUPS)
    unknown(reading, f"page {page} of Users", "answers 500 (bad row)")
    assert reading.group_complete("nobody")


async def test_s_r61_groups_that_cannot_be_read_leave_people_complete(server: ScimServer) -> None:
    server.behaviour.hook = lambda kind, number: error(403, "no right") if kind == "Groups" else None
    reading = await read(server, *GROUPS)
    assert reading.people_complete
    assert reading.groups == {}
    assert all("answers 403" in reading.scopes[f"group:{name}"].reason for name in GROUPS)
    assert not any(scope.missing for scope in reading.scopes.values())


async def test_d16_429_waits_as_long_as_retry_after_says(server: ScimServer) -> None:
    server.behaviour.hook = on_page("Users", 2, lambda: error(429, "slow down", Retry_After="0"))
    assert (await read(server, retry_wait="1h")).people_complete
    server.seen.clear()
    server.behaviour.hook = on_page("Users", 2, lambda: error(429, "slow down", Retry_After="3600"))
    unknown(await read(server), "answers 429 (slow down)", "wait of 3600 s")


async def test_d16_retry_after_may_be_a_date(server: ScimServer) -> None:
    dates = {"Date": "Sun, 01 Mar 2026 10:00:00 GMT", "Retry_After": "Sun, 01 Mar 2026 12:00:00 GMT"}
    server.behaviour.hook = on_page("Users", 2, lambda: error(503, "busy", **dates))
    unknown(await read(server), "answers 503", "wait of 7200 s")


async def test_d16_a_wrong_token_is_unknown_and_never_empty(
    server: ScimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCIM_TOKEN", "another-token")
    reading = await read(server, "first")
    unknown(reading, "answers 401")
    assert "another-token" not in reading.scopes[PEOPLE].reason
    assert not reading.group_complete("first")
    monkeypatch.delenv("SCIM_TOKEN")
    unknown(await read(server), "env:SCIM_TOKEN")


async def test_d16_redirects_lead_to_no_other_host(server: ScimServer) -> None:
    async with scim_server.serving(scim_server.of_size(3)) as other:
        moved = web.Response(status=307, headers={"Location": f"{other.url}/Users?count=10"})
        server.behaviour.hook = lambda kind, number: web.Response(status=307, headers=moved.headers)
        unknown(await read(server), "redirects to another host")
        assert other.requests == 0


async def test_d16_a_redirect_inside_the_host_is_followed(server: ScimServer) -> None:
    here = {"Location": "/scim/v2/Users?startIndex=1&count=10&sortBy=id"}
    server.behaviour.hook = on_page("Users", 1, lambda: web.Response(status=302, headers=here))
    assert (await read(server)).people_complete


@pytest.mark.parametrize("body", ["<html>Sign in</html>", "[1, 2]", '{"Resources": {}}', "{}", "[" * 100_000])
async def test_d16_an_answer_that_is_no_list_is_unknown(server: ScimServer, body: str) -> None:
    server.behaviour.hook = lambda kind, number: web.Response(text=body, content_type="text/html")
    reading = await read(server)
    unknown(reading, "page 1 of Users")
    assert reading.people == {}


async def test_d16_a_huge_body_is_not_read(server: ScimServer) -> None:
    for row in server.users.values():
        row["title"] = "x" * 1000
    unknown(await read(server, page_bytes=4096), "over 4096 bytes")


async def test_d12_nobody_listens_and_deadlines(server: ScimServer) -> None:
    unknown(await read(server, url=f"http://127.0.0.1:{free_port()}/scim", attempts=2), "cannot connect")
    unknown(await read(server, deadline=timedelta(0)), "deadline")


async def test_d12_certificates_are_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SCIM_TOKEN", scim_server.TOKEN)
    ours, other = slapd.Authority(tmp_path), slapd.Authority(tmp_path / "other")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(ours.certificate, ours.key)
    async with scim_server.serving(scim_server.of_size(SIZE), context) as server:
        unknown(await read(server, plaintext=False), "certificate")
        unknown(await read(server, plaintext=False, tls_ca=str(other.ca)), "certificate")
        assert server.requests == 0  # the token was not sent
        assert (await read(server, plaintext=False, tls_ca=str(ours.ca))).people_complete


async def test_d12_http_is_refused_unless_asked_for() -> None:
    with pytest.raises(ValueError, match="must begin with https"):
        ScimSettings.model_validate({"id": "corp", "url": "http://idp.example/scim"})


# Shapes of known providers (S-R62).


async def test_s_r62_entra_cursors_lower_case_and_no_totals(server: ScimServer) -> None:
    server.behaviour.shape, server.behaviour.config = "entra", "none"
    reading = await read(server, *GROUPS, profile="entra")
    assert reading.people_complete
    assert reading.people.keys() == server.users.keys()
    assert len(reading.groups["second"].members) == SIZE // 2
    assert {query["count"] for _, query in server.seen} == {"10"}


async def test_s_r62_aws_lists_groups_without_members_and_searches_show_them(server: ScimServer) -> None:
    server.behaviour.shape = "aws"
    reading = await read(server, *GROUPS, profile="aws", page_size=1000)
    assert {scope.reason for scope in reading.scopes.values()} == {""}
    assert len(reading.groups["first"].members) == SIZE // 2
    assert reading.groups["nobody"].members == frozenset()


async def test_s_r62_hidden_members_are_unknown_when_no_search_shows_them(server: ScimServer) -> None:
    server.behaviour.shape, server.behaviour.ignores_filters = "aws", True
    reading = await read(server, *GROUPS, profile="aws")
    assert reading.people_complete
    assert reading.groups == {}
    assert "ignores searches" in reading.scopes["group:first"].reason
    server.behaviour.shape, server.behaviour.hide_members = "index", True
    server.behaviour.ignores_filters = False
    for group in server.groups.values():
        group.pop("members", None)
    reading = await read(server, *GROUPS)
    assert "searches find nobody" in reading.scopes["group:first"].reason


async def test_s_r62_groups_of_users_show_membership_where_groups_hide_it(server: ScimServer) -> None:
    server.behaviour.hide_members = server.behaviour.user_groups = True
    reading = await read(server, *GROUPS)
    assert len(reading.groups["first"].members) == SIZE // 2
    server.behaviour.hidden = {identifier(1)}
    reading = await read(server, *GROUPS)
    assert "members are read from the users" in reading.scopes["group:first"].reason


async def test_s_r63_a_group_whose_members_users_deny_is_unknown_alone(server: ScimServer) -> None:
    server.behaviour.user_groups = True
    group = next(group for group in server.groups.values() if group["displayName"] == "first")
    members = group["members"]
    server.behaviour.hook = lambda kind, number: group.pop("members", None) and None if kind == "Groups" else None
    chosen = await read(server, "first", "second")
    group["members"] = members
    assert "users say that they are in it" in chosen.scopes["group:first"].reason
    assert chosen.group_complete("second")


async def test_d3_sentinels_by_id_or_name(server: ScimServer) -> None:
    reading = await read(server, "first", sentinels=["Users/P000003", f"Users/{identifier(4)}", "Groups/second"])
    assert reading.people_complete
    reading = await read(server, "first", sentinels=["Users/watch"])
    unknown(reading, "the sentinel Users/watch is not visible")
    assert reading.group_complete("first")
    reading = await read(server, "first", sentinels=["Groups/watch"])
    assert reading.groups == {}


async def test_d16_check_says_what_the_provider_can_and_how_to_mend_it(
    server: ScimServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = await check(server, "first", "painters")
    assert lines[1].what == "ServiceProviderConfig: cursors no, sorting yes"
    assert [line.what.partition(": ")[0] for line in lines if not line.ok] == ["group:painters"]
    server.behaviour.lie = 1
    lines = await check(server, "first")
    assert all(line.fix for line in lines if not line.ok)
    monkeypatch.setenv("SCIM_TOKEN", "another-token")
    (line,) = await check(server)
    assert "answers 401" in line.what
    assert "`token`" in line.fix


async def check(server: ScimServer, *groups: str) -> list[CheckLine]:
    chosen = settings(server)
    source = open_source(chosen, folder=Path())
    return list((await source.check(ReadRequest(groups, AttributeRules.from_settings(chosen).requested))).lines)
