"""What a server offers to one who follows its changes, and where it stands (D13).

Reads the root entry, the suffix of each base and nothing else; decides by what the server shows, never by its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from connector.directory import dn
from connector.directory.ldap.session import search
from connector.directory.ldap.session.connection import Failed, Session, words
from connector.directory.ldap.whole.newest import MODIFY_TIMESTAMP, instant
from connector.directory.ldap.wire import content_sync, decode
from connector.directory.names import dn_key
from connector.directory.settings import LdapSettings
from connector.directory.stand import Marks, csn_marks, made_by

SYNCREPL, CONTEXT_CSN = "syncrepl", "contextCSN"
_EVER = "19700101000000Z"

AHEAD = timedelta(minutes=5)
"""A newest change dated further ahead of our clock than this comes from a clock that was wrong: what is changed next
may bear an older date and would be passed over."""

_PEOPLE, _GROUPS = "people:", "groups:"
_UNDATED = "{} and hasSubordinates cannot both be searched"
_NOT_SHOWN = "deletions show only in a full reading"


@dataclass(frozen=True, slots=True)
class Database:
    """The part of a server that holds a base: ``name`` (its suffix, or the base where the server names no suffix), its
    contextCSN values, and what tells it from another database that was put in its place."""

    name: str
    csns: tuple[str, ...] = ()
    identity: str = ""

    @property
    def by_server(self) -> dict[str, str]:
        """Server id → its newest change."""
        return {made_by(csn): csn for csn in self.csns}


@dataclass(frozen=True, slots=True)
class Standing:
    """``method`` is empty when nothing fits. ``reason``: why not a better one. ``databases`` by searched base."""

    method: str
    reason: str
    databases: Mapping[str, Database]

    @property
    def said(self) -> str:
        """For an operator."""
        return f"{self.method or 'none'} ({self.reason})" if self.reason else self.method


def searched(settings: LdapSettings) -> dict[str, tuple[str, str]]:
    """What is searched for changes: name in a cursor → (base, filter)."""
    found = {_PEOPLE + base: (base, settings.people_filter) for base in settings.people_bases}
    return {**found, _GROUPS + settings.groups_base: (settings.groups_base, settings.groups_filter)}


def is_groups(name: str) -> bool:
    """Whether this part of a cursor is about groups."""
    return name.startswith(_GROUPS)


def standing(session: Session, settings: LdapSettings) -> Standing:
    """Which method fits this server, and where it stands now. Raises ``Failed`` and ``decode.Malformed``."""
    if not settings.groups_base:
        return Standing("", "groups_base is not set, so changed groups would not show: every run reads everything", {})
    root = _one(session, settings, "", ["namingContexts", "supportedControl"]) or {}
    found = databases(session, settings, root)
    reason = _why_not_syncrepl(session, settings, root, found)
    if not reason:
        return Standing(SYNCREPL, "", found)
    if not _dated(session, settings, f"modifyTimestamp>={_EVER}"):
        return Standing("", f"{reason}; {_UNDATED.format('modifyTimestamp')}: every run reads everything", {})
    shown = all(database.csns for database in found.values())
    return Standing(CONTEXT_CSN if shown else MODIFY_TIMESTAMP, f"{reason}: {_NOT_SHOWN}", found)


def databases(session: Session, settings: LdapSettings, root: decode.Attributes | None = None) -> dict[str, Database]:
    """Where each searched base stands, read now. Raises ``Failed`` and ``decode.Malformed``."""
    if root is None:
        root = _one(session, settings, "", ["namingContexts"]) or {}
    suffixes = {dn_key(name): name for name in map(_text, root.get("namingcontexts", ()))}
    read: dict[str, Database] = {}
    found = {}
    for name, (base, _) in searched(settings).items():
        base_key = dn.key(base)
        holding = [key for key in suffixes if key and dn.is_under(base_key, key)]
        suffix = suffixes[max(holding, key=len)] if holding else base
        if suffix not in read:
            read[suffix] = _database(session, settings, suffix)
        found[name] = read[suffix]
    return found


def marks(session: Session, settings: LdapSettings) -> tuple[str, Marks]:
    """The kind and the marks of a stand (E2); none where a database does not show its contextCSN, or by what to tell it
    from another one. Raises as ``databases``."""
    shown = databases(session, settings)
    found = {base: shown[name] for name, (base, _) in searched(settings).items() if base}
    if not all(item.csns and item.identity for item in found.values()):
        return "", {}
    return CONTEXT_CSN, {base: csn_marks(item.identity, item.csns) for base, item in found.items()}


def identities(found: Mapping[str, Database]) -> dict[str, str]:
    """Each searched base → what tells its database from another one."""
    return {name: item.identity for name, item in found.items()}


def texts(cursor: Mapping[str, Any], key: str, settings: LdapSettings) -> dict[str, str]:
    """A table of a cursor: one text for each searched base. ``Failed`` when it is not that."""
    table = cursor.get(key)
    if not isinstance(table, Mapping) or table.keys() != searched(settings).keys():
        raise Failed(f"the cursor is none of ours: {key} does not fit what is searched", transient=False)
    return {str(name): str(text) for name, text in table.items()}


def earlier(cursor: Mapping[str, Any], settings: LdapSettings) -> dict[str, Database]:
    """Where the databases stood when the cursor was made, as far as it says. ``Failed`` when it cannot be read."""
    if cursor["method"] == SYNCREPL:
        told = texts(cursor, "cookies", settings)
        parts = {
            name: next((part[4:] for part in text.split(",") if part.startswith("csn=")), "")
            for name, text in told.items()
        }
    elif cursor["method"] == CONTEXT_CSN:
        parts = texts(cursor, "csns", settings)
    else:
        parts = {}
        if not re.fullmatch(r"\d{14}Z", str(cursor.get("since", ""))):
            raise Failed("the cursor is none of ours: it says no date", transient=False)
    if not all(parts.values()):
        raise Failed("the cursor is none of ours: it says no CSN", transient=False)
    return {name: Database(name, tuple(text.split(";"))) for name, text in parts.items()}


def gone_back(before: Mapping[str, Database], now: Mapping[str, Database]) -> str:
    """Why what a server holds now does not continue what it held; empty when it does."""
    for name, earlier in before.items():
        found, wanted = now[name].by_server, earlier.by_server
        if any(found.get(server, "") < csn for server, csn in wanted.items()):
            return f"contextCSN of {now[name].name} went back: the server was restored, emptied or replaced"
        if found.keys() - wanted.keys():
            return f"contextCSN of {now[name].name} names a server that it did not name before"
    return ""


def oldest_news(earlier: Database, found: Database) -> str:
    """From when on something may be new: the oldest of the places that went on, or the newest when none did (a server
    may show a contextCSN that it does not keep)."""
    news = [csn for server, csn in earlier.by_server.items() if found.by_server.get(server) != csn]
    return min(news) if news else max(earlier.csns)


def newest_csn(found: Mapping[str, Database]) -> str:
    """The newest change of all; empty when none is shown."""
    return max((csn for database in found.values() for csn in database.csns), default="")


def too_far_ahead(stamp: str, now: datetime) -> str:
    """Why this date (the beginning of a CSN, or a modifyTimestamp) is not to be believed; empty when it is."""
    if stamp and instant(stamp) > now + AHEAD:
        return f"its newest change is dated {stamp[:14]}Z, ahead of our clock: one of the two clocks is or was wrong"
    return ""


def _why_not_syncrepl(
    session: Session, settings: LdapSettings, root: decode.Attributes, found: Mapping[str, Database]
) -> str:
    """Empty when the sync control works here; tried, because a replica may show everything and refuse it."""
    if content_sync.REQUEST not in root.get("supportedcontrol", ()):
        return "no syncprov overlay"
    if not all(database.csns for database in found.values()):
        return "no syncprov overlay, or its contextCSN is hidden from this account"
    if settings.anchor_attribute.lower() != "entryuuid":
        return f"anchors are {settings.anchor_attribute}, and sync searches name entries by entryUUID"
    if not _dated(session, settings, f"entryCSN>={_EVER[:14]}.000000Z#000000#000#000000"):
        return _UNDATED.format("entryCSN")
    tried = {found[name].name: (base, found[name].csns) for name, (base, _) in searched(settings).items()}
    return next(filter(None, (_refused(session, settings, base, csns) for base, csns in tried.values())), "")


def _dated(session: Session, settings: LdapSettings, dated: str) -> bool:
    """Whether entries can be searched by this date, and for having others below them."""
    filter_ = f"(&({dated})(hasSubordinates=TRUE))"
    return _one(session, settings, settings.people_bases[0], ["1.1"], filter_) is not None


def _refused(session: Session, settings: LdapSettings, base: str, csns: Sequence[str]) -> str:
    """Why a sync search that asks for nothing new does not work; empty when it does."""
    proof = search.Proof(session.url)
    query = search.Query(base, "(objectClass=*)", ["1.1"])
    timeout = settings.page_timeout.total_seconds()
    control = content_sync.request(cookie(csns))
    last = search.once(session, query, control, lambda *_: None, proof, page_timeout=timeout)
    if proof.last_code != 0:
        done = decode.done(last, 0, len(last))
        return f"sync searches are refused, {words(done.code, done.diagnostic)}"
    return "" if content_sync.ended(last, 0, len(last)) else "sync searches are not answered as such"


def cookie(csns: Sequence[str]) -> bytes:
    """A cookie of OpenLDAP's kind for everything up to these changes."""
    return f"rid=001,csn={';'.join(csns)}".encode()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _database(session: Session, settings: LdapSettings, name: str) -> Database:
    asked = ["contextCSN", "entryUUID", "nsUniqueId", "createTimestamp"]
    attributes = _one(session, settings, name, asked)
    if attributes is None:
        return Database(name)
    csns = tuple(sorted(raw.decode("ascii", "replace") for raw in attributes.get("contextcsn", ())))
    for csn in csns:
        instant(csn)
    marks = (attributes.get(kind, ()) for kind in ("entryuuid", "nsuniqueid", "createtimestamp"))
    return Database(name, csns, b" ".join(mark[0] for mark in marks if mark).decode("ascii", "replace"))


def _one(
    session: Session, settings: LdapSettings, name: str, attributes: Sequence[str], filter_: str = "(objectClass=*)"
) -> decode.Attributes | None:
    """One entry's attributes; None when it is not there, hidden or not matched. ``Failed`` when it may yet work."""
    found: list[decode.Attributes] = []
    names = decode.Names()

    def take(data: bytes, spans: Sequence[search.Span]) -> None:
        found.extend(decode.entry(data, start, end, names)[1] for start, end in spans)

    timeout = settings.page_timeout.total_seconds()
    proof = search.run(session, search.Query(name, filter_, attributes), take, page_timeout=timeout)
    if proof.reason and (proof.transient or not proof.usable):
        raise Failed(proof.reason, transient=proof.transient)
    return found[0] if found and not proof.reason else None
