"""A tiny company in a ledger: what every usage test starts from. Writes rows through the handles, like a run would."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from ledger.identity import Email
from ledger.store import consent
from ledger.store.engine import Ledger
from ledger.store.tables import people, seats
from ledger.usage import BasisKind, LegalBasis
from tests.parts.fences import ALONE

ORG = "acme"
START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRET = b"a secret of the tests"
BASIS = LegalBasis(BasisKind.WORKS_AGREEMENT, ("reports",), ("employees",), (), date(2026, 1, 1), "agreement 7/2025")
PEOPLE = {
    "anna": "anna.kowalska@acme.example",
    "łucja": "Łucja.Żółć@acme.example",
    "jorg": "jörg@bücher.example",
    "ola": "ola@acme.example",
}


async def found(ledger: Ledger, *, basis: LegalBasis | None = BASIS, zone: str = "UTC", mails: Any = None) -> None:
    """Organization, two Teams, two offerings, four people in Team ``design``, seats of CAD, one legal basis."""
    everyone = PEOPLE if mails is None else mails
    async with ledger.write(ORG, ALONE, at=START) as book:
        await book.insert(people.organization, ("name", "report_zone", "created_at"), [("Acme", zone, START)])
        if basis:
            await consent.record_basis(book, basis, actor="admin")
        await book.begin(
            people.team, ("id", "name", "name_key"), [("design", "Design", "design"), ("build", "Build", "build")]
        )
        offerings = [("CAD", "Cad 3D", "single_user", True), ("RENDER", "Render", "single_user", False)]
        await book.begin(seats.offering, ("code", "name", "kind", "eligible"), offerings)
        for identity, mail in everyone.items():
            await add_person(book, identity, mail)
        await join(book, list(everyone), "design")
        await book.begin(
            seats.subscription,
            (
                "id",
                "team_id",
                "offering_code",
                "quantity",
                "tier",
                "starts_on",
                "ends_on",
                "renews",
                "contract_number",
            ),
            [("sub-1", "design", "CAD", 10, "business", date(2026, 1, 1), date(2027, 1, 1), "", "C-1")],
        )


async def add_person(book: Any, identity: str, mail: str, *, state: str = "active") -> None:
    """Begin an identity."""
    columns = (
        "id",
        "mail",
        "mail_key",
        "given_name",
        "family_name",
        "display_name",
        "state",
        "employee_number",
        "attributes",
    )
    row = (identity, mail, Email.parse(mail).key, "", "", identity, state, "", {"department": "D1"})
    await book.begin(people.identity, columns, [row])


async def join(book: Any, identities: list[str], team: str) -> None:
    """Begin Team memberships."""
    columns = ("identity_id", "team_id", "provenance", "source_id", "cause")
    await book.begin(people.team_membership, columns, [(one, team, "mapping:m", "corp", "") for one in identities])


async def leave(book: Any, identity: str, team: str) -> None:
    """End a Team membership."""
    table = people.team_membership
    statement = book.open(table, "row_id").where(table.c.identity_id == identity, table.c.team_id == team)
    await book.end(table, [row.row_id for row in await book.all(statement)])


async def seat(book: Any, seat_id: str, identity: str, *, team: str = "design", by: str = "manual") -> None:
    """Begin a seat of CAD and one grant for it."""
    columns = (
        "id",
        "subscription_id",
        "team_id",
        "offering_code",
        "identity_id",
        "state",
        "paused_from",
        "release_due_at",
    )
    await book.begin(seats.seat, columns, [(seat_id, "sub-1", team, "CAD", identity, "active", "", None)])
    columns = ("seat_id", "identity_id", "team_id", "provenance", "cause")
    await book.begin(seats.seat_grant, columns, [(seat_id, identity, team, by, "")])


def event(number: int | str, **fields: Any) -> dict[str, Any]:
    """A valid event; ``fields`` replace or add."""
    return {
        "event_id": f"e-{number}",
        "occurred_at": "2026-03-01T10:00:00Z",
        "mail": PEOPLE["anna"],
        "offering_code": "CAD",
        "version": "2026.1",
        **fields,
    }


def ndjson(*rows: dict[str, Any]) -> bytes:
    """Rows as NDJSON."""
    import json

    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
