"""Rows of single sign-on: domains, connections, evidence, gate and sync rows (sso.md §1).

Prohibition: decides nothing. What rows mean is said by ``connector.sso``; every change here happens in a ``Book``,
whose lock makes the writers of one organization wait for each other: an evidence chain has one writer at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Row

from ledger.instant import to_micros
from ledger.store.book import Book, Reader
from ledger.store.tables.base import canonical_json
from ledger.store.tables.sso import (
    sso_connection,
    sso_domain,
    sso_evidence,
    sso_fetch,
    sso_gate,
    sso_link,
    sso_sync,
    sso_token,
    sso_version,
)

GENESIS = "0" * 64
"""The digest before an organization's first evidence row."""


@dataclass(frozen=True, slots=True)
class DomainRow:
    """One registered domain; ``attempt`` counts its tokens, over releases too."""

    domain: str
    raw: str
    added_at: datetime
    added_by: str
    attempt: int
    grace_seconds: int
    released_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class TokenRow:
    """The hash of one issued token."""

    domain: str
    attempt: int
    token_hash: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One immutable version of a connection; ``metadata`` is empty where it was not asked for."""

    connection_id: str
    version: int
    protocol: str
    entity_id: str
    fingerprint: str
    metadata_sha256: str
    facts: Mapping[str, Any]
    created_at: datetime
    created_by: str
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One fact, in the order it was recorded."""

    seq: int
    at: datetime
    kind: str
    subject: str
    actor: str
    facts: Mapping[str, Any]
    digest: str


@dataclass(frozen=True, slots=True)
class FetchRow:
    """The last fetch of a connection's metadata: when, when it was last read to the end, since when and how often it
    has not been since, and why. Not evidence: it only warns."""

    connection_id: str
    source: str
    at: datetime
    read_at: datetime | None = None
    failing_since: datetime | None = None
    failures: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class SyncRow:
    """Directory sync as an admin and the gate left it."""

    enabled: bool
    reasons: tuple[str, ...]
    since: datetime
    actor: str


_VERSION = tuple(name for name in VersionRow.__slots__ if name != "metadata")


def _make(kind: type[Any], row: Row[Any]) -> Any:
    found = row._mapping
    return kind(**{name: found[name] for name in kind.__slots__ if name in found})


# --- domains ---


async def domains(reader: Reader, *, released: bool = False) -> tuple[DomainRow, ...]:
    """Every registered domain, by name; released ones only when asked for."""
    statement = reader.select(sso_domain).order_by(sso_domain.c.domain)
    if not released:
        statement = statement.where(sso_domain.c.released_at.is_(None))
    return tuple(_make(DomainRow, row) for row in await reader.all(statement))


async def domain(reader: Reader, name: str) -> DomainRow | None:
    """One domain, released or not."""
    row = await reader.first(reader.select(sso_domain).where(sso_domain.c.domain == name))
    return None if row is None else _make(DomainRow, row)


async def put_domain(book: Book, row: DomainRow) -> None:
    """Insert or replace a domain."""
    await book.upsert(sso_domain, ("domain",), [{name: getattr(row, name) for name in DomainRow.__slots__}])


async def put_token(book: Book, row: TokenRow) -> None:
    """Insert the hash of a token."""
    await book.upsert(sso_token, ("domain", "attempt"), [{name: getattr(row, name) for name in TokenRow.__slots__}])


async def tokens(reader: Reader) -> dict[tuple[str, int], TokenRow]:
    """Every token by (domain, attempt)."""
    rows: list[TokenRow] = [_make(TokenRow, row) for row in await reader.all(reader.select(sso_token))]
    return {(row.domain, row.attempt): row for row in rows}


# --- connections ---


async def put_connection(book: Book, connection_id: str, name: str, actor: str) -> bool:
    """Insert a connection unless it exists; say whether it was new."""
    row = {"id": connection_id, "name": name, "created_at": book.at, "created_by": actor}
    return await book.insert_new(sso_connection, ("id",), row)


async def connections(reader: Reader) -> tuple[str, ...]:
    """Ids of every connection, in order."""
    return tuple(row.id for row in await reader.all(reader.select(sso_connection, "id").order_by(sso_connection.c.id)))


async def put_version(book: Book, row: VersionRow) -> None:
    """Insert one immutable version; an existing number raises ``Stale``."""
    columns = VersionRow.__slots__
    await book.insert(sso_version, columns, [tuple(getattr(row, name) for name in columns)])


async def versions(reader: Reader) -> tuple[VersionRow, ...]:
    """Every version of every connection without its metadata, oldest first."""
    statement = reader.select(sso_version, *_VERSION).order_by(sso_version.c.connection_id, sso_version.c.version)
    return tuple(_make(VersionRow, row) for row in await reader.all(statement))


