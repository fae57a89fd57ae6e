"""The companies on each database, made once; copied for each schedule."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rosterd.settings import Settings
from tests.interleavings import making
from tests.interleavings.schedules import Made
from tests.parts.memory import make_folder
from tests.parts.postgres import PostgresServer


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return making.settings(tmp_path_factory.mktemp("etc") / "rosterd")


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder whose files are in memory, where the host has such a place."""
    folder = make_folder("rosterd-schedules-")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def on_sqlite(settings: Settings, sqlite_template: Path, memory: Path) -> Made:
    return making.on_sqlite(settings, sqlite_template, memory)


@pytest.fixture(scope="session")
def on_postgres(settings: Settings, postgres_server: PostgresServer, postgres_template: str, memory: Path) -> Made:
    return making.on_postgres(settings, postgres_server, postgres_template, memory)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What the product would log of what befalls it."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
