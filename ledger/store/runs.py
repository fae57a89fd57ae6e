"""Runs, held sets, harm, cursors, scopes, due dates: the bookkeeping of reconciling.

Prohibition: decides nothing. Rows are plain tuples in the order each docstring states.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, cast, func

from ledger.instant import new_ids, to_text
from ledger.store.book import Book, Reader
from ledger.store.tables import runs

_DONE = ("applied", "held")


@dataclass(frozen=True, slots=True)
class RunRow:
    """The record of one run (A4). ``problems``: what was reported instead of done, with the people it concerns."""

    id: str
    kind: str
    state: str
    actor: str
    reason: str
    started_at: datetime
    finished_at: datetime | None
    plan_digest: str
    counts: Mapping[str, int]
    evidence: Sequence[Mapping[str, Any]]
    problems: Sequence[Mapping[str, Any]]
    undoes: str = ""

    def to_json(self) -> dict[str, Any]:
        """What lists of runs show."""
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "actor": self.actor,
            "started_at": to_text(self.started_at),
            "finished_at": to_text(self.finished_at) if self.finished_at else None,
            "digest": self.plan_digest,
            "counts": dict(self.counts),
        }


@dataclass(frozen=True, slots=True)
class HeldSet:
    """Harmful changes that wait (G2). ``state``: open, approved, applied, superseded or expired. ``why``: one reason a
    line.

    ``approvals``: what each principal said, oldest first (``by``, ``at``, ``reason``, ``despite_freeze``); the set
    stays open while another one is needed (G3).
    """

    digest: str
    run_id: str
    state: str
    why: str
    changes: Sequence[Mapping[str, Any]]
    created_at: datetime
    expires_at: datetime
    approved_by: str = ""
    approved_at: datetime | None = None
    approval_reason: str = ""
    approvals: Sequence[Mapping[str, Any]] = ()

    @property
    def despite_freeze(self) -> bool:
        """Whether everybody who approved it said that it goes through a freeze window too."""
        return bool(self.approvals) and all(item["despite_freeze"] for item in self.approvals)

    def to_json(self) -> dict[str, Any]:
        """What lists of held sets show: not the people in it."""
        return {
            "digest": self.digest,
            "run": self.run_id,
            "why": "; ".join(self.why.splitlines()),
            "changes": len(self.changes),
            "expires_at": to_text(self.expires_at),
            "approvals": [{"by": item["by"], "at": item["at"]} for item in self.approvals],
        }


_RUN = (
    *("id", "kind", "state", "actor", "reason", "started_at", "finished_at"),
    *("plan_digest", "counts", "evidence", "problems", "undoes"),
)
_HELD = (
    *("digest", "run_id", "state", "why", "changes", "created_at", "expires_at"),
    *("approved_by", "approved_at", "approval_reason", "approvals"),
)


_STAND = ("source_id", "stand", "doubted", "doubted_since")


async def record(book: Book, run: RunRow) -> None:
    """Write a finished run's row, or replace it."""
    await book.upsert(runs.run, ("id",), [{name: getattr(run, name) for name in _RUN}])


async def get(reader: Reader, run_id: str) -> RunRow | None:
    """One run, or None."""
    row = await reader.first(reader.select(runs.run, *_RUN).where(runs.run.c.id == run_id))
    return RunRow(*tuple(row)) if row else None


async def undone_by(reader: Reader, run_id: str) -> str:
    """The last run that restored something of this one; empty: none did."""
    statement = reader.select(runs.run, "id").where(runs.run.c.undoes == run_id, runs.run.c.state == "applied")
    row = await reader.first(statement.order_by(runs.run.c.started_at.desc()).limit(1))
    return str(row.id) if row else ""


async def beginning_with(reader: Reader, beginning: str, most: int = 10) -> list[str]:
    """The ids that begin so; at most ``most``."""
    statement = reader.select(runs.run, "id").where(runs.run.c.id.startswith(beginning, autoescape=True))
    return [str(row.id) for row in await reader.all(statement.order_by(runs.run.c.id).limit(most))]


