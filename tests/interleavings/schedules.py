"""One schedule: a script played on a copy of a company, in an order made by chance, and what was wrong with it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connector.delivery.mail.kinds import RAISED
from connector.reconcile.policy.policy import Policy
from ledger.book_time import HostTime
from ledger.instant import to_micros
from ledger.store.engine import Ledger
from ledger.store.inbox import Inbox
from rosterd import supervisor
from rosterd.settings import Settings
from tests.interleavings import asking, delivering
from tests.interleavings import company as acts
from tests.interleavings.company import Company, SimService, SimSource
from tests.interleavings.drivers import SimDoors, drive_postgres, drive_sqlite, stand_in
from tests.interleavings.script import ADMIN, DAEMONS, LOOKS, PEOPLE, WEB, Act, Script
from tests.interleavings.settling import settles
from tests.interleavings.shrinking import shrunk
from tests.interleavings.simulator import Loop, Process, Simulator
from tests.interleavings.truth import Eye, Truth
from tests.parts.postgres import PostgresServer

_WAIT = 2_000.0
"""Virtual seconds in which every job must be settled."""
_SHORTEST = 45.0
_UNTOLD = """
    SELECT o.kind FROM outbox o LEFT JOIN delivery d ON d.organization_id = o.organization_id AND d.message_id = o.id
    WHERE COALESCE(d.state, 'waiting') = 'waiting'"""
Fault = Callable[[pytest.MonkeyPatch], None]


@dataclass
class Made:
    """What schedules are played on. ``companies``: pushed or not → what is copied, a folder or a database's name."""

    settings: Settings
    policies: dict[str, Policy]
    begin: datetime
    companies: dict[bool, Any]
    folder: Path
    server: PostgresServer | None = None
    stood: dict[Any, dict[str, tuple[Any, ...]]] = field(default_factory=dict)
    """What undisturbed runs lead to, by what the directory shows."""

    def play(self, script: Script, fault: Fault | None = None) -> Schedule:
        """One schedule on a copy of its company; ``fault`` takes a mend out."""
        with self.copy(script.pushed) as url, pytest.MonkeyPatch.context() as patch:
            if fault is not None:
                fault(patch)
            schedule = Schedule(script, url, self, patch)
            schedule.run()
        shutil.rmtree(self.folder / "warehouse", ignore_errors=True)
        return schedule

    def hold(self, script: Script) -> None:
        """Play it; raises ``AssertionError`` with what was wrong and the shortest script that shows it."""
        if self.play(script).wrong:
            fewer = shrunk(script, lambda one: bool(self.play(one).wrong))
            raise AssertionError(self.play(fewer).told())

    @contextmanager
    def copy(self, pushed: bool, name: str = "ledger") -> Iterator[str]:
        """The URL of a copy of a company, which is gone again behind the block."""
        if self.server is not None:
            url = self.server.create_database(template=self.companies[pushed])
            yield url
            self.server.drop_database(url)
        else:
            shutil.copytree(self.companies[pushed], self.folder / name)
            yield f"sqlite:///{self.folder}/{name}"
            shutil.rmtree(self.folder / name)


