"""The legal basis of collecting usage, and the people who opted out (R13c): without the first, nothing is collected.

Every change is audited in its own transaction. Prohibition: judges no basis; which one applies is the customer's own
responsibility.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from ledger.audit import AuditEvent
from ledger.store import audit
from ledger.store.book import Book, Reader
from ledger.store.tables import usage
from ledger.usage import BasisKind, LegalBasis

_COLUMNS = ("kind", "purposes", "person_categories", "transfers", "effective_on", "evidence")


async def legal_basis(reader: Reader) -> LegalBasis | None:
    """The basis in force now, or None: then every event is dropped and counted."""
    row = await reader.first(reader.open(usage.legal_basis, *_COLUMNS))
    if row is None:
        return None
    lists = (tuple(row.purposes), tuple(row.person_categories), tuple(row.transfers))
    return LegalBasis(BasisKind(row.kind), *lists, row.effective_on, row.evidence)


async def collecting_since(reader: Reader) -> datetime | None:
    """Since when there has been a basis without a gap; None while there is none. What a gap dropped stays unseen."""
    table = usage.legal_basis
    rows = await reader.all(reader.select(table, "valid_from", "valid_to").order_by(table.c.valid_from.desc()))
    since: datetime | None = None
    for row in rows:
        if row.valid_to != since:
            break
        since = row.valid_from
    return since


async def record_basis(book: Book, basis: LegalBasis, *, actor: str, reason: str = "") -> bool:
    """Record ``basis`` in place of the one in force; what held before stays in history. False when it is the same."""
    before = await legal_basis(book)
    if before == basis:
        return False
    await _end_basis(book)
    lists = (list(basis.purposes), list(basis.person_categories), list(basis.transfers))
    values = (str(basis.kind), *lists, basis.effective_on, basis.evidence, actor)
    await book.begin(usage.legal_basis, (*_COLUMNS, "recorded_by"), [values])
    await _witness(book, actor, "legal-basis.record", reason, before=_shown(before), after=_shown(basis))
    return True


async def withdraw_basis(book: Book, *, actor: str, reason: str = "") -> bool:
    """End the basis in force; collection stops with this transaction. False when there was none."""
    before = await legal_basis(book)
    if before is None:
        return False
    await _end_basis(book)
    await _witness(book, actor, "legal-basis.withdraw", reason, before=_shown(before))
    return True


async def opt_out(book: Book, identity_ids: Sequence[str], *, cause: str, actor: str) -> int:
    """Stop collecting these people's usage; returns how many had not opted out before."""
    already = {row.identity_id for row in await book.all(book.open(usage.usage_opt_out, "identity_id"))}
    fresh = [identity for identity in dict.fromkeys(identity_ids) if identity not in already]
    rows = [(identity, cause, actor) for identity in fresh]
    await book.begin(usage.usage_opt_out, ("identity_id", "cause", "recorded_by"), rows)
    await audit.append(book, [AuditEvent(actor, "usage.opt-out", identity, cause) for identity in fresh])
    return len(fresh)


async def opt_in(book: Book, identity_ids: Sequence[str], *, actor: str, reason: str = "") -> int:
    """Collect these people's usage again, from now on; returns how many had opted out."""
    table = usage.usage_opt_out
    wanted = set(identity_ids)
    rows = [row for row in await book.all(book.open(table, "row_id", "identity_id")) if row.identity_id in wanted]
    await book.end(table, [row.row_id for row in rows])
    await audit.append(book, [AuditEvent(actor, "usage.opt-in", row.identity_id, reason) for row in rows])
    return len(rows)


async def _end_basis(book: Book) -> None:
    rows = await book.all(book.open(usage.legal_basis, "row_id"))
    await book.end(usage.legal_basis, [row.row_id for row in rows])


async def _witness(book: Book, actor: str, verb: str, reason: str, **states: Any) -> None:
    await audit.append(book, [AuditEvent(actor, verb, book.organization, reason, **states)])


def _shown(basis: LegalBasis | None) -> dict[str, Any] | None:
    return None if basis is None else msgspec.to_builtins(basis)


async def opted_out(reader: Reader) -> dict[str, list[tuple[datetime, datetime | None]]]:
    """By identity, every interval ``[since, until)`` of opting out, past ones too; ``until`` None while it lasts."""
    table = usage.usage_opt_out
    found: dict[str, list[tuple[datetime, datetime | None]]] = {}
    statement = reader.select(table, "identity_id", "valid_from", "valid_to").order_by(table.c.valid_from)
    rows: Sequence[Any] = await reader.all(statement)
    for identity, since, until in rows:
        found.setdefault(identity, []).append((since, until))
    return found
