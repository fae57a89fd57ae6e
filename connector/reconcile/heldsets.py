"""Held sets in the ledger: kept by digest, approved by name, gone when they are no longer true (G2, G3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from connector.reconcile.guard import Guarded
from connector.reconcile.load import change_key
from connector.reconcile.orders import Order
from connector.reconcile.plan import Plan, change_to_json
from connector.reconcile.policy import Policy
from ledger.audit import AuditEvent
from ledger.errors import BadInput, NotFound, Refused
from ledger.store import audit, outbox, runs
from ledger.store.book import Book, Reader

_APPROVABLE = ("open", "superseded", "approved")
_PREFIX = 8


async def find(reader: Reader, digest: str) -> runs.HeldSet:
    """The held set whose digest starts with ``digest``. Raises ``BadInput``, ``NotFound``."""
    if len(digest) < _PREFIX:
        raise BadInput(f"{digest!r} is too short to name a held set", next_step=f"give at least {_PREFIX} digits")
    everything = await runs.held_sets(reader, (*_APPROVABLE, "applied", "expired"))
    found = [held for held in everything if held.digest.startswith(digest)]
    if not found:
        raise NotFound(f"no held set {digest}", next_step="rosterd plan shows what is held now")
    if len(found) > 1:
        raise BadInput(f"{digest} names {len(found)} held sets", next_step="give more digits")
    return found[0]


def keys(held: runs.HeldSet) -> Iterable[tuple[str, str, str, str, str, str]]:
    """The naming parts of its changes."""
    return (change_key(change) for change in held.changes)


async def approved(book: Book, order: Order) -> runs.HeldSet:
    """Mark the named set as approved, audited; what of it is still true is applied now or by a later run until it
    expires. Raises ``NotFound``, ``Refused`` (already applied, or expired)."""
    held = await find(book, order.digest)
    if held.state not in _APPROVABLE:
        raise Refused(f"held set {held.digest[:12]} is {held.state}", next_step="rosterd plan shows what is held now")
    if held.expires_at <= order.now:
        await runs.set_held_state(book, [held.digest], "expired")
        raise Refused(
            f"held set {held.digest[:12]} expired", next_step="run rosterd apply --auto, then approve what it names"
        )
    held = replace(held, state="approved", approved_by=order.actor, approved_at=order.now, approval_reason=order.reason)
    await runs.put_held(book, held)
    await audit.append(book, [AuditEvent(order.actor, "held.approve", held.digest, order.reason)])
    return held


async def keep(book: Book, order: Order, plan: Plan, guarded: Guarded, policy: Policy) -> str:
    """Store what is held now and settle older sets; returns the digest of what is held, or empty.

    A set that is held again keeps its expiry. Sets of other digests are superseded, and can be approved all the same
    while they last: what of them is still true goes (G3). An approved set is done when the reading was complete;
    otherwise later runs let the rest of it through until it expires.
    """
    sets = await runs.held_sets(book, ("open", "approved", "superseded"))
    expired = [held.digest for held in sets if held.expires_at <= order.now]
    await runs.set_held_state(book, expired, "expired")
    if order.kind == "approve":
        whole = not guarded.held and not plan.unknown
        done = [held.digest for held in sets if held.digest == order.digest and whole]
        await runs.set_held_state(book, done, "applied")
        return ""
    digest = guarded.held_digest
    current = next((held for held in sets if held.digest == digest and held.digest not in expired), None)
    others = [held.digest for held in sets if held.state == "open" and held.digest not in {digest, *expired}]
    await runs.set_held_state(book, others, "superseded")
    if not digest:
        return ""
    if current is not None:
        if current.state == "superseded":
            await runs.set_held_state(book, [digest], "open")
        return digest
    changes = [change_to_json(change) for bundle in guarded.held for change in bundle.changes]
    why = "; ".join(trip.text for trip in guarded.trips)
    expires = order.now + policy.limits.approval_expires
    await runs.put_held(book, runs.HeldSet(digest, book.run_id, "open", why, changes, order.now, expires))
    payload = {"digest": digest, "why": why, "counts": dict(guarded.held_counts),
               "next": f"rosterd approve {digest[:12]}"}  # fmt: skip
    await outbox.append(book, [outbox.Message("plan.held", digest, payload)])
    return digest
