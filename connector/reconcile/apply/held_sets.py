"""Held sets in the ledger: kept by digest, approved by name, gone when they are no longer true (G2, G3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from connector.reconcile.guard.guard import Guarded, HeldPart
from connector.reconcile.guard.limits import FREEZE, reasons
from connector.reconcile.plan.changes import Plan, change_to_json
from connector.reconcile.plan.freeze import GOES_ON as FREEZE_PASSES
from connector.reconcile.plan.freeze import frozen
from connector.reconcile.plan.order import Order
from connector.reconcile.policy.policy import Policy
from connector.reconcile.show.awaiting import Awaiting, approve_command
from connector.reconcile.state.windows import change_key
from ledger.audit import AuditEvent
from ledger.errors import BadInput, NotFound, Refused
from ledger.identity import fold
from ledger.instant import to_text
from ledger.store import audit, outbox, runs, tokens
from ledger.store.book import Book, Reader

_APPROVABLE = ("open", "superseded", "approved")
_PREFIX = 8
_PERSONAL = "token:"


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


async def approved(book: Book, order: Order, policy: Policy) -> runs.HeldSet:
    """The named set with this approval recorded and audited: ``approved`` once enough principals said so, open before
    that. What of an approved set is still true is applied now or by a later run until it expires. Raises ``NotFound``
    and ``Refused`` (already applied, expired, this principal has approved it before, a freeze window holds it)."""
    held = await _approvable(book, order)
    held = replace(held, approvals=await _with(book, held, order, policy))
    if missing(held, policy) == 0:
        held = replace(
            held, state="approved", approved_by=order.actor, approved_at=order.now, approval_reason=order.reason
        )
    _check_freeze(held, order, policy)
    await runs.put_held(book, held)
    await audit.append(book, [AuditEvent(order.actor, "held.approve", held.digest, order.reason)])
    return held


async def completes(reader: Reader, order: Order, policy: Policy) -> bool:
    """Whether this approval is the last one needed. Raises as ``approved``."""
    return len(await _with(reader, await _approvable(reader, order), order, policy)) >= policy.limits.approvers


async def _approvable(reader: Reader, order: Order) -> runs.HeldSet:
    held = await find(reader, order.digest)
    if held.state not in _APPROVABLE:
        raise Refused(f"held set {held.digest[:12]} is {held.state}", next_step="rosterd plan shows what is held now")
    if held.expires_at <= order.now:
        raise Refused(
            f"held set {held.digest[:12]} expired", next_step="run rosterd apply --auto, then approve what it names"
        )
    return held


def missing(held: runs.HeldSet, policy: Policy) -> int:
    """How many more principals must approve."""
    return max(0, policy.limits.approvers - len(held.approvals))


async def _with(reader: Reader, held: runs.HeldSet, order: Order, policy: Policy) -> list[dict[str, Any]]:
    """The approvals and this one. One principal counts once; saying it again replaces it where it adds something:
    ``--despite-freeze``, or that fewer principals are enough now."""
    given = {
        "by": order.actor,
        "at": to_text(order.now),
        "reason": order.reason,
        "despite_freeze": order.despite_freeze,
    }
    who = await _person(reader, order.actor)
    others = [dict(item) for item in held.approvals if await _person(reader, str(item["by"])) != who]
    repeated = len(others) < len(held.approvals)
    stronger = order.despite_freeze and not held.despite_freeze
    enough = len(others) + 1 >= policy.limits.approvers
    if repeated and not enough and held.state != "approved" and not stronger:
        raise Refused(
            f"{order.actor} approved held set {held.digest[:12]} already: one more approval by another principal is"
            " needed",
            next_step=f"another principal runs {approve_command(held.digest, despite_freeze=order.despite_freeze)}",
        )
    return [*others, given]


async def _person(reader: Reader, actor: str) -> str:
    """Who stands behind an actor: two tokens of one name are one principal."""
    if not actor.startswith(_PERSONAL):
        return actor
    names = {row.id: fold(row.name) for row in await tokens.rows(reader)}
    return f"token named {names.get(actor.removeprefix(_PERSONAL), actor)}"


def _check_freeze(held: runs.HeldSet, order: Order, policy: Policy) -> None:
    """Raise ``Refused`` when a freeze window would hold what this approves: nothing is recorded then (G3)."""
    why = frozen(policy.limits.freeze, order.now)
    if not why or held.despite_freeze or all(change["harm"] in FREEZE_PASSES for change in held.changes):
        return
    silent = [str(item["by"]) for item in held.approvals if not item["despite_freeze"]]
    raise Refused(
        f"{why}; {', '.join(silent)} did not say that held set {held.digest[:12]} goes through nevertheless",
        next_step=f"wait, or run {approve_command(held.digest, despite_freeze=True)}",
    )


async def standing(reader: Reader, guarded: Guarded, now: datetime) -> list[runs.HeldSet]:
    """The sets of exactly these digests that were kept before and can still be approved."""
    sets = await runs.held_sets(reader, ("open", "superseded")) if guarded.held else []
    named = {part.digest for part in guarded.parts}
    return [held for held in sets if held.digest in named and held.expires_at > now]


def waiting_of(kept: Iterable[runs.HeldSet], guarded: Guarded, policy: Policy) -> tuple[Awaiting, ...]:
    """How each part of what is held stands; ``kept``: the sets that a run has kept."""
    sets = {held.digest: held for held in kept}
    found = []
    for part in guarded.parts:
        held = sets.get(part.digest)
        given = tuple(str(item["by"]) for item in held.approvals) if held else ()
        expires = held.expires_at if held else None
        found.append(Awaiting(part.digest, expires, given, policy.limits.approvers, _frozen(guarded)))
    return tuple(found)


def _frozen(guarded: Guarded) -> str:
    """The freeze window that holds some of it, or empty."""
    return next((trip.scope for trip in guarded.trips if trip.window == FREEZE), "")


async def keep(book: Book, order: Order, plan: Plan, guarded: Guarded, policy: Policy) -> list[runs.HeldSet]:
    """Store what is held now and settle older sets; returns what is held, a set for each part.

    A set that is held again keeps its expiry. Sets of other digests are superseded, unless only a part was looked at,
    and can be approved all the same while they last: what of them is still true goes (G3). An approved set is done when
    the reading was complete; otherwise later runs let the rest of it through until it expires.
    """
    sets = await runs.held_sets(book, ("open", "approved", "superseded"))
    expired = [held.digest for held in sets if held.expires_at <= order.now]
    await runs.set_held_state(book, expired, "expired")
    if order.kind == "approve":
        whole = not guarded.held and not plan.unknown
        done = [held.digest for held in sets if held.digest == order.digest and whole]
        await runs.set_held_state(book, done, "applied")
        return []
    current = {held.digest: held for held in sets if held.digest not in expired}
    named = {part.digest for part in guarded.parts}
    others = [held.digest for held in sets if held.state == "open" and held.digest not in {*named, *expired}]
    await runs.set_held_state(book, [] if order.only else others, "superseded")
    again = [held.digest for held in current.values() if held.digest in named and held.state == "superseded"]
    await runs.set_held_state(book, again, "open")
    return [current.get(part.digest) or await _put(book, order, part, guarded, policy) for part in guarded.parts]


async def _put(book: Book, order: Order, part: HeldPart, guarded: Guarded, policy: Policy) -> runs.HeldSet:
    changes = [change_to_json(change) for bundle in part.bundles for change in bundle.changes]
    why = reasons(guarded.trips_of(part))
    expires = order.now + policy.limits.approval_expires
    held = runs.HeldSet(part.digest, book.run_id, "open", "\n".join(why), changes, order.now, expires)
    await runs.put_held(book, held)
    payload = {
        "digest": part.digest,
        "why": "; ".join(why),
        "counts": dict(part.counts),
        "expires_at": to_text(expires),
        "approvers": policy.limits.approvers,
        "next": approve_command(part.digest, despite_freeze=bool(_frozen(guarded))),
    }
    await outbox.append(book, [outbox.Message("plan.held", part.digest, payload)])
    return held
