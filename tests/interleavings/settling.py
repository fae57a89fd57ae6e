"""Where a company comes to rest when nothing happens at once any more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from connector.reconcile import run
from connector.sso.provider import connection_steps
from ledger.errors import Refused
from ledger.store import runs
from tests.interleavings.company import SimService, signs_in, turn
from tests.parts.directories import ORGANIZATION
from tests.parts.fences import ALONE


async def settles(service: SimService, shown: Mapping[str, bool]) -> None:
    """Nothing happens at once any more: the directory shows this, everybody who may signs in, each held set is
    approved, and two whole runs change nothing more."""
    for uid, active in shown.items():
        await turn(service, uid, active=active)
    again = service.ledger, ORGANIZATION.id
    with suppress(Refused):
        await connection_steps.turn_on(*again, actor="ada", now=service.clock())
    async with service.setup(ORGANIZATION.id) as setup:
        for _ in range(3):
            await run.apply(service.ledger, setup, fence=ALONE, now=service.clock(), actor="ada", auto=True)
            async with service.ledger.read(ORGANIZATION.id) as reader:
                held = await runs.held_sets(reader, ("open",))
            for item in held:
                await run.approve(service.ledger, setup, item.digest, reason="left", actor="ada", now=service.clock(),
                                  fence=ALONE)  # fmt: skip
            for uid, active in shown.items():
                if active:
                    await signs_in(service, uid)
