"""Which groups to read, and how: one sweep over the groups' base, or only the groups that are mapped (D2, D6).

Never one search per membership: nested groups are told from people by an index of all groups, read once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from connector.directory import dn
from connector.directory.assembly import unknown
from connector.directory.base import Entry, Scope, ScopeState
from connector.directory.groups import GroupEntry, MembershipGraph, PeopleIndex, group_entry
from connector.directory.ldap.session.search import Proof, Query
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings

SWEEP_FROM = 32
"""From this many groups on, reading all memberships at once is cheaper than asking for them one by one."""

NO_SUCH_OBJECT = 32
_ELSEWHERE = frozenset({10, 32, 34, 50})
"""Results for a member of another directory or one that is hidden: unknown by itself, the group stays proved (D6)."""

Search = Callable[[Query], tuple[list[Entry], Proof]]
"""Runs a query and returns its entries (anchor empty where there is none) with the proof."""

_UNREAD = "its members were not read"


@dataclass(slots=True)
class Membership:
    """Groups by DN key, the proof of the bulk reading, and the proofs of references that were read by themselves."""

    groups: dict[str, GroupEntry] = field(default_factory=dict)
    proof: Scope = field(default_factory=lambda: Scope("", ScopeState.COMPLETE))
    proofs: dict[str, Scope] = field(default_factory=dict)


def attributes(settings: LdapSettings, *, members: bool = True) -> list[str]:
    """What to ask of groups; without ``members`` what an index of them needs."""
    names = [settings.anchor_attribute, settings.group_name_attribute]
    return [*names, "objectClass", "member", "uniqueMember", "memberUid"] if members else names


def read(search: Search, settings: LdapSettings, references: Iterable[str]) -> Membership:
    """Read the groups that ``references`` mean, and every group inside them."""
    return _Reader(search, settings).read(tuple(references))


class _Reader:
    def __init__(self, search: Search, settings: LdapSettings) -> None:
        self._search = search
        self._settings = settings
        self._base_key = dn.key(settings.groups_base)
        self._people_keys = [dn.key(base) for base in settings.people_bases]
        self._found = Membership()
        # Most members are people, written as the server writes them: tell them by the end of their DN, unless groups
        # may lie under a people base too.
        mixed = not self._base_key or any(dn.is_under(self._base_key, base) for base in self._people_keys)
        self._people_ends = () if mixed else tuple(f",{base}".encode() for base in settings.people_bases)

    def read(self, references: tuple[str, ...]) -> Membership:
        found = self._found
        if not references:
            return found
        swept = len(references) >= SWEEP_FROM
        if self._settings.groups_base:
            self._sweep(members=swept)
            if not found.proof.complete:
                return found
        self._named_elsewhere(references)
        wanted = self._starting_points(references)
        asked: set[str] = set()
        while wanted:
            unread = [key for key in wanted if key not in asked and self._is_unread(key)]
            if len(unread) >= SWEEP_FROM and self._settings.groups_base and not swept:
                swept = True
                self._sweep(members=True)
                if not found.proof.complete:
                    return found
            for key in unread:
                self._read_members(key)
            asked |= wanted
            wanted = self._inside(wanted, asked)
        return found

    def _sweep(self, *, members: bool) -> None:
        settings = self._settings
        query = Query(
            settings.groups_base, settings.groups_filter, attributes(settings, members=members), settings.page_size
        )
        entries, proof = self._search(query)
        self._found.proof = base_scope(proof, settings.groups_base)
        known: dict[str, GroupEntry] = {}
        for entry in entries:
            group = self._group(entry)
            other = known.setdefault(group.key, group)
            if other.dn != group.dn:  # the server tells ß from ss, a key does not: neither stands for the other
                fault = f"{other.dn} and {group.dn} are one name here: rename one of them"
                self._found.groups[group.key] = known[group.key] = replace(other, fault=fault)
                continue
            # A sweep over members replaces what the index knew, never what was read by itself (a DN elsewhere).
            self._found.groups[group.key] = group if members else replace(group, fault=_UNREAD)

    def _group(self, entry: Entry) -> GroupEntry:
        return group_entry(entry, self._settings.group_name_attribute)

    def _named_elsewhere(self, references: tuple[str, ...]) -> None:
        """Groups given by DN that the index does not hold: read them where they are."""
        for reference in references:
            if not dn.looks_like_dn(reference) or reference.startswith("anchor:"):
                if not self._settings.groups_base:
                    reason = "groups_base is not set, so a group can only be given by its DN"
                    self._found.proofs[reference] = unknown(self._found.proof, reason)
            elif dn.key(reference) not in self._found.groups:
                self._found.proofs[reference] = self._read_one(reference, "(objectClass=*)")

    def _starting_points(self, references: tuple[str, ...]) -> set[str]:
        graph = MembershipGraph(self._found.groups.values(), PeopleIndex({}))
        roots = (graph.find(reference) for reference in references)
        return {root.key for root in roots if isinstance(root, GroupEntry)}

    def _is_unread(self, key: str) -> bool:
        group = self._found.groups.get(key)
        return group is not None and group.fault == _UNREAD

    def _read_members(self, key: str) -> None:
        group = self._found.groups.pop(key)
        scope = self._read_one(group.dn, "(objectClass=*)")
        if not scope.complete:
            self._found.groups[key] = replace(group, fault=scope.reason)

    def _read_one(self, name: str, filter_: str) -> Scope:
        """Read one group by its DN; a group that is not there is simply not among the groups."""
        entries, proof = self._search(Query(name, filter_, attributes(self._settings)))
        if proof.last_code == NO_SUCH_OBJECT and proof.usable:
            proof.reason = ""
        for entry in entries:
            group = self._group(entry)
            self._found.groups[group.key] = group
        return proof.as_scope("")

    def _inside(self, keys: set[str], asked: set[str]) -> set[str]:
        """Groups that are members of the groups with these keys and were not asked for yet."""
        nested: set[str] = set()
        for key in keys:
            group = self._found.groups.get(key)
            for value in group.members if group else ():
                if value.endswith(self._people_ends):
                    continue
                member = dn_key(value.decode("utf-8", "backslashreplace"))
                if member in asked or member in nested:
                    continue
                if member in self._found.groups or self._is_group_elsewhere(member, value):
                    nested.add(member)
        return nested

    def _is_group_elsewhere(self, member: str, value: bytes) -> bool:
        """A member that is neither under the groups' base nor under a people base: look whether it is a group."""
        if member.startswith("\0") or any(dn.is_under(member, base) for base in self._people_keys):
            return False
        if self._base_key and dn.is_under(member, self._base_key):
            return False
        name = value.decode("utf-8", "backslashreplace")
        entries, proof = self._search(Query(name, self._settings.groups_filter, attributes(self._settings)))
        if proof.reason and not (proof.usable and proof.last_code in _ELSEWHERE):
            # Not known whether it is a group, so that what holds it is not proved either.
            self._found.groups[member] = GroupEntry("", name, member, name, (), (), proof.reason)
            return True
        for entry in entries:
            self._found.groups[member] = replace(self._group(entry), key=member)
        return bool(entries)


def base_scope(proof: Proof, base: str) -> Scope:
    """The proof of a base as a scope; a base that does not exist is said in words."""
    scope = proof.as_scope("")
    if proof.last_code == NO_SUCH_OBJECT:
        return replace(scope, reason=f"no such base {base} (deleted, or hidden from the account that reads)")
    return scope
