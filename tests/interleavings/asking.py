"""What is asked of the daemons as jobs: by the schedule, by administrators over the admin API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Any

from ledger.errors import Retryable
from ledger.store import jobs
from tests.interleavings.company import SimService
from tests.parts.directories import ORGANIZATION

Found = Callable[[str], Awaitable[str]]
"""Waits until a query finds something."""


async def runs_at(service: SimService, due: datetime) -> None:
    """A run is due."""
    await jobs.enqueue(service.ledger, ORGANIZATION.id, "reconcile", now=service.process.sim.begin, run_after=due)


async def publishes(service: SimService) -> None:
    """Somebody asks for a publication."""
    await _ask(service, "publish", {})


async def approves(service: SimService, found: Found) -> None:
    """Whoever sees a held set asks for its approval."""
    digest = await found("SELECT digest FROM held_set WHERE state = 'open'")
    payload = {"digest": digest, "reason": "left", "actor": "token:ada"}
    await _ask(service, "approve", payload, f"approve:{digest}:token:ada")


async def undoes(service: SimService, found: Found) -> None:
    """Somebody asks for the undo of the newest run that did something."""
    run_id = await found("SELECT id FROM run WHERE state = 'applied' AND kind <> 'undo' AND started_at > {begin}"
                         " ORDER BY id DESC LIMIT 1")  # fmt: skip
    payload = {"run": run_id, "reason": "a mistake", "actor": "token:ada", "dry_run": False}
    await _ask(service, "undo", payload, f"undo:{run_id}")


async def _ask(service: SimService, kind: str, payload: dict[str, Any], key: str = "") -> None:
    with suppress(Retryable):
        await jobs.enqueue(service.ledger, ORGANIZATION.id, kind, payload, now=service.clock(), dedupe_key=key)
