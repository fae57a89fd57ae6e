"""The revisions' sum is ``tables.py``, on both databases and for both stores; migrating is repeatable and raceable."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from ledger.errors import BadInput
from ledger.store import migrations, usage
from ledger.store.engine import Ledger, Store
from ledger.store.inbox import Inbox
from ledger.store.migrations import regenerate
from tests.parts.postgres import PostgresServer

STORES: list[type[Store]] = [Ledger, Inbox]
AGAIN = "tables.py and the revisions differ: run python -m ledger.store.migrations.regenerate (or write a revision)"


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two empty databases."""
    if request.param == "sqlite":
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
        yield f"sqlite:///{tmp_path / 'one'}", f"sqlite:///{tmp_path / 'two'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    urls = server.create_database(), server.create_database()
    yield urls
    for url in urls:
        server.drop_database(url)


def schema_of(connection: Connection) -> list[tuple[Any, ...]]:
    """Everything the database itself says about its tables and indexes, the revision table left out."""
    if connection.dialect.name == "sqlite":
        tables = [row[0] for row in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))]
        found: list[tuple[Any, ...]] = []
        for table in tables:
            columns = connection.execute(text(f'PRAGMA table_info("{table}")')).all()
            found += [(table, *row[1:]) for row in columns]
        found += [
            (row.tbl_name, row.name, " ".join(str(row.sql).replace('"', "").split()))
            for row in connection.execute(text("SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index'"))
        ]
    else:
        columns = connection.execute(
            text(
                "SELECT table_name, ordinal_position, column_name, data_type, collation_name, is_nullable,"
                " column_default, is_identity FROM information_schema.columns WHERE table_schema = current_schema()"
            )
        ).all()
        indexes = connection.execute(
            text("SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()")
        ).all()
        found = [tuple(row) for row in [*columns, *indexes]]
    return sorted((row for row in found if row[0] != "alembic_version"), key=repr)


async def created(store: Store, *, by_revisions: bool) -> list[tuple[Any, ...]]:
    async with store.unscoped_write() as connection:
        if store.dialect == "postgresql":
            await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {store.name}"))
        if by_revisions:
            await connection.run_sync(migrations.upgrade, store.name)
        else:
            await connection.run_sync(store.tables.create_all)
        return await connection.run_sync(schema_of)


@pytest.mark.parametrize("kind", STORES)
async def test_the_sum_of_the_revisions_is_tables_py(empty_urls: tuple[str, str], kind: type[Store]) -> None:
    stores = [kind.open(url) for url in empty_urls]
    try:
        wanted = await created(stores[0], by_revisions=False)
        found = await created(stores[1], by_revisions=True)
    finally:
        for store in stores:
            await store.close()
    assert len(wanted) > 10
    assert found == wanted, AGAIN


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.parametrize("frozen", [False, True])
async def test_migrating_twice_and_by_several_starters_at_once_is_safe(
    empty_urls: tuple[str, str], kind: type[Store], frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "FROZEN", frozen)
    starters = [kind.open(empty_urls[0]) for _ in range(4)]
    try:
        await asyncio.gather(*(starter.migrate() for starter in starters))
        await starters[0].migrate()
        async with starters[1].unscoped_read() as connection:
            schema = await connection.run_sync(schema_of)
    finally:
        for starter in starters:
            await starter.close()
    assert len(schema) > 10


async def test_the_stores_of_one_url_are_apart(empty_urls: tuple[str, str]) -> None:
    ledger, inbox = Ledger.open(empty_urls[0]), Inbox.open(empty_urls[0])
    try:
        await asyncio.gather(ledger.migrate(), inbox.migrate())
        names = []
        for store in (ledger, inbox):
            async with store.unscoped_read() as connection:
                names.append({row[0] for row in await connection.run_sync(schema_of)})
    finally:
        await ledger.close()
        await inbox.close()
    own = ("resource", "mail", "member", "left", "deleted", "write", "time")
    assert names[1] == {f"inbox_{name}" for name in own}
    assert not names[0] & names[1]


@pytest.mark.parametrize("kind", STORES)
async def test_a_store_that_a_newer_version_has_migrated_is_refused_untouched(
    empty_urls: tuple[str, str], kind: type[Store]
) -> None:
    store = kind.open(empty_urls[0])
    await store.migrate()
    async with store.unscoped_write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BadInput) as refused:
        await store.migrate()
    assert f"the {kind.name} is at revision 9999, which this version does not know" in refused.value.what
    assert "restore the backup" in refused.value.next_step
    assert empty_urls[0].rpartition("/")[2] in refused.value.where
    async with store.unscoped_write() as connection:
        assert (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar() == "9999"
    await store.close()


def test_every_revision_has_one_head_and_the_first_is_what_would_be_generated_now() -> None:
    for kind in STORES:
        assert migrations.script_of(kind.name).get_heads() == ["0001"] or migrations.FROZEN
        if not migrations.FROZEN:
            path = Path(migrations.__file__).parent / "versions" / kind.name / "0001_first.py"
            assert _bare(path.read_text(encoding="utf-8")) == _bare(regenerate.source(kind.name)), AGAIN


def _bare(source: str) -> str:
    return "".join(source.replace("'", '"').split()).replace(",)", ")").replace(",]", "]")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
async def test_tokens_that_were_staged_before_0014_are_the_same_after(
    dialect: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    server = None if dialect == "sqlite" else request.getfixturevalue("postgres_server")
    url = server.create_database() if server else f"sqlite:///{tmp_path}"
    ledger = Ledger.open(url)
    async with ledger.unscoped_write() as connection:
        if server:
            await connection.execute(text("CREATE SCHEMA IF NOT EXISTS ledger"))
        await connection.run_sync(migrations.upgrade, "ledger", "0013")
        insert = text(
            "INSERT INTO usage_event VALUES"
            " ('acme', :id, '2026-03-01', 'anna', 'CAD', '', 'flex', :tokens, 'observed', 'b')"
        )
        for event, tokens in (("one", 10**9), ("none", None)):
            await connection.execute(insert, {"id": event, "tokens": tokens})
    await ledger.migrate()
    async with ledger.read("acme") as reader:
        assert {key: row[6] for key, row in (await usage.staged_events(reader, ["one", "none"])).items()} == {
            "one": 10**9,
            "none": None,
        }
    await ledger.close()
    if server:
        server.drop_database(url)
