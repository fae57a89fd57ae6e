"""What an administrator does with bonds: lets a held relink through or refuses it, or ends a bond (N4).

A relink is how an account is taken over, so each act needs ``sso:write`` over the whole organization, a reason, and
somebody else than the person. Prohibition: no mailed link leads here, and none may: whoever acts is a ``Principal``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from access.principal import Principal, Scope
from connector.reconcile.by_hand.people import Edited
from connector.reconcile.by_hand.sign_in import may_bind_again, standing_bonds, undecided
from ledger.audit import AuditEvent, given_reason
from ledger.errors import NotFound, Refused, Stale
from ledger.identity import IdentityState
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit, claims, last_readings, relinks
from ledger.store.book import Book, Reader
from ledger.store.book_times import present
from ledger.store.claims import Person
from ledger.store.engine import Ledger
from ledger.store.relinks import RelinkRow


@dataclass(frozen=True, slots=True)
class HeldRelink:
    """A held relink beside the person it is about. ``mail_changed``: they got the address after they were bound, so
    that whoever asks may be the one who had it in between."""

    row: RelinkRow
    mail: str
    state: str
    mail_changed: bool

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        row = self.row
        return {
            "id": row.id,
            "identity": row.identity_id,
            "mail": self.mail,
            "state": self.state,
            "mail_since": to_text(row.mail_since),
            "mail_changed_since_the_bond": self.mail_changed,
            "entity_id": row.entity_id,
            "subject": row.subject,
            "kind": row.kind,
            "bound_subject": row.was_subject,
            "bound_kind": row.was_kind,
            "bound_since": to_text(row.bonded_at),
            "signer": row.signer,
            "held_at": to_text(row.held_at),
            "expires_at": to_text(row.expires_at),
            "refused_at": to_text(row.refused_at) if row.refused_at else None,
            "refused_by": row.refused_by,
        }


async def held_relinks(reader: Reader, now: datetime) -> Sequence[HeldRelink]:
    """Every relink that waits, or was refused, until it runs out; oldest first."""
    found = []
    for row in await relinks.standing(reader, await present(reader, now)):
        person = await claims.person_by_id(reader, row.identity_id)
        if person is not None:
            found.append(HeldRelink(row, person.mail, person.state, row.mail_since > row.bonded_at))
    return found


async def approve_relink(
    ledger: Ledger, organization: str, relink_id: str, who: Principal, reason: str, now: datetime
) -> Edited:
    """Bind the other subject in place of the one that stands. A refused one may be approved until it runs out.

    Raises ``NotFound`` (run out, or never held), ``Forbidden``, ``BadInput`` (reason), ``Refused`` for the person
    themselves, for somebody not active and while a person decides about their entry (E6), ``Stale`` where address or
    bond are not what they were.
    """
    _require(who, reason)
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        row = await _held(book, relink_id)
        person = await _person(book, row.identity_id)
        _require_another(who, person.id)
        await _require_unchanged(book, row, person)
        for bond in await claims.bonds_of_person(book, person.id):
            if bond.entity_id == row.entity_id:
                await claims.unbind(book, bond)
        await claims.bind(book, row.entity_id, row.subject, row.kind, person.id)
        await relinks.end_waiting(book, person.id)
        await relinks.drop(book, row.id)
        await relinks.ask_again(book, person.id)
        await _witness(book, who, "relink.approved", row, reason)
    return Edited(person.id, True, f"{person.mail} signs in as the other subject from now on")


async def refuse_relink(
    ledger: Ledger, organization: str, relink_id: str, who: Principal, reason: str, now: datetime
) -> Edited:
    """Refuse it: the bond stays, and the same subject is turned away until the relink runs out, or an administrator
    unbinds the person or approves another subject: then it waits again. Idempotent.

    Raises ``NotFound``, ``Forbidden``, ``BadInput`` (reason), ``Refused`` for the person themselves.
    """
    _require(who, reason)
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        row = await _held(book, relink_id)
        person = await _person(book, row.identity_id)
        _require_another(who, person.id)
        if row.refused_at is not None:
            return Edited(person.id, False, f"the relink of {person.mail} is refused already")
        await relinks.refuse(book, row.id, who.actor)
        await _witness(book, who, "relink.refused", row, reason)
    until = f"until {to_text(row.expires_at)} that subject is turned away"
    return Edited(person.id, True, f"the relink of {person.mail} is refused", (until,))


async def unbind(
    ledger: Ledger, organization: str, identity_id: str, who: Principal, reason: str, now: datetime
) -> Edited:
    """End every bond of a person; seats and memberships stay. Idempotent.

    The next sign-in with their address binds again where that has not changed since the bond; else it is held. Raises
    ``NotFound``, ``Forbidden``, ``BadInput`` (reason), ``Refused`` for the person themselves.
    """
    _require(who, reason)
    async with ledger.write(organization, Unleased.BY_HAND, at=now) as book:
        person = await _person(book, identity_id)
        _require_another(who, person.id)
        bonds, last = await standing_bonds(book, person)
        if not bonds or last is None:
            return Edited(identity_id, False, f"{person.mail} is not bound to any subject")
        for bond in bonds:
            await claims.unbind(book, bond)
        await relinks.end_waiting(book, identity_id)
        await relinks.ask_again(book, identity_id)
        before = [{"entity_id": bond.entity_id, "subject": bond.subject, "kind": bond.kind} for bond in bonds]
        await audit.append(book, [AuditEvent(who.actor, "bond.ended", identity_id, reason, before=before)])
        await last_readings.forget_base(book)
    note = (
        "the next sign-in with their address binds them again" if may_bind_again(last, person)
        else "their address has changed since they were bound: the next sign-in is held for approval"
    )  # fmt: skip
    return Edited(identity_id, True, f"{person.mail} is bound to no subject any more", (note,))


def _require(who: Principal, reason: str) -> None:
    who.require(Scope.SSO_WRITE)
    who.require_every_team()
    given_reason(reason, "who signs in as whom needs a reason")


def _require_another(who: Principal, identity_id: str) -> None:
    """Raise ``Refused`` for the person concerned."""
    if who.actor == f"identity:{identity_id}":
        raise Refused("nobody decides about their own bond", where="id", next_step="ask another administrator")


async def _held(book: Book, relink_id: str) -> RelinkRow:
    row = await relinks.find(book, relink_id, book.at)
    if row is None:
        raise NotFound(f"no relink {relink_id!r} waits: it was decided, or ran out", where="id",
                       next_step="rosterd sso relinks")  # fmt: skip
    return row


async def _person(book: Book, identity_id: str) -> Person:
    person = await claims.person_by_id(book, identity_id)
    if person is None:
        raise NotFound(f"there is no person {identity_id}", where="id")
    return person


async def _require_unchanged(book: Book, row: RelinkRow, person: Person) -> None:
    """What the administrator saw is still so. Raises ``Refused``, ``Stale``."""
    if person.state != IdentityState.ACTIVE.value:
        raise Refused(f"{person.mail} is {person.state}", where="id", next_step=f"rosterd explain {person.mail_key}")
    digest = await undecided(book, person.mail_key)
    if digest:
        raise Refused(
            f"a person has to decide first whose the new entry of {person.mail} is (E6)", where="id",
            next_step=f"rosterd approve {digest[:12]}, or rosterd explain {person.mail_key}",
        )  # fmt: skip
    _, last = await standing_bonds(book, person)
    other = await claims.bond_of_subject(book, row.entity_id, row.subject)
    if person.mail_since != row.mail_since or last is None or last.subject != row.was_subject or other is not None:
        raise Stale(
            f"the address or the bond of {person.mail} has changed since this was held", where="id",
            next_step="let them sign in again; then: rosterd sso relinks",
        )  # fmt: skip


async def _witness(book: Book, who: Principal, verb: str, row: RelinkRow, reason: str) -> None:
    before = {"subject": row.was_subject, "kind": row.was_kind}
    after = {"id": row.id, "subject": row.subject, "kind": row.kind, "entity_id": row.entity_id}
    await audit.append(book, [AuditEvent(who.actor, verb, row.identity_id, reason, before=before, after=after)])
