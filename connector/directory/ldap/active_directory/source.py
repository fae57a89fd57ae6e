"""An Active Directory domain as a source (D5–D7): as any LDAP server, and what its domain controllers do otherwise.

Members come in ranges; a person's primary group lists nobody, so the person names it; members of other domains are
unknown by themselves. Never follows a reference, and never asks about one foreign member at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connector.directory import assembly
from connector.directory.base import Entry, ReadRequest, Scope
from connector.directory.changes import MOST, Changes, ChangesRequest, Traced, TraceRequest
from connector.directory.groups import GroupEntry
from connector.directory.ldap.active_directory import domain, following
from connector.directory.ldap.active_directory.reread import PRIMARY, SID, primary_group, without_sid
from connector.directory.ldap.follow import traces
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Clock, Failed, Session
from connector.directory.ldap.session.reach import Reach
from connector.directory.ldap.source import LdapSource
from connector.directory.ldap.whole import ranges
from connector.directory.ldap.whole.attempt import Attempt
from connector.directory.ldap.wire.dirsync_control import SHOW_DELETED
from connector.directory.names import dn_key
from connector.directory.stand import Marks

NO_SUCH_OBJECT = 32
_FOREIGN = "cn=foreignsecurityprincipals,dc="


class ActiveDirectorySource(LdapSource):
    """Reads people and groups of one domain from one of its domain controllers."""

    def _attempt(self, request: ReadRequest, clock: Clock) -> Attempt:
        return _Attempt(self._reach, request, clock)

    def _kind(self, session: Session) -> str:
        root = domain.root_entry(session, self._settings.page_timeout.total_seconds())
        return f", {root.doubt}" if root.doubt else f", Active Directory {root.domain}"

    def _position(self, session: Session) -> Mapping[str, Any] | None:
        """Where this domain controller stands, for whoever follows it from here on; None where it cannot be (D13)."""
        position = following.choose(session, self._settings).position
        return position.as_cursor() if position else None

    def _marks(self, session: Session) -> tuple[str, Marks]:
        """The update sequence number, which counts only together with its database's invocationId."""
        return domain.marks(session, self._settings.page_timeout.total_seconds())

    def _incremental(self, session: Session) -> str:
        """How this domain controller can be followed, and why not in a better way."""
        return str(following.choose(session, self._settings))

    def _changes(self, session: Session, request: ChangesRequest) -> Changes:
        """What changed since a position; the session is the only one that is asked. Raises ``Failed``."""
        attempt = _Attempt(self._reach, ReadRequest((), request.attributes, request.deadline), session.clock)
        attempt.on(session)
        found = following.changes(session, self._settings, request, attempt.ask)
        groups = tuple(attempt.with_primary(group, most=MOST) for group in found.groups)
        if attempt.broken:
            raise Failed(attempt.broken, transient=attempt.transient)
        return replace(found, groups=groups)

    def _trace(self, attempt: Attempt, session: Session, request: TraceRequest) -> Traced:
        """Over the whole domain, deleted objects too as far as the account sees them: they say that they are."""
        root = domain.root_entry(session, self._settings.page_timeout.total_seconds())
        if root.doubt:
            return Traced(unknown=root.doubt)
        asked = replace(request, attributes=(*request.attributes, domain.IS_DELETED))
        traced = traces.trace(attempt.ask, self._settings, asked, [root.domain], SHOW_DELETED)
        deleted = {anchor for anchor, entry in traced.found.items() if domain.is_deleted(entry.attributes)}
        live = {anchor: entry for anchor, entry in traced.found.items() if anchor not in deleted}
        return replace(traced, found=live, deleted=frozenset(deleted))


