"""Deliveries of messages to targets: claimed by one, settled once, tried again until then (L1).

A claim is a hold for a time, by the clock that every host shares; how often a delivery was claimed is its fence, so
that hands whose hold ended settle nothing. Messages of one subject are told in the order in which they were written.
Prohibition: sends nothing, and decides nothing of what a receiver's answer means.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, Text, and_, exists, func, or_, select, tuple_, type_coerce, update
from sqlalchemy.ext.asyncio import AsyncConnection

from ledger.errors import Stale
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger
from ledger.store.tables.outbox import delivery, delivery_target, outbox

_COLUMNS = ("message_id", "kind", "subject", "created_at")


class DeliveryState(StrEnum):
    """WAITING: due or in somebody's hands · KEPT: older than its target, until released (L3) · SENT: its receivers have
    it · OBSOLETE: no longer true when its turn came (L2) · DEAD: refused for good · DROPPED: by hand."""

    WAITING = "waiting"
    KEPT = "kept"
    SENT = "sent"
    OBSOLETE = "obsolete"
    DEAD = "dead"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Told:
    """One message of a batch."""

    id: str
    subject: str
    payload: Any
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receiver is done with: it took the batch, or will never take it. ``note``: in its words."""

    receiver: str
    taken: bool
    note: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages of one kind in somebody's hands, told together; ``id`` is the first one's, and what makes the telling
    idempotent. ``done``: the receivers that are not asked again. ``claims`` fences earlier hands."""

    organization: str
    target: str
    id: str
    kind: str
    messages: tuple[Told, ...]
    claims: int
    attempts: int
    begun_at: datetime | None
    done: tuple[Receipt, ...]
    only: frozenset[str] | None = None
    """The receivers that are done with every earlier message about the same, and may be told; None: everybody."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Kinds whose messages are told together, and how long after one telling the next may follow. ``apart``: those of
    which only messages about the same are told together, because others have other readers."""

    kinds: frozenset[str] = frozenset()
    window: timedelta = timedelta(0)
    most: int = 100
    apart: frozenset[str] = frozenset()


async def address(book: Book, written: Sequence[tuple[str, str, str, datetime]]) -> None:
    """One delivery for each message (id, kind, subject, instant) and target that takes its kind, due at once."""
    targets = await book.all(book.select(delivery_target))
    for row in targets:
        kinds = frozenset(row.kinds)
        await _insert(book, row.target, [item for item in written if item[1] in kinds], DeliveryState.WAITING)


async def start(book: Book, target: str, kinds: Collection[str], *, keep_before: datetime) -> int:
    """From now on messages of these kinds go to ``target``. What was written before ``keep_before`` is kept until
    somebody releases it (L3); returns how many messages that are."""
    known = await book.first(book.select(delivery_target).where(delivery_target.c.target == target))
    new = frozenset(kinds) - frozenset(known.kinds if known else ())
    started = known.started_at if known else book.at
    await book.upsert(delivery_target, ("target",), [{"target": target, "kinds": sorted(kinds), "started_at": started}])
    kept = 0
    if known is None:  # it was here before, and stopped
        old = (*_waiting(target), delivery.c.created_at < keep_before)
        kept += await book.update(delivery, {"state": DeliveryState.KEPT.value, "next_at": None}, *old)
    missing = _without(book, target, new, "id", "kind", "subject", "created_at")
    rows = await book.tuples(missing.order_by(outbox.c.created_at, outbox.c.id))
    old_rows = [row for row in rows if row[3] < keep_before]
    await _insert(book, target, old_rows, DeliveryState.KEPT)
    await _insert(book, target, [row for row in rows if row[3] >= keep_before], DeliveryState.WAITING)
    return kept + len(old_rows)


async def stop(book: Book, target: str) -> None:
    """Messages that are written from now on go there no more; what waits goes on waiting."""
    await book.delete(delivery_target, delivery_target.c.target == target)


async def started(reader: Reader) -> dict[str, frozenset[str]]:
    """Target → the kinds that it takes."""
    return {row.target: frozenset(row.kinds) for row in await reader.all(reader.select(delivery_target))}


async def any_due(
    ledger: Ledger, target: str, organizations: Collection[str], *, now: datetime, digest: Digest
) -> bool:
    """Whether a claim would find something: asked without a write, which on SQLite waits for whoever writes."""
    async with ledger.unscoped_read() as connection:
        taking = _Taking(connection, target, await ledger.moment(connection, now), digest)
        return (await connection.execute(taking.due(organizations, 1))).first() is not None


async def claim(
    ledger: Ledger,
    target: str,
    organizations: Mapping[str, int],
    *,
    now: datetime,
    hold: timedelta,
    limit: int,
    digest: Digest,
) -> list[Batch]:
    """Take up to ``limit`` batches that are due, for ``hold``; nobody else gets them meanwhile. ``organizations``: of
    which, and how many at most. Of each about as many, so that none waits behind all of another's; within one, longest
    due first.

    What is not settled, put off or held further by then is due again: delivery is at least once. Messages of a
    ``digest`` kind come together. They wait while the last telling of their kind is not ``digest.window`` ago, and with
    those of their kind that nobody has yet and that were put off: what is refused now is not refused once a message.
    """
    async with ledger.unscoped_write() as connection:
        now = await ledger.moment(connection, now)
        taking = _Taking(connection, target, now, digest)
        waiting = await taking.organizations(organizations)
        random.shuffle(waiting)
        found: list[Batch] = []
        for position, organization in enumerate(waiting):
            share = min(-(-(limit - len(found)) // (len(waiting) - position)), organizations[organization])
            if share <= 0:
                continue
            rows = await connection.execute(taking.due([organization], share).with_for_update(skip_locked=True))
            for row in rows.all():
                together = await taking.together(row)
                if together:
                    found.append(await taking.take(together, now + hold))
        return found


async def hold_further(ledger: Ledger, batch: Batch, *, now: datetime, hold: timedelta) -> None:
    """Hold what is left of it for another while; where somebody else took it since, nothing happens."""
    async with ledger.unscoped_write() as connection:
        until = await ledger.moment(connection, now) + hold
        await connection.execute(update(delivery).where(*_ours(batch)).values(next_at=until))


async def progress(ledger: Ledger, batch: Batch, *, now: datetime, hold: timedelta) -> None:
    """Keep what ``batch.done`` says now, and hold it further. Raises ``Stale`` as ``settle``."""
    async with ledger.unscoped_write() as connection:
        until = await ledger.moment(connection, now) + hold
        await _change(connection, batch, [told.id for told in batch.messages], {"done": _kept(batch), "next_at": until})


async def settle(
    ledger: Ledger, batch: Batch, state: DeliveryState, *, note: str, now: datetime, ids: Collection[str] | None = None
) -> Batch:
    """It has ended so; ``ids``: these messages of the batch only. Returns the batch without them. Raises ``Stale`` when
    the hold had ended and somebody else took it since, or it was dropped."""
    chosen = [told.id for told in batch.messages if ids is None or told.id in ids]
    async with ledger.unscoped_write() as connection:
        at = await ledger.moment(connection, now)
        values = {"state": state.value, "settled_at": at, "next_at": None, "note": note, "done": _kept(batch)}
        await _change(connection, batch, chosen, values)
    return replace(batch, messages=tuple(told for told in batch.messages if told.id not in chosen))


async def put_off(
    ledger: Ledger,
    batch: Batch,
    *,
    wait: timedelta,
    note: str,
    now: datetime,
    counts: bool = True,
    loosen: bool = False,
) -> None:
    """Due again after ``wait``. ``note`` says why, and is never empty. ``counts``: it was an attempt. ``loosen``:
    nobody can have it, so that what has come since may be told with it. Raises ``Stale`` as ``settle``."""
    async with ledger.unscoped_write() as connection:
        now = await ledger.moment(connection, now)
        values: dict[str, Any] = {"next_at": now + wait, "note": note or "put off", "done": _kept(batch)}
        if loosen and not batch.done:
            values["batch"] = ""
        if counts:
            values |= {"attempts": batch.attempts + 1, "begun_at": batch.begun_at or now}
        await _change(connection, batch, [told.id for told in batch.messages], values)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as an operator sees it; ``payload`` only where one is shown."""

    message_id: str
    target: str
    kind: str
    subject: str
    created_at: datetime
    state: DeliveryState
    next_at: datetime | None
    attempts: int
    settled_at: datetime | None
    batch: str
    done: tuple[Receipt, ...]
    note: str
    claims: int = 0
    payload: Any = None


