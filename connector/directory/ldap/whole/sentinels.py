"""Entries that must be visible (D3): which of them are not, in a full reading and in a single look-up.

Decides nothing about anybody else; what is missing here makes absence elsewhere prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from connector.directory import dn
from connector.directory.base import Entry
from connector.directory.ldap.session.search import Query
from connector.directory.ldap.whole.membership import Search
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings


def left_out(search: Search, settings: LdapSettings, people: Iterable[Entry]) -> frozenset[str]:
    """Sentinels that are not visible, or that match the filter and are not among all ``people``."""
    if not settings.sentinels:
        return frozenset()
    bases = [dn.key(base) for base in settings.people_bases]
    wanted = {sentinel: dn.key(sentinel) for sentinel in settings.sentinels}
    seen = {key for entry in people if (key := dn_key(entry.dn)) in wanted.values()}
    missing = set()
    for sentinel, key in wanted.items():
        if key in seen:
            continue
        is_person = any(dn.is_under(key, base) for base in bases) and _visible(search, sentinel, settings.people_filter)
        if is_person or not _visible(search, sentinel, "(objectClass=*)"):
            missing.add(sentinel)
    return frozenset(missing)


def hidden(search: Search, settings: LdapSettings) -> frozenset[str]:
    """Sentinels that are not visible."""
    return frozenset(name for name in settings.sentinels if not _visible(search, name, "(objectClass=*)"))


def _visible(search: Search, name: str, filter_: str) -> bool:
    entries, proof = search(Query(name, filter_, ["1.1"]))
    return bool(entries) and not proof.reason
