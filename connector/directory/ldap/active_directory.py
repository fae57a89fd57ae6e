"""An Active Directory domain as a source (D5–D7): as any LDAP server, and what its domain controllers do otherwise.

Members come in ranges; a person's primary group lists nobody, so the person names it; members of other domains are
unknown by themselves. Never follows a reference, and never asks about one foreign member at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from connector.directory import assembly, dn
from connector.directory.base import Entry, ReadRequest, Scope
from connector.directory.groups import GroupEntry, dn_key
from connector.directory.ldap import decode, ranges, search
from connector.directory.ldap.connection import Clock, Session
from connector.directory.ldap.openldap import Attempt, LdapSource

ACTIVE_DIRECTORY = b"1.2.840.113556.1.4.800"
"""The capability (MS-ADTS 3.1.1.3.4.3.1) that a domain controller shows in its root entry."""

NO_SUCH_OBJECT = 32
_PRIMARY, _SID = "primaryGroupID", "objectSid"
_FOREIGN = "cn=foreignsecurityprincipals,dc="
_PARTITIONS = ("cn=configuration,", "dc=domaindnszones,", "dc=forestdnszones,")


class ActiveDirectorySource(LdapSource):
    """Reads people and groups of one domain from one of its domain controllers."""

    def _attempt(self, request: ReadRequest, clock: Clock) -> Attempt:
        return _Attempt(self, request, clock)

    def _kind(self, session: Session) -> str:
        root = root_entry(session, self._settings.page_timeout.total_seconds())
        return f", {root.doubt}" if root.doubt else f", Active Directory {root.domain}"


@dataclass(frozen=True, slots=True)
class RootEntry:
    """What a server says of itself. ``doubt``: why what it holds proves nothing about the domain; empty: it does."""

    domain: str
    doubt: str


def root_entry(session: Session, page_timeout: float) -> RootEntry:
    """Ask the server what it is; never raises for what it answers."""
    found: list[decode.Attributes] = []
    names = decode.Names()

    def take(data: bytes, spans: Sequence[search.Span]) -> None:
        found.extend(decode.entry(data, start, end, names)[1] for start, end in spans)

    wanted = ["supportedCapabilities", "defaultNamingContext", "isSynchronized"]
    proof = search.run(session, search.Query("", "(objectClass=*)", wanted), take, page_timeout=page_timeout)
    if proof.reason or not found:
        return RootEntry("", f"its root entry was not read: {proof.reason or 'it is hidden'}")
    attributes = found[0]
    domain = b"".join(attributes.get("defaultnamingcontext", ())).decode("utf-8", "replace")
    if ACTIVE_DIRECTORY not in attributes.get("supportedcapabilities", ()):
        return RootEntry(domain, "this is not an Active Directory domain controller")
    if attributes.get("issynchronized", (b"TRUE",)) != (b"TRUE",):
        return RootEntry(domain, "this domain controller is not synchronized with the others yet")
    return RootEntry(domain, "")


class _Attempt(Attempt):
    """One reading from one domain controller."""

    def __init__(self, source: LdapSource, request: ReadRequest, clock: Clock) -> None:
        super().__init__(source, request, clock)
        self._sids: dict[str, bytes] = {}
        self._faults: dict[str, str] = {}

    def doubt(self) -> str:
        """Why this server proves nothing about the domain."""
        assert self._session is not None  # noqa: S101
        return root_entry(self._session, self._settings.page_timeout.total_seconds()).doubt

    def looked_up(self, group: GroupEntry) -> GroupEntry:
        """The group with the people whose primary group it is, asked for by its number."""
        sid, key = self._sids.get(dn_key(group.dn), b""), dn_key(group.dn)
        fault = self._faults.get(key, group.fault) or ("" if len(sid) > 4 else f"its {_SID} is not visible")
        members = list(group.members)
        for base in self._settings.people_bases if not fault else ():
            whose = f"(&{self._settings.people_filter}({_PRIMARY}={int.from_bytes(sid[-4:], 'little')}))"
            entries, proof = super()._search(
                search.Query(base, whose, ["1.1"], self._settings.page_size, elsewhere=_is_partition)
            )
            fault = fault or (
                f"the people whose primary group it is were not read: {proof.reason}" if proof.reason else ""
            )
            members += [entry.dn.encode() for entry in entries]
        return replace(group, members=members, fault=fault)

    def _findings(self) -> assembly.Findings:
        assert self._session is not None  # noqa: S101
        root = root_entry(self._session, self._settings.page_timeout.total_seconds())
        findings = super()._findings()
        primary, nameless = _primary_members(findings.people, frozenset(self._request.attributes))
        findings.groups = [self._completed(group, primary) for group in findings.groups]
        doubts = [root.doubt] if root.doubt else []
        doubts += [f"{nameless} people have no {_PRIMARY}, so that a group may lack them"] if nameless else []
        if doubts:
            return _doubted(findings, "; ".join(doubts))
        return findings

    def _people(self, base: str, attributes: Sequence[str], people: dict[str, Entry]) -> Scope:
        return super()._people(base, tuple(dict.fromkeys((*attributes, _PRIMARY, _SID))), people)

    def _search(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        query = replace(query, elsewhere=_is_partition)
        if ranges.MEMBER not in query.attributes:
            return super()._search(query)
        if not query.page_size and _FOREIGN in dn_key(query.base):
            # Nobody of this domain, whatever the server would say: spare one search per foreign member.
            reason = "a principal of another domain"
            return [], search.Proof(self._session.url if self._session else "", codes=[NO_SUCH_OBJECT], reason=reason)
        entries, proof = super()._search(replace(query, attributes=[*ranges.ranged(query.attributes), _SID]))
        return [self._whole(entry) for entry in entries], proof

    def _whole(self, entry: Entry) -> Entry:
        entry, fault = ranges.whole(super()._search, entry)
        key = dn_key(entry.dn)
        self._faults.pop(key, None)
        if fault:
            self._faults[key] = fault
        self._sids[key] = b"".join(entry.attributes.get(_SID.lower(), ()))
        return entry

    def _completed(self, group: GroupEntry, primary: Mapping[bytes, Sequence[bytes]]) -> GroupEntry:
        """The group with the people whose primary group it is, and the better reason when members are missing."""
        more = primary.get(self._sids.get(dn_key(group.dn), b""), ())
        fault = self._faults.get(dn_key(group.dn), group.fault)
        return replace(group, members=[*group.members, *more], fault=fault) if more or fault else group


def _primary_members(people: dict[str, Entry], requested: frozenset[str]) -> tuple[dict[bytes, list[bytes]], int]:
    """SID of each group that is somebody's primary group → DNs of these people, and how many name none.

    What was read only for this leaves the entries: it is nobody's business and would be in their fingerprints.
    """
    members: dict[bytes, list[bytes]] = {}
    nameless = 0
    for anchor, entry in people.items():
        attributes = dict(entry.attributes)
        sid, primary = attributes.get(_SID.lower(), ()), attributes.get(_PRIMARY.lower(), ())
        if sid and primary and primary[0].isdigit() and len(sid[0]) > 4:
            number = int(primary[0]) & 0xFFFFFFFF
            members.setdefault(sid[0][:-4] + number.to_bytes(4, "little"), []).append(entry.dn.encode())
        elif sid or primary:
            nameless += 1
        for name in (_SID.lower(), _PRIMARY.lower()):
            if name not in requested:
                attributes.pop(name, None)
        people[anchor] = replace(entry, attributes=attributes)
    return members, nameless


def _doubted(findings: assembly.Findings, reason: str) -> assembly.Findings:
    """Everything unknown for one more reason."""
    findings.people_scopes = {name: assembly.unknown(scope, reason) for name, scope in findings.people_scopes.items()}
    findings.group_proof = assembly.unknown(findings.group_proof, reason)
    findings.group_proofs = {name: assembly.unknown(scope, reason) for name, scope in findings.group_proofs.items()}
    return findings


def _is_partition(url: str) -> bool:
    """Whether a reference leads to a partition that holds no people (configuration, DNS zones), not to a domain."""
    try:
        return dn.key(unquote(urlsplit(url).path.lstrip("/"))).startswith(_PARTITIONS)
    except ValueError:
        return False
