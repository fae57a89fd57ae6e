"""One schedule: a company made by chance from a seed, run in an order made by chance, and what must hold of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from connector.sso.sync import SyncState, SyncStatus
from ledger.book_time import HostTime
from ledger.errors import Busy
from ledger.instant import to_micros
from ledger.store import jobs
from ledger.store.engine import Ledger
from ledger.store.tables import people, seats
from rosterd import supervisor
from rosterd.settings import Settings
from tests.interleavings import company as acts
from tests.interleavings.company import ORGANIZATION, PEOPLE, SimService, SimSource
from tests.interleavings.simulator import Loop, Process, SimDoors, Simulator, acting, drive_inline, name_processes
from tests.parts.directories import World

_WAIT = 2_000.0
"""Virtual seconds in which every job must be settled."""
_BY_JOBS = ("service:schedule", "token:ada")
"""Who acts for jobs."""
_INTERVALS = [
    (
        table.name,
        [column.name for column in next(i for i in table.indexes if i.name == f"uq_{table.name}_open").columns],
    )
    for table in (people.identity, people.identity_link, people.team_membership, seats.seat, seats.seat_grant)
]


@dataclass
class Schedule:
    """A seed, and where the company's files are."""

    seed: int
    folder: Path
    settings: Settings
    policy: Any
    begin: datetime
    patch: Any
    wrong: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)

    def run(self) -> list[str]:
        """What was wrong; empty when nothing was."""
        loop = Loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._run(loop))
        finally:
            asyncio.set_event_loop(None)
            loop.close()
        return self.wrong

    def told(self) -> str:
        """The seed, what was wrong, and the story up to there."""
        return "\n".join((f"seed {self.seed}: {'; '.join(self.wrong)}", *self.story[-60:]))

    async def _run(self, loop: Loop) -> None:
        sim = self.sim = Simulator(self.seed, self.begin + timedelta(days=1), loop)
        drive_inline(self.patch)
        name_processes(sim, self.patch)
        self.patch.setattr("connector.sso.sync.sync_status", enabled)
        self.patch.setattr(supervisor, "_POLL", 3.0)  # so often nothing happens between two looks
        chance = sim.chance()
        self.source = SimSource()
        self.source.sim, self.source.off, self.source.readings = sim, set(), {}
        self.source.put(*PEOPLE, groups=["design"])
        self.world = World(None, self.begin, self.policy, self.source)  # type: ignore[arg-type]
        daemons = [sim.process("daemon A"), sim.process("daemon B")]
        web, admin = sim.process("web"), sim.process("admin")
        sim.busy, sim.lost = chance.choice([(0.0, 0.0), (0.02, 0.0), (0.0, 0.02)])
        self.services = {process.name: self._open(process) for process in sim.processes}
        self.newest = 0
        self.known = self._runs()
        sim.after_commit = self._look
        await self._script(sim, daemons, web, admin, chance)
        if chance.random() < 0.3:
            sim.kill_at(chance.randrange(5, 120), chance.choice([*daemons, admin]))
        for _ in range(chance.randrange(0, 3)):
            one = chance.choice([*daemons, admin, admin])
            sim.pause_at(chance.randrange(5, 100), one, chance.choice([30.0, 90.0, 200.0]))
        await sim.run(self._over())
        self.story = sim.story
        if sim.failure is not None:
            self.wrong.append(str(sim.failure))
        elif not self.wrong:
            await self._judge()
        await sim.finish()
        for service in self.services.values():
            await service.ledger.close()

    def _open(self, process: Process) -> SimService:
        url = f"sqlite:///{self.folder}"
        ledger = Ledger.open(url, clock=lambda: HostTime(process.clock()), doors=SimDoors(self.sim))
        service = SimService(self.settings, ledger, process.clock)
        service.world = self.world
        return service

    async def _script(self, sim: Simulator, daemons: list[Process], web: Process, admin: Process, chance: Any) -> None:
        """Start everybody."""
        outside = Ledger.open(f"sqlite:///{self.folder}")
        for _ in range(chance.randrange(1, 5)):
            due = sim.begin + timedelta(seconds=chance.randrange(0, 60))
            await jobs.enqueue(outside, ORGANIZATION, "reconcile", now=sim.begin, run_after=due)
        await outside.close()
        if chance.random() < 0.7:
            sim.start(admin, self._approves(chance.randrange(1, 3)), "approves")
        if chance.random() < 0.3:
            sim.start(admin, self._undoes(), "undoes")
        for daemon in daemons:
            sim.start(daemon, acts.supervise(daemon, self.services[daemon.name]), "supervisor")
        moved = chance.sample(PEOPLE, chance.randrange(1, 4))
        for uid in moved:
            back = chance.random() * 20 if chance.random() < 0.5 else None
            sim.start(web, acts.changes(self.source, uid, chance.random() * 20, back), f"directory {uid}")
        for uid in sorted({*moved, chance.choice(PEOPLE)}):
            sim.start(web, acts.signs_in(self.services["web"], uid, chance.random() * 60), f"signs in {uid}")
        if chance.random() < 0.3:
            sim.start(admin, acts.restricts(self.services["admin"], chance.random() * 10), "restricts")
        if chance.random() < 0.8:
            sim.start(admin, acts.applies(self.services["admin"], chance.random() * 40), "applies")

    async def _approves(self, times: int) -> None:
        """Whoever sees a held set asks for its approval, as the admin API does: as a job."""
        ledger = self.services["admin"].ledger
        for _ in range(times):
            digest = await self._found("SELECT digest FROM held_set WHERE state = 'open'")
            payload = {"digest": digest, "reason": "left", "actor": "token:ada"}
            with suppress(Busy):
                await jobs.enqueue(ledger, ORGANIZATION, "approve", payload, now=self.services["admin"].clock())

    async def _undoes(self) -> None:
        """Somebody asks for the undo of the newest run that did something."""
        wanted = "SELECT id FROM run WHERE state = 'applied' AND kind != 'undo' AND started_at > ? ORDER BY id DESC"
        run_id = await self._found(wanted, to_micros(self.begin + timedelta(hours=1)))
        payload = {"run": run_id, "reason": "a mistake", "actor": "token:ada", "dry_run": False}
        with suppress(Busy):
            admin = self.services["admin"]
            await jobs.enqueue(admin.ledger, ORGANIZATION, "undo", payload, now=admin.clock())

    async def _found(self, query: str, *values: Any) -> str:
        """Look until there is one."""
        while True:
            await asyncio.sleep(4)
            with closing(self._file()) as file:
                row = file.execute(query, values).fetchone()
            if row is not None:
                return str(row[0])

    async def _over(self) -> None:
        """Until every job is settled, and everybody had their time."""
        until = self.sim.loop.time() + _WAIT
        while self.sim.loop.time() < until:
            await asyncio.sleep(5)
            with closing(self._file()) as file:
                left = file.execute("SELECT COUNT(*) FROM job WHERE state IN ('waiting', 'running')").fetchone()[0]
            if not left and self.sim.loop.time() > until - _WAIT + 60:
                return

    def _file(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.folder}/ledger.db?mode=ro", uri=True)

    def _runs(self) -> int:
        with closing(self._file()) as file:
            return self._runs_in(file)

    def _runs_in(self, file: sqlite3.Connection) -> int:
        return int(file.execute("SELECT COUNT(*) FROM run").fetchone()[0])

    def _look(self) -> None:
        """After each commit: history runs forward, and nobody lost anything who was never disabled."""
        with closing(self._file()) as file:
            for name, key in _INTERVALS:
                columns = ", ".join(key)
                wrong = file.execute(
                    f"SELECT COUNT(*) FROM (SELECT valid_from AS b, valid_to AS e, LAG(valid_to) OVER"  # noqa: S608
                    f" (PARTITION BY {columns} ORDER BY row_id) AS r FROM {name}) WHERE e < b OR r > b"
                ).fetchone()[0]
                assert wrong == 0, f"{wrong} row(s) of {name} run backwards or overlap"
            off = file.execute("SELECT mail_key FROM identity WHERE valid_to IS NULL AND state != 'active'").fetchall()
            known = self._runs_in(file)
        number = self.source.readings.get(acting())
        if known > self.known and number is not None:
            assert number >= self.newest, (
                f"a run was committed by reading {number}, behind one by reading {self.newest}"
            )
            self.newest = number
        self.known = known
        lost = {row[0].partition("@")[0] for row in off} - self.source.off
        assert not lost, f"{sorted(lost)} lost access and were never disabled"

    async def _judge(self) -> None:
        """At the end: every job's outcome is told once and true."""
        with closing(self._file()) as file:
            told = file.execute("SELECT id, kind, state, outcome FROM job").fetchall()
            known = {row[0] for row in file.execute("SELECT id FROM run")}
            asked_for = {row[0] for row in file.execute("SELECT id FROM run WHERE actor IN (?, ?)", _BY_JOBS)}
        named = Counter()
        for job_id, kind, state, outcome in told:
            found = json.loads(outcome or "{}")
            if state not in {"done", "failed"}:
                self.wrong.append(f"job {kind} {job_id[-4:]} is still {state}")
            if state == "failed" and "taken" in str(found.get("error", "")):
                self.wrong.append(f"job {kind} was given up because it was overtaken: {found['error']}")
            if "the database refuses" in str(found.get("error", "")):
                self.wrong.append(f"job {kind}: {found['error']}")
            run_id = (found.get("outcome") or found).get("run_id", "")
            if run_id and run_id not in known:
                self.wrong.append(f"job {kind} tells of a run that is not there")
            named[run_id] += bool(run_id)
        self.wrong += [f"no job tells of run {run_id}" for run_id in asked_for - named.keys()]
        self.wrong += [f"two jobs tell of run {run_id}" for run_id, count in named.items() if count > 1]


async def enabled(*_args: Any, **_more: Any) -> SyncStatus:
    """Sync is on: the gate is stood in for."""
    return SyncStatus(SyncState.ENABLED, ())


def play(
    seed: int, company: Path, folder: Path, settings: Settings, policy: Any, begin: datetime, patch: Any
) -> Schedule:
    """One schedule on a copy of the company."""
    shutil.copytree(company, folder)
    schedule = Schedule(seed, folder, settings, policy, begin, patch)
    schedule.run()
    shutil.rmtree(folder)
    return schedule
