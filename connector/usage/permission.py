"""Acts that permit (or end) looking at usage: the legal basis (R13c), the user-level switch (R11), opting out.

Each is one transaction with its audit event. Prohibition: judges no basis; that is the customer's own responsibility.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from ledger.audit import AuditEvent
from ledger.errors import NotFound
from ledger.identity import Email, IdentityState, fold
from ledger.store import audit, consent, people, reporting
from ledger.store.book import Reader
from ledger.store.engine import Ledger
from ledger.usage import LegalBasis


async def record_basis(ledger: Ledger, organization: str, basis: LegalBasis, *, actor: str, now: datetime) -> bool:
    """Put ``basis`` in force; collection may begin. False (and nothing written) when it is in force already."""
    async with ledger.write(organization, at=now) as book:
        before = await consent.legal_basis(book)
        if not await consent.record_basis(book, basis, actor=actor):
            return False
        event = AuditEvent(actor, "usage.basis", organization, "", before=_document(before), after=_document(basis))
        await audit.append(book, [event])
        return True


async def withdraw_basis(ledger: Ledger, organization: str, *, actor: str, reason: str, now: datetime) -> bool:
    """End the basis in force: from this instant every event is dropped and counted. False when there was none."""
    async with ledger.write(organization, at=now) as book:
        before = await consent.legal_basis(book)
        if not await consent.withdraw_basis(book):
            return False
        await audit.append(book, [AuditEvent(actor, "usage.basis", organization, reason, before=_document(before))])
        return True


async def switch_team(
    ledger: Ledger, organization: str, team: str, *, user_level: bool, personal_data: bool, actor: str, now: datetime
) -> None:
    """Switch user-level usage (and named data) of the Team called ``team`` on or off (R11). Raises ``NotFound``.

    Seven parameters: two switches, and who, where and when.
    """
    async with ledger.write(organization, at=now) as book:
        team_id = await _team_id(book, team)
        await reporting.switch(book, team_id, user_level=user_level, personal_data=personal_data, actor=actor)
        after = {"user_level": user_level, "personal_data": personal_data}
        await audit.append(book, [AuditEvent(actor, "usage.switch", team_id, "", after=after)])


async def opt_out(
    ledger: Ledger, organization: str, mails: Sequence[str], *, out: bool, reason: str, actor: str, now: datetime
) -> int:
    """Stop (``out``) or resume collecting these people's usage; returns how many changed. Raises ``NotFound`` naming
    every address nobody has, before anything is written.

    Seven parameters: whom and whether, and who, where, when and why.
    """
    async with ledger.write(organization, at=now) as book:
        ids = await _identities(book, mails)
        if out:
            changed = await consent.opt_out(book, ids, cause=reason, actor=actor)
        else:
            changed = await consent.opt_in(book, ids)
        verb = "usage.opt-out" if out else "usage.opt-in"
        await audit.append(book, [AuditEvent(actor, verb, identity, reason) for identity in ids])
        return changed


async def _team_id(reader: Reader, name: str) -> str:
    teams = await people.open_teams(reader)
    for row in teams:
        if row[2] == fold(name) or row[0] == name:
            return str(row[0])
    known = ", ".join(sorted(row[1] for row in teams)) or "none"
    raise NotFound(f"there is no Team {name!r}", next_step=f"name one of: {known}")


async def _identities(reader: Reader, mails: Sequence[str]) -> list[str]:
    found, missing = [], []
    for mail in mails:
        rows = await people.identities_by_mail(reader, Email.parse(mail).key)
        present = [row[1] for row in rows if row[7] != IdentityState.REMOVED]
        found += present
        missing += [] if present else [mail]
    if missing:
        raise NotFound(
            f"nobody has the address {', '.join(missing)}", next_step="nothing was written; check the spelling"
        )
    return found


def _document(basis: LegalBasis | None) -> dict[str, Any] | None:
    if basis is None:
        return None
    return {
        "kind": basis.kind.value,
        "purposes": list(basis.purposes),
        "person_categories": list(basis.person_categories),
        "transfers": list(basis.transfers),
        "effective_on": basis.effective_on.isoformat(),
        "evidence": basis.evidence,
    }