async def listed(
    reader: Reader, *, states: Collection[DeliveryState], kind: str = "", limit: int = 1000
) -> list[Delivery]:
    """Deliveries in these states, oldest first."""
    statement = reader.select(delivery).where(delivery.c.state.in_(sorted(states)))
    if kind:
        statement = statement.where(delivery.c.kind == kind)
    statement = statement.order_by(delivery.c.created_at, delivery.c.message_id).limit(limit)
    return [_shown(row) for row in await reader.all(statement)]


async def of_message(reader: Reader, named: str, *, most: int = 10) -> list[Delivery]:
    """The deliveries of every message whose id begins or ends so, with payloads; at most ``most``. Ids of messages that
    were written together begin alike, and end apart."""
    with_payload = reader.select(delivery).add_columns(outbox.c.payload).join(outbox, _same_message())
    message = delivery.c.message_id
    statement = with_payload.where(
        or_(message.startswith(named, autoescape=True), message.endswith(named, autoescape=True))
    )
    rows = await reader.all(statement.order_by(delivery.c.message_id, delivery.c.target).limit(most))
    return [replace(_shown(row), payload=row.payload) for row in rows]


async def payloads(reader: Reader, ids: Collection[str]) -> dict[str, Any]:
    """Message → what it tells."""
    rows = await reader.by_keys(reader.select(outbox, "id", "payload"), outbox.c.id, sorted(ids))
    return {row.id: row.payload for row in rows}


