"""The inbox on both databases: its own store, beside the ledger, never waiting for it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects import sqlite

from ledger.book_time import HostTime, WrongClock
from ledger.errors import Stale
from ledger.store import inbox, migrations
from ledger.store.engine import Ledger
from ledger.store.inbox import Inbox
from ledger.store.tables import inbox as tables
from tests.parts.fences import ALONE


@pytest.fixture
async def box(ledger_url: str) -> AsyncIterator[Inbox]:
    opened = Inbox.open(ledger_url, busy_seconds=0.5)
    await opened.migrate()
    yield opened
    await opened.close()


async def pushed(box: Inbox, now: datetime, resource_id: str, key: str, connection: str = "okta") -> inbox.Resource:
    async with box.write("acme", at=now) as book:
        return await inbox.put(
            book, connection, "User", resource_id, external_id=f"X-{resource_id}", key=key, document={"userName": key}
        )


async def test_a_pushed_resource_is_found_by_id_name_and_external_id(box: Inbox, now: datetime) -> None:
    first = await pushed(box, now, "u1", "łódź@x.pl")
    await pushed(box, now, "u2", "ewa@x.pl")
    await pushed(box, now, "u1", "other@x.pl", "entra")
    async with box.read("acme") as reader:
        assert await inbox.get(reader, "okta", "User", "u1") == first
        assert await inbox.find(reader, "okta", "User", key="łódź@x.pl") == [first]
        assert await inbox.find(reader, "okta", "User", external_id="X-u1") == [first]
        assert await inbox.find(reader, "okta", "User", external_id="x-u1") == []
        assert [one.id for one in await inbox.page(reader, "okta", "User")] == ["u1", "u2"]
        assert [one.id for one in await inbox.page(reader, "okta", "User", after="u1", limit=1)] == ["u2"]
        assert await inbox.get(reader, "okta", "Group", "u1") is None
    async with box.read("globex") as reader:
        assert await inbox.page(reader, "okta", "User") == []


async def test_a_change_raises_the_version_and_keeps_the_birth(box: Inbox, now: datetime) -> None:
    old = await pushed(box, now, "u1", "ewa@x.pl")
    new = await pushed(box, now + timedelta(hours=1), "u1", "ewa.nowak@x.pl")
    assert (old.version, new.version, new.created_at, new.modified_at) == (1, 2, now, now + timedelta(hours=1))
    with pytest.raises(Stale):
        async with box.write("acme", at=now) as book:
            await inbox.remove(book, old)
    async with box.write("acme", at=now) as book:
        await inbox.remove(book, new)
        assert await inbox.get(book, "okta", "User", "u1") is None


async def test_who_waited_does_not_set_the_last_change_back(box: Inbox, now: datetime) -> None:
    later = await pushed(box, now + timedelta(seconds=5), "u1", "ewa@x.pl")
    waited = await pushed(box, now, "u1", "ewa.nowak@x.pl")
    assert (waited.version, waited.modified_at) == (2, later.modified_at)
    async with box.write("acme", at=now) as book:
        await inbox.touch(book, "okta", "User", ["u1", "u9"])
    async with box.read("acme") as reader:
        [touched] = await inbox.some(reader, "okta", "User", ["u1", "u9"])
        assert (touched.version, touched.modified_at) == (3, later.modified_at)
        assert (await inbox.count(reader, "okta", "User"), await inbox.count(reader, "okta", "Group")) == (1, 0)
    async with box.write("acme", at=now + timedelta(hours=1)) as book:
        await inbox.touch(book, "okta", "User", ["u1"])
    async with box.read("acme") as reader:
        [touched] = await inbox.part(reader, "okta", "User", skip=0, limit=5)
        assert (touched.version, touched.modified_at) == (4, now + timedelta(hours=1))
        assert await inbox.part(reader, "okta", "User", skip=1, limit=5) == []


async def test_a_push_does_not_wait_for_a_long_run(box: Inbox, ledger: Ledger, now: datetime) -> None:
    async with ledger.write("acme", ALONE, at=now):
        await pushed(box, now, "u1", "ewa@x.pl")
    async with box.read("acme") as reader:
        assert await inbox.get(reader, "okta", "User", "u1")


async def test_members_are_rows_and_a_deletion_is_remembered(box: Inbox, now: datetime) -> None:
    for name in ("u1", "u2"):
        await pushed(box, now, name, f"{name}@x.pl")
    async with box.write("acme", at=now) as book:
        await inbox.put(book, "okta", inbox.GROUP, "g1", external_id="", key="cad", document={"displayName": "CAD"})
        assert await inbox.add_members(book, "okta", "g1", ["u1", "u2", "u1"]) == {"u1", "u2"}
        assert await inbox.add_members(book, "okta", "g1", ["u1"]) == set()
        assert await inbox.remove_members(book, "okta", "g1", ["u2", "u9"]) == {"u2"}
        await inbox.add_members(book, "okta", "g1", ["u2"])
        assert await inbox.kinds(book, "okta", ["u1", "g1", "x"]) == {"u1": "User", "g1": "Group"}
    async with box.write("acme", at=now) as book:
        one = await inbox.get(book, "okta", inbox.USER, "u1")
        assert one is not None
        await inbox.remove(book, one)
        await inbox.note(book, inbox.Write("okta", "token:a", "r1", "delete", "User", "u1", {"active": [True, None]}))
    async with box.read("acme") as reader:
        assert await inbox.memberships(reader, "okta") == [("g1", "u2")]
        assert await inbox.members(reader, "okta", ["g1", "g2"]) == {"g1": ["u2"]}
        assert await inbox.groups_of(reader, "okta", ["u1", "u2"]) == {"u2": ["g1"]}
        assert await inbox.deleted(reader, "okta", inbox.USER) == {"u1"}
        assert await inbox.deleted(reader, "entra", inbox.USER) == set()
        [(at, write)] = await inbox.writes(reader, "okta")
        assert (at, write.verb, write.change) == (now, "delete", {"active": [True, None]})


async def test_s_r43_sqlite_finds_names_and_memberships_by_their_index(sqlite_url: str) -> None:
    box = Inbox.open(sqlite_url)
    await box.migrate()
    asked: list[Any] = []

    async def note(statement: Any, **_options: Any) -> list[Any]:
        asked.append(statement)
        return []

    async with box.read("acme") as reader:
        reader.tuples = note  # type: ignore[method-assign]
        await inbox.find(reader, "okta", "User", key="x")
        await inbox.find(reader, "okta", "User", external_id="x")
        await inbox.groups_of(reader, "okta", ["u1"])
        await inbox.kinds(reader, "okta", ["u1"])
        await inbox.with_mail(reader, "okta", "x")
    await box.close()
    with closing(sqlite3.connect(f"{sqlite_url.removeprefix('sqlite:///')}/inbox.db")) as connection:
        texts = [str(one.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})) for one in asked]
        plans = [connection.execute(f"EXPLAIN QUERY PLAN {text}").fetchone()[3] for text in texts]
    looked = ["key=?", "external_id=?", "member_id=?", "id=?", "mail=?"]
    assert [plan.rpartition(" AND ")[2].rstrip(")") for plan in plans] == looked


async def test_g6_who_was_taken_out_is_remembered_until_they_are_added_again(box: Inbox, now: datetime) -> None:
    for name in ("u1", "u2", "u3", "u4"):
        await pushed(box, now, name, f"{name}@x.pl")
    async with box.write("acme", at=now) as book:
        for name, members in {"g1": ["u1", "u2", "g2"], "g2": ["u3"]}.items():
            await inbox.put(book, "okta", inbox.GROUP, name, external_id="", key=name, document={"displayName": name})
            await inbox.add_members(book, "okta", name, members)
        assert await inbox.remove_members(book, "okta", "g1", ["u1", "u2", "u4", "nobody"]) == {"u1", "u2"}
        await inbox.add_members(book, "okta", "g1", ["u2"])
    async with box.read("acme") as reader:
        told = {("g1", "u1"), ("g1", "u4")}
        assert set(await inbox.left(reader, "okta")) == told, "u4 was not there: the push said so all the same"
        assert await inbox.left(reader, "entra") == []
        group = await inbox.get(reader, "okta", inbox.GROUP, "g2")
        assert group is not None
    async with box.write("acme", at=now) as book:
        await inbox.remove(book, group)
        assert set(await inbox.left(book, "okta")) == told | {("g1", "g2"), ("g2", "u3")}


async def test_g6_an_upgrade_takes_what_was_removed_from_the_record_of_pushes(box: Inbox, now: datetime) -> None:
    changes = [{"added": ["u1", "u2", "u3"]}, {"removed": ["u1", "u2"]}, {"added": ["u2"]}]
    for number, members in enumerate(changes):
        async with box.write("acme", at=now + timedelta(seconds=number)) as book:
            change = {"displayName": [None, "CAD"], "members": members}
            await inbox.note(book, inbox.Write("okta", "token:a", "r1", "patch", "Group", "g1", change))
    async with box.unscoped_write() as connection:
        for statement in (
            "DROP TABLE inbox_left",
            "DROP TABLE inbox_time",
            "DROP TABLE inbox_mail",
            "UPDATE alembic_version SET version_num = '0002'",
        ):
            await connection.exec_driver_sql(statement)
        async with migrations.turn():
            await connection.run_sync(migrations.upgrade, "inbox")
    async with box.read("acme") as reader:
        assert await inbox.left(reader, "okta") == [("g1", "u1")]


async def test_a_push_never_sets_the_inbox_s_time_back(
    box: Inbox, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [HostTime(now), HostTime(now - timedelta(minutes=1))]
    monkeypatch.setattr(box, "_clock", lambda: shown[0])
    first = await pushed(box, now, "u1", "ada")
    shown.pop(0)
    second = await pushed(box, now, "u2", "bo")
    assert second.modified_at > first.modified_at


async def test_a_push_by_a_clock_that_cannot_be_right_is_refused(
    box: Inbox, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    await pushed(box, now, "u1", "ada")
    monkeypatch.setattr(box, "_clock", lambda: HostTime(now - timedelta(hours=2)))
    with pytest.raises(WrongClock):
        await pushed(box, now, "u2", "bo")
    async with box.accept_clock("acme", at=now - timedelta(hours=2)):
        pass
    assert (await pushed(box, now, "u2", "bo")).modified_at > now


async def test_c13_an_upgrade_finds_who_was_pushed_before_by_their_mail(box: Inbox, now: datetime) -> None:
    """More people than one batch of the revision, as if the inbox had no index yet; then as pushes keep it."""
    mails = [[{"value": "Łoś@x.pl"}, {"value": "łoś@X.pl"}, {"type": "work"}], [{"value": "ł" * 9000}], None]
    names = [f"u{number:04}" for number in range(2100)]
    documents = [{"userName": name, "emails": mails[place % 3]} for place, name in enumerate(names)]
    same = {"connection_id": "okta", "kind": "User", "external_id": "", "key": "", "version": 1, "created_at": now}
    async with box.write("acme", at=now) as book:
        rows = list(zip(names, documents, [now] * len(names), strict=True))
        await book.insert(tables.inbox_resource, ("id", "document", "modified_at"), rows, same=same)
        await inbox.put(book, "okta", inbox.GROUP, "g", external_id="", key="g", document={"displayName": "g"})
    async with box.unscoped_write() as connection:
        await connection.exec_driver_sql("DROP TABLE inbox_mail")
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")
        async with migrations.turn():
            await connection.run_sync(migrations.upgrade, "inbox")
    async with box.write("acme", at=now) as book:
        assert await book.scalar(select(func.count()).select_from(tables.inbox_mail)) == 1400
        found = await inbox.with_mail(book, "okta", "ŁOŚ@x.pl")
        assert [one.id for one in found] == names[::3]
        assert await inbox.with_mail(book, "entra", "łoś@x.pl") == []
        await inbox.put(book, "okta", inbox.USER, "u0000", external_id="", key="", document={"userName": "u0000"})
        await inbox.remove(book, found[1])
        assert [one.id for one in await inbox.with_mail(book, "okta", "łoś@x.pl")] == names[6::3]
        assert [one.id for one in await inbox.with_mail(book, "okta", "ł" * 300)] == names[1::3]