async def latest(reader: Reader, limit: int = 20) -> list[RunRow]:
    """The newest runs, newest first."""
    statement = reader.select(runs.run, *_RUN).order_by(runs.run.c.started_at.desc(), runs.run.c.id.desc())
    return [RunRow(*tuple(row)) for row in await reader.all(statement.limit(limit))]


async def first_applied_at(reader: Reader) -> datetime | None:
    """When the organization's first applied run finished (G1: the youngest start of a window)."""
    statement = reader.select(runs.run, "finished_at").where(runs.run.c.state.in_(_DONE), runs.run.c.counts != {})
    row = await reader.first(statement.order_by(runs.run.c.started_at))
    return row[0] if row else None


async def held_sets(reader: Reader, states: Collection[str]) -> list[HeldSet]:
    """Held sets in these states, oldest first."""
    statement = reader.select(runs.held_set, *_HELD).where(runs.held_set.c.state.in_(list(states)))
    return [HeldSet(*tuple(row)) for row in await reader.all(statement.order_by(runs.held_set.c.created_at))]


async def held_counts(reader: Reader, known: Mapping[str, int]) -> dict[str, int]:
    """digest → how many changes, of every open held set. A digest in ``known`` is not counted again: it says which
    changes they are."""
    open_sets = runs.held_set.c.state == "open"
    found = {row[0]: -1 for row in await reader.tuples(reader.select(runs.held_set, "digest").where(open_sets))}
    for digest in found:
        if digest in known:
            found[digest] = known[digest]
            continue
        changes = runs.held_set.c.changes if reader.dialect == "sqlite" else cast(runs.held_set.c.changes, JSON)
        one = reader.select(runs.held_set, "digest").where(runs.held_set.c.digest == digest)
        found[digest] = int(await reader.scalar(one.with_only_columns(func.json_array_length(changes))) or 0)
    return found


async def put_held(book: Book, held: HeldSet) -> None:
    """Make or replace a held set."""
    await book.upsert(runs.held_set, ("digest",), [{name: getattr(held, name) for name in _HELD}])


async def set_held_state(book: Book, digests: Sequence[str], state: str) -> None:
    """Move held sets to ``state``."""
    if digests:
        await book.update(runs.held_set, {"state": state}, runs.held_set.c.digest.in_(list(digests)))


async def log_harm(book: Book, rows: Sequence[tuple[str, str, str, str, bool]]) -> None:
    """Rows: kind, identity_id, team_id, mapping_id, approved. Limits count the unapproved ones (G1)."""
    ids = new_ids(len(rows))
    columns = ("row_id", "kind", "identity_id", "team_id", "mapping_id", "approved")
    full = [(row_id, *row) for row_id, row in zip(ids, rows, strict=True)]
    await book.insert(runs.harm, columns, full, same={"at": book.at, "run_id": book.run_id})


async def harm_since(reader: Reader, since: datetime) -> list[tuple[Any, ...]]:
    """kind, identity_id, team_id, mapping_id, at of unapproved harm after ``since``."""
    statement = reader.select(runs.harm, "kind", "identity_id", "team_id", "mapping_id", "at")
    return await reader.tuples(statement.where(runs.harm.c.at > since, runs.harm.c.approved.is_(False)))


async def leavers_since(reader: Reader, since: datetime) -> dict[str, bool]:
    """identity → whether its newest ``disable`` after ``since`` was approved (G7: what follows from it is not new)."""
    statement = reader.select(runs.harm, "identity_id", "approved").where(
        runs.harm.c.kind == "disable", runs.harm.c.at > since
    )
    rows = await reader.tuples(statement.order_by(runs.harm.c.at, runs.harm.c.row_id))
    return {row[0]: bool(row[1]) for row in rows}


