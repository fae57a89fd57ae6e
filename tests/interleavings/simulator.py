"""Runs the real code of several processes in one order after the other, exactly one of them at a time.

Each process has stores of its own on one database, whose doors stop whoever comes through (``drivers``). The scheduler
lets the one of highest priority go on to its next door; priorities are random, and change at a few steps (PCT). Time is
the loop's own and jumps when everybody waits. A killed process never goes on and its connections end: nothing of it is
cancelled. The same seed gives the same story.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

_MOST_STEPS = 3_000
_process: ContextVar[Process | None] = ContextVar("process", default=None)
_acting: ContextVar[str] = ContextVar("acting", default="")


def running() -> Process | None:
    """Whose task runs now; None outside of the simulation."""
    return _process.get()


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

    def run_in_executor(self, _executor: Any, call: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """At once: a thread would go on beside the one that goes on."""
        done = self.create_future()
        try:
            done.set_result(call(*args))
        except Exception as error:  # it belongs to whoever waits for it
            done.set_exception(error)
        return done

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
    endings: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What ends each of its connections, which rolls back."""

    def clock(self) -> datetime:
        """What its wall clock shows."""
        return self.sim.begin + timedelta(seconds=self.sim.loop.time() - Loop.now) + self.skew


@dataclass
class _Stop:
    task: asyncio.Task[Any]
    process: Process
    who: str
    what: str
    able: Callable[[], bool]
    goes_on: asyncio.Future[None]


class Simulator:
    """``story``: what happened, a line per step. ``after_commit``: looks at the book then, and raises what is wrong."""

    def __init__(self, seed: int, begin: datetime, loop: Loop, drops: frozenset[int] = frozenset()) -> None:
        self.begin = begin
        self.loop = loop
        self.story: list[str] = []
        self.after_commit: Callable[[], None] = lambda: None
        self.processes: list[Process] = []
        self.busy = self.lost = 0.0  # chances of waiting too long, and of a commit whose answer is lost
        self.looking = False  # whether readers stop behind their first look
        self.failure: BaseException | None = None
        self.step = 0
        self.stood = False  # whether a process stood still
        self._seed = seed
        self._random = random.Random(seed)
        self._drops = set(drops)
        self._priority: dict[asyncio.Task[Any], float] = {}
        self._named: Counter[str] = Counter()
        self._stops: list[_Stop] = []
        self._going: asyncio.Task[Any] | None = None
        self._writers: dict[str, asyncio.Task[Any]] = {}
        self._kills: dict[int, Process] = {}
        self._pauses: dict[int, tuple[Process, float]] = {}
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
        self.stood = True

    def step_clocks(self, seconds: float) -> None:
        """Somebody sets the wall clock of every process."""
        for process in self.processes:
            process.skew += timedelta(seconds=seconds)
        self.story.append(f"     the clocks step by {seconds:+.0f} s")

    def stand_still(self, seconds: float) -> None:
        """The running process stands still from its next door on."""
        process = _process.get()
        if process is not None:
            process.paused_until = self.loop.now + seconds
            self.stood = True
            self.story.append(f"     {process.name} stands still for {seconds:.0f} s")

    def start(self, process: Process, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """An actor of the process."""
        token = _process.set(process)
        try:
            with doing(name):
                task = self.loop.create_task(work, name=f"{process.name} {name}")
        finally:
            _process.reset(token)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        """An actor that broke is a fault of its own."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.story.append(f"     !!! {task.get_name()}: {error!r}")
            self.failure = self.failure or error

    def fails(self, what: str) -> None:
        """Something does not hold: the schedule ends here."""
        self.story.append(f"     !!! {acting()}: {what}")
        self.failure = self.failure or AssertionError(what)

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

    async def stop(self, what: str, able: Callable[[], bool] = lambda: True) -> None:
        """The running task waits here until it is its turn, and ``able`` to go on."""
        process, task = _process.get(), asyncio.current_task()
        if process is None or task is None:
            return
        if self._over:
            raise asyncio.CancelledError
        stop = _Stop(task, process, acting(), what, able, self.loop.create_future())
        self._stops.append(stop)
        if self._going is task:
            self._going = None
        await stop.goes_on

    async def lock(self, name: str) -> None:
        """The running task waits until nobody else writes there."""
        await self.stop("writes", lambda: name not in self._writers)
        if (task := asyncio.current_task()) is not None and _process.get() is not None:
            self._writers[name] = task

    def release(self, name: str) -> None:
        """The running task's transaction there is over."""
        if self._writers.get(name) is asyncio.current_task():
            del self._writers[name]

    def committed(self) -> None:
        """Something was committed: the book is looked at."""
        try:
            self.after_commit()
        except AssertionError as error:
            self.fails(str(error))

    async def run(self, until: Awaitable[Any]) -> None:
        """Let them go on, one at a time, until ``until`` is done, nobody can, or the book is wrong."""
        over = asyncio.ensure_future(until)
        while not over.done() and self.failure is None and self.step < _MOST_STEPS:
            await self._quiet()
            chosen = self._choose()
            if chosen is None:
                ends = [one.paused_until for one in self.processes if one.paused_until > self.loop.now]
                timers = [at for at in (self.loop.next_timer(), *ends) if at is not None]
                if not timers:
                    break
                self.loop.now = max(self.loop.now, min(timers))
                continue
            self.step += 1
            self.loop.now += 0.001
            if (killed := self._kills.pop(self.step, None)) is not None:
                await self._kill(killed)
                continue
            if (paused := self._pauses.pop(self.step, None)) is not None:
                paused[0].paused_until = self.loop.now + paused[1]
                self.story.append(f"{self.step:4} {paused[0].name} stands still for {paused[1]:.0f} s")
                continue
            self._stops.remove(chosen)
            self.story.append(f"{self.step:4} {self.loop.now - Loop.now:6.1f} s  {chosen.who}: {chosen.what}")
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
                and stop.process.paused_until <= self.loop.now and stop.able()]  # fmt: skip
        if not able:
            return None
        for stop in able:
            if stop.task not in self._priority:
                self._priority[stop.task] = 1.0 + self._luck(stop.who)
        chosen = max(able, key=lambda stop: self._priority[stop.task])
        if self.step in self._drops:
            self._drops.discard(self.step)
            self._priority[chosen.task] = self._luck(f"{chosen.who}, dropped")
            chosen = max(able, key=lambda stop: self._priority[stop.task])
        return chosen

    def _luck(self, who: str) -> float:
        """A number by chance that does not depend on who else is there, so that a shorter script keeps its order."""
        self._named[who] += 1
        return random.Random(f"{self._seed} {who} {self._named[who]}").random()

    async def _kill(self, process: Process) -> None:
        """Its connections end, which rolls back; its tasks are never resumed."""
        process.killed = True
        self.story.append(f"{self.step:4} {process.name} is killed")
        for end in process.endings:
            await end()
        theirs = {stop.task for stop in self._stops if stop.process is process}
        self._writers = {name: task for name, task in self._writers.items() if task not in theirs}

    async def finish(self) -> None:
        """End every task that is left, when nothing is looked at any more."""
        self._over = True
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
