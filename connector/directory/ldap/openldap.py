"""A directory server as a source (D1–D6, D12): people base by base, groups in bulk, all from one server per reading.

Never raises for what the directory does wrong: whatever was not proved is an unknown scope that says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from connector.directory import assembly, dn
from connector.directory.base import CheckLine, Entry, Reading, ReadRequest, Scope
from connector.directory.blocking import Bench, unhurried_collector
from connector.directory.groups import dn_key
from connector.directory.ldap import decode, membership, search
from connector.directory.ldap.connection import Clock, Failed, Session
from connector.directory.mapping import AttributeRules, anchor_text
from connector.directory.report import fix_for, reading_lines
from connector.directory.settings import LdapSettings

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

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._settings.id

    async def read(self, request: ReadRequest, *, now: datetime) -> Reading:
        """Read from one server; after a break-off begin again on the next, inside ``request.deadline`` (D4)."""
        return await self._bench.run(
            lambda: self._read(request, now), deadline=request.deadline.total_seconds(), overdue=self._overdue
        )

    async def check(self, request: ReadRequest) -> Sequence[CheckLine]:
        """Connect to every server, then read: one line per step, failures with their fix."""
        lines = await self._bench.run(lambda: [self._try(url) for url in self._settings.servers])
        if any(line.ok for line in lines):
            reading = await self.read(request, now=datetime(1970, 1, 1, tzinfo=UTC))
            lines += reading_lines(reading, AttributeRules.from_settings(self._settings))
        return lines

    async def close(self) -> None:
        """End what runs (its scopes become unknown) and let go of the connection."""
        await self._bench.close()

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
        self._stop.clear()
        self._clock = Clock(request.deadline.total_seconds())
        best: _Outcome | None = None
        servers = list(self._settings.servers)
        for attempt in range(self._settings.attempts):
            if attempt and not self._wait(attempt):
                break
            with unhurried_collector():
                outcome = self._attempt(request, self._clock).run(servers)
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
        return assembly.assemble(best.findings, request, source_id=self.id, span=span, rules=self._rules())

    def _attempt(self, request: ReadRequest, clock: Clock) -> Attempt:
        return Attempt(self, request, clock)

    def _rules(self) -> assembly.Rules:
        bases = {assembly.PEOPLE + base: base for base in self._settings.people_bases}
        return assembly.Rules(bases, self._settings.groups_base, self._settings.member_uid_attribute)

    def _wait(self, attempt: int) -> bool:
        """Back off before another attempt; False when there is no time for one."""
        wait = min(self._settings.retry_wait.total_seconds() * 2 ** (attempt - 1), _LONGEST_WAIT)
        try:
            assert self._clock is not None  # noqa: S101
            return self._clock.left() > wait and not self._stop.wait(wait)
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

    def _try(self, url: str) -> CheckLine:
        settings = self._settings
        seconds = settings.connect_timeout + settings.bind_timeout
        try:
            session = self._open(url, Clock(seconds.total_seconds()))
        except Failed as failure:
            return CheckLine(False, f"{url}: {failure.reason}", fix_for(failure.reason))
        try:
            kind = self._kind(session)
        finally:
            session.close()
        who = {"simple": settings.bind_dn, "external": "our certificate or user", "anonymous": "nobody"}[settings.bind]
        return CheckLine(True, f"{url}: connected, {session.encryption}, bound as {who}{kind}")

    def _kind(self, session: Session) -> str:
        """What the server says it is, for the check's line."""
        return ""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """One attempt. ``findings`` is a reason when no server could be used; ``tried``: how many servers were."""

    findings: assembly.Findings | str
    server: str
    tried: int
    transient: bool
    unknown: int


