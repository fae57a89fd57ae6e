"""Single entries, looked up by anchor or DN (D13): who is there, and who is proved not to be.

Nobody is absent but by result 0, to the end, under every base, in a directory that shows its sentinels, other people of
each base, and their anchors. Everything else is unknown.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence

from connector.directory import dn
from connector.directory.base import Entry
from connector.directory.changes import Look, LookRequest
from connector.directory.groups import ANCHOR_PREFIX, GroupEntry, group_entry
from connector.directory.ldap.follow import syncrepl
from connector.directory.ldap.session.search import Query
from connector.directory.ldap.whole import membership, sentinels
from connector.directory.ldap.whole.attempt import Attempt
from connector.directory.ldap.whole.membership import NO_SUCH_OBJECT
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings

MADE_BY_SERVERS = frozenset({"entryuuid", "objectguid", "nsuniqueid", "ipauniqueid"})
"""Anchors that a server gives: one entry has it for ever, and its text finds that entry whatever its case. Others may
be given to a second entry elsewhere, be compared with case, or be bytes shown as hex: that such an anchor finds nothing
proves nothing, and what it finds outside of what is read may be somebody else's."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
AT_ONCE = 50
"""Anchors in one filter: one request of some 4 KB, and servers that look each up in an index."""


def anchor_filter(attribute: str, anchor: str) -> str:
    """A filter for the entry with this anchor, as ``mapping.anchor_text`` writes it: bytes are escaped (RFC 4515 §3).

    Raises ``ValueError`` for what is no anchor of that attribute.
    """
    if attribute.lower() in ("objectguid", "entryuuid") and not _UUID.fullmatch(anchor):
        raise ValueError(f"{anchor!r} is no UUID")
    if not anchor:
        raise ValueError("an empty anchor")
    if attribute.lower() == "objectguid":
        return f"({attribute}={escaped(uuid.UUID(anchor).bytes_le)})"
    return f"({attribute}={escaped(anchor.encode())})"


def escaped(value: bytes) -> str:
    r"""A value for a filter; all but letters, digits and hyphens as ``\xx``."""
    plain = b"-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return "".join(chr(byte) if byte in plain else f"\\{byte:02x}" for byte in value)


