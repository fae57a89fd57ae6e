"""Linked entries that a reading did not show, looked for by anchor alone: beside the filter and outside the bases (E1).

What is found is there. What is not found may be deleted, hidden, or on another server: nothing is concluded from it.
"""

from __future__ import annotations

from collections.abc import Sequence

from connector.directory import dn
from connector.directory.base import Entry
from connector.directory.changes import Traced, TraceRequest
from connector.directory.ldap.follow import lookups, syncrepl
from connector.directory.ldap.session.search import Query
from connector.directory.ldap.whole.membership import Search
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings


def contexts(ask: Search, settings: LdapSettings) -> tuple[str, ...]:
    """The server's naming contexts above and below the people bases; a base itself where none is shown above it."""
    entries, _ = ask(Query("", "(objectClass=*)", ["namingContexts"]))
    shown = [
        text.decode("utf-8", "replace") for entry in entries for text in entry.attributes.get("namingcontexts", ())
    ]
    keys = {dn_key(name): name for name in shown if name}
    found: list[str] = []
    for base in settings.people_bases:
        place = dn.key(base)
        above = [name for key, name in keys.items() if dn.is_under(place, key)]
        found += above or [base]
        found += [name for key, name in keys.items() if dn.is_under(key, place)]
    return tuple(dict.fromkeys(found))


def trace(
    ask: Search, settings: LdapSettings, request: TraceRequest, places: Sequence[str], controls: bytes = b""
) -> Traced:
    """Look under each of ``places``. Never raises for what the server answers."""
    attribute = settings.anchor_attribute
    if attribute.lower() not in lookups.MADE_BY_SERVERS:
        return Traced(unknown=f"{attribute} is no anchor that servers make: another entry may have the same")
    wanted = syncrepl.people_attributes(settings, request.attributes)
    reasons: list[str] = []
    wrong: set[str] = set()
    found: dict[str, Entry] = {}
    for filter_, _ in lookups.any_of(attribute, request.anchors, wrong):
        for place in places:
            # whatever a reference leads to is not found here, and that proves nothing anyway
            query = Query(place, filter_, wanted, settings.page_size, elsewhere=lambda _: True, controls=controls)
            entries, proof = ask(query)
            reasons += [f"{place}: {proof.reason}"] if proof.reason else []
            for entry in entries:
                other = found.setdefault(entry.anchor, entry)
                if dn_key(other.dn) != dn_key(entry.dn):
                    reasons.append(f"{entry.dn} and {other.dn} have the same {attribute}")
                    wrong.add(entry.anchor)
    reasons += [f"{anchor!r} is no {attribute}" for anchor in sorted(wrong.difference(found))]
    found = {anchor: found[anchor] for anchor in request.anchors if anchor in found and anchor not in wrong}
    login = settings.member_uid_attribute.lower()
    logins = {
        anchor: tuple(value.decode("utf-8", "replace") for value in entry.attributes.get(login, ()))
        for anchor, entry in found.items()
    }
    return Traced(found, logins, unknown="; ".join(dict.fromkeys(reasons)))
