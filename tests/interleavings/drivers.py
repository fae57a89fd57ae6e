"""The doors of simulated processes, and drivers that work at once, without threads or sockets to wait for.

SQLite's one write lock is modelled, so that its driver never waits (``test_the_model_of_the_lock`` holds the model to
the driver). On PostgreSQL a statement that does not answer waits for whom ``pg_blocking_pids`` names, or is waited for.
Readers stop behind their first look: their snapshot begins there.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import aiosqlite.core
import psycopg
from psycopg import waiting
from psycopg.pq import TransactionStatus
from sqlalchemy.sql.elements import ClauseElement

from connector.sso.gate import evidence
from ledger.errors import Busy
from ledger.instant import to_micros
from ledger.jobs import Whereabouts
from ledger.store.doors import Doors
from tests.interleavings.simulator import Simulator, running

_PATIENCE = 0.003
"""Seconds without an answer after which a statement is asked about."""
_TOO_LONG = 20.0
_compiled: dict[Any, Any] = {}
_dialects: dict[str, Any] = {}


class SimDoors(Doors):
    """The doors of one process's store. ``modelled``: its one write lock is the simulator's."""

    def __init__(self, sim: Simulator, name: str, *, modelled: bool) -> None:
        self._sim = sim
        self._name = name
        self._modelled = modelled

    async def begin(self, *, writes: bool) -> None:
        if writes and self._modelled:
            await self._sim.lock(self._name)
        else:
            await self._sim.stop("writes" if writes else "reads")
        if writes and self._sim.unlucky(self._sim.busy, "waited too long"):
            self._sim.release(self._name)
            raise Busy("another writer was at work for too long")

    async def locked(self) -> None:
        await self._sim.stop("has the lock")

    async def commit(self, *, writes: bool) -> None:
        if writes:
            await self._sim.stop("commits")

    async def committed(self, *, writes: bool) -> None:
        self._sim.release(self._name)
        if writes and running() is not None:
            self._sim.committed()
            if self._sim.unlucky(self._sim.lost, "is not told: the answer is lost"):
                raise Busy("the database did not answer")
            await self._sim.stop("is told")

    def ended(self) -> None:
        self._sim.release(self._name)


def drive_sqlite(patch: Any) -> None:
    """Connections work at once, belong to their process, and end with it. Nothing is flushed to the disk."""

    def connected(self: Any) -> Any:
        self._connection = self._connector()
        self._connection.execute("PRAGMA synchronous=OFF")
        if (process := running()) is not None:
            process.endings.append(self.close)
        return self

    async def connect(self: Any) -> Any:
        return connected(self)

    async def execute(self: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._connection is None:
            raise ValueError("Connection closed")
        text = args[0] if args and isinstance(args[0], str) else ""
        if text == "PRAGMA synchronous=FULL":
            return self._connection.execute("PRAGMA synchronous=OFF")
        found = call(*args, **kwargs)
        if text == "BEGIN":
            self.looked = False
        elif text.startswith("SELECT") and getattr(self, "looked", True) is False:
            self.looked = True
            await _looked()
        return found

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


def drive_postgres(patch: Any, watcher: psycopg.Connection[Any]) -> None:
    """Statements are waited for at once, unless ``watcher`` says that another transaction stands in their way."""

    def blocked(pid: int) -> bool:
        row = watcher.execute("SELECT cardinality(pg_blocking_pids(%s))", (pid,)).fetchone()
        return bool(row and row[0])

    async def wait(self: Any, statement: Any, **_more: Any) -> Any:
        try:
            state, waited = next(statement), 0.0
            while True:
                if ready := _ready(self.pgconn.socket, state, _PATIENCE):
                    state = statement.send(ready)
                    continue
                waited += _PATIENCE
                if waited > _TOO_LONG:
                    raise AssertionError("the database neither answers nor says whom it waits for")
                if (process := running()) is not None and blocked(pid := self.pgconn.backend_pid):
                    await process.sim.stop("went on", lambda: not blocked(pid))
        except StopIteration as done:
            return done.value

    async def connect(generator: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return waiting.wait_conn(generator, interval, timeout)

    made_by = psycopg.AsyncConnection.connect.__func__  # type: ignore[attr-defined]

    async def connected(cls: Any, *args: Any, **kwargs: Any) -> Any:
        made = await made_by(cls, *args, **kwargs)
        if (process := running()) is not None:
            process.endings.append(lambda: _terminated(watcher, made.pgconn.backend_pid))
        return made

    execute = psycopg.AsyncCursor.execute

    async def executed(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        first = self.connection.pgconn.transaction_status == TransactionStatus.IDLE
        found = await execute(self, query, *args, **kwargs)
        if first and self.connection.read_only:
            await _looked()
        return found

    patch.setattr(psycopg.AsyncConnection, "wait", wait)
    patch.setattr(psycopg.AsyncConnection, "connect", classmethod(connected))
    patch.setattr(psycopg.AsyncCursor, "execute", executed)
    patch.setattr(waiting, "wait_conn_async", connect)


def _ready(socket: int, state: int, seconds: float) -> int:
    """What of ``state`` (1 to read, 2 to write) the socket is ready for; 0 for nothing yet."""
    poll = select.poll()
    poll.register(socket, (select.POLLIN if state & 1 else 0) | (select.POLLOUT if state & 2 else 0))
    found = poll.poll(seconds * 1000)
    if not found:
        return 0
    mask = found[0][1]
    return (1 if mask & ~select.POLLOUT else 0) | (2 if mask & select.POLLOUT else 0)


async def _terminated(watcher: psycopg.Connection[Any], pid: int) -> None:
    """Its backend is gone when this returns, and what it had begun is rolled back."""
    watcher.execute("SELECT pg_terminate_backend(%s)", (pid,))
    for _ in range(2_000):
        if watcher.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone() is None:
            return
    raise AssertionError("a backend did not end")


async def _looked() -> None:
    process = running()
    if process is not None and process.sim.looking:
        await process.sim.stop("has looked")


def stand_in(sim: Simulator, patch: Any) -> None:
    """What a process asks its host for: who lives, the time that passed, new ids; and statements are compiled once."""

    def holder() -> str:
        process = running()
        return f"{process.name if process else 'outside'}:{sim.chance().randrange(10**9)}"

    def whereabouts(name: str) -> Whereabouts:
        of = next((one for one in sim.processes if one.name == name.partition(":")[0]), None)
        if of is not None and of.skew != (here.skew if (here := running()) else timedelta(0)):
            return Whereabouts.ELSEWHERE
        return Whereabouts.GONE if of is not None and of.killed else Whereabouts.HERE

    numbers = count(1)

    def uuid7() -> UUID:
        process = running()
        at = process.clock() if process else sim.begin
        return UUID(int=(to_micros(at) // 1000 << 80) | (7 << 76) | (2 << 62) | next(numbers))

    patch.setattr("rosterd.processes.holder", holder)
    patch.setattr("rosterd.processes.whereabouts", whereabouts)
    patch.setattr("ledger.instant.uuid_utils", SimpleNamespace(uuid7=uuid7))
    patch.setattr("connector.reconcile.reading.how.elapsed", sim.loop.time)
    patch.setattr("connector.directory.scim.inbox.time", SimpleNamespace(monotonic=sim.loop.time))
    decide = evidence.decide

    def decided(*args: Any) -> Any:
        found = decide(*args)
        if "clock_behind" in found.reasons:
            sim.fails("a gate calls a clock behind that nobody set")
        return found

    patch.setattr(evidence, "decide", decided)
    compiled = ClauseElement._compile_w_cache

    def once(self: Any, dialect: Any, *, compiled_cache: Any, **more: Any) -> Any:
        shared = _dialects.setdefault(f"{dialect.name} {dialect.driver}", dialect)
        return compiled(self, shared, compiled_cache=_compiled if compiled_cache is not None else None, **more)

    patch.setattr(ClauseElement, "_compile_w_cache", once)
