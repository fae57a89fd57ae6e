"""Whether a message is still true when its turn comes (L2): mail that says what is no longer so is worse than none.

Reads the book, changes nothing. A kind that is not named here stays true.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from connector.sso.gate import evidence
from ledger.identity import INVITE_EXPIRY, IdentityState
from ledger.store import claims, outbox, people, relinks, runs, seats
from ledger.store import sso as sign_on
from ledger.store.book import Reader
from ledger.store.deliveries import Batch, Told

_SOURCE_TOLD = "source_told"
"""Kind of the due date that says since when a directory is told to be stale, as ``connector.reconcile`` writes it."""


async def found(reader: Reader, batch: Batch, now: datetime) -> dict[str, str]:
    """Id → why, of the messages of the batch that are not to be sent any more."""
    why: dict[str, str] = {}
    check = _CHECKS.get(batch.kind)
    if check is None:
        return why
    for told in batch.messages:
        if said := await check(reader, told, now):
            why[told.id] = said
    return why


async def _invite(reader: Reader, told: Told, now: datetime) -> str:
    person = await claims.person_by_id(reader, told.subject)
    if person is None or person.state != IdentityState.ACTIVE:
        return "the person is no longer active"
    if await claims.bonds_of_person(reader, told.subject):
        return "the invite was claimed"
    if await outbox.newer(reader, told.id, told.created_at, told.subject, "invite.mail"):
        return "the person was invited again since"
    if await _taken_back(reader, told):
        return "the place was taken back"
    due = (await runs.due_dates_of(reader, INVITE_EXPIRY, [told.subject])).get(told.subject)
    return "the invite has expired" if due is not None and due <= now else ""


async def _taken_back(reader: Reader, told: Told) -> bool:
    """Whether what the person was invited to has ended since, and nothing is left: no Team, seat, place in a line or
    role. Somebody who was invited to no Team yet stays invited, and so does who is in a restricted one: it ends no
    membership, and lifting gives everything back (R16)."""
    of_person = await people.history_of(reader, told.subject)
    places = [*of_person["memberships"], *of_person["roles"]]
    for rows in (await seats.history_of(reader, told.subject)).values():
        places += rows
    ended = any(row.valid_to is not None and row.valid_to > told.created_at for row in places)
    return ended and all(row.valid_to is not None for row in places)


async def _held(reader: Reader, told: Told, now: datetime) -> str:
    waiting = {held.digest: held for held in await runs.held_sets(reader, ["open"])}
    held = waiting.get(told.subject)
    if held is None:
        return "it was decided, or another plan took its place"
    return "it has expired" if held.expires_at <= now else ""


async def _suspended(reader: Reader, told: Told, now: datetime) -> str:
    row = await sign_on.sync_row(reader)
    return "" if row is not None and row.enabled and row.reasons else "the suspension is over"


async def _resumed(reader: Reader, told: Told, now: datetime) -> str:
    row = await sign_on.sync_row(reader)
    return "it is suspended again" if row is None or not row.enabled or row.reasons else ""


async def _stale(reader: Reader, told: Told, now: datetime) -> str:
    return "" if told.subject in await runs.due_dates(reader, _SOURCE_TOLD) else "the directory is read whole again"


async def _fresh(reader: Reader, told: Told, now: datetime) -> str:
    return "the directory is stale again" if told.subject in await runs.due_dates(reader, _SOURCE_TOLD) else ""


async def _short(reader: Reader, told: Told, now: datetime) -> str:
    again = await outbox.newer(reader, told.id, told.created_at, told.subject, "seats.short")
    return "a later message says how many are missing now" if again else ""


async def _draft(reader: Reader, told: Told, now: datetime) -> str:
    connection = (await evidence.known(reader)).connections.get(told.subject)
    waiting = {draft.number for draft in connection.drafts} if connection else set()
    return "" if told.payload.get("version") in waiting else "the draft waits no more"


async def _relink(reader: Reader, told: Told, now: datetime) -> str:
    row = await relinks.find(reader, str(told.payload.get("id", "")), now)
    return "" if row is not None and row.refused_at is None else "it was decided, or has run out"


_CHECKS: Mapping[str, Callable[[Reader, Told, datetime], Awaitable[str]]] = {
    "invite.mail": _invite,
    "plan.held": _held,
    "plan.approval_needed": _held,
    "sync.suspended": _suspended,
    "sync.resumed": _resumed,
    "source.stale": _stale,
    "source.fresh": _fresh,
    "seats.short": _short,
    "connection.draft_waits": _draft,
    "relink.held": _relink,
}