@dataclass
class Schedule:
    """``wrong``: empty when nothing was. ``story``: what happened, a line a step."""

    script: Script
    url: str
    made: Made
    patch: pytest.MonkeyPatch
    wrong: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    steps: int = 0

    def run(self) -> None:
        """Play it."""
        loop = Loop()
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(self._run(loop))
        finally:
            asyncio.set_event_loop(None)
            loop.close()

    def told(self) -> str:
        """The seed, the script, what was wrong, and the story up to there."""
        kind = "postgresql" if self.made.server else "sqlite"
        head = f"{kind}, seed {self.script.seed}: {'; '.join(self.wrong)}"
        return "\n".join((head, *(f"  - {act}" for act in self.script.acts), *self.story[-80:]))

    async def _run(self, loop: Loop) -> None:
        script, made = self.script, self.made
        drops = frozenset(int(act.at) for act in script.of("changes priorities"))
        sim = self.sim = Simulator(script.seed, made.begin, loop, drops)
        sim.busy, sim.lost, sim.looking = script.busy, script.lost, script.looking
        watcher = None
        if made.server is None:
            drive_sqlite(self.patch)
        else:
            watcher = psycopg.connect(made.server.url("postgres"), autocommit=True)
            drive_postgres(self.patch, watcher)
        stand_in(sim, self.patch)
        self.patch.setattr(supervisor, "_POLL", LOOKS)  # so often nothing happens between two looks
        self.company = Company(sim, made.policies, script.pushed, made.folder / "warehouse")
        if not script.pushed:
            self.company.directory = _directory(self.company)
        self.services = {name: self._open(sim.process(name)) for name in (*DAEMONS, WEB, ADMIN)}
        self.eye = Eye(self.url)
        lives = not (script.of("is killed") or script.busy or script.lost)
        truth = Truth(self.eye, self.company, everybody_lives=lives)
        self.receiver = delivering.Receiver(sim, strict=lives)
        delivering.stand_in(self.receiver, self.patch)
        sim.after_commit = truth.look
        for act in script.acts:
            await self._begin(act)
        for name in DAEMONS:
            sim.start(self.services[name].process, acts.supervise(self.services[name]), "supervisor")
            if script.told:
                sim.start(self.services[name].process, delivering.delivers(self.services[name]), "delivery")
        try:
            await sim.run(self._over())
            self.story, self.steps = sim.story, sim.step
            if sim.failure is not None:
                self.wrong.append(str(sim.failure) or repr(sim.failure))
            else:
                self.wrong += truth.judge()
                self.wrong += self._untold()
            if not self.wrong and script.seed % 10 == 0:
                await self._converge(truth)
        finally:
            await sim.finish()
            for service in self.services.values():
                await service.close()
                await service.inbox_store.close()
            self.eye.close()
            if watcher is not None:
                watcher.close()

    def _open(self, process: Process, url: str = "") -> SimService:
        def clock() -> HostTime:
            return HostTime(process.clock())

        sqlite = self.made.server is None
        ledger = Ledger.open(url or self.url, clock=clock, doors=SimDoors(self.sim, "ledger", modelled=sqlite))
        service = SimService(self.made.settings, ledger, process.clock)
        service.inbox_store = Inbox.open(
            url or self.url, clock=clock, doors=SimDoors(self.sim, "inbox", modelled=sqlite)
        )
        service.company, service.process, service.policy = self.company, process, self.made.policies["wide"]
        return service

    async def _begin(self, act: Act) -> None:
        """Plan what befalls a process, or start whoever acts."""
        sim, services = self.sim, self.services
        if act.what == "is killed":
            sim.kill_at(int(act.at), services[act.who].process)
        elif act.what == "stands still":
            sim.pause_at(int(act.at), services[act.who].process, act.more[0])
        elif act.what == "is off":
            services[act.who].process.skew = timedelta(seconds=act.at)
        elif act.what == "job":
            await asking.runs_at(services[WEB], sim.begin + timedelta(seconds=act.at))
        elif act.what != "changes priorities":
            who, work = self._work(act)
            sim.start(services[who].process, _after(act.at, work), f"{act.what} {act.who}".strip())

    def _work(self, act: Act) -> tuple[str, Callable[[], Coroutine[Any, Any, None]]]:
        """Who does it, and what."""
        web, admin = self.services[WEB], self.services[ADMIN]
        match act.what:
            case "approves":
                return ADMIN, lambda: asking.approves(admin, self._found)
            case "approves by command":
                return ADMIN, self._approves_by_command
            case "undoes":
                return ADMIN, lambda: asking.undoes(admin, self._found)
            case "applies":
                return ADMIN, lambda: acts.commands(admin, "apply", organization="", digest="", auto=True)
            case "restricts":
                return ADMIN, lambda: acts.restricts(admin)
            case "is hired by hand":
                return act.more[0], lambda: acts.is_hired_by_hand(self.services[act.more[0]], act.who)
            case "is given a reason":
                return ADMIN, lambda: acts.is_given_a_reason(admin, act.who)
            case "clocks step":
                return WEB, lambda: acts.clocks_step(self.company, act.more[0])
            case "turns sign-on off":
                return ADMIN, lambda: acts.turns_sign_on_off(admin, act.more[0])
            case "publishes":
                return ADMIN, lambda: asking.publishes(admin)
            case "reloads":
                return act.who, lambda: acts.reloads(self.services[act.who], act.more[0])
            case "turns":
                return WEB, lambda: acts.turns(web, act.who, act.more[0])
            case "signs in":
                return WEB, lambda: acts.signs_in(web, act.who)
            case "leaves and comes back":
                return WEB, lambda: acts.leaves_and_comes_back(web, act.who)
        raise AssertionError(act)

    async def _approves_by_command(self) -> None:
        digest = await self._found("SELECT digest FROM held_set WHERE state = 'open'")
        await acts.commands(self.services[ADMIN], "approve", digest=digest[:10], reason="left")

    async def _found(self, query: str) -> str:
        """Look until there is one."""
        query = query.format(begin=to_micros(self.made.begin))
        while True:
            await asyncio.sleep(4)
            if rows := self.eye.rows(query):
                return str(rows[0][0])

    async def _over(self) -> None:
        """Until every job is settled, and everybody had their time."""
        began = self.sim.loop.time()
        while self.sim.loop.time() < began + _WAIT:
            await asyncio.sleep(5)
            left = self.eye.rows("SELECT COUNT(*) FROM job WHERE state IN ('waiting', 'running')")[0][0]
            if self.script.told:
                left += len(self._waiting())
            if not left and self.sim.loop.time() > began + _SHORTEST:
                return

    def _waiting(self) -> list[str]:
        """The kinds of the messages that wait for the receiver."""
        return [kind for (kind,) in self.eye.rows(_UNTOLD) if kind in RAISED]

    def _untold(self) -> list[str]:
        """Messages that wait although there was time, or are noted as told and nobody has them."""
        if not self.script.told:
            return []
        wrong = [f"{kind} still waits to be told" for kind in self._waiting()]
        heard = {message for message, _ in self.receiver.told}
        sent = self.eye.rows("SELECT message_id, kind, subject FROM delivery WHERE state = 'sent'")
        return wrong + [f"{kind} of {about} was never told" for message, kind, about in sent if message not in heard]

    async def _converge(self, truth: Truth) -> None:
        """Two clean whole runs lead where an undisturbed company is led by the same directory, but for what was undone
        by somebody."""
        self.sim.after_commit = lambda: None
        shown = {uid: self.company.active.get(uid, True) for uid in PEOPLE}
        await settles(self.services[WEB], shown)
        found = truth.standing()
        key = (self.script.pushed, tuple(shown.items()))
        if key not in self.made.stood:
            self.made.stood[key] = await self._undisturbed(shown)
        expected = self.made.stood[key]
        for mail in sorted({f"{uid}@acme.example" for uid in PEOPLE} - truth.undone()):
            if found.get(mail) != expected.get(mail):
                self.wrong.append(f"{mail} ends as {found.get(mail)}, undisturbed as {expected.get(mail)}")

    async def _undisturbed(self, shown: dict[str, bool]) -> dict[str, tuple[Any, ...]]:
        """Where a company is led to which nothing else befalls."""
        with self.made.copy(self.script.pushed, "undisturbed") as url:
            eye, company = Eye(url), Company(self.sim, self.made.policies, self.script.pushed, self.company.files)
            if not self.script.pushed:
                company.directory = _directory(company)
            service = self._open(self.services[WEB].process, url)
            service.company = company
            await settles(service, shown)
            found = Truth(eye, company).standing()
            await service.ledger.close()
            await service.inbox_store.close()
            eye.close()
        return found


async def _after(seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await asyncio.sleep(seconds)
    await work()


def _directory(company: Company) -> SimSource:
    source = SimSource()
    source.company = company
    source.put(*PEOPLE, groups=["design"])
    return source
