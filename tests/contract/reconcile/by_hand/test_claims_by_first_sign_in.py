"""D9: a first sign-in binds the SAML subject and activates invited seats; a recycled address inherits nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from access.principal import operator
from connector.reconcile import run
from connector.reconcile.by_hand.bonds import approve_relink
from connector.reconcile.by_hand.sign_in import Arrival, RelinkHeld, claim
from connector.sso.saml.subject import SubjectKind
from ledger.errors import Refused
from ledger.identity import Email
from ledger.store.engine import Ledger
from ledger.store.tables import people, seats
from tests.parts.directories import Somebody, make_world, mapping, policy, stand_in_gate
from tests.parts.fences import ALONE

ENTITY = "https://idp.acme.example/metadata"
MAIL = "ewa@acme.example"


async def person(ledger: Ledger, at: datetime, identity: str = "i1", mail: str = MAIL, state: str = "active") -> None:
    columns = ("id", "mail", "mail_key", "given_name", "family_name", "display_name", "state", "employee_number")
    async with ledger.write("acme", ALONE, at=at) as book:
        old = await book.all(book.open(people.identity, "row_id").where(people.identity.c.id == identity))
        await book.end(people.identity, [row.row_id for row in old])
        row = (identity, mail, mail, "Ewa", "Nowak", "Ewa Nowak", state, "7", {})
        await book.begin(people.identity, (*columns, "attributes"), [row])


async def seat(ledger: Ledger, at: datetime, identity: str = "i1") -> None:
    columns = ("id", "subscription_id", "team_id", "offering_code", "identity_id", "state", "paused_from")
    async with ledger.write("acme", ALONE, at=at) as book:
        await book.begin(seats.seat, columns, [(f"s-{identity}", "sub", "t1", "CAD", identity, "invited", "")])


async def seat_states(ledger: Ledger) -> list[str]:
    async with ledger.read("acme") as reader:
        return [row.state for row in await reader.all(reader.open(seats.seat, "state"))]


def arrival(mail: str = MAIL, subject: str = "s-1", kind: SubjectKind = SubjectKind.OTHER) -> Arrival:
    return Arrival(Email.parse(mail), ENTITY, subject, kind)


async def test_d9_a_first_sign_in_activates_the_seat_and_a_second_changes_nothing(
    ledger: Ledger, now: datetime
) -> None:
    await person(ledger, now)
    await seat(ledger, now)
    later = now + timedelta(hours=1)
    first = await claim(ledger, "acme", arrival(), now=later)
    again = await claim(ledger, "acme", arrival(), now=later)
    assert (first.identity_id, first.first, first.offerings) == ("i1", True, ("CAD",))
    assert (again.first, again.offerings) == (False, ())
    assert await seat_states(ledger) == ["active"]


async def test_d9_a_recycled_address_with_another_subject_is_refused_and_nothing_changes(
    ledger: Ledger, now: datetime
) -> None:
    await person(ledger, now)
    await claim(ledger, "acme", arrival(), now=now + timedelta(hours=1))
    await seat(ledger, now + timedelta(hours=2))
    with pytest.raises(RelinkHeld, match="by another account of your identity provider"):
        await claim(ledger, "acme", arrival(subject="s-2"), now=now + timedelta(hours=3))
    assert await seat_states(ledger) == ["invited"]


async def test_d9_a_rename_by_the_directory_lets_the_subject_made_of_the_address_change(
    ledger: Ledger, now: datetime
) -> None:
    await person(ledger, now)
    await claim(ledger, "acme", arrival(kind=SubjectKind.MAIL), now=now + timedelta(hours=1))
    await person(ledger, now + timedelta(hours=2), mail="ewa.krol@acme.example")
    renamed = arrival("ewa.krol@acme.example", "s-2", SubjectKind.MAIL)
    claimed = await claim(ledger, "acme", renamed, now=now + timedelta(hours=3))
    assert claimed.identity_id == "i1"


async def test_d9_the_subject_of_a_removed_person_comes_to_the_new_holder_of_the_address(
    ledger: Ledger, now: datetime
) -> None:
    await person(ledger, now)
    await claim(ledger, "acme", arrival(), now=now + timedelta(hours=1))
    await person(ledger, now + timedelta(days=40), state="removed")
    await person(ledger, now + timedelta(days=41), identity="i2")
    claimed = await claim(ledger, "acme", arrival(), now=now + timedelta(days=42))
    assert (claimed.identity_id, claimed.first) == ("i2", True)


@pytest.mark.parametrize("state", ["disabled", "absent", "removed"])
async def test_d7_who_is_not_active_cannot_claim(ledger: Ledger, now: datetime, state: str) -> None:
    await person(ledger, now, state=state)
    await seat(ledger, now)
    with pytest.raises(Refused):
        await claim(ledger, "acme", arrival(), now=now + timedelta(hours=1))
    assert await seat_states(ledger) == ["invited"]


async def test_r4_who_was_never_invited_gets_nothing_by_signing_in(ledger: Ledger, now: datetime) -> None:
    with pytest.raises(Refused, match="not invited"):
        await claim(ledger, "acme", arrival("mallory@acme.example"), now=now)


@pytest.mark.parametrize(
    ("bound", "by_address", "refused"),
    [(False, False, True), (False, True, True), (True, True, True), (True, False, False)],
)
async def test_e6_while_a_person_decides_only_the_subject_that_was_bound_signs_in(
    ledger: Ledger, now: datetime, bound: bool, by_address: bool, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever got the address, and perhaps a new entry with it, is not let in by the address."""
    stand_in_gate(monkeypatch)
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=3)
    world.source.put("bo", "anna", groups=["design"])
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    kind = SubjectKind.MAIL if by_address else SubjectKind.OTHER
    arriving = arrival("bo@acme.example", "s-1", kind)
    if bound:
        await claim(ledger, "acme", arriving, now=world.later(minutes=1))
    world.source.drop("bo")
    world.source.put(Somebody("other", mail="bo@acme.example"), groups=["design"])
    held = await run.apply(ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
    assert held.held_counts["RelinkAnchor"] == 1
    if refused:
        with pytest.raises(Refused, match="a person has to decide whose it is"):
            await claim(ledger, "acme", arriving, now=world.now)
    else:
        await claim(ledger, "acme", arriving, now=world.now)
    at = world.later(minutes=1)
    await run.approve(ledger, world.setup, held.held, reason="the same person", actor="ada", fence=ALONE, now=at)
    await claim(ledger, "acme", arriving, now=at)


async def test_e6_while_a_person_decides_no_relink_is_approved(
    ledger: Ledger, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in_gate(monkeypatch)
    world = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=3)
    world.source.put("bo", "anna", groups=["design"])
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    await claim(ledger, "acme", arrival("bo@acme.example", "s-1"), now=world.later(minutes=1))
    with pytest.raises(RelinkHeld) as held:
        await claim(ledger, "acme", arrival("bo@acme.example", "s-2"), now=world.later(minutes=1))
    world.source.drop("bo")
    world.source.put(Somebody("other", mail="bo@acme.example"), groups=["design"])
    await run.apply(ledger, world.setup, fence=ALONE, now=world.later(hours=1), actor="test", auto=True)
    with pytest.raises(Refused, match="a person has to decide first"):
        await approve_relink(ledger, "acme", held.value.reference, operator("acme", "ada"), "x", world.later(minutes=1))
