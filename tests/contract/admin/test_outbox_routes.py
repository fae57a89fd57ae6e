"""``/admin/v1/outbox``: what waits, what was not sent, and what somebody does about it (L1, L3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from access.principal import Scope
from connector.delivery.mail.kinds import KINDS
from ledger.store import deliveries
from ledger.store.deliveries import DeliveryState, Digest
from tests.contract.admin.conftest import Admin
from tests.parts.directories import ORGANIZATION
from tests.parts.edits import verbs
from tests.parts.fences import ALONE

DAY = timedelta(days=1)


async def starts(admin: Admin, *, old: bool) -> None:
    """Mail begins; the invites that the company was set up with are older than a day, or not."""
    now = admin.world.now
    keep = now + DAY if old else now - DAY
    async with admin.world.ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await deliveries.start(book, "mail", KINDS, keep_before=keep)


async def dead(admin: Admin) -> str:
    """One invite that was refused; its id."""
    ledger, now = admin.world.ledger, admin.world.now
    [batch] = await deliveries.claim(ledger, "mail", {"acme": 1}, now=now, hold=DAY, limit=1, digest=Digest())
    await deliveries.settle(ledger, batch, DeliveryState.DEAD, note="550 no such user", now=now)
    return batch.id


async def listed(admin: Admin, query: str = "") -> list[tuple[str, str]]:
    found: dict[str, Any] = await admin.get(f"/outbox{query}")
    return [(item["kind"], item["state"]) for item in found["messages"]]


async def test_l1_messages_are_listed_shown_retried_and_dropped(admin: Admin) -> None:
    assert await listed(admin) == []
    await starts(admin, old=False)
    message = await dead(admin)
    assert sorted(await listed(admin)) == [("invite.mail", "dead"), ("invite.mail", "waiting")]
    assert await listed(admin, "?state=dead&kind=invite.mail") == [("invite.mail", "dead")]
    shown = (await admin.get(f"/outbox/{message[:28]}"))["deliveries"][0]
    assert (shown["note"], shown["payload"]["mail"]) == ("550 no such user", "anna@acme.example")
    assert await admin.ask("POST", f"/outbox/{message}/retry") == (200, {"retried": [message]})
    assert await listed(admin, "?state=dead") == []
    status, problem = await admin.ask("POST", f"/outbox/{message}/drop", {"reason": " "})
    assert (status, problem["where"]) == (400, "reason")
    assert await admin.ask("POST", f"/outbox/{message}/drop", {"reason": "left"}) == (200, {"dropped": [message]})
    assert (await admin.ask("POST", f"/outbox/{message}/drop", {"reason": "again"}))[0] == 409
    assert await listed(admin, "?state=dropped") == [("invite.mail", "dropped")]
    assert await verbs(admin.world.ledger, message) == ["outbox.retried", "outbox.dropped"]


async def test_l3_what_is_kept_is_released_by_kind(admin: Admin) -> None:
    await starts(admin, old=True)
    assert await listed(admin) == [("invite.mail", "kept")] * 2
    status, problem = await admin.ask("POST", "/outbox/release", {"kind": "plan.held"})
    assert (status, "kinds of what is: invite.mail" in problem["detail"]) == (404, True)
    released = {"kind": "invite.mail", "messages": 2, "released": True}
    assert await admin.ask("POST", "/outbox/release", {"kind": "invite.mail"}) == (200, released)
    assert await listed(admin) == [("invite.mail", "waiting")] * 2


async def test_what_is_not_there_or_not_said_is_a_problem(admin: Admin) -> None:
    await starts(admin, old=False)
    assert (await admin.ask("GET", "/outbox/nothing"))[0] == 404
    assert (await admin.ask("GET", "/outbox/0"))[0] in {400, 404}
    assert (await admin.ask("GET", "/outbox?state=lost"))[0] == 400
    assert (await admin.ask("GET", "/outbox?limit=0"))[0] == 400


async def test_reading_and_acting_are_two_rights_and_both_of_the_whole_organization(admin: Admin) -> None:
    await starts(admin, old=False)
    message = await dead(admin)
    admin.scopes = frozenset({Scope.PEOPLE_READ})
    assert (await admin.ask("GET", "/outbox"))[0] == 200
    assert (await admin.ask("POST", f"/outbox/{message}/retry"))[0] == 403
    admin.teams = frozenset({"t1"})
    assert (await admin.ask("GET", "/outbox"))[0] == 403
