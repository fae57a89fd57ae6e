"""A warehouse beside the ledger, on either database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ledger.published.iceberg import Warehouse


@pytest.fixture
async def warehouse(ledger_url: str, tmp_path: Path) -> AsyncIterator[Warehouse]:
    """Tables in a folder whose name needs care, catalog in the ledger's own database."""
    opened = Warehouse.open(f"file:{tmp_path / 'ware house ł %41'}", ledger_url)
    yield opened
    await opened.close()
