"""Audit rows: append many, seal after commit, verify, erase payloads. The chain's rules are in ``ledger.audit``."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import and_

from ledger.audit import (
    GENESIS,
    AuditEvent,
    Checker,
    Head,
    Row,
    Verification,
    event_digests,
    payload_digest,
    payloads_of,
    seal_rows,
)
from ledger.instant import to_micros
from ledger.store.book import Book, Reader
from ledger.store.tables import audit

_SEAL = 10_000
_READ = 20_000
_SALT_BYTES = 16
_EVENT = ("seq", "at", "actor", "verb", "subject", "run_id", "plan_digest", "payload_digest", "digest")


async def append(book: Book, events: Sequence[AuditEvent]) -> range:
    """Append events inside the book's transaction, at its instant and for its run; returns their sequence numbers."""
    if not events:
        return range(0)
    first = (await _last_seq(book)) + 1
    numbers = range(first, first + len(events))
    at, organization, run_id = to_micros(book.at), book.organization, book.run_id
    salt = secrets.token_hex(_SALT_BYTES * len(events))
    salts = [salt[start : start + 2 * _SALT_BYTES] for start in range(0, len(salt), 2 * _SALT_BYTES)]
    payloads = payloads_of(events)
    fields = [
        (organization, seq, at, event.actor, event.verb, event.subject, run_id, event.plan_digest, hidden)
        for seq, event, hidden in zip(numbers, events, map(payload_digest, salts, payloads), strict=True)
    ]
    rows = [
        (seq, actor, verb, subject, plan_digest, hidden, digest)
        for (_, seq, _, actor, verb, subject, _, plan_digest, hidden), digest in zip(
            fields, event_digests(fields), strict=True
        )
    ]
    columns = ("seq", "actor", "verb", "subject", "plan_digest", "payload_digest", "digest")
    await book.insert(audit.audit_event, columns, rows, same={"at": book.at, "run_id": run_id})
    readable = list(zip(numbers, salts, map(bytes.decode, payloads), strict=True))
    await book.insert(audit.audit_payload, ("seq", "salt", "payload"), readable)
    return numbers


async def seal(book: Book) -> Head | None:
    """Seal every event that is not sealed yet; returns the head to export, or None when there is no event at all."""
    last = await book.first(book.select(audit.audit_seal, "to_seq", "head").order_by(audit.audit_seal.c.to_seq.desc()))
    sealed, head = (int(last.to_seq), str(last.head)) if last else (0, GENESIS)
    unsealed = book.select(audit.audit_event, "seq", "digest").where(audit.audit_event.c.seq > sealed)
    digests = [(int(seq), str(digest)) for seq, digest in await book.tuples(unsealed.order_by("seq"))]
    seals = seal_rows(digests, head, _SEAL)
    columns = ("from_seq", "to_seq", "previous_head", "head")
    await book.insert(
        audit.audit_seal, columns, [tuple(row[name] for name in columns) for row in seals], same={"sealed_at": book.at}
    )
    if seals:
        return Head(book.organization, seals[-1]["to_seq"], seals[-1]["head"])
    return Head(book.organization, sealed, head) if sealed else None


async def verify(reader: Reader, exported: Head | None = None) -> Verification:
    """Check every event and seal of the organization, against an exported head when there is one.

    Reads in batches, so memory does not grow with the log. The verdict names the first broken row.
    """
    statement = reader.select(audit.audit_seal, "from_seq", "to_seq", "previous_head", "head")
    seals = [
        (int(row[0]), int(row[1]), str(row[2]), str(row[3]))
        for row in await reader.tuples(statement.order_by("to_seq"))
    ]
    checker = Checker(reader.organization, seals, exported)
    events, payloads = audit.audit_event, audit.audit_payload
    joined = events.outerjoin(
        payloads, and_(events.c.organization_id == payloads.c.organization_id, events.c.seq == payloads.c.seq)
    )
    both = reader.select(events, *_EVENT).add_columns(payloads.c.salt, payloads.c.payload).select_from(joined)
    after: int | None = None
    while True:
        page = both if after is None else both.where(events.c.seq > after)
        found = await reader.tuples(page.order_by(events.c.seq).limit(_READ), raw=True)
        if not checker.feed(_row(reader.organization, row) for row in found) or len(found) < _READ:
            return checker.verdict()
        after = found[-1][0]


def _row(organization: str, row: Sequence[object]) -> Row:
    seq, *fields, hidden, digest, salt, payload = row
    return Row(seq, (organization, seq, *fields, hidden), digest, hidden, salt, payload)  # type: ignore[arg-type]


async def purge_payloads(book: Book, subjects: Sequence[str]) -> int:
    """Erase the readable part of every event about these subjects; the chain stays whole. Returns how many."""
    purged = 0
    for start in range(0, len(subjects), _SEAL):
        about = book.select(audit.audit_event, "seq").where(
            audit.audit_event.c.subject.in_(list(subjects[start : start + _SEAL]))
        )
        purged += await book.delete(audit.audit_payload, audit.audit_payload.c.seq.in_(about))
    return purged


async def _last_seq(reader: Reader) -> int:
    newest = reader.select(audit.audit_event, "seq").order_by(audit.audit_event.c.seq.desc())
    return int(await reader.scalar(newest.limit(1)) or 0)
