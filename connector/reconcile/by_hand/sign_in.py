"""A sign-in finds its person: the first one binds the SAML subject and claims the invite (D9, N3); later ones are known
by the bond, and nothing that an identity provider says binds a bound person anew (N4).

Prohibition: makes nobody; who was not invited by a plan gets nothing by signing in. Who decides about a held relink is
in ``bonds``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from connector.reconcile.by_hand import invites
from connector.reconcile.plan.changes import A_PERSON_DECIDES
from connector.sso.gate import rebind_window
from connector.sso.saml.subject import SubjectKind, key_of_mailbox, raw_keys
from ledger.audit import AuditEvent
from ledger.errors import Refused
from ledger.identity import Email, IdentityState
from ledger.instant import to_text
from ledger.jobs import Unleased
from ledger.store import audit, claims, outbox, relinks, runs
from ledger.store.book import Book
from ledger.store.claims import Bond, Person
from ledger.store.engine import Ledger
from ledger.store.outbox import Message
from ledger.store.relinks import RelinkRow

RELINK_LIFE = timedelta(days=7)
"""How long a held relink waits for an administrator."""
MOST_WAITING = 5
"""Held relinks that wait about one person at once: a provider that sends another name each time fills no table."""
HELD = "relink.held"
"""Kind of the message (and verb of the audit event) about another subject; its subject is the identity."""
_REFERENCE = 12


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody whom the organization's own identity provider vouched for. ``subject``: their key, made as ``kind``
    says; ``earlier``: keys under which they may be bound from before (``earlier_by_address``: made of the address
    alone); ``signer``: the key that signed, where it is known; ``no_first``: why this sign-in binds nobody (N1), if it
    may not; ``invited``: whose invite was followed: it claims that person's seat, or nothing (N7)."""

    mail: Email
    entity_id: str
    subject: str
    kind: SubjectKind = SubjectKind.OTHER
    earlier: tuple[str, ...] = ()
    earlier_by_address: bool = False
    signer: str = ""
    no_first: Refused | None = None
    invited: str = ""

    @property
    def addresses(self) -> tuple[str, ...]:
        """Keys of before N3 that are the asserted address in some writing, and nothing else."""
        return self.earlier if self.earlier_by_address else ()

    def is_of(self, person: Person) -> bool:
        """Whether the asserted address is theirs: the same mailbox, of which a key folds more than case."""
        return self.mail.mailbox == Email(person.mail, person.mail_key).mailbox


@dataclass(frozen=True, slots=True)
class Claimed:
    """Who it is (``mail``: the address the ledger has), whether this was the first time, and the offerings whose seats
    became active."""

    identity_id: str
    mail: str
    first: bool
    offerings: tuple[str, ...]


class RelinkHeld(Refused):
    """Another subject than the bound one came with somebody's address; it waits for an administrator (N4), or was
    refused. ``reference``: the id of the held relink; empty where too many wait about the person."""

    def __init__(self, mail: Email, where: str, reference: str, *, refused: bool = False) -> None:
        said = f" about relink {reference}" if reference else ""
        became = "an administrator refused it" if refused else "an administrator has to approve it"
        super().__init__(
            f"{mail} is known here by another account of your identity provider than the one you signed in with, and"
            f" {became}: ask your administrator{said}",
            where=where,
            next_step="rosterd sso relinks",
        )
        self.reference = reference


async def claim(ledger: Ledger, organization: str, arrival: Arrival, *, now: datetime) -> Claimed:
    """Find the person; bind the subject the first time; activate invited seats. One transaction, done already later on.

    Raises ``Refused`` for somebody unknown or not active; ``RelinkHeld`` for another subject than the bound one (it is
    held in that transaction); and, while a person has to decide whether a new entry is theirs, for everybody but the
    subject that was bound (E6).
    """
    async with ledger.write(organization, Unleased.SIGN_IN, at=now) as book:
        found = await _find(book, arrival)
    if isinstance(found, RelinkHeld):
        raise found
    return found


async def _find(book: Book, arrival: Arrival) -> Claimed | RelinkHeld:
    """Who it is; or what waits, for which the transaction has to be committed."""
    bond, bound = await _bond(book, arrival)
    person = bound or await _invited(book, arrival)
    if bound is None and not arrival.is_of(person) and arrival.kind is SubjectKind.MAIL:
        arrival = replace(arrival, subject=key_of_mailbox(arrival.entity_id, arrival.mail))
    bond = bond or await _bond_of_before(book, arrival, person)
    if person.state != IdentityState.ACTIVE.value:
        raise Refused(f"{arrival.mail} is {person.state}: ask your administrator", where=book.organization)
    known_before = bond is not None and not bond.kind
    if bond is None or arrival.kind is SubjectKind.MAIL or (known_before and arrival.earlier_by_address):
        await _require_decided(book, arrival, person)
    if bond is None:
        if arrival.invited not in {"", person.id}:
            raise Refused(
                f"you signed in as {person.mail}, and this invite is for somebody else: nothing was claimed",
                where=book.organization,
                next_step="follow your own invite, or sign in without one",
            )
        if arrival.no_first is not None:
            raise arrival.no_first
        held = await _bind(book, arrival, person)
        if held is not None:
            return held
        await invites.claimed(book, person.id)
    elif known_before and (arrival.kind is not SubjectKind.MAIL or arrival.is_of(person)):
        await _rekey(book, arrival, bond)
    offerings = await claims.activate_seats(book, person.id)
    if bond is None or offerings:
        after = {"entity_id": arrival.entity_id, "offerings": offerings, "first": bond is None}
        await audit.append(book, [AuditEvent(f"identity:{person.id}", "invite.claim", person.id, after=after)])
    return Claimed(person.id, person.mail, bond is None, tuple(offerings))


