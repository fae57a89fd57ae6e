"""Objects that changed, read as they are now (D13): people, groups, and the groups whose members changed with them.

Asks by objectGUID, with the filters and under the bases of full readings. Raises ``Failed`` for whatever is not proved.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from connector.directory.base import Entry
from connector.directory.changes import MOST, ChangesRequest
from connector.directory.groups import GroupEntry, group_entry
from connector.directory.ldap.active_directory.touched import Touched
from connector.directory.ldap.follow import lookups, syncrepl
from connector.directory.ldap.session.connection import TRANSIENT_CODES, Failed
from connector.directory.ldap.session.search import Proof, Query
from connector.directory.ldap.whole import membership
from connector.directory.settings import LdapSettings

PRIMARY, SID = "primaryGroupID", "objectSid"

Search = Callable[[Query], tuple[list[Entry], Proof]]
"""Runs a query and returns its entries (anchor empty where there is none) with the proof."""


@dataclass(frozen=True, slots=True)
class Reread:
    """``people`` by anchor; ``groups`` with all their members, or with the fault that says why not."""

    people: dict[str, Entry]
    groups: tuple[GroupEntry, ...]


def anchor(guid: bytes) -> str:
    """An objectGUID as Windows writes it, which is the anchor."""
    return str(uuid.UUID(bytes_le=guid))


def equals(attribute: str, value: bytes) -> str:
    """The filter for one value."""
    return f"({attribute}={lookups.escaped(value)})"


def chunks(terms: Iterable[str]) -> Iterator[str]:
    """Filters that match any of these, so many at once."""
    listed = list(terms)
    for start in range(0, len(listed), lookups.AT_ONCE):
        yield f"(|{''.join(listed[start : start + lookups.AT_ONCE])})"


def reread(
    search: Search, settings: LdapSettings, request: ChangesRequest, found: Touched, entered: Iterable[str]
) -> Reread:
    """What is there now of ``found``, and of the groups that list somebody of ``entered`` (DNs that came into view)."""
    by_guid = [equals("objectGUID", guid) for guid in found.live]
    people = _people(search, settings, request, by_guid)
    if not settings.groups_base:
        return Reread(_without_sids(people, request.attributes), ())
    beside = [equals(SID, sid) for sid in _primary_groups(people.values())]
    beside += [equals("member", name.encode()) for name in entered]
    for entry in _found(search, settings, beside, [settings.anchor_attribute]):
        by_guid.append(equals("objectGUID", uuid.UUID(entry.anchor).bytes_le))
    by_guid = list(dict.fromkeys(by_guid))
    if len(by_guid) > MOST:
        raise Failed(f"what changed has to do with more than {MOST} groups: everything is read", transient=False)
    entries = _found(search, settings, by_guid, membership.attributes(settings))
    groups = {entry.anchor: group_entry(entry, settings.group_name_attribute) for entry in entries}
    return Reread(_without_sids(people, request.attributes), tuple(groups.values()))


def proved(search: Search, query: Query) -> list[Entry]:
    """The entries of a query that came to its end."""
    entries, proof = search(query)
    if proof.reason:
        transient = proof.transient or proof.last_code in TRANSIENT_CODES
        raise Failed(f"what changed below {query.base} was not read: {proof.reason}", transient=transient)
    for entry in entries:
        if not entry.anchor:
            raise Failed(f"{entry.dn} has no anchor, so that it is not known what changed", transient=False)
    return entries


def _people(search: Search, settings: LdapSettings, request: ChangesRequest, terms: Sequence[str]) -> dict[str, Entry]:
    wanted = list(dict.fromkeys((*syncrepl.people_attributes(settings, request.attributes), PRIMARY, SID)))
    people: dict[str, Entry] = {}
    for base in settings.people_bases:
        for some in chunks(terms):
            query = Query(base, f"(&{settings.people_filter}{some})", wanted, settings.page_size)
            people.update((entry.anchor, entry) for entry in proved(search, query))
    return people


def _found(search: Search, settings: LdapSettings, terms: Sequence[str], wanted: Sequence[str]) -> list[Entry]:
    """The groups under the groups' base that match any of these."""
    found: list[Entry] = []
    for some in chunks(terms):
        query = Query(settings.groups_base, f"(&{settings.groups_filter}{some})", wanted, settings.page_size)
        found += proved(search, query)
    return found


def primary_group(entry: Entry) -> bytes | None:
    """SID of the group that a person names as primary; None for an entry that has none (a contact).

    Raises ``ValueError`` when one of the two attributes that say it is not visible.
    """
    sid, primary = entry.attributes.get(SID.lower(), ()), entry.attributes.get(PRIMARY.lower(), ())
    if sid and primary and primary[0].isdigit() and len(sid[0]) > 4:
        return sid[0][:-4] + (int(primary[0]) & 0xFFFFFFFF).to_bytes(4, "little")
    if sid or primary:
        raise ValueError(f"{entry.dn} has no {PRIMARY}")
    return None


def without_sid(entry: Entry, requested: Iterable[str]) -> Entry:
    """The entry without what was read only for its primary group: it would be in the person's fingerprint."""
    kept = frozenset(requested)
    dropped = {PRIMARY.lower(), SID.lower()} - kept
    return replace(entry, attributes={name: values for name, values in entry.attributes.items() if name not in dropped})


def _primary_groups(people: Iterable[Entry]) -> set[bytes]:
    try:
        return {sid for entry in people if (sid := primary_group(entry)) is not None}
    except ValueError as error:
        raise Failed(f"{error}, so that it is not known in which group somebody is", transient=False) from error


def _without_sids(people: dict[str, Entry], requested: Sequence[str]) -> dict[str, Entry]:
    return {name: without_sid(entry, requested) for name, entry in people.items()}
