"""One person asked for at a directory server (P6): by mail or anchor, then upward through the groups that hold them.

A handful of small searches however large the directory is. Reads only, follows no referral, and proves nothing: a
reading does that.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from connector.directory import dn
from connector.directory.base import Entry
from connector.directory.blocking import Bench
from connector.directory.finding import Finding, FindRequest, FoundEntry, is_meant, spellings
from connector.directory.groups import ANCHOR_PREFIX, GroupEntry, MembershipGraph, PeopleIndex, Unresolved, group_entry
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Clock, Failed, Session
from connector.directory.ldap.whole import membership
from connector.directory.ldap.wire import decode
from connector.directory.mapping import AttributeRules, anchor_text
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings
from ledger.identity import fold

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@.-_ ,=")
_HEX = re.compile(r"(?:[0-9a-f]{2})+")


class LdapFinder:
    """Asks the first server that lets us in. ``folder``: what relative paths in the settings are relative to."""

    def __init__(self, settings: LdapSettings, *, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._bench = Bench(f"find-{settings.id}", self._interrupt)
        self._clock: Clock | None = None
        self._session: Session | None = None

    @property
    def id(self) -> str:
        """The directory's id in the organization file."""
        return self._settings.id

    async def find(self, request: FindRequest, *, now: datetime) -> Finding:
        """Ask now, inside ``request.deadline``."""
        seconds = request.deadline.total_seconds()
        return await self._bench.run(lambda: self._find(request, Clock(seconds)), deadline=seconds)

    async def close(self) -> None:
        """End what runs and let go of the connection."""
        await self._bench.close()

    def _interrupt(self) -> None:
        if self._clock is not None:
            self._clock.stop("the deadline has passed, or it was stopped")
        if self._session is not None:
            self._session.interrupt()

    def _find(self, request: FindRequest, clock: Clock) -> Finding:
        self._clock = clock
        reasons = []
        for url in self._settings.servers:
            session = self._session = Session(url, self._settings, self._folder, clock)
            try:
                session.open()
                return self._asking(session, request).run()
            except Failed as failure:
                reasons.append(f"{url}: {failure.reason}")
                if failure.final:
                    break
            finally:
                session.close()
        return Finding(self.id, unread="; ".join(reasons))

    def _asking(self, session: Session, request: FindRequest) -> Asking:
        return Asking(session, self._settings, request)


@dataclass(frozen=True, slots=True)
class _Reached:
    """A group that holds the person, with the names walked from it to the person's own group."""

    group: GroupEntry
    path: tuple[str, ...]