class Attempt:
    """One reading from the first server that can be used."""

    def __init__(self, source: LdapSource, request: ReadRequest, clock: Clock) -> None:
        self._source = source
        self._settings = source._settings
        self._request = request
        self._clock = clock
        self._names = decode.Names()
        self._broken = ""
        self._transient = False
        self._entries = self._pages = self._done = 0
        self._session: Session | None = None

    def run(self, servers: list[str]) -> _Outcome:
        """Try the servers in order; the first that lets us in is the one that is read (D12)."""
        reasons, transient = [], False
        for position, url in enumerate(servers, 1):
            try:
                session = self._session = self._source._open(url, self._clock)
            except Failed as failure:
                reasons.append(f"{url}: {failure.reason}")
                transient = transient or failure.transient
                if failure.final:
                    return _Outcome("; ".join(reasons), url, position, False, 1 << 30)
                continue
            try:
                findings = self._findings()
            finally:
                session.close()
            unknown = sum(not scope.complete for scope in findings.people_scopes.values())
            unknown += not findings.group_proof.complete
            unknown += sum(not scope.complete for scope in findings.group_proofs.values())
            return _Outcome(findings, url, position, self._transient, unknown)
        return _Outcome("; ".join(reasons), servers[-1], len(servers), transient, 1 << 30)

    def _findings(self) -> assembly.Findings:
        found = membership.read(self._search, self._settings, self._request.groups)
        self._done = len(self._request.groups)
        wanted = [*self._request.attributes, self._settings.anchor_attribute]
        if any(group.uids for group in found.groups.values()):
            wanted.append(self._settings.member_uid_attribute)
        people: dict[str, Entry] = {}
        scopes: dict[str, Scope] = {}
        for base in self._settings.people_bases:
            name = assembly.PEOPLE + base
            scopes[name] = replace(self._people(base, tuple(dict.fromkeys(wanted)), people), name=name)
            self._done += 1
        missing = self._missing_sentinels(people)
        return assembly.Findings(people, scopes, list(found.groups.values()), found.proof, found.proofs, missing)

    def _people(self, base: str, attributes: Sequence[str], people: dict[str, Entry]) -> Scope:
        settings = self._settings
        entries, proof = self._search(search.Query(base, settings.people_filter, attributes, settings.page_size))
        faults = []
        for entry in entries:
            if not entry.anchor:
                faults.append(f"{entry.dn} has no {settings.anchor_attribute}")
                continue
            other = people.setdefault(entry.anchor, entry)
            if other is not entry and dn_key(other.dn) != dn_key(entry.dn):
                faults.append(f"{entry.dn} and {other.dn} have the same {settings.anchor_attribute}")
        scope = membership.base_scope(proof, base)
        if not entries and scope.complete:
            faults.append("no entry is a person: the base is empty, the filter is wrong, or people are hidden")
        if faults:
            more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
            scope = assembly.unknown(scope, faults[0] + more)
        return scope

    def _search(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        """Run one query on the pinned server; once the connection is lost, everything else is not read."""
        entries: list[Entry] = []
        session = self._session
        assert session is not None  # noqa: S101
        if self._broken:
            return entries, search.Proof(session.url, reason=f"not read: {self._broken}", usable=False)
        anchor, names, decoded = self._settings.anchor_attribute, self._names, decode.entry
        key = anchor.lower()

        def take(data: bytes, spans: Sequence[search.Span]) -> None:
            for start, end in spans:
                name, attributes = decoded(data, start, end, names)
                values = attributes.pop(key, None)
                entries.append(Entry(anchor_text(anchor, values[0]) if values else "", name, attributes))
            self._entries += len(spans)
            self._pages += 1
            if self._request.progress is not None:
                self._request.progress(self._entries, self._pages, self._done)

        proof = search.run(session, query, take, page_timeout=self._settings.page_timeout.total_seconds())
        self._transient = self._transient or proof.transient
        if not proof.usable:
            self._broken = proof.reason
        return entries, proof

    def _missing_sentinels(self, people: dict[str, Entry]) -> frozenset[str]:
        """Configured entries that are not visible, or that match the filter and were left out of the reading (D3)."""
        settings = self._settings
        if not settings.sentinels:
            return frozenset()
        bases = [dn.key(base) for base in settings.people_bases]
        wanted = {sentinel: dn.key(sentinel) for sentinel in settings.sentinels}
        seen = {key for entry in people.values() if (key := dn_key(entry.dn)) in wanted.values()}
        missing = set()
        for sentinel, key in wanted.items():
            if key in seen:
                continue
            is_person = any(dn.is_under(key, base) for base in bases) and self._visible(
                sentinel, settings.people_filter
            )
            if is_person or not self._visible(sentinel, "(objectClass=*)"):
                missing.add(sentinel)
        return frozenset(missing)

    def _visible(self, name: str, filter_: str) -> bool:
        entries, proof = self._search(search.Query(name, filter_, ["1.1"]))
        return bool(entries) and not proof.reason
