"""What is particular to the inbox as a source (G6, D3, S-R6); the rest it promises like every other source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from connector.directory.base import Reading, ReadRequest
from connector.directory.scim.inbox import PEOPLE_SCOPE, Mailbox, ScimInboxSource
from connector.directory.scim.settings import ScimInboxSettings
from ledger.store.inbox import Inbox
from tests.parts.pushing import Provider

NOW = datetime(2026, 3, 1, tzinfo=UTC)
REQUEST = ReadRequest(("cad",), ("emails.primary", "active"))


@pytest.fixture
async def store(ledger_url: str) -> AsyncIterator[Inbox]:
    opened = Inbox.open(ledger_url, busy_seconds=0.5)
    await opened.migrate()
    yield opened
    await opened.close()


def source(store: Inbox, organization: str = "acme", directory: str = "okta") -> ScimInboxSource:
    return ScimInboxSource(ScimInboxSettings(id=directory), Mailbox(store, organization))


async def read(store: Inbox, organization: str = "acme", directory: str = "okta") -> Reading:
    return await source(store, organization, directory).read(REQUEST, now=NOW)


async def test_d1_an_inbox_that_nobody_pushed_to_is_unknown(store: Inbox) -> None:
    reading = await read(store)
    assert {scope.reason for scope in reading.scopes.values()} == {"nobody was pushed to the inbox yet"}
    assert set(reading.scopes) == {PEOPLE_SCOPE, "group:cad"}
    assert not any(scope.complete or scope.missing for scope in reading.scopes.values())
    [line] = (await source(store).check(REQUEST)).lines
    assert (line.ok, "--directory okta" in line.fix) == (False, True)


async def test_d3_a_deletion_is_a_tombstone_and_a_lost_row_is_not(store: Inbox) -> None:
    provider = Provider(store, "acme", "okta")
    await provider.hire("anna", "bo", "cy", group="cad")
    await provider.delete("anna")
    await provider.lose("bo")
    reading = await read(store)
    assert set(reading.people) == {"u-cy"}
    assert reading.groups["cad"].members == {"u-cy"}
    assert (reading.tombstones, reading.deletions_told) == ({"u-anna"}, True)


async def test_s_r6_a_connection_shows_only_what_was_pushed_to_it(store: Inbox) -> None:
    await Provider(store, "acme", "okta").hire("anna", group="cad")
    await Provider(store, "acme", "entra").hire("bo", group="cad")
    await Provider(store, "globex", "okta").hire("cy", group="cad")
    assert set((await read(store)).people) == {"u-anna"}
    assert set((await read(store, directory="entra")).people) == {"u-bo"}
    assert (await read(store, "globex")).groups["cad"].members == {"u-cy"}


async def test_d7_inactive_is_there_and_disabled(store: Inbox) -> None:
    provider = Provider(store, "acme", "okta")
    await provider.hire("anna", group="cad")
    await provider.deactivate("anna")
    reading = await read(store)
    assert reading.people["u-anna"].attributes["active"] == [b"false"]
    assert reading.people_complete


async def test_d1_a_store_that_does_not_answer_is_unknown(store: Inbox) -> None:
    await Provider(store, "acme", "okta").hire("anna")
    async with store.unscoped_write() as connection:
        await connection.exec_driver_sql("DROP TABLE inbox_member")
    reading = await read(store)
    assert not reading.people_complete
    assert "refuses a statement" in reading.scopes["group:cad"].reason
    [line] = (await source(store).check(REQUEST)).lines
    assert not line.ok
