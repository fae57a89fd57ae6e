"""explain with the directories' side, on both databases: whoever it is, the answer says why (P6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from connector.directory.finding import Finding, FindRequest
from connector.directory.sources import ReadingFinder
from connector.reconcile import run
from connector.reconcile.explain.answer import Explanation
from connector.reconcile.explain.ask import ConfiguredFinder
from ledger.errors import BadInput, NotFound, Unavailable
from ledger.store.engine import Ledger
from tests.contract.reconcile.test_reconcile_walk import apply, tiny
from tests.parts.directories import RULES, Somebody, World, make_world, open_gate, stand_in_gate


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


async def company(ledger: Ledger, now: datetime) -> World:
    """Anna holds the one seat of Design, Bo waits; others were never invited, each for another reason."""
    world = await make_world(ledger, now, tiny(), Design_CAD=1)
    world.source.put("anna", "bo", groups=["design"])
    world.source.put("nogroup")
    world.source.groups["site"] = []
    world.source.put(Somebody("off", disabled=True), Somebody("guest", mail="guest@elsewhere.example"),
                     Somebody("odd", broken=True), groups=["design"])  # fmt: skip
    await apply(world)
    return world


async def explained(world: World, mail: str, *, asked: bool = True) -> Explanation:
    finder = ConfiguredFinder(ReadingFinder(world.source, RULES), RULES)
    finders = (finder,) if asked else ()
    return await run.explain(world.ledger, world.setup, mail, now=world.now, finders=finders)


async def test_p6_the_ledgers_and_the_directorys_side_stand_together(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    anna = await explained(world, "Anna@acme.example")
    side = anna.source[0]
    assert side.entries[0].dn == "uid=anna,ou=People"
    assert side.entries[0].link.startswith("linked since 2026-03-02")
    assert [reach.text for reach in side.entries[0].groups] == ["design → mapping design → Team Design"]
    assert side.entries[0].differs == ()
    assert (anna.exit_code, anna.lines[-1]) == (0, "    ledger and directory agree")
    assert anna.to_json()["source"][0]["entries"][0]["anchor"] == "anchor-anna"
    world.source.change("anna", name="Anne", disabled=True)
    changed = (await explained(world, "anna@acme.example")).source[0].entries[0]
    assert changed.enabled is False
    assert len(changed.differs) == 3, changed.differs


async def test_p6_offline_no_directory_is_asked(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    reads = world.source.reads
    assert (await explained(world, "anna@acme.example", asked=False)).source == ()
    assert world.source.reads == reads
    with pytest.raises(NotFound):
        await explained(world, "nogroup@acme.example", asked=False)


async def test_p6_whoever_waits_is_told_where_in_the_line(ledger: Ledger, now: datetime) -> None:
    bo = await explained(await company(ledger, now), "bo@acme.example")
    assert "number 1 of 1" in bo.waiting[0].why
    assert bo.source[0].entries[0].enabled is True


@pytest.mark.parametrize(
    ("mail", "why"),
    [
        ("nogroup@acme.example", "never invited: not in any mapped group"),
        ("off@acme.example", "never invited: nobody is while their account is disabled"),
        ("guest@elsewhere.example", "frozen: domain elsewhere.example is not registered"),
    ],
)
async def test_p6_somebody_who_was_never_invited_is_told_why(
    mail: str, why: str, ledger: Ledger, now: datetime
) -> None:
    found = await explained(await company(ledger, now), mail)
    assert not found.known
    assert found.lines[0].endswith(f"<{mail}> is not in the ledger")
    assert found.source[0].entries[0].outlook == why
    assert found.exit_code == 0


async def test_p6_what_the_last_run_said_of_somebody_is_told_offline_too(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    guest = await explained(world, "guest@elsewhere.example", asked=False)
    assert any(text.startswith("frozen: domain elsewhere.example") for text in guest.pending)


async def test_p6_a_collision_is_named_at_the_entry(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.source.put(Somebody("twin", mail="new@acme.example"), Somebody("twin2", mail="new@acme.example"))
    await apply(world)
    found = await explained(world, "new@acme.example")
    assert len(found.source[0].entries) == 2
    assert any(text.startswith("collision: ") for text in found.pending)


async def test_p6_a_removed_person_keeps_their_history(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.source.drop("anna")
    for hours in (1, 1, 24 * 8, 24 * 31):
        world.later(hours=hours)
        last = await apply(world)
    gone = await explained(world, "anna@acme.example")
    assert gone.state == "removed"
    assert gone.past[-1].ended_run == last.run_id
    assert any("is not visible now" in note for note in gone.source[0].notes)
    assert gone.source[0].entries == ()


async def test_p6_a_domain_that_closed_freezes_and_says_so(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    await open_gate(ledger, now, "acme.example", state="closed")
    assert any("frozen: domain acme.example is closed" in text
               for text in (await explained(world, "anna@acme.example")).pending)  # fmt: skip


async def test_p6_a_directory_that_cannot_be_asked_leaves_the_ledgers_side_whole(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)

    class Deaf(ReadingFinder):
        async def find(self, request: FindRequest, *, now: datetime) -> Finding:
            raise Unavailable("ldaps://dc1: cannot connect: refused")

    finders = (ConfiguredFinder(Deaf(world.source, RULES), RULES),)
    anna = await run.explain(ledger, world.setup, "anna@acme.example", now=now, finders=finders)
    assert (anna.exit_code, anna.teams[0].what) == (4, "member of Design")
    assert anna.lines[-2:] == (
        "directory corp: NOT ASKED: ldaps://dc1: cannot connect: refused",
        "  → check the address, the firewall, and that the server runs",
    )
    nobody = await run.explain(ledger, world.setup, "nobody@acme.example", now=now, finders=finders)
    assert (nobody.known, nobody.exit_code) == (False, 4)


async def test_p6_one_entry_linked_to_somebody_else(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    world.source.people["anna"] = replace(world.source.people["anna"], mail="fresh@acme.example")
    found = await explained(world, "fresh@acme.example")
    entry = found.source[0].entries[0]
    assert entry.link == "linked to another person (anna@acme.example)"
    assert "rosterd explain anna@acme.example" in entry.outlook


async def test_p6_nobody_anywhere_and_no_address_are_errors(ledger: Ledger, now: datetime) -> None:
    world = await company(ledger, now)
    with pytest.raises(NotFound):
        await explained(world, "nobody@acme.example")
    with pytest.raises(BadInput):
        await explained(world, "not an address")
