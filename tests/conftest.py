"""What every test may ask for: a clock that stands still, and a migrated ledger on each database."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.store.engine import Ledger
from tests.parts.keycloak import Keycloak, shared_keycloak
from tests.parts.network import close_network
from tests.parts.postgres import PostgresServer
from tests.parts.shared import base_of

close_network()


@pytest.fixture
def now() -> datetime:
    """Monday 2 March 2026, 09:00 UTC."""
    return datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """This process's PostgreSQL, started when first asked for."""
    server = PostgresServer.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Keycloak]:
    """The run's one Keycloak, started when first asked for by any worker."""
    with shared_keycloak(base_of(tmp_path_factory, worker_id)) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the migrated SQLite files; copied per test."""
    folder = tmp_path_factory.mktemp("sqlite-template")
    _migrate(f"sqlite:///{folder}")
    return folder


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgresServer) -> str:
    """The name of a migrated PostgreSQL database; cloned per test."""
    url = postgres_server.create_database("rosterd_template")
    _migrate(url)
    return "rosterd_template"


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A migrated, empty SQLite ledger of this test alone."""
    folder = tmp_path / "ledger"
    shutil.copytree(sqlite_template, folder)
    return f"sqlite:///{folder}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """A migrated, empty PostgreSQL ledger of this test alone."""
    url = postgres_server.create_database(template=postgres_template)
    yield url
    postgres_server.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """A migrated, empty ledger; the test runs once on each database."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    """The opened ledger."""
    opened = Ledger.open(ledger_url)
    yield opened
    await opened.close()


def _migrate(url: str) -> None:
    async def run() -> None:
        opened = Ledger.open(url)
        await opened.migrate()
        await opened.close()

    # a thread of its own: pytest-asyncio keeps a loop for this one
    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(asyncio.run, run()).result()