async def newest(reader: Reader, target: str, kind: str, subjects: Collection[str]) -> dict[str, Delivery | None]:
    """Subject → how the last message of this kind about it stands at ``target``; None: nothing was sent there yet.
    Without a message, no subject."""
    messages = reader.select(outbox, "id", "subject", "created_at").where(outbox.c.kind == kind)
    rows = await reader.by_keys(messages, outbox.c.subject, sorted(subjects))
    last = {row.subject: row.id for row in sorted(rows, key=lambda row: (row.created_at, row.id))}
    there = reader.select(delivery).where(delivery.c.target == target)
    known = await reader.by_keys(there, delivery.c.message_id, sorted(last.values()))
    found = {row.message_id: _shown(row) for row in known}
    return {subject: found.get(message) for subject, message in last.items()}


async def without(reader: Reader, target: str, kinds: Collection[str]) -> int:
    """How many messages of these kinds have no delivery to ``target``, because nothing was sent there yet."""
    missing = _without(reader, target, kinds, "id").subquery()
    return int(await reader.scalar(select(func.count()).select_from(missing)))


async def counts(reader: Reader) -> dict[tuple[str, str, DeliveryState], int]:
    """(target, kind, state) → how many."""
    columns = (delivery.c.target, delivery.c.kind, delivery.c.state)
    statement = reader.select(delivery).with_only_columns(*columns, func.count().label("many")).group_by(*columns)
    return {(row.target, row.kind, DeliveryState(row.state)): row.many for row in await reader.all(statement)}


