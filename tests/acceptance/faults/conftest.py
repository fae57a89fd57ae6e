"""A company with everything applied, copied per test; one healthy slapd per module."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from ledger.store.engine import Ledger
from tests.parts import company as slapd_company
from tests.parts import slapd
from tests.parts.reconciled_directory import COMPANY, PASSWORD, Reconciled, company, found


@pytest.fixture(autouse=True)
def _reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PASSWORD, slapd.SLAPPASSWD_FREE)
    monkeypatch.setattr(slapd_company, "SUFFIX", company.SUFFIX)


@pytest.fixture(scope="session")
def founded(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SQLite ledger of a company that was applied, and its export; made once, copied per test."""
    folder = tmp_path_factory.mktemp("founded")
    shutil.copytree(sqlite_template, folder / "ledger")

    async def make() -> None:
        ledger = Ledger.open(f"sqlite:///{folder / 'ledger'}")
        try:
            await found(ledger, folder)
        finally:
            await ledger.close()

    with ThreadPoolExecutor(max_workers=1) as pool:  # pytest-asyncio keeps a loop for this thread
        pool.submit(asyncio.run, make()).result()
    return folder


@pytest.fixture
async def reconciled(founded: Path, tmp_path: Path) -> AsyncIterator[Reconciled]:
    """The company after its first run, on SQLite."""
    folder = tmp_path / "company"
    shutil.copytree(founded, folder)
    ledger = Ledger.open(f"sqlite:///{folder / 'ledger'}")
    yield Reconciled(ledger, folder)
    await ledger.close()


@pytest.fixture(params=["sqlite", "postgresql"])
async def reconciled_anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Reconciled]:
    """The company after its first run, on each database."""
    folder = tmp_path / "company"
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("founded"), folder)
        ledger = Ledger.open(f"sqlite:///{folder / 'ledger'}")
    else:
        folder.mkdir()
        ledger = Ledger.open(request.getfixturevalue("postgres_url"))
    try:
        yield Reconciled(ledger, folder) if request.param == "sqlite" else await found(ledger, folder)
    finally:
        await ledger.close()


@pytest.fixture(scope="session")
def server() -> Iterator[slapd.Slapd]:
    """A healthy slapd with the whole company."""
    with ExitStack() as parts:
        with pytest.MonkeyPatch.context() as patch:  # only while it is configured: other rooms have another company
            patch.setattr(slapd_company, "SUFFIX", company.SUFFIX)
            running = parts.enter_context(slapd.running(COMPANY.to_ldif()))
        yield running
