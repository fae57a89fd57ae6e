"""A directory server as a source (D1–D6, D12): people base by base, groups in bulk, all from one server per reading.

Never raises for what the directory does wrong: whatever was not proved is an unknown scope that says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from connector.directory import assembly
from connector.directory.base import Checked, CheckLine, Reading, ReadRequest
from connector.directory.blocking import Bench
from connector.directory.changes import Changes, ChangesRequest, Look, LookRequest, Traced, TraceRequest
from connector.directory.ldap.follow import following, server_state, syncrepl, traces
from connector.directory.ldap.session.connection import Clock, Failed, Session
from connector.directory.ldap.session.reach import Reach
from connector.directory.ldap.whole.attempt import Attempt, Outcome
from connector.directory.ldap.wire import decode
from connector.directory.mapping import AttributeRules
from connector.directory.report import fix_for, reading_lines
from connector.directory.settings import LdapSettings
from connector.directory.stand import Marks, Stand
from ledger.collector import without_collector

T = TypeVar("T")
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_WAIT = 30.0


class LdapSource:
    """Reads people and groups of one directory. ``folder``: what relative paths in the settings are relative to."""

    def __init__(self, settings: LdapSettings, *, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._bench = Bench(f"ldap-{settings.id}", self._interrupt)
        self._stop = threading.Event()
        self._clock: Clock | None = None
        self._session: Session | None = None
        self._now = _NEVER
        self._last = ""  # the server that was read last: single look-ups have to ask the same one

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._settings.id

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        """Read from one server; after a break-off begin again on the next, inside ``request.deadline`` (D4)."""
        return await self._timed(lambda: self._read(request, now), request.deadline, now)

    async def changes(self, request: ChangesRequest, *, now: datetime) -> Changes:
        """What changed since the cursor, from the server that gave it, tried twice; or ``lost`` (D13)."""
        return await self._timed(lambda: self._told(request), request.deadline, now)

    async def look(self, request: LookRequest, *, now: datetime) -> Look:
        """Look up single entries on the server that was read last, else on the first that lets us in (D13)."""
        return await self._timed(lambda: self._looked(request), request.deadline, now)

    async def trace(self, request: TraceRequest, *, now: datetime) -> Traced:
        """Look for entries by anchor alone on the server that was read last, else on the first that lets us in (E1)."""
        return await self._timed(lambda: self._asked_after(request), request.deadline, now)

    async def check(self, request: ReadRequest) -> Checked:
        """Connect to every server, then read: one line per step, failures with their fix."""
        settings = self._settings
        lines = await self._bench.run(lambda: [line for url in settings.servers for line in self._try(url)])
        if not any(line.ok for line in lines):
            return Checked(lines)
        reading = await self.read(request, now=_NEVER)
        found = reading_lines(reading, AttributeRules.from_settings(settings), settings.sentinels)
        return Checked([*lines, *found], reading)

    async def close(self) -> None:
        """End what runs (its scopes become unknown) and let go of the connection."""
        await self._bench.close()

    async def _timed(self, work: Callable[[], T], deadline: timedelta, now: datetime) -> T:
        """Run blocking work in the source's thread, inside its deadline."""

        def begun() -> T:
            self._stop.clear()
            self._clock = Clock(deadline.total_seconds())
            self._now = now
            return work()

        return await self._bench.run(begun, deadline=deadline.total_seconds(), overdue=self._overdue)

    def _interrupt(self, reason: str = "the reading was stopped") -> None:
        self._stop.set()
        if self._clock is not None:
            self._clock.stop(reason)
        if self._session is not None:
            self._session.interrupt()

    def _overdue(self) -> None:
        self._interrupt("the deadline of the whole reading has passed")

    def _read(self, request: ReadRequest, now: datetime) -> Reading:
        started = time.monotonic()
        best: Outcome | None = None
        servers = list(self._settings.servers)
        for attempt in range(self._settings.attempts):
            if attempt and not self._wait(attempt):
                break
            with without_collector():
                outcome = self._attempt(request, self._ticking).run(servers)
            best = outcome if best is None or outcome.unknown <= best.unknown else best
            if not outcome.transient:
                break
            servers = [*servers[outcome.tried :], *servers[: outcome.tried]]
        assert best is not None  # noqa: S101  # attempts >= 1
        span = (now, now + timedelta(seconds=time.monotonic() - started))
        if isinstance(best.findings, str):
            scopes = assembly.nothing_read(request, self._rules().people_bases, best.findings, server=best.server)
            sentinels = frozenset(self._settings.sentinels)
            return Reading(self.id, *span, people={}, groups={}, scopes=scopes, sentinels_missing=sentinels)
        self._last = best.server
        reading = assembly.assemble(best.findings, request, source_id=self.id, span=span, rules=self._rules())
        reading = replace(reading, stand=best.stand)
        whole = reading.people_complete and all(scope.complete for scope in reading.scopes.values())
        if best.place is None or not whole:
            return reading
        place = following.cursor(best.place, self._settings, request.attributes, best.server)
        return replace(reading, cursor=place)

    def _told(self, request: ChangesRequest) -> Changes:
        def told(session: Session) -> Changes:
            found = self._changes(session, request)
            return replace(found, stand=self._asked(session))  # after it: at most so new is what was told

        found = following.changes(self._reach, request, self._ticking, told)
        if not found.lost:
            self._last = found.server
        return found

    def _looked(self, request: LookRequest) -> Look:
        clock = self._ticking
        return following.look(self._reach, request, clock, self._pinned, lambda asked: self._attempt(asked, clock))

    def _asked_after(self, request: TraceRequest) -> Traced:
        clock, reach = self._ticking, self._reach

        def traced(attempt: Attempt, session: Session) -> Traced:
            return self._trace(attempt, session, request)

        return following.trace(reach, request, clock, self._pinned, lambda asked: self._attempt(asked, clock), traced)

    @property
    def _pinned(self) -> Sequence[str]:
        """The server that was read last; before any was, all of them."""
        return [self._last] if self._last else self._settings.servers

    @property
    def _reach(self) -> Reach:
        return Reach(self.id, self._settings, self._open, self._place, self._stand, self._wait)

    def _attempt(self, request: ReadRequest, clock: Clock) -> Attempt:
        return Attempt(self._reach, request, clock)

    @property
    def _ticking(self) -> Clock:
        """The time that what runs has left."""
        assert self._clock is not None  # noqa: S101
        return self._clock

    def _place(self, session: Session) -> Mapping[str, Any] | None:
        """``_position``, for a reading: when it breaks off, the reading goes on and says why itself."""
        try:
            return self._position(session)
        except (Failed, decode.Malformed):
            return None

    def _position(self, session: Session) -> Mapping[str, Any] | None:
        """Where a full reading that begins now on this session stands; None where changes cannot be followed.

        Here and in the next three a source of another kind does otherwise; all may raise ``Failed`` and ``Malformed``.
        """
        return following.position(session, self._settings, self._now)

    def _stand(self, session: Session) -> Stand:
        """How new the content of the session's server is now; without marks where it does not say."""
        try:
            return self._asked(session)
        except (Failed, decode.Malformed):
            return Stand(session.url, servers=tuple(self._settings.servers))

    def _asked(self, session: Session) -> Stand:
        """``_stand``, which may raise as ``_position``."""
        kind, marks = self._marks(session)
        return Stand(session.url, kind, marks, marks, tuple(self._settings.servers))

    def _marks(self, session: Session) -> tuple[str, Marks]:
        """What the server says of how new its content is, and in which kind of mark; may raise as ``_position``."""
        return server_state.marks(session, self._settings)

    def _changes(self, session: Session, request: ChangesRequest) -> Changes:
        """What changed since the request's cursor, whose server and settings are checked. ``cursor`` without them."""
        attempt = self._attempt(following.read_request(request, syncrepl.enough), self._ticking)
        return following.changes_of(self._reach, session, request, attempt, self._now)

    def _trace(self, attempt: Attempt, _session: Session, request: TraceRequest) -> Traced:
        """Entries by anchor alone, on an attempt's session."""
        return traces.trace(attempt.ask, self._settings, request, traces.contexts(attempt.ask, self._settings))

    def _incremental(self, session: Session) -> str:
        """How changes are followed on this server, and why not in a better way."""
        return following.said(session, self._settings)

    def _rules(self) -> assembly.Rules:
        bases = {assembly.PEOPLE + base: base for base in self._settings.people_bases}
        return assembly.Rules(bases, self._settings.groups_base, self._settings.member_uid_attribute)

    def _wait(self, attempt: int) -> bool:
        """Back off before another attempt; False when there is no time for one."""
        wait = min(self._settings.retry_wait.total_seconds() * 2 ** (attempt - 1), _LONGEST_WAIT)
        try:
            return self._ticking.left() > wait and not self._stop.wait(wait)
        except Failed:
            return False

    def _open(self, url: str, clock: Clock) -> Session:
        session = self._session = Session(url, self._settings, self._folder, clock)
        try:
            session.open()
        except Failed:
            session.close()
            raise
        return session

    def _try(self, url: str) -> list[CheckLine]:
        settings = self._settings
        seconds = settings.connect_timeout + settings.bind_timeout + settings.page_timeout
        try:
            session = self._open(url, Clock(seconds.total_seconds()))
        except Failed as failure:
            return [CheckLine(False, f"{url}: {failure.reason}", fix_for(failure.reason))]
        try:
            kind = self._kind(session)
            try:
                incremental = self._incremental(session)
            except (Failed, decode.Malformed) as error:
                incremental = f"not known ({error})"
        finally:
            session.close()
        who = {"simple": settings.bind_dn, "external": "our certificate or user", "anonymous": "nobody"}[settings.bind]
        connected = CheckLine(True, f"{url}: connected, {session.encryption}, bound as {who}{kind}")
        return [connected, CheckLine(True, f"{url}: incremental: {incremental}")]

    def _kind(self, session: Session) -> str:
        """What the server says it is, for the check's line."""
        return ""