def any_of(attribute: str, anchors: Sequence[str], wrong: set[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Filters for so many anchors at once, each with the anchors it asks for; what is none goes to ``wrong``."""
    for start in range(0, len(anchors), AT_ONCE):
        chunk = anchors[start : start + AT_ONCE]
        parts = []
        for anchor in chunk:
            try:
                parts.append(anchor_filter(attribute, anchor))
            except ValueError:
                wrong.add(anchor)
        if parts:
            yield f"(|{''.join(parts)})", chunk


def look(attempt: Attempt, settings: LdapSettings, request: LookRequest) -> Look:
    """Look everything up on the attempt's server; never raises for what it answers."""
    return _Looking(attempt, settings, request).all()


class _Looking:
    def __init__(self, attempt: Attempt, settings: LdapSettings, request: LookRequest) -> None:
        self._attempt = attempt
        self._settings = settings
        self._request = request
        self._reasons: list[str] = []
        self._shown: set[str] = set()

    def all(self) -> Look:
        if doubt := self._attempt.doubt():
            return Look(unknown=doubt)
        people, absent = self._people()
        groups, groups_absent = self._groups()
        if (absent or groups_absent) and (missing := sentinels.hidden(self._attempt.ask, self._settings)):
            self._reasons.append(f"the sentinel {min(missing)} is not visible")
            absent, groups_absent = set(), set()
        return Look(
            people, frozenset(absent), groups, frozenset(groups_absent), "; ".join(dict.fromkeys(self._reasons))
        )

    def _people(self) -> tuple[dict[str, Entry], set[str]]:
        settings, found, doubted, wrong = self._settings, dict[str, Entry](), set[str](), set[str]()
        wanted = syncrepl.people_attributes(settings, self._request.attributes)
        sought = tuple(dict.fromkeys(self._request.people))
        for filter_, chunk in any_of(settings.anchor_attribute, sought, wrong):
            for base in settings.people_bases:
                query = Query(base, f"(&{settings.people_filter}{filter_})", wanted, settings.page_size)
                entries, proof = self._attempt.ask(query)
                if reason := membership.base_scope(proof, base).reason:
                    self._reasons.append(f"{base}: {reason}")
                    doubted.update(chunk)
                for entry in entries:
                    self._shown.add(base)
                    other = found.setdefault(entry.anchor, entry)
                    if dn_key(other.dn) != dn_key(entry.dn):
                        self._reasons.append(f"{entry.dn} and {other.dn} have the same {settings.anchor_attribute}")
                        doubted.add(entry.anchor)
        self._reasons += [f"{anchor!r} is no {settings.anchor_attribute}" for anchor in sorted(wrong)]
        doubted |= wrong
        people = {anchor: found[anchor] for anchor in sought if anchor in found and anchor not in doubted}
        absent = {anchor for anchor in sought if anchor not in found and anchor not in doubted}
        if absent and settings.anchor_attribute.lower() not in MADE_BY_SERVERS:
            self._reasons.append(f"single look-ups by {settings.anchor_attribute} do not prove that nobody has it")
            absent = set()
        if absent and not all(self._shows(base, settings.people_filter) for base in settings.people_bases):
            absent = set()
        return people, absent

    def _shows(self, base: str, filter_: str) -> bool:
        """Whether the base shows anybody, with the anchor; one that shows nobody proves nothing about anybody."""
        anchor = self._settings.anchor_attribute
        if base not in self._shown:
            query = Query(base, f"(&{filter_}({anchor}=*))", [anchor], subtree=True, at_most=1)
            entries, proof = self._attempt.ask(query)
            if not any(entry.anchor for entry in entries):
                self._reasons.append(f"{base} shows nothing, or no {anchor}: {proof.reason or 'no entry'}")
                return False
            self._shown.add(base)
        return True

    def _groups(self) -> tuple[dict[str, GroupEntry], set[str]]:
        found: dict[str, GroupEntry] = {}
        absent: set[str] = set()
        for reference in dict.fromkeys(self._request.groups):
            entries, reason = self._group(reference)
            if reason or len(entries) > 1:
                self._reasons.append(f"{reference}: {reason or 'several groups have this anchor'}")
            elif not entries:
                absent.add(reference)
            else:
                group = self._attempt.looked_up(entries[0])
                if group.fault:
                    self._reasons.append(f"{group.dn}: {group.fault}")
                else:
                    found[reference] = group
        settings = self._settings
        self._shown.clear()  # the same base may hold people and groups
        if absent and settings.groups_base and not self._shows(settings.groups_base, settings.groups_filter):
            absent = set()
        return found, absent

    def _group(self, reference: str) -> tuple[list[GroupEntry], str]:
        settings = self._settings
        wanted = membership.attributes(settings)
        if reference.startswith(ANCHOR_PREFIX):
            if not settings.groups_base:
                return [], "groups_base is not set, so a group can only be given by its DN"
            try:
                chosen = anchor_filter(settings.anchor_attribute, reference.removeprefix(ANCHOR_PREFIX).strip().lower())
            except ValueError:
                return [], f"no {settings.anchor_attribute}"
            query = Query(settings.groups_base, f"(&{settings.groups_filter}{chosen})", wanted, settings.page_size)
        elif dn.looks_like_dn(reference):
            query = Query(reference, "(objectClass=*)", wanted)
        else:
            return [], "neither a DN nor anchor:<value>"
        entries, proof = self._attempt.ask(query)
        gone = not query.page_size and proof.last_code == NO_SUCH_OBJECT and proof.usable
        return [group_entry(entry, settings.group_name_attribute) for entry in entries], "" if gone else proof.reason