class _Attempt(Attempt):
    """One reading from one domain controller, or single questions to it."""

    def __init__(self, reach: Reach, request: ReadRequest, clock: Clock) -> None:
        super().__init__(reach, request, clock)
        self._sids: dict[str, bytes] = {}
        self._faults: dict[str, str] = {}

    @property
    def broken(self) -> str:
        """Why the connection is of no more use; empty while it is."""
        return self._broken

    def doubt(self) -> str:
        """Why this server proves nothing about the domain."""
        assert self._session is not None  # noqa: S101
        return domain.root_entry(self._session, self._settings.page_timeout.total_seconds()).doubt

    def looked_up(self, group: GroupEntry) -> GroupEntry:
        """The group with the people whose primary group it is, asked for by its number."""
        return self.with_primary(group)

    def with_primary(self, group: GroupEntry, most: int = 0) -> GroupEntry:
        """As ``looked_up``; a group that is primary for more than ``most`` people is at fault (0: it is not)."""
        settings = self._settings
        sid, fault = self._named(group)
        members = dict.fromkeys(group.members)
        for base in settings.people_bases if not fault else ():
            whose = f"(&{settings.people_filter}({PRIMARY}={int.from_bytes(sid[-4:], 'little')}))"
            query = search.Query(base, whose, [SID], settings.page_size, elsewhere=domain.is_partition, most=most)
            entries, proof = super()._search(query)
            hidden = next((entry.dn for entry in entries if not any(entry.attributes.get(SID.lower(), ()))), "")
            reason = proof.reason or (hidden and f"the {SID} of {hidden} is not visible")
            fault = fault or (reason and f"the people whose primary group it is were not read: {reason}")
            if not fault:
                own = (entry for entry in entries if entry.attributes[SID.lower()][0][:-4] == sid[:-4])
                members.update((entry.dn.encode(), None) for entry in own)
        return replace(group, members=tuple(members), fault=fault)

    def _findings(self) -> assembly.Findings:
        assert self._session is not None  # noqa: S101
        root = domain.root_entry(self._session, self._settings.page_timeout.total_seconds())
        findings = super()._findings()
        primary, nameless = _primary_members(findings.people, frozenset(self._request.attributes))
        findings.groups = [self._completed(group, primary) for group in findings.groups]
        doubts = [root.doubt] if root.doubt else []
        doubts += [f"{nameless} people have no {PRIMARY}, so that a group may lack them"] if nameless else []
        if doubts:
            return _doubted(findings, "; ".join(doubts))
        return findings

    def _people(self, base: str, attributes: Sequence[str], people: dict[str, Entry]) -> Scope:
        return super()._people(base, tuple(dict.fromkeys((*attributes, PRIMARY, SID))), people)

    def _search(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        query = replace(query, elsewhere=query.elsewhere or domain.is_partition)
        if ranges.MEMBER not in query.attributes:
            return super()._search(query)
        if not query.page_size and _FOREIGN in dn_key(query.base):
            # Nobody of this domain, whatever the server would say: spare one search per foreign member.
            reason = "a principal of another domain"
            return [], search.Proof(self._session.url if self._session else "", codes=[NO_SUCH_OBJECT], reason=reason)
        entries, proof = super()._search(replace(query, attributes=[*ranges.ranged(query.attributes), SID]))
        return [self._whole(entry) for entry in entries], proof

    def _whole(self, entry: Entry) -> Entry:
        entry, fault = ranges.whole(super()._search, entry)
        key = dn_key(entry.dn)
        self._faults.pop(key, None)
        if fault:
            self._faults[key] = fault
        self._sids[key] = b"".join(entry.attributes.get(SID.lower(), ()))
        return entry

    def _completed(self, group: GroupEntry, primary: Mapping[bytes, Sequence[bytes]]) -> GroupEntry:
        """The group with the people whose primary group it is, and the better reason when members are missing."""
        sid, fault = self._named(group)
        more = primary.get(sid, ())
        return replace(group, members=[*group.members, *more], fault=fault) if more or fault else group

    def _named(self, group: GroupEntry) -> tuple[bytes, str]:
        """The group's SID, and why its membership is not proved: without it nobody knows whose primary group it is."""
        key = dn_key(group.dn)
        sid = self._sids.get(key, b"")
        return sid, self._faults.get(key, group.fault) or ("" if len(sid) > 4 else f"its {SID} is not visible")


def _primary_members(people: dict[str, Entry], requested: frozenset[str]) -> tuple[dict[bytes, list[bytes]], int]:
    """SID of each group that is somebody's primary group → DNs of these people, and how many name none.

    What was read only for this leaves the entries: it is nobody's business and would be in their fingerprints.
    """
    members: dict[bytes, list[bytes]] = {}
    nameless = 0
    for anchor, entry in people.items():
        try:
            sid = primary_group(entry)
        except ValueError:
            nameless += 1
        else:
            if sid is not None:
                members.setdefault(sid, []).append(entry.dn.encode())
        people[anchor] = without_sid(entry, requested)
    return members, nameless


def _doubted(findings: assembly.Findings, reason: str) -> assembly.Findings:
    """Everything unknown for one more reason."""
    findings.people_scopes = {name: assembly.unknown(scope, reason) for name, scope in findings.people_scopes.items()}
    findings.group_proof = assembly.unknown(findings.group_proof, reason)
    findings.group_proofs = {name: assembly.unknown(scope, reason) for name, scope in findings.group_proofs.items()}
    return findings