async def _bond(book: Book, arrival: Arrival) -> tuple[Bond | None, Person | None]:
    """The bond of this subject, under its key or one of before (N3), and its person. What is over is ended.

    A key that is made of the address finds whoever has it in the directory, as that mailbox, and nobody else; one that
    an administrator let in all the same has a key of its own.
    """
    other = key_of_mailbox(arrival.entity_id, arrival.mail) if arrival.kind is SubjectKind.MAIL else arrival.subject
    for key in dict.fromkeys((other, arrival.subject, *arrival.earlier)):
        bond = await claims.bond_of_subject(book, arrival.entity_id, key)
        person = await claims.person_by_id(book, bond.identity_id) if bond else None
        if bond is None:
            continue
        on_mail = bond.kind == SubjectKind.MAIL.value  # another address, though no later: renamed as they were bound
        if (
            person is None
            or _over(bond, person, arrival.addresses)
            or (on_mail and arrival.mail.key != person.mail_key)
        ):
            await claims.unbind(book, bond)
        elif key == other or key not in (arrival.subject, *arrival.addresses) or arrival.is_of(person):
            return bond, person
    return None, None


async def _bond_of_before(book: Book, arrival: Arrival, person: Person) -> Bond | None:
    """The bond of before N3 that was made of this address, however the provider wrote it then."""
    if (arrival.kind is SubjectKind.MAIL or arrival.earlier_by_address) and arrival.is_of(person):
        for bond in await claims.bonds_of_person(book, person.id):
            if (bond.entity_id, bond.kind) == (arrival.entity_id, "") and _on_mail(bond, person, arrival.addresses):
                return None if _over(bond, person, arrival.addresses) else bond
    return None


def _over(bond: Bond, person: Person, addresses: Sequence[str] = ()) -> bool:
    """A bond ends with its identity; one on mail also when the directory changes the address (N3)."""
    if person.state == IdentityState.REMOVED.value:
        return True
    return person.mail_since > bond.since and _on_mail(bond, person, addresses)


def _on_mail(bond: Bond, person: Person, addresses: Sequence[str] = ()) -> bool:
    """Whether the bound subject is nothing but an address; of a bond of before N3, whether it was one of theirs as the
    directory wrote it, or one of ``addresses``: the asserted one, as this provider writes it."""
    if bond.kind:
        return bond.kind == SubjectKind.MAIL.value
    return bond.subject in addresses or bond.subject in raw_keys(bond.entity_id, sorted(person.mails))


async def _invited(book: Book, arrival: Arrival) -> Person:
    """The one person with this address who is not removed. Whoever comes from another mailbox that folds to the same
    key is nobody who was invited; where the person is bound already, an administrator may say who it is."""
    found = await claims.persons_by_mail(book, arrival.mail.key)
    present = [person for person in found if person.state != IdentityState.REMOVED.value]
    if len(present) == 1 and (arrival.is_of(present[0]) or await claims.last_bond(book, present[0].id) is not None):
        return present[0]
    raise Refused(f"{arrival.mail} was not invited: ask your administrator", where=book.organization)


async def _require_decided(book: Book, arrival: Arrival, person: Person) -> None:
    """The address alone is no proof while it may be somebody else's. Raises ``Refused``."""
    digest = await undecided(book, person.mail_key)
    if digest:
        raise Refused(
            f"{arrival.mail} has a new directory entry, and a person has to decide whose it is: ask your administrator",
            where=book.organization,
            next_step=f"rosterd approve {digest[:12]}, or rosterd explain {person.mail_key}",
        )


async def undecided(book: Book, mail_key: str) -> str:
    """The digest of the held set in which a person has to decide whose an address is (E6); empty: there is none."""
    for held in await runs.held_sets(book, ("open",)):
        if any(change["subject"] == mail_key and change["cause"] == A_PERSON_DECIDES for change in held.changes):
            return held.digest
    return ""


