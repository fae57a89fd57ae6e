"""A company whose daemons, people and administrators act at once; what may be taken from whom is the script's word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from connector.directory.base import Reading, ReadRequest
from connector.reconcile.by_hand import restrictions
from connector.reconcile.by_hand.rules import Act
from connector.reconcile.by_hand.sign_in import Arrival, claim
from connector.reconcile.run import Setup
from ledger.errors import Busy, Refused
from ledger.identity import Email
from ledger.jobs import Job, Leased
from rosterd import worker
from rosterd.handover import Handover
from rosterd.health import Metrics
from rosterd.leasing import leased
from rosterd.service import Service
from rosterd.supervisor import Supervisor
from tests.interleavings.simulator import Process, Simulator, acting, doing
from tests.parts.directories import HandSource, World

ORGANIZATION = "acme"
PEOPLE = tuple(f"p{number}" for number in range(6))


class SimSource(HandSource):
    """A directory that is read while others go on. ``readings``: task → the number of its newest reading."""

    sim: Simulator
    off: set[str]
    """Whoever was disabled at any time: only from them anything may be taken."""
    readings: dict[str, int]

    async def read(self, request: ReadRequest, *, now: Any) -> Reading:
        found = await super().read(request, now=now)
        self.readings[acting()] = self.reads
        await self.sim.stop(f"has read the directory, reading {self.reads}")
        if self.sim.chance().random() < 0.1:
            self.sim.stand_still(200.0)
        await asyncio.sleep(self.sim.chance().choice((0, 1, 10, 40)))  # the rest of the pages
        return found

    def turn(self, uid: str, *, off: bool) -> None:
        """Somebody is disabled, or enabled again."""
        self.change(uid, disabled=off)
        if off:
            self.off.add(uid)
        self.sim.story.append(f"     the directory: {uid} is {'disabled' if off else 'enabled'}")


class SimService(Service):
    """What a process opens, but for its directory, which is in memory."""

    world: World

    @asynccontextmanager
    async def setup(self, organization: str) -> AsyncIterator[Setup]:
        yield self.world.setup


class InProcess(Supervisor):
    """The product's supervisor; its workers work in this process."""

    sim: Simulator

    async def _work(self, job: Job) -> None:
        heart = asyncio.create_task(self._beat(job))
        try:
            with doing(f"{job.kind} {self.sim.number(job.id)}, attempt {job.attempts}"):
                answer = await worker.answer(self._service, Handover.of(self._service.settings, job))
                await self._settle(job, answer)
        finally:
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)

    async def _beat(self, job: Job) -> None:
        """Signs of life, as beside a real worker."""
        await self._keep_alive(job, cast(Any, _Ended()))


class _Ended:
    returncode = 0


async def supervise(process: Process, service: SimService) -> None:
    """A daemon's supervisor, until it is told to stop."""
    supervisor = InProcess(service, Metrics())
    supervisor.sim = process.sim
    await supervisor.run()


async def signs_in(service: SimService, uid: str, after: float) -> None:
    """Somebody signs in for the first or the next time."""
    await asyncio.sleep(after)
    mail = f"{uid}@acme.example"
    try:
        await claim(service.ledger, ORGANIZATION, Arrival(Email.parse(mail), "idp", mail), now=service.clock())
    except Refused:
        return  # they were disabled meanwhile
    except Busy:
        return


async def changes(source: SimSource, uid: str, after: float, back: float | None) -> None:
    """The directory disables somebody, and perhaps enables them again."""
    await asyncio.sleep(after)
    source.turn(uid, off=True)
    if back is not None:
        await asyncio.sleep(back)
        source.turn(uid, off=False)


async def restricts(service: SimService, after: float) -> None:
    """An administrator restricts a Team and lifts it again."""
    for act in (restrictions.restrict, restrictions.lift):
        await asyncio.sleep(after)
        try:
            await act(service.ledger, ORGANIZATION, "Design", Act("ada", service.clock(), "unpaid"))
        except Busy:
            continue


async def applies(service: SimService, after: float) -> None:
    """`rosterd apply --auto`, in a process of its own."""
    from connector.reconcile import run

    await asyncio.sleep(after)
    try:
        async with leased(service.ledger, f"run:{ORGANIZATION}", clock=service.clock) as lease:
            await run.apply(
                service.ledger, service.world.setup, now=service.clock(), actor="operator:ada", auto=True,
                fence=Leased(lease),
            )  # fmt: skip
    except (Busy, Refused):
        return  # somebody else was at work, or went on meanwhile