async def retry(book: Book, message_id: str, target: str) -> bool:
    """A delivery that is dead, dropped, obsolete, or waits for its next try is due at once, its attempts and refusals
    forgotten; false where it is none of these. Where nobody took it, it is told by itself from now on: what its first
    telling said with it may have changed."""
    row = await book.first(book.select(delivery).where(*_one(message_id, target)))
    if row is None:
        return False
    taken = [item for item in row.done if Receipt(*item).taken]
    values = {
        "state": DeliveryState.WAITING.value, "next_at": book.at, "attempts": 0, "begun_at": None, "settled_at": None,
        "claims": delivery.c.claims + 1, "done": taken, "note": "",
    }  # fmt: skip
    if not taken:
        values["batch"] = ""
    again = delivery.c.state.in_(
        [DeliveryState.DEAD, DeliveryState.DROPPED, DeliveryState.OBSOLETE, DeliveryState.WAITING]
    )
    return bool(await book.update(delivery, values, *_one(message_id, target), again, ~_in_hands(book.at)))


async def drop(book: Book, message_id: str, target: str, note: str) -> bool:
    """Never to be sent; false where it is settled already, or being sent."""
    values = {"state": DeliveryState.DROPPED.value, "next_at": None, "settled_at": book.at, "note": note}
    open_ones = delivery.c.state.in_([DeliveryState.WAITING, DeliveryState.KEPT, DeliveryState.DEAD])
    return bool(await book.update(delivery, values, *_one(message_id, target), open_ones, ~_in_hands(book.at)))


def being_sent(item: Delivery, now: datetime) -> bool:
    """Whether it is in somebody's hands."""
    due_later = item.next_at is not None and item.next_at > now
    return item.state is DeliveryState.WAITING and bool(item.claims) and not item.note and due_later


def _in_hands(now: datetime) -> ColumnElement[bool]:
    """As ``being_sent``: what is claimed has no note, what is put off says why."""
    waiting = delivery.c.state == DeliveryState.WAITING.value
    return and_(waiting, delivery.c.claims > 0, delivery.c.note == "", delivery.c.next_at > now)


async def release(book: Book, target: str, kind: str) -> int:
    """What was kept of this kind is due at once, as if it had never been tried (L3); returns how many."""
    values = {"state": DeliveryState.WAITING.value, "next_at": book.at, "attempts": 0, "begun_at": None}
    kept = (delivery.c.target == target, delivery.c.kind == kind, delivery.c.state == DeliveryState.KEPT)
    return await book.update(delivery, values, *kept)


