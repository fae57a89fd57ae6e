"""One attempt at reading one server (D1–D4, D12): people base by base, groups in bulk, single entries when asked.

Never raises for what the directory does wrong: whatever was not proved is an unknown scope that says why.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from connector.directory import assembly
from connector.directory.base import Entry, ReadRequest, Scope
from connector.directory.groups import GroupEntry
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Clock, Failed, Session
from connector.directory.ldap.session.reach import Reach
from connector.directory.ldap.whole import membership, sentinels
from connector.directory.ldap.whole.newest import Newest, asking_for_dates, dated, needs_date
from connector.directory.ldap.wire import decode
from connector.directory.mapping import anchor_text
from connector.directory.names import dn_key
from connector.directory.stand import Stand, between


@dataclass(frozen=True, slots=True)
class Outcome:
    """One attempt. ``place``: where it stood before it read, None where changes cannot be followed from it.

    ``findings`` is a reason when no server could be used; ``tried``: how many servers were. ``stand``: how new what was
    read is.
    """

    findings: assembly.Findings | str
    server: str
    tried: int
    transient: bool
    unknown: int
    place: Mapping[str, Any] | None = None
    stand: Stand | None = None


class Attempt:
    """One reading from the first server that can be used."""

    def __init__(self, reach: Reach, request: ReadRequest, clock: Clock) -> None:
        self._reach = reach
        self._settings = reach.settings
        self._request = request
        self._clock = clock
        self._names = decode.Names()
        self._broken = ""
        self._transient = False
        self._entries = self._pages = self._done = 0
        self._session: Session | None = None
        self._newest: Newest | None = None

    def run(self, servers: list[str]) -> Outcome:
        """Try the servers in order; the first that lets us in is the one that is read (D12)."""
        reasons, transient = [], False
        for position, url in enumerate(servers, 1):
            try:
                session = self._session = self._reach.open(url, self._clock)
            except Failed as failure:
                reasons.append(f"{url}: {failure.reason}")
                transient = transient or failure.transient
                if failure.final:
                    return Outcome("; ".join(reasons), url, position, False, 1 << 30)
                continue
            try:
                before = self._reach.stand(session)
                place = self._reach.place(session)
                started = time.monotonic()
                self._newest = Newest() if needs_date(place) else None
                findings = self._findings()
                place = dated(place, self._newest, time.monotonic() - started)
                stand = between(before, self._reach.stand(session))
            finally:
                session.close()
            unknown = sum(not scope.complete for scope in findings.people_scopes.values())
            unknown += not findings.group_proof.complete
            unknown += sum(not scope.complete for scope in findings.group_proofs.values())
            return Outcome(findings, url, position, self._transient, unknown, place, stand)
        return Outcome("; ".join(reasons), servers[-1], len(servers), transient, 1 << 30)

    def on(self, session: Session, newest: Newest | None = None) -> None:
        """Use this session for single searches; ``newest`` sees the entries they return."""
        self._session, self._newest = session, newest

    @property
    def transient(self) -> bool:
        """Whether something went wrong that may be different in a moment (D4)."""
        return self._transient

    def ask(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        """One search on the session, as a full reading would make it."""
        return self._search(query)

    def doubt(self) -> str:
        """Why nothing that this server shows proves anything; empty when nothing speaks against it."""
        return ""

    def looked_up(self, group: GroupEntry) -> GroupEntry:
        """A group that was read by itself, with the members that a full reading would find elsewhere."""
        return group

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
        missing = sentinels.left_out(self._search, self._settings, people.values())
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
        newest = self._newest if query.attributes != ["1.1"] else None
        if newest is not None:
            query = asking_for_dates(query)

        def take(data: bytes, spans: Sequence[search.Span]) -> None:
            for start, end in spans:
                name, attributes = decoded(data, start, end, names)
                values = attributes.pop(key, None)
                if newest is not None:
                    newest.see(attributes)
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
