"""Binds an entry of a directory to a known person by hand (D9): a migration where nothing correlates, a rehire.

Prohibition: never remove-and-add. What the person has stays; only the entry that stands for them changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from connector.reconcile.by_hand import rules
from connector.reconcile.by_hand.people import Edited, load
from connector.reconcile.by_hand.rules import Act
from ledger.audit import AuditEvent
from ledger.errors import BadInput, NotFound
from ledger.jobs import Unleased
from ledger.store import audit, last_readings, people, roster
from ledger.store.engine import Ledger

_LONGEST = 500
_SCIM = "scim"

Entry = tuple[str, str]
"""(source id, anchor)."""


def parse_entry(text: str) -> Entry:
    """``SOURCE:ANCHOR`` → both; raises ``BadInput``."""
    source, colon, anchor = text.partition(":")
    if not colon or not source.strip() or not anchor.strip():
        raise BadInput(f"{text!r} names no entry", where="to", next_step="write SOURCE:ANCHOR, for example corp:9f1c…")
    return source.strip(), anchor.strip()


def checked(entry: Entry, directories: Mapping[str, str]) -> Entry:
    """The entry as a reading would name it. ``directories``: source id → kind; raises ``BadInput``.

    Anchors of LDAP, Active Directory and LDIF are in lower case (D5); those of SCIM are as the provider writes them.
    """
    source, anchor = entry
    if source not in directories:
        known = ", ".join(sorted(directories)) or "none"
        raise BadInput(f"there is no directory {source!r} (known: {known})", where="source")
    if not anchor.isprintable() or len(anchor) > _LONGEST:
        raise BadInput(f"an anchor is printable and has at most {_LONGEST} characters", where="anchor")
    return source, anchor if directories[source] == _SCIM else anchor.lower()


async def relink(
    ledger: Ledger, organization: str, identity_id: str, entry: Entry, directories: Mapping[str, str], act: Act
) -> Edited:
    """Bind the entry to the person and end the person's other directory links (D9). Needs a reason; idempotent.

    Raises ``BadInput`` for an unknown directory, ``NotFound``, ``Refused`` when the entry is somebody else's. Whether
    the entry exists is seen by the next run: until then nobody is absent because of it.
    """
    act.require_reason()
    source, anchor = checked(entry, directories)
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        person = await load(book, identity_id)
        person.require_whole_by(act)
        holder = await roster.holder_of_entry(book, source, anchor)
        ending = rules.relink(person, source, anchor, holder)
        if holder is not None and not ending:
            return Edited(identity_id, False, f"{person.mail} is bound to {source}:{anchor} already")
        await people.clear_absences_of(book, [identity_id])
        await people.end_links(book, [row.row_id for row in ending])
        if holder is None:
            await people.begin_links(book, [(identity_id, source, anchor, "")])
            await people.clear_absences_of(book, [identity_id])
        before = [f"{row.source_id}:{row.anchor}" for row in ending]
        event = AuditEvent(act.actor, "link.moved", identity_id, act.reason, before=before, after=f"{source}:{anchor}")
        await audit.append(book, [event])
        await last_readings.forget_base(book)
    notes = tuple(f"{old} no longer stands for {person.mail}" for old in before)
    return Edited(identity_id, True, f"{person.mail} is bound to {source}:{anchor}", notes)


async def refuse_unlink(ledger: Ledger, organization: str, identity_id: str, source: str, act: Act) -> None:
    """Taking a directory link away by hand is always refused (P3, D9): raises ``Refused`` with what to do instead, or
    ``NotFound``."""
    async with ledger.read(organization) as reader:
        person = await load(reader, identity_id)
        person.require_seen_by(act)
        for link in person.directory_links:
            if link.source_id == source:
                rules.require_moved_not_removed(person, link)
    raise NotFound(f"{person.mail} has no link to directory {source}", where="source")