async def version(reader: Reader, connection_id: str, number: int) -> VersionRow | None:
    """One version with its metadata."""
    statement = reader.select(sso_version).where(
        sso_version.c.connection_id == connection_id, sso_version.c.version == number
    )
    row = await reader.first(statement)
    return None if row is None else _make(VersionRow, row)


async def links(reader: Reader) -> dict[str, str]:
    """Domain → connection id, as it is now."""
    return {row.domain: row.connection_id for row in await reader.all(reader.open(sso_link, "domain", "connection_id"))}


async def link(book: Book, name: str, connection_id: str) -> bool:
    """Link a domain to a connection, ending what it was linked to; False when nothing changed."""
    row = await book.first(book.open(sso_link, "row_id", "connection_id").where(sso_link.c.domain == name))
    if row is not None:
        if row.connection_id == connection_id:
            return False
        await book.end(sso_link, [row.row_id])
    await book.begin(sso_link, ("domain", "connection_id"), [(name, connection_id)])
    return True


async def unlink(book: Book, name: str) -> None:
    """End the domain's link."""
    rows = await book.all(book.open(sso_link, "row_id").where(sso_link.c.domain == name))
    await book.end(sso_link, [row.row_id for row in rows])


async def put_fetch(book: Book, row: FetchRow) -> None:
    """Insert or replace what is known of the last fetch."""
    await book.upsert(sso_fetch, ("connection_id",), [{name: getattr(row, name) for name in FetchRow.__slots__}])


async def fetches(reader: Reader) -> dict[str, FetchRow]:
    """The last fetch of each connection that has been fetched."""
    found: list[FetchRow] = [_make(FetchRow, row) for row in await reader.all(reader.select(sso_fetch))]
    return {row.connection_id: row for row in found}


# --- evidence ---


def chained(previous: str, organization: str, row: EvidenceRow) -> str:
    """The digest of a row after ``previous``."""
    fields = [organization, row.seq, to_micros(row.at), row.kind, row.subject, row.actor, row.facts]
    return sha256((previous + canonical_json(fields)).encode()).hexdigest()


async def append_evidence(book: Book, kind: str, subject: str, *, actor: str, facts: Mapping[str, Any]) -> int:
    """Append one fact at the book's instant; returns its number."""
    last = await book.first(book.select(sso_evidence, "seq", "digest").order_by(sso_evidence.c.seq.desc()))
    number, previous = (last.seq + 1, last.digest) if last else (1, GENESIS)
    row = EvidenceRow(number, book.at, kind, subject, actor, facts, "")
    values = (row.seq, row.at, kind, subject, actor, facts, chained(previous, book.organization, row))
    await book.insert(sso_evidence, EvidenceRow.__slots__, [values])
    return number


async def evidence(reader: Reader, kinds: Sequence[str] = ()) -> tuple[EvidenceRow, ...]:
    """Every fact, oldest first; only of ``kinds`` when given."""
    statement = reader.select(sso_evidence).order_by(sso_evidence.c.seq)
    if kinds:
        statement = statement.where(sso_evidence.c.kind.in_(list(kinds)))
    return tuple(_make(EvidenceRow, row) for row in await reader.all(statement))


async def broken_evidence(reader: Reader) -> int:
    """Number of the first fact that was changed, added or removed after it was recorded; 0 when none was."""
    previous = GENESIS
    expected = 1
    for row in await evidence(reader):
        if row.seq != expected or chained(previous, reader.organization, row) != row.digest:
            return expected
        previous, expected = row.digest, expected + 1
    return 0


# --- gate and sync rows ---


async def gate_versions(reader: Reader) -> dict[str, int]:
    """How often the evidence of each domain has changed."""
    return {row.domain: row.version for row in await reader.all(reader.select(sso_gate))}


async def bump_gates(book: Book, names: Iterable[str]) -> None:
    """Count one more change of evidence for each of these domains."""
    known = await gate_versions(book)
    rows = [{"domain": name, "version": known.get(name, 0) + 1} for name in sorted(set(names))]
    if rows:
        await book.upsert(sso_gate, ("domain",), rows)


async def sync_row(reader: Reader) -> SyncRow | None:
    """The sync row; None while nobody has ever enabled it."""
    row = await reader.first(reader.select(sso_sync))
    return None if row is None else SyncRow(row.enabled, tuple(row.reasons), row.since, row.actor)


async def put_sync(book: Book, row: SyncRow) -> None:
    """Insert or replace the sync row."""
    values = {"enabled": row.enabled, "reasons": list(row.reasons), "since": row.since, "actor": row.actor}
    await book.upsert(sso_sync, (), [values])