async def forget_harm(book: Book, run_id: str, identity_ids: Sequence[str]) -> None:
    """Harm that was undone no longer counts against the limits."""
    chosen = runs.harm.c.identity_id.in_(list(identity_ids))
    await book.delete(runs.harm, runs.harm.c.run_id == run_id, chosen)


async def put_cursor(book: Book, source_id: str, cursor: Mapping[str, Any]) -> None:
    """Remember where a source was read to; commits with the plan it produced (D13)."""
    row = {"source_id": source_id, "cursor": cursor, "run_id": book.run_id, "at": book.at}
    await book.upsert(runs.source_cursor, ("source_id",), [row])


async def put_scopes(book: Book, rows: Sequence[tuple[str, str, bool, str, int]]) -> None:
    """Rows: source_id, scope, complete, reason, entries. ``last_complete_at`` moves only when complete."""
    found: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for source_id, scope, complete, reason, entries in rows:
        row: dict[str, Any] = {
            "source_id": source_id,
            "scope": scope,
            "outcome": "complete" if complete else "unknown",
            "reason": reason,
            "last_read_at": book.at,
            "entries": entries,
        }
        found[complete].append({**row, "last_complete_at": book.at} if complete else row)
    for alike in found.values():
        await book.upsert(runs.source_scope, ("source_id", "scope"), alike)


async def scopes(reader: Reader) -> list[tuple[Any, ...]]:
    """source_id, scope, outcome, reason, last_read_at, last_complete_at, entries."""
    columns = ("source_id", "scope", "outcome", "reason", "last_read_at", "last_complete_at", "entries")
    return await reader.tuples(reader.select(runs.source_scope, *columns))


async def stands(reader: Reader) -> list[tuple[Any, ...]]:
    """source_id, stand, doubted, doubted_since: of the last believed reading, and of the doubted ones since (E2)."""
    return await reader.tuples(reader.select(runs.stand, *_STAND))


async def put_stand(book: Book, *row: Any) -> None:
    """A row as ``stands`` reads it, in place of the source's earlier one."""
    await book.upsert(runs.stand, ("source_id",), [dict(zip(_STAND, row, strict=True))])


async def due_dates(reader: Reader, kind: str) -> dict[str, datetime]:
    """subject → when, of one kind of due date (D14)."""
    rows = await reader.tuples(reader.select(runs.due, "subject", "at").where(runs.due.c.kind == kind))
    return {row[0]: row[1] for row in rows}


async def due_dates_of(reader: Reader, kind: str, subjects: Collection[str]) -> dict[str, datetime]:
    """As ``due_dates``, of these subjects."""
    statement = reader.select(runs.due, "subject", "at").where(runs.due.c.kind == kind)
    return {row[0]: row[1] for row in await reader.tuples_by_keys(statement, runs.due.c.subject, sorted(subjects))}


async def due_by(reader: Reader, kind: str, now: datetime) -> set[str]:
    """Subjects of one kind of due date that has come."""
    statement = reader.select(runs.due, "subject").where(runs.due.c.kind == kind, runs.due.c.at <= now)
    return {row[0] for row in await reader.tuples(statement)}


async def add_due(book: Book, rows: Sequence[tuple[datetime, str, str]]) -> None:
    """Rows: at, kind, subject."""
    columns = ("row_id", "at", "kind", "subject")
    full = [(row_id, *row) for row_id, row in zip(new_ids(len(rows)), rows, strict=True)]
    await book.insert(runs.due, columns, full, same={"run_id": book.run_id})


async def clear_due(book: Book, kind: str, subjects: Sequence[str]) -> None:
    """Forget due dates of these subjects."""
    await book.delete_keys(runs.due, ("kind", "subject"), [(kind, subject) for subject in subjects])


async def cursor(reader: Reader, source_id: str) -> Mapping[str, Any] | None:
    """Where a source was read to, or None."""
    chosen = runs.source_cursor.c.source_id == source_id
    found: Mapping[str, Any] | None = await reader.scalar(reader.select(runs.source_cursor, "cursor").where(chosen))
    return found
