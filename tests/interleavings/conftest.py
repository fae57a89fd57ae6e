"""One company as a file, copied for each schedule."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connector.reconcile import run
from connector.reconcile.policy.policy import Policy
from ledger.store.engine import Ledger
from rosterd.loading import load
from rosterd.settings import Settings
from tests.interleavings.company import PEOPLE
from tests.parts.directories import make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE
from tests.parts.installation import Installation

BEGIN = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load(Installation.make(tmp_path_factory.mktemp("etc") / "rosterd").file, {})


@pytest.fixture(scope="session")
def company(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six people in a Team with seats; more than one leaver at once is held."""
    folder = tmp_path_factory.mktemp("company") / "ledger"
    shutil.copytree(sqlite_template, folder)

    async def fill() -> None:
        ledger = Ledger.open(f"sqlite:///{folder}")
        world = await make_world(ledger, BEGIN, the_policy(), Design_CAD=9)
        world.source.put(*PEOPLE, groups=["design"])
        seen = await run.plan(ledger, world.setup, now=BEGIN)
        await run.apply(ledger, world.setup, fence=ALONE, now=BEGIN, actor="test", digest=seen.digest)
        await ledger.close()

    with pytest.MonkeyPatch.context() as patch:
        stand_in_gate(patch)
        asyncio.run(fill())
    return folder


def the_policy() -> Policy:
    """One mapping, and a limit of one."""
    return policy(mapping("design", "Design", "CAD"), limits={"day_floor": 1, "day_percent": 0, "team_day_floor": 99})
