"""To whom mail goes (L5), and that nothing of one organization reaches another's people."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest

from connector.delivery.mail import recipients
from connector.delivery.mail.kinds import KINDS, Readers
from connector.delivery.mail.settings import MailSettings, OrganizationMailSettings
from connector.delivery.mail.target import MailTarget, Sender
from connector.delivery.outcome import Never
from connector.delivery.target import Parcel
from ledger.errors import BadInput, NotFound
from ledger.store import people
from ledger.store.deliveries import Batch, Told
from ledger.store.engine import Ledger
from ledger.team import Role
from tests.parts.fences import ALONE

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
ORGANIZATIONS = ("acme", "globex")
OPERATOR = "operator@vendor.example"


def target(operator: str = "", names: Iterable[str] = ORGANIZATIONS) -> MailTarget:
    settings = MailSettings(host="127.0.0.1", security="none", sender="accounts@vendor.example", operator=operator)
    senders = {name: Sender(name.title(), OrganizationMailSettings(reply_to=f"help@{name}.example")) for name in names}
    return MailTarget(
        settings,
        senders=lambda: senders,
        links=lambda organization, identity: (
            f"https://rosterd.example/sso/{organization}/invite?i={organization}-{identity}"
        ),
        public_url="https://rosterd.example",
        clock=lambda: NOW,
    )


async def company(ledger: Ledger, organization: str, roles: Iterable[tuple[str, Role, str]], *names: str) -> None:
    """People of these names, all by ids that every organization has, and who holds which role over which Team."""
    async with ledger.write(organization, ALONE, at=NOW) as book:
        rows = []
        for name in names:
            mail, state = f"{name}@{organization}.example", "removed" if name == "gone" else "active"
            rows.append((name, mail, mail, "", "", f"{name} of {organization}", state, "", {}))
        await people.begin_identities(book, rows)
        await people.begin_teams(book, [("t1", "Design", "design"), ("t2", "Site", "site")])
        await people.begin_roles(book, [(name, role, team) for name, role, team in roles])


def batch(kind: str, subject: str = "x", organization: str = "acme", **payload: Any) -> Batch:
    """One message; ``team_id=None``: written before messages had it."""
    whole = {**KINDS[kind].example, **payload}
    if whole.get("team_id", "") is None:
        del whole["team_id"]
    told = Told("m1", subject, whole, NOW)
    return Batch(organization, "mail", "m1", kind, (told,), 1, 0, None, ())


async def prepared(ledger: Ledger, what: Batch, mail: MailTarget) -> list[Parcel]:
    async with ledger.read(what.organization) as reader:
        return await mail.prepare(reader, what)


EVERYBODY = ("ada", "bo", "cy", "dan", "eve", "fay", "gone")
ROLES = (
    ("ada", Role.PRIMARY_ADMIN, "t1"),
    ("bo", Role.PRIMARY_ADMIN, "t2"),
    ("cy", Role.SECONDARY_ADMIN, "t1"),
    ("dan", Role.SSO_ADMIN, ""),
    ("eve", Role.REPORT_READER, ""),
    ("fay", Role.SECONDARY_ADMIN, "t1"),
    ("fay", Role.SECONDARY_ADMIN, "t2"),
    ("gone", Role.SSO_ADMIN, ""),
)


ABOUT_ALL = {Readers.APPROVERS, Readers.SSO_ADMINS}
ADMINS = (Role.PRIMARY_ADMIN, Role.SECONDARY_ADMIN, Role.SSO_ADMIN)


@pytest.mark.parametrize(
    ("kind", "subject", "payload", "wanted"),
    [
        ("invite.mail", "eve", {}, ["eve"]),
        ("plan.held", "d1", {}, ["fay"]),
        ("plan.approval_needed", "d1", {}, ["fay"]),
        ("sync.suspended", "sync", {}, ["dan"]),
        ("connection.continued", "main", {}, ["dan"]),
        ("relink.held", "eve", {}, ["dan"]),
        ("seats.short", "CAD @ Design", {"team": "Design", "team_id": "t1"}, ["ada"]),
        ("seats.short", "CAD @ Old name", {"team": "Old name", "team_id": "t1"}, ["ada"]),
        ("seats.short", "CAD @ Design", {"team": "Design", "team_id": None}, ["ada"]),
        ("seats.short", "CAD @ Old name", {"team": "Old name", "team_id": None}, ["operator"]),
        ("seats.short", "CAD @ Design", {"team": "Design", "team_id": "gone"}, ["operator"]),
        ("team.restricted", "t2", {"team": "Site", "team_id": "t2"}, ["bo"]),
        ("team.restricted", "t2", {"team": "Design", "team_id": None}, ["bo"]),
        ("source.stale", "corp", {}, ["operator"]),
    ],
)
async def test_l5_readers_are_who_holds_the_role_now(
    ledger: Ledger, kind: str, subject: str, payload: dict[str, Any], wanted: list[str]
) -> None:
    await company(ledger, "acme", ROLES, *EVERYBODY)
    parcels = await prepared(ledger, batch(kind, subject, **payload), target(OPERATOR))
    assert [parcel.receiver.partition("@")[0] for parcel in parcels] == wanted


async def test_l5_messages_of_several_teams_are_told_to_who_has_them_all(ledger: Ledger) -> None:
    roles = [*ROLES, ("fay", Role.PRIMARY_ADMIN, "t1"), ("fay", Role.PRIMARY_ADMIN, "t2")]
    await company(ledger, "acme", roles, *EVERYBODY)
    told = tuple(Told(f"m{team}", team, {"team": "", "team_id": team, "reason": "x"}, NOW) for team in ("t1", "t2"))
    both = Batch("acme", "mail", "m1", "team.lifted", told, 1, 0, None, ())
    async with ledger.read("acme") as reader:
        for messages, wanted in ((told, ["fay"]), (told[:1], ["ada", "fay"])):
            found = await recipients.of_batch(reader, KINDS[both.kind], messages, OPERATOR)
            assert [item.mail.partition("@")[0] for item in found] == wanted


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS.values() if kind.readers in ABOUT_ALL])
async def test_l5_who_is_bound_to_teams_is_told_what_concerns_all_only_last(ledger: Ledger, kind: str) -> None:
    """They may not see it: ``GET /held`` and ``/sync`` refuse a credential that is bound to Teams. Where nobody else
    is there, somebody has to hear of it: the Primary Admin."""
    bound = [(name, role, "t1") for name, role in zip(("ada", "bo", "cy"), ADMINS, strict=True)]
    await company(ledger, "acme", bound, *EVERYBODY)
    assert [parcel.receiver for parcel in await prepared(ledger, batch(kind), target(OPERATOR))] == [OPERATOR]
    primary = next(name for name, role, _ in bound if role is Role.PRIMARY_ADMIN)
    assert [parcel.receiver for parcel in await prepared(ledger, batch(kind), target())] == [f"{primary}@acme.example"]
    await company(ledger, "globex", [*bound, ("dan", Role.PRIMARY_ADMIN, "")], *EVERYBODY)
    found = await prepared(ledger, batch(kind, organization="globex"), target(OPERATOR))
    assert [parcel.receiver for parcel in found] == ["dan@globex.example"]


async def test_l5_the_primary_admin_of_the_only_team_is_that_of_the_organization(ledger: Ledger) -> None:
    async with ledger.write("acme", ALONE, at=NOW) as book:
        await people.begin_identities(book, [("ada", *["ada@acme.example"] * 2, "", "", "Ada", "active", "", {})])
        await people.begin_teams(book, [("t1", "Design", "design")])
        await people.begin_roles(book, [("ada", Role.PRIMARY_ADMIN, "t1")])
    for kind in ("plan.held", "sync.suspended"):
        assert [parcel.receiver for parcel in await prepared(ledger, batch(kind), target())] == ["ada@acme.example"]


async def test_l5_where_nobody_holds_the_role(ledger: Ledger) -> None:
    await company(ledger, "acme", [("ada", Role.PRIMARY_ADMIN, "")], *EVERYBODY)
    suspended = batch("sync.suspended", "sync")
    assert [parcel.receiver for parcel in await prepared(ledger, suspended, target())] == ["ada@acme.example"]
    await company(ledger, "globex", [], "ada")
    nobody = batch("sync.suspended", "sync", "globex")
    assert [parcel.receiver for parcel in await prepared(ledger, nobody, target(OPERATOR))] == [OPERATOR]
    with pytest.raises(NotFound, match=r"\[mail\] operator is not set"):
        await prepared(ledger, nobody, target())
    with pytest.raises(NotFound, match="no longer active"):
        await prepared(ledger, batch("invite.mail", "gone"), target(OPERATOR))


async def test_l6_every_recipient_has_a_message_id_of_their_own_that_stays(ledger: Ledger) -> None:
    await company(ledger, "acme", [*ROLES, ("bo", Role.PRIMARY_ADMIN, "")], *EVERYBODY)
    first = await prepared(ledger, batch("plan.held"), target())
    again = await prepared(ledger, batch("plan.held"), target())
    ids = [str(parcel.content.message["Message-ID"]) for parcel in first]
    assert len(set(ids)) == 2
    assert [str(parcel.content.message["Message-ID"]) for parcel in again] == ids


async def test_no_address_or_link_of_one_organization_reaches_another_s_people(ledger: Ledger) -> None:
    """The same ids and Teams in both: every kind × organization."""
    for organization in ORGANIZATIONS:
        await company(ledger, organization, ROLES, *EVERYBODY)
    for kind in KINDS.values():
        if not kind.raised:
            continue
        for own, other in (("acme", "globex"), ("globex", "acme")):
            subject = "eve" if kind.readers is Readers.PERSON else "t1"
            payload = json.loads(json.dumps(dict(kind.example)).replace("acme", own)) | {"team": "Design"}
            payload |= {"team_id": "t1"}
            parcels = await prepared(ledger, batch(kind.name, subject, own, **payload), target(OPERATOR))
            assert parcels
            for parcel in parcels:
                assert parcel.receiver == OPERATOR or parcel.receiver.endswith(f"@{own}.example")
                message = parcel.content.message
                whole = "\n".join(
                    [*(f"{name}: {value}" for name, value in message.items()),
                     *(part.get_content() for part in message.walk() if part.get_content_maintype() == "text")]
                )  # fmt: skip
                assert other not in whole.lower(), (kind.name, own)


async def test_an_organization_whose_file_has_gone_waits(ledger: Ledger) -> None:
    await company(ledger, "acme", ROLES, *EVERYBODY)
    with pytest.raises(BadInput, match="file has gone"):
        await prepared(ledger, batch("plan.held"), target(names=["globex"]))


async def test_who_cannot_be_written_to_holds_up_nobody_else(ledger: Ledger) -> None:
    """The addresses that intake refuses, in a book from before it did; one that it takes is written to."""
    await company(ledger, "acme", ROLES, *EVERYBODY)
    async with ledger.write("acme", ALONE, at=NOW) as book:
        rows = [
            ("hal", "f..ay@acme.example", "f..ay@acme.example", "", "", "Hal", "active", "", {}),
            ("guy", '"g..uy"@acme.example', '"g..uy"@acme.example', "", "", "Guy", "active", "", {}),
        ]
        await people.begin_identities(book, rows)
        await people.begin_roles(book, [("hal", Role.SSO_ADMIN, ""), ("guy", Role.SSO_ADMIN, "")])
    mail = target()
    parcels = {parcel.receiver: parcel for parcel in await prepared(ledger, batch("sync.resumed", "sync"), mail)}
    assert set(parcels) == {"dan@acme.example", "f..ay@acme.example", '"g..uy"@acme.example'}
    outcome = await mail.send(parcels["f..ay@acme.example"])
    assert isinstance(outcome, Never)
    assert "a dot at an end" in outcome.why
    assert '<"g..uy"@acme.example>' in str(parcels['"g..uy"@acme.example'].content.message["To"])
    assert "dan@acme.example" in str(parcels["dan@acme.example"].content.message["To"])
