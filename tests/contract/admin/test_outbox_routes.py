"""``/admin/v1/outbox``: what waits, what was not sent, and what somebody does about it (L1, L3)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from access.principal import ROLE_SCOPES, Scope
from connector.delivery.mail.kinds import KINDS
from ledger.store import deliveries, outbox
from ledger.store.deliveries import DeliveryState, Digest
from ledger.store.outbox import Message
from ledger.team import Role
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


async def test_l2_what_was_judged_obsolete_is_due_again_by_hand(admin: Admin) -> None:
    """A clock that was wrong for seconds loses no invite for good."""
    await starts(admin, old=False)
    ledger, now = admin.world.ledger, admin.world.now
    [batch] = await deliveries.claim(ledger, "mail", {"acme": 1}, now=now, hold=DAY, limit=1, digest=Digest())
    await deliveries.settle(ledger, batch, DeliveryState.OBSOLETE, note="the invite has expired", now=now)
    assert await listed(admin, "?state=obsolete") == [("invite.mail", "obsolete")]
    assert await admin.ask("POST", f"/outbox/{batch.id}/retry") == (200, {"retried": [batch.id]})
    assert await listed(admin) == [("invite.mail", "waiting")] * 2
    assert await verbs(ledger, batch.id) == ["outbox.retried"]


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


PEOPLE = frozenset({Scope.PEOPLE_READ, Scope.PEOPLE_WRITE})
SEEN_BY = {
    "invite.mail": PEOPLE,
    "seats.short": PEOPLE,
    "team.restricted": PEOPLE,
    "plan.held": PEOPLE | {Scope.RUNS_APPROVE},
    "plan.approval_needed": PEOPLE | {Scope.RUNS_APPROVE},
    "connection.continued": PEOPLE | {Scope.SSO_WRITE},
    "connection.draft_waits": PEOPLE | {Scope.SSO_WRITE},
    "relink.held": PEOPLE | {Scope.SSO_WRITE},
    "sync.suspended": PEOPLE | {Scope.SSO_WRITE},
    "source.stale": PEOPLE | {Scope.SETTINGS_WRITE},
}
"""Kind → what has to be held to see a message of it."""


@pytest.mark.parametrize(
    "held",
    [PEOPLE, *(PEOPLE | {one} for one in (Scope.RUNS_APPROVE, Scope.SSO_WRITE, Scope.SETTINGS_WRITE)),
     ROLE_SCOPES[Role.SECONDARY_ADMIN], ROLE_SCOPES[Role.PRIMARY_ADMIN]],
    ids=["people", "approve", "sso", "settings", "secondary_admin", "primary_admin"],
)  # fmt: skip
async def test_a_message_is_there_for_who_may_see_what_it_tells(admin: Admin, held: frozenset[Scope]) -> None:
    await starts(admin, old=False)
    ledger, now = admin.world.ledger, admin.world.now
    kinds = sorted(SEEN_BY)
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        written = await outbox.append(book, [Message(kind, f"about {kind}", KINDS[kind].example) for kind in kinds])
    admin.scopes = held
    seen = {kind for kind in kinds if SEEN_BY[kind] <= held}
    found = await admin.get("/outbox")
    assert {item["kind"] for item in found["messages"]} == {item["kind"] for item in found["totals"]} == seen
    at = [(item["written_at"], item["id"]) for item in found["messages"]]
    assert at == sorted(at)
    assert len((await admin.get("/outbox?limit=1"))["messages"]) == 1
    for kind, message in zip(kinds, written, strict=True):
        wanted = kind in seen
        unknown = await admin.ask("GET", "/outbox/ffffffff")
        assert bool(await listed(admin, f"?kind={kind}")) is wanted
        for method, path, sent in (
            ("GET", "", None), ("POST", "/retry", None), ("POST", "/drop", {"reason": "noise"})
        ):  # fmt: skip
            status, answered = await admin.ask(method, f"/outbox/{message}{path}", sent)
            assert (status == 200) is wanted, (kind, path, answered)
            if not wanted:
                other = {**unknown[1], "detail": unknown[1]["detail"].replace("ffffffff", message)}
                assert (status, answered) == (404, other)


async def test_what_is_kept_of_a_kind_that_is_not_seen_is_neither_named_nor_released(admin: Admin) -> None:
    await starts(admin, old=False)
    ledger, now = admin.world.ledger, admin.world.now
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await outbox.append(book, [Message("sync.suspended", "sync", KINDS["sync.suspended"].example)])
    async with ledger.write(ORGANIZATION.id, ALONE, at=now) as book:
        await deliveries.stop(book, "mail")
    await starts(admin, old=True)
    admin.scopes = PEOPLE
    status, problem = await admin.ask("POST", "/outbox/release", {"kind": "sync.suspended"})
    assert (status, problem["detail"].partition("; ")[2]) == (404, "kinds of what is: invite.mail")
    admin.scopes = PEOPLE | {Scope.SSO_WRITE}
    assert (await admin.ask("POST", "/outbox/release", {"kind": "sync.suspended"}))[0] == 200
