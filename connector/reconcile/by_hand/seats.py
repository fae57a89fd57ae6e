"""Seats granted and released by hand, and places on the waitlist (R6, P4): one transaction each, audited.

Prohibition: never touches a synced grant, evicts nobody, reads no clock.
"""

from __future__ import annotations

from connector.reconcile.by_hand import rules
from connector.reconcile.by_hand.people import Edited, load, team_named
from connector.reconcile.by_hand.rules import Act, Person, Pool, SeatEdit
from ledger.audit import AuditEvent
from ledger.errors import NotFound
from ledger.identity import MANUAL
from ledger.instant import new_id
from ledger.jobs import Unleased
from ledger.store import audit, last_readings, roster, seats
from ledger.store.book import Book, Reader
from ledger.store.engine import Ledger

Place = tuple[str, str]
"""(Team id or name, offering code)."""


async def grant(ledger: Ledger, organization: str, place: Place, identity_id: str, act: Act, *, wait: bool) -> Edited:
    """A manual reason for a seat (P4): a new seat, or one more reason for the one that is held.

    No free seat: ``Refused`` naming the waitlist, or with ``wait`` a place on it. Idempotent.
    """
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        pool = await _pool(book, place, act)
        person = await load(book, identity_id)
        edit = rules.grant(person, pool, wait=wait)
        where = f"{pool.offering} in Team {pool.team}"
        if edit.kind == "none":
            state = "waits for" if edit.state == "waiting" else "holds"
            return Edited(identity_id, False, f"{person.mail} {state} a seat of {where} by hand already")
        what = await _granted(book, person, pool, edit, act)
        after = {"offering": pool.offering, "team": pool.team, "state": edit.state or edit.seat.state}
        await _witness(book, act, "seat.waiting" if edit.kind == "wait" else "seat.granted", identity_id, None, after)
    return Edited(identity_id, True, what)


async def _granted(book: Book, person: Person, pool: Pool, edit: SeatEdit, act: Act) -> str:
    """Write the rows; says what was done."""
    identity, where = person.identity.id, f"{pool.offering} in Team {pool.team}"
    if edit.kind == "wait":
        await seats.begin_waiting(book, [(identity, pool.team_id, pool.offering, MANUAL, rules.PRIORITY)])
        return (
            f"{person.mail} waits for a seat of {where}: number {pool.waiting + 1} or so, by priority, then first come"
        )
    seat_id = edit.seat.id if edit.seat is not None else new_id()
    if edit.seat is None:
        row = (seat_id, edit.subscription, pool.team_id, pool.offering, identity, edit.state, "", None)
        await seats.begin_seats(book, [row])
        await seats.end_waiting(book, [item.row_id for item in edit.rows])
    cause = f"by hand: {act.actor}" + (f", {act.reason}" if act.reason else "")
    await seats.begin_grants(book, [(seat_id, identity, pool.team_id, MANUAL, cause)])
    if edit.seat is not None:
        return f"{person.mail} holds a seat of {where} for one more reason"
    return f"{person.mail} has a seat of {where}: {edit.state}"


async def release(ledger: Ledger, organization: str, place: Place, identity_id: str, act: Act) -> Edited:
    """End the manual reason, the seat with the last one, or a manual place on the waitlist (P3). Needs a reason.

    Idempotent. ``Refused`` for what only mappings grant, naming the mapping.
    """
    act.require_reason()
    async with ledger.write(organization, Unleased.BY_HAND, at=act.now) as book:
        team_id, team = await team_named(book, place[0], act)
        offering = await _offering(book, place[1])
        person = await load(book, identity_id)
        person.require_seen_by(act)
        edit = rules.release(person, team_id, team, offering)
        where = f"{offering} in Team {team}"
        if edit.kind == "none":
            return Edited(identity_id, False, f"{person.mail} has no seat of {where}")
        what, notes = await _released(book, person, edit, where)
        state = edit.seat.state if edit.seat is not None else "waiting"
        before = {"offering": offering, "team": team, "state": state}
        await _witness(book, act, "seat.released", identity_id, before, {"kind": edit.kind})
    return Edited(identity_id, True, what, notes)


async def _released(book: Book, person: Person, edit: SeatEdit, where: str) -> tuple[str, tuple[str, ...]]:
    """End the rows; says what was done and what still holds."""
    rows = [row.row_id for row in edit.rows]
    if edit.kind == "stop-waiting":
        await seats.end_waiting(book, rows)
        return f"{person.mail} no longer waits for {where}", ()
    await seats.end_grants(book, rows)
    if edit.kind == "release":
        await seats.end_seats(book, [edit.seat.row_id])
        return f"the seat of {where} that {person.mail} had is released", ()
    rest = [row for row in person.grants if row.seat_id == edit.seat.id and row.row_id not in rows]
    notes = tuple(f"the seat is still held through {row.provenance}" for row in rest)
    return f"the manual grant of {where} to {person.mail} ended", notes


async def _pool(book: Book, place: Place, act: Act) -> Pool:
    """The pool as of the transaction; raises ``NotFound`` for an unknown Team or offering."""
    team_id, team = await team_named(book, place[0], act)
    offering = await _offering(book, place[1])
    running = [
        item
        for item in await seats.open_subscriptions(book)
        if (item.team_id, item.offering_code) == (team_id, offering) and item.runs_on(book.at.date())
    ]
    running.sort(key=lambda item: (item.starts_on, item.ends_on, item.id))
    counts = await roster.seat_counts(book)
    used = {key[2]: count for key, count in counts.items() if key[:2] == (team_id, offering)}
    waiting = (await roster.waiting_counts(book)).get((team_id, offering), 0)
    restriction = (await roster.restrictions(book)).get(team_id)
    return Pool(team_id, team, offering, running, used, waiting, restriction.reason if restriction else "")


async def _offering(reader: Reader, code: str) -> str:
    known = [item.code for item in await seats.open_offerings(reader)]
    if code not in known:
        raise NotFound(f"there is no offering {code!r}", where="offering",
                       next_step=f"known: {', '.join(sorted(known)) or 'none'}")  # fmt: skip
    return code


async def _witness(book: Book, act: Act, verb: str, identity_id: str, before: object, after: object) -> None:
    """Six parameters and the book: an event and who wrote it."""
    await audit.append(book, [AuditEvent(act.actor, verb, identity_id, act.reason, before=before, after=after)])
    await last_readings.forget_base(book)