class Asking:
    """The questions of one search for one person, on one open connection."""

    extra: Sequence[str] = ()
    """Attributes of people needed to find their groups, beside what is mapped."""

    def __init__(self, session: Session, settings: LdapSettings, request: FindRequest) -> None:
        self._session = session
        self._settings = settings
        self._request = request
        self._rules = AttributeRules.from_settings(settings)
        self._names = decode.Names()

    def run(self) -> Finding:
        """The whole answer. Raises ``Failed`` when the connection is of no more use."""
        entries, reason = self._people(self._settings.people_filter)
        if not entries and reason:
            return Finding(self._settings.id, unread=reason, server=self._session.url)
        unread: dict[str, str] = {}
        found = tuple(FoundEntry(self._shown(entry), self._groups(entry, unread)) for entry in entries)
        outside = () if entries else tuple(entry.dn for entry in self._people("(objectClass=*)")[0])
        return Finding(self._settings.id, found, "", unread, outside, self._session.url)

    def ask(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        """Run one query. Raises ``Failed`` when it broke the connection."""
        entries: list[Entry] = []
        attribute, key = self._settings.anchor_attribute, self._settings.anchor_attribute.lower()

        def take(data: bytes, spans: Sequence[search.Span]) -> None:
            for start, end in spans:
                name, attributes = decode.entry(data, start, end, self._names)
                values = attributes.pop(key, None)
                entries.append(Entry(anchor_text(attribute, values[0]) if values else "", name, attributes))

        proof = search.run(self._session, query, take, page_timeout=self._settings.page_timeout.total_seconds())
        if not proof.usable:
            raise Failed(proof.reason, transient=proof.transient)
        return entries, proof

    def ask_members(self, query: search.Query) -> tuple[list[Entry], search.Proof]:
        """Run one query for groups with all their members."""
        return self.ask(query)

    def direct(self, entry: Entry) -> list[GroupEntry]:
        """The groups that list the person."""
        uids = entry.attributes.get(self._settings.member_uid_attribute.lower(), ())
        return self._holding(entry.dn, uids)

    def _people(self, people_filter: str) -> tuple[list[Entry], str]:
        settings = self._settings
        terms = [f"({name}={escaped(mail)})" for name in self._rules.fields["mail"]
                 for mail in spellings(self._request.mails)]  # fmt: skip
        key = settings.anchor_attribute
        terms += [f"({key}={value})" for anchor in self._request.anchors for value in anchor_values(key, anchor)]
        wanted = (*self._rules.requested, key, settings.member_uid_attribute, *self.extra)
        attributes = tuple(dict.fromkeys(name.lower() for name in wanted))
        found: dict[str, Entry] = {}
        reasons = []
        for base in settings.people_bases:
            query = search.Query(base, f"(&{people_filter}(|{''.join(terms)}))", attributes, settings.page_size)
            entries, proof = self.ask(query)
            found |= {dn_key(entry.dn): entry for entry in entries if is_meant(entry, self._rules, self._request)}
            reasons += [f"{base}: {proof.reason}"] if proof.reason else []
        return list(found.values()), "; ".join(reasons)

    def _shown(self, entry: Entry) -> Entry:
        """The entry without what was read only to find its groups."""
        more = {name.lower() for name in (self._settings.member_uid_attribute, *self.extra)} - {*self._rules.requested}
        return replace(
            entry, attributes={name: values for name, values in entry.attributes.items() if name not in more}
        )

    def _groups(self, entry: Entry, unread: dict[str, str]) -> dict[str, tuple[str, ...]]:
        """Reference → path; what cannot be told goes to ``unread``."""
        if not self._request.groups:
            return {}
        reached = self._upward(entry)
        found: dict[str, tuple[str, ...]] = {}
        elsewhere: list[str] = []
        for reference in self._request.groups:
            if is_dn(reference) and dn.key(reference) in reached:
                found[reference] = reached[dn.key(reference)].path
            elif is_dn(reference):
                elsewhere += [] if self._in_groups_base(reference) else [reference]
            elif not self._settings.groups_base:
                unread[reference] = "groups_base is not set, so a group can only be given by its DN"
            elif hits := [item for item in reached.values() if _is_named(item.group, reference)]:
                if said := self._ambiguous(reference):
                    unread[reference] = said
                else:
                    found[reference] = hits[0].path
        if self._has_suffixed_members():
            elsewhere = [reference for reference in self._request.groups if reference not in {*found, *unread}]
        if elsewhere:
            found |= self._downward(entry, elsewhere, reached, unread)
        return found

    def _has_suffixed_members(self) -> bool:
        """Whether some group has ``uniqueMember``, whose values may end in a UID that nobody can ask for (RFC 4517)."""
        return bool(self._settings.groups_base and self.named_groups(self._settings.groups_base, "(uniqueMember=*)"))

    def _in_groups_base(self, reference: str) -> bool:
        base = self._settings.groups_base
        return bool(base) and dn.is_under(dn.key(reference), dn.key(base))

    def _upward(self, entry: Entry) -> dict[str, _Reached]:
        """Every group that holds the person, nearest first, by DN key; a cycle ends by itself (D6)."""
        reached: dict[str, _Reached] = {}
        wave = [_Reached(group, (group.name,)) for group in self.direct(entry)]
        while wave:
            fresh = []
            for item in wave:
                if item.group.key not in reached:
                    reached[item.group.key] = item
                    fresh.append(item)
            wave = [
                _Reached(holder, (holder.name, *item.path)) for item in fresh for holder in self._holding(item.group.dn)
            ]
        return reached

    def _holding(self, name: str, uids: Sequence[bytes] = ()) -> list[GroupEntry]:
        """Groups below the groups' base that list this DN (or login name) as a member."""
        if not self._settings.groups_base:
            return []
        member = escaped(name)
        terms = f"(member={member})(uniqueMember={member})"
        terms += "".join(f"(memberUid={escaped(uid)})" for uid in uids)
        return self.named_groups(self._settings.groups_base, f"(|{terms})")

    def named_groups(self, base: str, condition: str) -> list[GroupEntry]:
        """Groups under ``base`` that meet the condition, without their members."""
        settings = self._settings
        wanted = (settings.anchor_attribute, settings.group_name_attribute)
        query = search.Query(base, f"(&{settings.groups_filter}{condition})", wanted, settings.page_size)
        entries, _ = self.ask(query)
        return [group_entry(entry, settings.group_name_attribute) for entry in entries]

    def _ambiguous(self, reference: str) -> str:
        """Why a name stands for no single group; empty when it does."""
        if reference.startswith(ANCHOR_PREFIX):
            return ""
        condition = f"({self._settings.group_name_attribute}={escaped(reference)})"
        found = self.named_groups(self._settings.groups_base, condition)
        return f"{len(found)} groups have this name; give the DN or anchor:<value>" if len(found) > 1 else ""

    def _downward(
        self, entry: Entry, references: Sequence[str], reached: Mapping[str, _Reached], unread: dict[str, str]
    ) -> dict[str, tuple[str, ...]]:
        """Groups that lie elsewhere: their members are read, since nobody can be asked who holds them."""
        read = membership.read(self.ask_members, self._settings, references)
        groups = [
            replace(group, members=[*group.members, entry.dn.encode()]) if group.key in reached else group
            for group in read.groups.values()
        ]
        people = PeopleIndex({entry.anchor: entry}, self._settings.member_uid_attribute)
        graph = MembershipGraph(groups, people)
        found = {}
        for reference in references:
            proof, root = read.proofs.get(reference, read.proof), graph.find(reference)
            if not proof.complete or isinstance(root, Unresolved):
                unread[reference] = proof.reason or (root.reason if isinstance(root, Unresolved) else "")
                continue
            view = graph.view(reference, root)
            if entry.anchor in view.members:
                found[reference] = view.paths.get(entry.anchor) or (view.name,)
            elif fault := graph.fault(root):
                unread[reference] = fault
        return found


def is_dn(reference: str) -> bool:
    """Whether a reference is a DN (``anchor:cn=x`` is not)."""
    return not reference.startswith(ANCHOR_PREFIX) and dn.looks_like_dn(reference)


def _is_named(group: GroupEntry, reference: str) -> bool:
    if reference.startswith(ANCHOR_PREFIX):
        return group.anchor.lower() == reference.removeprefix(ANCHOR_PREFIX).strip().lower()
    return fold(group.name) == fold(reference)


def escaped(value: str | bytes) -> str:
    """A value inside a filter (RFC 4515): whatever could mean something there is written as hexadecimal pairs."""
    raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
    return "".join(chr(byte) if byte in _PLAIN else f"\\{byte:02x}" for byte in raw)


def anchor_values(attribute: str, anchor: str) -> Iterable[str]:
    """An anchor as the filter value that finds it: the reverse of ``mapping.anchor_text``."""
    if attribute.lower() == "objectguid":
        try:
            yield escaped_bytes(uuid.UUID(anchor).bytes_le)
        except ValueError:
            return
        return
    yield escaped(anchor)
    if _HEX.fullmatch(anchor):
        yield escaped_bytes(bytes.fromhex(anchor))


def escaped_bytes(raw: bytes) -> str:
    """Bytes inside a filter."""
    return "".join(f"\\{byte:02x}" for byte in raw)