class _Taking:
    """One transaction that claims."""

    def __init__(self, connection: AsyncConnection, target: str, now: datetime, digest: Digest) -> None:
        self._connection = connection
        self._target = target
        self._now = now
        self._digest = digest
        self._taken: set[tuple[str, ...]] = set()

    async def organizations(self, among: Collection[str]) -> list[str]:
        """Those for which anything is due."""
        here = delivery.c.organization_id.in_(sorted(among))
        due = (*_waiting(self._target), delivery.c.next_at <= self._now, here)
        rows = await self._connection.execute(select(delivery.c.organization_id).where(*due).distinct())
        return sorted(row[0] for row in rows.all())

    def due(self, organizations: Collection[str], limit: int) -> Select[Any]:
        """What is due and not held up by an earlier message, longest first."""
        here = delivery.c.organization_id.in_(sorted(organizations))
        due = and_(*_waiting(self._target), delivery.c.next_at <= self._now)
        order = (delivery.c.next_at, delivery.c.created_at, delivery.c.message_id)
        return select(delivery).where(due, here, ~self.blocked()).order_by(*order).limit(limit)

    def blocked(self) -> ColumnElement[bool]:
        """An earlier message of the same subject is not settled yet; one of the same digest kind comes along, and one
        that some of its readers have holds up nobody for those who do not take it."""
        earlier = delivery.alias("earlier")
        first = tuple_(earlier.c.created_at, earlier.c.message_id) < tuple_(
            delivery.c.created_at, delivery.c.message_id
        )
        along = and_(
            earlier.c.kind == delivery.c.kind,
            earlier.c.batch == delivery.c.batch,
            delivery.c.kind.in_(sorted(self._digest.kinds)),
        )
        return exists().where(
            earlier.c.organization_id == delivery.c.organization_id,
            earlier.c.target == delivery.c.target,
            earlier.c.subject == delivery.c.subject,
            earlier.c.state == DeliveryState.WAITING.value,
            first,
            ~along,
            _nobody_has(earlier),
        )

    async def together(self, row: Row[Any]) -> list[Row[Any]]:
        """The rows that are told with this one, itself among them; none where others were faster, or it must wait."""
        if row.batch:
            if (row.organization_id, row.batch) in self._taken:
                return []
            self._taken.add((row.organization_id, row.batch))
            return await self._rows(delivery.c.batch == row.batch, row.organization_id)
        if row.kind not in self._digest.kinds:
            return [row]
        about = row.subject if row.kind in self._digest.apart else ""
        if (row.organization_id, row.kind, about) in self._taken:
            return []
        self._taken.add((row.organization_id, row.kind, about))
        if not await self._alone(row.organization_id):
            return []
        loose = and_(self._of_kind(row), delivery.c.batch == "")
        next_at = await self._next_telling(row)
        if next_at > self._now:
            due_ones = and_(*_waiting(self._target), loose, delivery.c.next_at <= self._now)
            here = delivery.c.organization_id == row.organization_id
            await self._connection.execute(update(delivery).where(here, due_ones).values(next_at=next_at))
            return []
        due = and_(loose, delivery.c.next_at <= self._now, ~self.blocked())
        return (await self._rows(due, row.organization_id))[: self._digest.most]

    async def take(self, rows: Sequence[Row[Any]], until: datetime) -> Batch:
        """Into our hands."""
        head = rows[0]
        batch = head.batch or (head.message_id if head.kind in self._digest.kinds else "")
        ids = [row.message_id for row in rows]
        here = (delivery.c.organization_id == head.organization_id, delivery.c.target == self._target)
        claims = max(row.claims for row in rows) + 1
        await self._connection.execute(
            update(delivery)
            .where(*here, delivery.c.message_id.in_(ids))
            .values(claims=claims, next_at=until, batch=batch, note="")
        )
        behind = await self._behind(rows)
        payloads = select(outbox.c.id, outbox.c.payload).where(
            outbox.c.organization_id == head.organization_id, outbox.c.id.in_(ids)
        )
        found = {row.id: row.payload for row in (await self._connection.execute(payloads)).all()}
        told = tuple(Told(row.message_id, row.subject, found.get(row.message_id, {}), row.created_at) for row in rows)
        return Batch(
            head.organization_id, self._target, batch or head.message_id, head.kind, told, claims, head.attempts,
            head.begun_at, _receipts(head.done), behind,
        )  # fmt: skip

    async def _behind(self, rows: Sequence[Row[Any]]) -> frozenset[str] | None:
        """Who is done with the earlier messages about the same that wait for others of their readers; None where there
        are none."""
        head, last = rows[0], rows[-1]
        earlier = select(delivery.c.done).where(
            *_waiting(self._target),
            delivery.c.organization_id == head.organization_id,
            delivery.c.subject.in_({row.subject for row in rows}),
            or_(
                delivery.c.created_at < last.created_at,
                and_(delivery.c.created_at == last.created_at, delivery.c.message_id < last.message_id),
            ),
            delivery.c.message_id.not_in([row.message_id for row in rows]),
        )
        found = [{item[0] for item in row.done} for row in (await self._connection.execute(earlier)).all()]
        return frozenset(set.intersection(*found)) if found else None

    async def _rows(self, which: ColumnElement[bool], organization: str) -> list[Row[Any]]:
        statement = (
            select(delivery)
            .where(*_waiting(self._target), delivery.c.organization_id == organization, which)
            .order_by(delivery.c.created_at, delivery.c.message_id)
            .with_for_update(skip_locked=True)
        )
        return list((await self._connection.execute(statement)).all())

    def _of_kind(self, row: Row[Any]) -> ColumnElement[bool]:
        """Of the kind of this one, and about the same where that has other readers."""
        alike = delivery.c.kind == row.kind
        return and_(alike, delivery.c.subject == row.subject) if row.kind in self._digest.apart else alike

    async def _alone(self, organization: str) -> bool:
        """Whether nobody else makes a telling of this organization now, who would not see ours."""
        mine = select(delivery_target.c.target).where(
            delivery_target.c.organization_id == organization, delivery_target.c.target == self._target
        )
        if (await self._connection.execute(mine)).first() is None:  # it was stopped: what waits goes on
            return True
        return (await self._connection.execute(mine.with_for_update(skip_locked=True))).first() is not None

    async def _next_telling(self, row: Row[Any]) -> datetime:
        """When the kind may be told again in this organization: behind the window, and not before those that nobody
        has and that were put off, or are being told."""
        here = and_(
            delivery.c.organization_id == row.organization_id, delivery.c.target == self._target, self._of_kind(row)
        )
        last = select(func.max(delivery.c.settled_at)).where(here, delivery.c.state == DeliveryState.SENT.value)
        told = (await self._connection.execute(last)).scalar()
        waiting = and_(delivery.c.state == DeliveryState.WAITING.value, delivery.c.next_at > self._now)
        behind = select(func.min(delivery.c.next_at)).where(here, waiting, _nobody_has(delivery))
        first = (await self._connection.execute(behind)).scalar()
        return max(self._now, told + self._digest.window if told else self._now, first or self._now)