async def _bind(book: Book, arrival: Arrival, person: Person) -> RelinkHeld | None:
    """Bind whoever is not bound; or hold the relink of whoever is (N4). What was refused once is bound by nothing but
    an approval, for as long as its row stands."""
    reference = _reference(arrival, person)
    known = await relinks.find(book, reference, book.at)
    standing, last = await standing_bonds(book, person, arrival.addresses)
    same = next((bond for bond in standing if bond.entity_id == arrival.entity_id), None)
    free = arrival.is_of(person) and (known is None or not known.refused_by)
    if last is not None and (standing or not free or not may_bind_again(last, person, arrival.addresses)):
        if not standing or not free or not await _in_window(book, last, person):
            return await _hold(book, arrival, person, last, reference)
        await _moved(book, arrival, person, last)
    if same is not None:
        await claims.unbind(book, same)
    await claims.bind(book, arrival.entity_id, arrival.subject, arrival.kind.value, person.id)
    return None


async def standing_bonds(book: Book, person: Person, addresses: Sequence[str] = ()) -> tuple[list[Bond], Bond | None]:
    """The bonds of somebody that stand (what is over is ended), and the one that counts: the last of them, or where
    none stands the last there was. ``addresses``: as of ``_on_mail``."""
    standing: list[Bond] = []
    for bond in await claims.bonds_of_person(book, person.id):
        if _over(bond, person, addresses):
            await claims.unbind(book, bond)
        else:
            standing.append(bond)
    return standing, standing[-1] if standing else await claims.last_bond(book, person.id)


def may_bind_again(last: Bond, person: Person, addresses: Sequence[str] = ()) -> bool:
    """Whose bond was ended may be bound while their address is the one they had then; one on mail ends with it."""
    return person.mail_since <= last.since or _on_mail(last, person, addresses)


async def _in_window(book: Book, last: Bond, person: Person) -> bool:
    """Whether a window lets the person be bound anew: once, and with the address they had when they were bound (N4)."""
    window = await rebind_window.open_now(book, book.at)
    return window is not None and last.since < window.opened_at and person.mail_since <= last.since


async def _moved(book: Book, arrival: Arrival, person: Person, last: Bond) -> None:
    """The witness of a relink inside a window."""
    before = {"subject": last.subject, "kind": last.kind}
    after = {"subject": arrival.subject, "kind": arrival.kind.value, "entity_id": arrival.entity_id}
    event = AuditEvent(f"identity:{person.id}", "bond.moved", person.id, "rebind window", before=before, after=after)
    await audit.append(book, [event])
    await relinks.end_waiting(book, person.id)


async def _rekey(book: Book, arrival: Arrival, bond: Bond) -> None:
    """The same subject under the key it has now (N3). It is no new bond: what an address has to be unchanged since
    (N4) stays the day of the bond, and the turn that a window gives is not used."""
    await claims.rekey(book, bond, arrival.subject, arrival.kind.value)
    before, after = {"subject": bond.subject}, {"subject": arrival.subject, "kind": arrival.kind.value}
    actor = f"identity:{bond.identity_id}"
    await audit.append(book, [AuditEvent(actor, "bond.rekeyed", bond.identity_id, before=before, after=after)])


async def _hold(book: Book, arrival: Arrival, person: Person, last: Bond, reference: str) -> RelinkHeld:
    """Keep the relink for an administrator; the same again, and too many about one person, write nothing.

    What is held already is put anew where bond or address are others now, so that it can be decided (``bonds``); a
    refusal stays one, and as long as it was.
    """
    known = await relinks.find(book, reference, book.at)
    refused = known is not None and known.refused_at is not None
    if known is None and await relinks.count_waiting(book, book.at, person.id) >= MOST_WAITING:
        return RelinkHeld(arrival.mail, book.organization, "")
    seen = (last.subject, last.kind, last.since, person.mail_since)
    if known is None or seen != (known.was_subject, known.was_kind, known.bonded_at, known.mail_since):
        row = RelinkRow(
            reference,
            person.id,
            arrival.entity_id,
            arrival.subject,
            arrival.kind.value,
            *seen,
            arrival.signer,
            book.at,
            book.at + RELINK_LIFE,
        )
        if known is not None:
            row = replace(row, refused_by=known.refused_by)
        if known is not None and refused:
            row = replace(row, held_at=known.held_at, expires_at=known.expires_at, refused_at=known.refused_at)
        await relinks.put(book, row)
        before, after = {"subject": row.was_subject, "kind": row.was_kind}, {"subject": row.subject, "kind": row.kind}
        actor = f"subject:{row.subject[:16]}"
        await audit.append(book, [AuditEvent(actor, HELD, person.id, before=before, after={**after, "id": reference})])
        if not refused:
            payload = {"id": reference, "expires_at": to_text(row.expires_at), "next": "rosterd sso relinks"}
            await outbox.append(book, [Message(HELD, person.id, payload)])
    return RelinkHeld(arrival.mail, book.organization, reference, refused=refused)


def _reference(arrival: Arrival, person: Person) -> str:
    """One for each person and new subject, so that the same again is the same."""
    parts = "\n".join((person.id, arrival.entity_id, arrival.subject))
    return hashlib.sha256(parts.encode()).hexdigest()[:_REFERENCE]
