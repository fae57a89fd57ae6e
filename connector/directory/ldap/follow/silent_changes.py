"""Changes that no entry of ours is marked with (D13): a moved unit, which takes everybody below along, and attributes
that follow from other entries.

Only finds that there is such a thing; then everything has to be read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from connector.directory.ldap.follow import server_state
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Failed, Session
from connector.directory.ldap.wire import decode
from connector.directory.mapping import AttributeRules
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings
from connector.directory.stand import made_by

_FOLLOWS = frozenset({
    "memberof", "ismemberof", "nsrole", "entrydn", "hassubordinates", "numsubordinates", "subordinatecount",
})  # fmt: skip
"""Attributes that a server computes, or writes without dating the entry; overlays for groups do the second."""
_ASSERTED = re.compile(r"\(\s*([^()&|!=<>~]+?)\s*[<>~]?=")
_TOLD = ("entryCSN", "createTimestamp")


def attribute(settings: LdapSettings) -> str:
    """What the filters or the mapping look at that changes without its entry; empty when there is nothing."""
    asserted = _ASSERTED.findall(settings.people_filter + settings.groups_filter)
    names = [*asserted, *AttributeRules.from_settings(settings).requested]
    for name in names:
        kind, *matching = name.lower().split(":")
        if kind.partition(";")[0] in _FOLLOWS or "dn" in matching:
            return str(name).strip()
    return ""


def units(session: Session, settings: LdapSettings, found: Mapping[str, server_state.Database]) -> str:
    """32 hex digits over the names of all units: what has entries below it and is neither a person nor a group. For
    servers that only date their entries, where a new unit and a moved one look alike. Raises ``Failed``."""
    names = {
        dn_key(name)
        for suffix in {database.name for database in found.values()}
        for name in _units(session, settings, suffix, "")
    }
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:32]


def moved(
    session: Session, settings: LdapSettings, since: Mapping[str, Any], found: Mapping[str, server_state.Database]
) -> str:
    """Which unit changed since the cursor; empty when none did. To be asked after reading the changes.

    One that a CSN proves to be made since then does not count: whoever is in it was added or moved there one by one.
    Raises ``Failed`` when it is not known.
    """
    earlier = server_state.earlier(since, settings)
    if not earlier:
        return "" if since.get("units") == units(session, settings, found) else "a unit"
    for (suffix, csns), now in {(item.name, earlier[name].csns): item for name, item in found.items()}.items():
        before = server_state.Database(suffix, csns)
        oldest = server_state.oldest_news(before, now)
        for name, attributes in _units(session, settings, suffix, f"(entryCSN>={oldest})").items():
            if not _is_old(attributes, before) and not _first(attributes, "createtimestamp") > f"{oldest[:14]}Z":
                return name
    return ""


def _units(session: Session, settings: LdapSettings, suffix: str, dated: str) -> dict[str, decode.Attributes]:
    chosen = f"{dated}(hasSubordinates=TRUE)"
    found = _entries(session, settings, suffix, f"(&{chosen})")
    # Asked for, not excluded: "not" of a filter with a word that the server does not know matches nothing.
    ours = f"(&{chosen}(|{settings.people_filter}{settings.groups_filter}))"
    told = _entries(session, settings, suffix, ours) if found else {}
    return {name: attributes for name, attributes in found.items() if name not in told}


def _is_old(attributes: decode.Attributes, before: server_state.Database) -> bool:
    """Whether what is dated not before where we stood is just where we stood."""
    csn = _first(attributes, "entrycsn")
    return csn <= before.by_server.get(made_by(csn), "")


def _entries(session: Session, settings: LdapSettings, suffix: str, filter_: str) -> dict[str, decode.Attributes]:
    found: dict[str, decode.Attributes] = {}
    names = decode.Names()

    def take(data: bytes, spans: Sequence[search.Span]) -> None:
        found.update(decode.entry(data, start, end, names) for start, end in spans)

    query = search.Query(suffix, filter_, _TOLD, settings.page_size)
    proof = search.run(session, query, take, page_timeout=settings.page_timeout.total_seconds())
    if proof.reason:
        raise Failed(f"whether a unit moved is not known: {proof.reason}", transient=proof.transient)
    return found


def _first(attributes: decode.Attributes, name: str) -> str:
    return next(iter(attributes.get(name, ())), b"").decode("ascii", "replace")