def _nobody_has(table: Any) -> ColumnElement[bool]:
    """No receiver of it is done with."""
    return type_coerce(table.c.done, Text) == "[]"


def _waiting(target: str) -> tuple[ColumnElement[bool], ...]:
    return (delivery.c.target == target, delivery.c.state == DeliveryState.WAITING.value)


def _ours(batch: Batch) -> tuple[ColumnElement[bool], ...]:
    """What is still in the hands that the batch was given to."""
    ids = [told.id for told in batch.messages]
    here = (delivery.c.organization_id == batch.organization, *_waiting(batch.target))
    return (*here, delivery.c.message_id.in_(ids), delivery.c.claims == batch.claims)


def _one(message_id: str, target: str) -> tuple[ColumnElement[bool], ...]:
    return (delivery.c.message_id == message_id, delivery.c.target == target)


def _without(reader: Reader, target: str, kinds: Collection[str], *columns: str) -> Select[Any]:
    """Messages of these kinds that have no delivery to ``target``."""
    has_one = exists().where(_same_message(), delivery.c.target == target)
    return reader.select(outbox, *columns).where(outbox.c.kind.in_(sorted(kinds)), ~has_one)


def _same_message() -> ColumnElement[bool]:
    return and_(outbox.c.organization_id == delivery.c.organization_id, outbox.c.id == delivery.c.message_id)


async def _insert(book: Book, target: str, rows: Sequence[tuple[Any, ...]], state: DeliveryState) -> None:
    if rows:
        next_at = book.at if state is DeliveryState.WAITING else None
        same: dict[str, Any] = {"target": target, "state": state.value, "next_at": next_at, "done": []}
        await book.insert(delivery, _COLUMNS, rows, same=same)


async def _change(connection: AsyncConnection, batch: Batch, ids: Sequence[str], values: dict[str, Any]) -> None:
    mine = (*_ours(batch), delivery.c.message_id.in_(list(ids)))
    changed = (await connection.execute(update(delivery).where(*mine).values(**values))).rowcount
    if changed != len(ids):
        raise Stale(f"message {batch.id} is no longer in these hands", where=batch.organization)


def _kept(batch: Batch) -> list[list[Any]]:
    return [[item.receiver, item.taken, item.note] for item in batch.done]


def _receipts(kept: Iterable[Sequence[Any]]) -> tuple[Receipt, ...]:
    return tuple(Receipt(*item) for item in kept)


def _shown(row: Row[Any]) -> Delivery:
    return Delivery(
        row.message_id, row.target, row.kind, row.subject, row.created_at, DeliveryState(row.state), row.next_at,
        row.attempts, row.settled_at, row.batch, _receipts(row.done), row.note, row.claims,
    )  # fmt: skip
