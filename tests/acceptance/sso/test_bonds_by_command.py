"""Held relinks, unbind and the rebind window on the command line, as an administrator types them (N4)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from connector.reconcile.by_hand.sign_in import Arrival, RelinkHeld, claim
from connector.sso.saml.subject import SubjectKind
from ledger.identity import Email
from ledger.store import people
from rosterd.clock import utc_now
from rosterd.loading import load
from rosterd.service import Service
from tests.parts.enabled import enable_sync
from tests.parts.fences import ALONE
from tests.parts.installation import Installation

EWA = "ewa@acme.example"


def known(installation: Installation) -> None:
    """Somebody whom the directory brought in."""

    async def write() -> None:
        row = ("i1", EWA, EWA, "Ewa", "Nowak", "Ewa Nowak", "active", "7", {})
        async with (
            Service.opened(load(installation.file, {})) as service,
            service.ledger.write("acme", ALONE, at=utc_now()) as book,
        ):
            await people.begin_identities(book, [row])

    asyncio.run(write())


def sign_in(installation: Installation, subject: str) -> str:
    """The page's words; empty when they came in."""

    async def come() -> str:
        async with Service.opened(load(installation.file, {})) as service:
            arrival = Arrival(Email.parse(EWA), "https://idp.acme.example/metadata", subject, SubjectKind.PERSISTENT)
            try:
                await claim(service.ledger, "acme", arrival, now=utc_now() + timedelta(seconds=1))
            except RelinkHeld as error:
                return error.what
        return ""

    return asyncio.run(come())


def test_n4_an_administrator_decides_by_command(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    enable_sync(acme)
    known(acme)
    assert acme.rosterd("sso", "relinks").out == "nothing waits\n"
    assert sign_in(acme, "x") == ""
    told = sign_in(acme, "y")
    assert "→ rosterd sso relinks" in acme.rosterd("sso", "status").out
    listed = acme.rosterd("sso", "relinks")
    [relink] = acme.rosterd("sso", "relinks", "--json").document["relinks"]
    assert relink["id"] in told
    assert relink["id"] in listed.out
    assert EWA in listed.out

    assert acme.rosterd("sso", "relinks", "approve", relink["id"]).code == 2  # a reason is needed
    refused = acme.rosterd("sso", "relinks", "refuse", relink["id"], "--reason", "not them")
    assert refused.code == 0
    assert "an administrator refused it" in sign_in(acme, "y")
    assert "refused by operator:" in acme.rosterd("sso", "relinks").out
    assert acme.rosterd("sso", "relinks", "approve", relink["id"], "--reason", "asked them").code == 0
    assert sign_in(acme, "y") == ""
    missing = acme.rosterd("sso", "relinks", "approve", relink["id"], "--reason", "again")
    assert (missing.code, "was decided, or ran out" in missing.err) == (2, True)

    explained = acme.rosterd("explain", EWA, "--offline").out
    assert "signs in as subject y, made of persistent" in explained
    unbound = acme.rosterd("sso", "unbind", EWA, "--reason", "a lost phone")
    assert unbound.out.splitlines() == [
        f"{EWA} is bound to no subject any more",
        "note: the next sign-in with their address binds them again",
    ]
    assert acme.rosterd("sso", "unbind", EWA, "--reason", "a lost phone").out == (
        f"{EWA} is not bound to any subject\n"
    )
    assert sign_in(acme, "z") == ""


def test_n4_a_window_is_opened_shown_and_closed_by_command(tmp_path: Path) -> None:
    acme = Installation.make(tmp_path / "etc")
    enable_sync(acme)
    known(acme)
    sign_in(acme, "x")
    assert acme.rosterd("sso", "rebind-window", "open", "--days", "31", "--reason", "x").code == 2
    opened = acme.rosterd("sso", "rebind-window", "open", "--days", "14", "--reason", "persistent NameIDs now")
    assert (opened.code, opened.out.startswith("until ")) == (0, True), opened.err
    assert ", 1 still bound as before" in acme.rosterd("sso", "status").out
    again = acme.rosterd("sso", "rebind-window", "open", "--days", "14", "--reason", "more")
    assert (again.code, "is open already" in again.err) == (3, True)
    assert sign_in(acme, "y") == ""
    document = acme.rosterd("sso", "status", "--json").document["bonds"]
    assert (document["relinks_waiting"], document["rebind_window"]["left"]) == (0, 0)
    assert acme.rosterd("sso", "rebind-window", "close", "--reason", "done").out == "the window is closed\n"
    assert acme.rosterd("sso", "rebind-window", "close", "--reason", "done").out == "no window was open\n"
    assert acme.rosterd("sso", "status", "--json").document["bonds"]["rebind_window"] is None
