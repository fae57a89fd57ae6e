"""Runs the real code of several processes in one order after the other, exactly one of them at a time.

Each process has a ``Ledger`` of its own on one SQLite file, whose doors stop whoever comes through. The scheduler lets
the one of highest priority go on to its next door; priorities are random, and change at a few random steps (PCT). The
one write lock of the file is modelled, so that no driver ever waits. Time is the loop's own and jumps when everybody
waits. A killed process never goes on and its connections end: nothing of it is cancelled. The same seed gives the same
story.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import aiosqlite.core

from ledger.errors import Busy
from ledger.jobs import Whereabouts
from ledger.store.doors import Doors

_MOST_STEPS = 3_000
_process: ContextVar[Process | None] = ContextVar("process", default=None)
_acting: ContextVar[str] = ContextVar("acting", default="")


def acting() -> str:
    """What the running task is done for, and by which process."""
    process = _process.get()
    return f"{process.name if process else 'outside'} {_acting.get()}".strip()


@contextmanager
def doing(what: str) -> Iterator[None]:
    """This is done from here on, by child tasks too."""
    token = _acting.set(what)
    try:
        yield
    finally:
        _acting.reset(token)


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time stands until the scheduler moves it."""

    now = 1_000.0

    def time(self) -> float:
        return self.now

    @property
    def idle(self) -> bool:
        """Whether nothing is ready to go on by itself."""
        return not self._ready  # type: ignore[attr-defined]

    def next_timer(self) -> float | None:
        """When the next one goes off."""
        timers = [handle for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        return min((handle.when() for handle in timers), default=None)


@dataclass
class Process:
    """Whose tasks these are. ``skew``: how far its wall clock is off."""

    name: str
    sim: Simulator
    skew: timedelta = timedelta(0)
    killed: bool = False
    paused_until: float = 0.0
    connections: list[Any] = field(default_factory=list)

    def clock(self) -> datetime:
        """What its wall clock shows."""
        return self.sim.begin + timedelta(seconds=self.sim.loop.time() - Loop.now) + self.skew


@dataclass
class _Stop:
    task: asyncio.Task[Any]
    process: Process
    who: str
    what: str
    writes: bool
    goes_on: asyncio.Future[None]


class Simulator:
    """``story``: what happened, a line per step. ``after_commit``: looks at the book then, and raises what is wrong."""

    def __init__(self, seed: int, begin: datetime, loop: Loop, *, changes: int = 3, length: int = 120) -> None:
        self.begin = begin
        self.loop = loop
        self.story: list[str] = []
        self.after_commit: Callable[[], None] = lambda: None
        self.processes: list[Process] = []
        self._random = random.Random(seed)
        self._drops = {self._random.randrange(1, length) for _ in range(changes)}
        self._priority: dict[asyncio.Task[Any], float] = {}
        self._stops: list[_Stop] = []
        self._going: asyncio.Task[Any] | None = None
        self._writer: asyncio.Task[Any] | None = None
        self._kills: dict[int, Process] = {}
        self._pauses: dict[int, tuple[Process, float]] = {}
        self.busy = self.lost = 0.0  # chances of waiting too long, and of a commit whose answer is lost
        self._step = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failure: BaseException | None = None
        self._over = False
        self._numbers: dict[str, int] = {}

    def process(self, name: str, skew: timedelta = timedelta(0)) -> Process:
        """One more process."""
        made = Process(name, self, skew)
        self.processes.append(made)
        return made

    def kill_at(self, step: int, process: Process) -> None:
        """It is killed at this step of the schedule."""
        self._kills[step] = process

    def pause_at(self, step: int, process: Process, seconds: float) -> None:
        """It stands still from this step on, for so long: a stopped process, or a host that is too busy."""
        self._pauses[step] = (process, seconds)

    def stand_still(self, seconds: float) -> None:
        """The running process stands still from its next door on."""
        process = _process.get()
        if process is not None:
            process.paused_until = self.loop.now + seconds
            self.story.append(f"     {process.name} stands still for {seconds:.0f} s")

    def start(self, process: Process, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """An actor of the process."""
        token = _process.set(process)
        try:
            with doing(name):
                task = self.loop.create_task(work, name=f"{process.name} {name}")
        finally:
            _process.reset(token)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """An actor that broke is a fault of its own."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.story.append(f"     !!! {task.get_name()}: {error!r}")
            self.failure = self.failure or error

    def unlucky(self, chance: float, what: str) -> bool:
        """Whether this happens to the running one now."""
        if _process.get() is None or self._random.random() >= chance:
            return False
        self.story.append(f"     … {what}")
        return True

    def number(self, made: str) -> int:
        """Which one of its kind this id is: ids differ each time, their order does not."""
        return self._numbers.setdefault(made, len(self._numbers) + 1)

    def chance(self) -> random.Random:
        """For what a script leaves to chance."""
        return self._random

    async def stop(self, what: str, *, writes: bool = False) -> None:
        """The running task waits here until it is its turn."""
        process, task = _process.get(), asyncio.current_task()
        if process is None or task is None:
            return
        if self._over:
            raise asyncio.CancelledError
        stop = _Stop(task, process, acting(), what, writes, self.loop.create_future())
        self._stops.append(stop)
        if self._going is task:
            self._going = None
        await stop.goes_on
        if writes:
            self._writer = task

    def release(self) -> None:
        """The running task's transaction is over."""
        if self._writer is asyncio.current_task():
            self._writer = None

    def committed(self, what: str) -> None:
        """Something was committed: the book is looked at."""
        try:
            self.after_commit()
        except AssertionError as error:
            self.story.append(f"     !!! after {what}: {error}")
            self.failure = self.failure or error

    async def run(self, until: Awaitable[Any]) -> None:
        """Let them go on, one at a time, until ``until`` is done, nobody can, or the book is wrong."""
        over = asyncio.ensure_future(until)
        while not over.done() and self.failure is None and self._step < _MOST_STEPS:
            await self._quiet()
            chosen = self._choose()
            if chosen is None:
                ends = [one.paused_until for one in self.processes if one.paused_until > self.loop.now]
                timers = [at for at in (self.loop.next_timer(), *ends) if at is not None]
                if not timers:
                    break
                self.loop.now = max(self.loop.now, min(timers))
                continue
            self._step += 1
            self.loop.now += 0.001
            if (killed := self._kills.pop(self._step, None)) is not None:
                await self._kill(killed)
                continue
            if (paused := self._pauses.pop(self._step, None)) is not None:
                paused[0].paused_until = self.loop.now + paused[1]
                self.story.append(f"{self._step:4} {paused[0].name} stands still for {paused[1]:.0f} s")
                continue
            self._stops.remove(chosen)
            self.story.append(f"{self._step:4} {self.loop.now - Loop.now:6.1f} s  {chosen.who}: {chosen.what}")
            self._going = chosen.task
            chosen.goes_on.set_result(None)
        if not over.done():
            over.cancel()
            await asyncio.gather(over, return_exceptions=True)

    async def _quiet(self) -> None:
        """Until the one who goes on is at its next door, is over, or waits for something else."""
        while True:
            await asyncio.sleep(0)
            if self.loop.idle:
                return

    def _choose(self) -> _Stop | None:
        able = [stop for stop in self._stops if not stop.process.killed and not stop.task.done()
                and stop.process.paused_until <= self.loop.now
                and not (stop.writes and self._writer is not None)]  # fmt: skip
        if not able:
            return None
        for stop in able:
            self._priority.setdefault(stop.task, 1.0 + self._random.random())
        chosen = max(able, key=lambda stop: self._priority[stop.task])
        if self._step in self._drops:
            self._drops.discard(self._step)
            self._priority[chosen.task] = self._random.random()
            chosen = max(able, key=lambda stop: self._priority[stop.task])
        return chosen

    async def _kill(self, process: Process) -> None:
        """Its connections end, which rolls back; its tasks are never resumed."""
        process.killed = True
        self.story.append(f"{self._step:4} {process.name} is killed")
        for connection in process.connections:
            if connection._connection is not None:
                await connection.close()
        if self._writer is not None and any(s.task is self._writer and s.process is process for s in self._stops):
            self._writer = None

    async def finish(self) -> None:
        """End every task that is left, when nothing is looked at any more."""
        self._over = True
        for process in self.processes:
            for connection in process.connections:
                await connection.close()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class SimDoors(Doors):
    """The doors of one process's store."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim

    async def begin(self, *, writes: bool) -> None:
        await self._sim.stop("writes" if writes else "reads", writes=writes)
        if writes and self._sim.unlucky(self._sim.busy, "waited too long"):
            self._sim.release()
            raise Busy("another writer was at work for too long")

    async def locked(self) -> None:
        await self._sim.stop("has the lock")

    async def commit(self, *, writes: bool) -> None:
        if writes:
            await self._sim.stop("commits")

    async def committed(self, *, writes: bool) -> None:
        self._sim.release()
        if writes and _process.get() is not None:
            self._sim.committed(acting())
            if self._sim.unlucky(self._sim.lost, "is not told: the answer is lost"):
                raise Busy("the database did not answer")
            await self._sim.stop("is told")

    def ended(self) -> None:
        self._sim.release()


def drive_inline(patch: Any) -> None:
    """Let the driver work at once, without its thread: only one actor goes on at a time. Connections belong to their
    process."""

    def connected(self: Any) -> Any:
        self._connection = self._connector()
        process = _process.get()
        if process is not None:
            process.connections.append(self)
        return self

    async def connect(self: Any) -> Any:
        return connected(self)

    async def execute(self: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._connection is None:
            raise ValueError("Connection closed")
        return call(*args, **kwargs)

    async def close(self: Any) -> None:
        self.stop()

    def stop(self: Any) -> None:
        self._running = False
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    patch.setattr(aiosqlite.core.Connection, "__await__", lambda self: connect(self).__await__())
    for name, made in (("_connect", connect), ("_execute", execute), ("close", close), ("stop", stop)):
        patch.setattr(aiosqlite.core.Connection, name, made)


def name_processes(sim: Simulator, patch: Any) -> None:
    """Who has a lease or a job is one of these processes, which lives until it is killed."""

    def holder() -> str:
        process = _process.get()
        return f"{process.name if process else 'outside'}:{sim.chance().randrange(10**9)}"

    def whereabouts(name: str) -> Whereabouts:
        of = next((one for one in sim.processes if one.name == name.partition(":")[0]), None)
        return Whereabouts.GONE if of is not None and of.killed else Whereabouts.HERE

    patch.setattr("rosterd.processes.holder", holder)
    patch.setattr("rosterd.processes.whereabouts", whereabouts)
