"""P3, P4, R6: people, Teams and seats edited by hand beside synced ones, on both databases."""

from __future__ import annotations

from datetime import datetime

import pytest

from connector.reconcile import run
from connector.reconcile.by_hand import people, seats
from connector.reconcile.by_hand.people import Newcomer
from connector.reconcile.by_hand.rules import Exists
from connector.reconcile.policy.invites import InviteSettings
from connector.reconcile.show.outcome import RunState
from ledger.errors import BadInput, NotFound, Refused
from ledger.identity import INVITE_EXPIRY
from ledger.store import audit, claims, roster
from ledger.store.engine import Ledger
from ledger.store.roster import Wanted
from tests.parts.directories import ORGANIZATION, World, make_world, mapping, policy, stand_in_gate
from tests.parts.edits import act, due, holdings, identity, invite, mailed, register, verbs
from tests.parts.fences import ALONE

ACME = ORGANIZATION.id


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    """Anna and Bo come from group design with a seat of CAD each; three seats in all; Team Site has one."""
    made = await make_world(
        ledger,
        now,
        policy(mapping("design", "Design", "CAD"), mapping("site", "Site", "CAD")),
        Design_CAD=3,
        Site_CAD=1,
    )
    made.source.put("anna", "bo", groups=["design"])
    made.source.groups["site"] = []
    await register(made)
    await settle(made)
    return made


async def settle(world: World) -> RunState:
    world.later(minutes=1)
    return (await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)).state


async def test_r6_somebody_invited_by_hand_stays_whatever_the_directory_says(world: World) -> None:
    eve = await invite(world, "eve", "Design")
    assert await settle(world) is RunState.NOTHING
    assert (await holdings(world.ledger, "eve"))["teams"] == [("Design", "manual")]
    assert eve in await mailed(world.ledger)
    assert await verbs(world.ledger, eve) == ["person.invited"]
    async with world.ledger.read(ACME) as reader:
        assert (await audit.verify(reader)).ok


async def test_an_address_is_invited_once(world: World) -> None:
    eve = await invite(world, "eve")
    newcomer = Newcomer("EVE@acme.example")
    with pytest.raises(Exists) as caught:
        await people.invite(world.ledger, ACME, newcomer, InviteSettings(), act(world.now))
    assert caught.value.identity_id == eve


async def test_only_people_of_registered_or_allowed_domains_are_invited(world: World) -> None:
    newcomer = Newcomer("eve@acme.exmaple")
    with pytest.raises(Refused, match=r"registered: acme\.example"):
        await people.invite(world.ledger, ACME, newcomer, InviteSettings(), act(world.now))
    settings = InviteSettings(domains=("ACME.exmaple",))
    made = await people.invite(world.ledger, ACME, newcomer, settings, act(world.now))
    assert made.changed


@pytest.mark.parametrize("mail", ["eve", "eve@", "a b@acme.example", "eve@acme.example\n.x"])
async def test_a_bad_address_is_refused_with_its_place(world: World, mail: str) -> None:
    with pytest.raises(BadInput) as caught:
        await people.invite(world.ledger, ACME, Newcomer(mail), InviteSettings(), act(world.now))
    assert caught.value.where == "mail"


async def test_p3_a_manual_membership_beside_a_synced_one_outlives_it(world: World) -> None:
    anna = await identity(world, "anna")
    for expected in (True, False):
        assert (await people.join(world.ledger, ACME, "design", anna, act(world.now))).changed is expected
    assert await settle(world) is RunState.NOTHING
    world.source.move("anna", "design", "site")
    for _ in range(2):
        world.later(minutes=20)
        await settle(world)
    assert (await holdings(world.ledger, "anna"))["teams"] == [("Design", "manual"), ("Site", "mapping:site")]


async def test_p3_a_synced_membership_is_refused_and_says_what_to_change(world: World) -> None:
    anna = await identity(world, "anna")
    before = await holdings(world.ledger, "anna")
    with pytest.raises(Refused, match=r"granted by mapping design .*uid=anna") as caught:
        await people.leave(world.ledger, ACME, "Design", anna, act(world.now))
    assert caught.value.where == "mapping:design"
    assert "out of its group in the directory" in caught.value.next_step
    assert await holdings(world.ledger, "anna") == before


async def test_p3_leaving_ends_the_manual_row_alone(world: World) -> None:
    anna = await identity(world, "anna")
    await people.join(world.ledger, ACME, "Design", anna, act(world.now))
    left = await people.leave(world.ledger, ACME, "Design", anna, act(world.now))
    assert left.notes == ("still in Team Design through mapping:design",)
    assert (await holdings(world.ledger, "anna"))["teams"] == [("Design", "mapping:design")]
    eve = await invite(world, "eve", "Design")
    assert (await people.leave(world.ledger, ACME, "Design", eve, act(world.now))).changed
    assert not (await people.leave(world.ledger, ACME, "Design", eve, act(world.now))).changed


async def test_taking_away_needs_a_reason(world: World) -> None:
    eve = await invite(world, "eve", "Design")
    for edit in (
        people.leave(world.ledger, ACME, "Design", eve, act(world.now, " ")),
        people.remove(world.ledger, ACME, eve, act(world.now, "")),
        seats.release(world.ledger, ACME, ("Design", "CAD"), eve, act(world.now, "")),
    ):
        with pytest.raises(BadInput, match="needs a reason"):
            await edit
    assert (await holdings(world.ledger, "eve"))["teams"] == [("Design", "manual")]


async def test_r6_an_invite_by_hand_is_taken_back_with_all_it_gave(world: World) -> None:
    eve = await invite(world, "eve", "Design")
    assert (await seats.grant(world.ledger, ACME, ("Design", "CAD"), eve, act(world.now), wait=False)).changed
    with pytest.raises(BadInput, match="needs a reason"):
        await people.cancel(world.ledger, ACME, eve, act(world.now, ""))
    done = await people.cancel(world.ledger, ACME, eve, act(world.now))
    assert (done.what, done.notes) == ("the invite of eve@acme.example is taken back", ())
    found = await holdings(world.ledger, "eve")
    assert not any(found.values()), found
    assert eve not in await due(world.ledger)
    assert (await verbs(world.ledger, eve))[-1] == "invite.cancelled"
    assert await settle(world) is RunState.NOTHING
    assert await invite(world, "eve") != eve
    with pytest.raises(Refused, match="nothing to invite to"):
        await people.cancel(world.ledger, ACME, eve, act(world.now))


async def test_p3_what_a_mapping_gives_stays_when_an_invite_is_taken_back(world: World) -> None:
    anna = await identity(world, "anna")
    with pytest.raises(Refused, match=r"the invite of anna@acme\.example is granted by mapping design"):
        await people.cancel(world.ledger, ACME, anna, act(world.now))
    await people.join(world.ledger, ACME, "Site", anna, act(world.now))
    await seats.grant(world.ledger, ACME, ("Design", "CAD"), anna, act(world.now), wait=False)
    done = await people.cancel(world.ledger, ACME, anna, act(world.now))
    assert "stays: in Team Design through mapping:design" in done.notes
    assert "stays: a seat of CAD" in done.notes
    found = await holdings(world.ledger, "anna")
    assert (found["teams"], found["grants"]) == ([("Design", "mapping:design")], [("CAD", "Design", "mapping:design")])
    assert await settle(world) is RunState.NOTHING


async def test_an_invite_that_was_accepted_is_not_taken_back(world: World) -> None:
    eve = await invite(world, "eve", "Design")
    async with world.ledger.write(ACME, ALONE, at=world.now) as book:
        await claims.bind(book, "idp", "subject", "mail", eve)
    with pytest.raises(Refused, match="has accepted"):
        await people.cancel(world.ledger, ACME, eve, act(world.now))


async def test_r8_the_last_one_who_leaves_a_business_team_is_noted(world: World) -> None:
    eve = await invite(world, "eve", "Site")
    left = await people.leave(world.ledger, ACME, "Site", eve, act(world.now))
    assert "R8" in left.notes[0]


async def test_p4_a_second_reason_is_a_second_grant_of_the_same_seat(world: World) -> None:
    anna = await identity(world, "anna")
    for expected in (True, False):
        made = await seats.grant(world.ledger, ACME, ("Design", "CAD"), anna, act(world.now), wait=False)
        assert made.changed is expected
    found = await holdings(world.ledger, "anna")
    assert found["seats"] == [("CAD", "Design", "invited")]
    assert found["grants"] == [("CAD", "Design", "manual"), ("CAD", "Design", "mapping:design")]
    assert await settle(world) is RunState.NOTHING
    released = await seats.release(world.ledger, ACME, ("Design", "CAD"), anna, act(world.now))
    assert released.notes == ("the seat is still held through mapping:design",)
    assert (await holdings(world.ledger, "anna"))["seats"] == [("CAD", "Design", "invited")]


async def test_p3_a_synced_seat_is_not_released_by_hand(world: World) -> None:
    anna = await identity(world, "anna")
    with pytest.raises(Refused, match="granted by mapping design"):
        await seats.release(world.ledger, ACME, ("Design", "CAD"), anna, act(world.now))
    assert (await holdings(world.ledger, "anna"))["seats"] == [("CAD", "Design", "invited")]


async def test_p4_capacity_is_the_running_term_and_the_waitlist_is_named(world: World) -> None:
    place = ("Design", "CAD")
    eve, kim = await invite(world, "eve", "Design"), await invite(world, "kim", "Design")
    assert (await seats.grant(world.ledger, ACME, place, eve, act(world.now), wait=False)).changed
    with pytest.raises(Refused, match="3 of 3 are held and 0 wait on the waitlist"):
        await seats.grant(world.ledger, ACME, place, kim, act(world.now), wait=False)
    for expected in (True, False):
        waits = await seats.grant(world.ledger, ACME, place, kim, act(world.now), wait=True)
        assert waits.changed is expected
    assert (await holdings(world.ledger, "kim"))["waiting"] == [("CAD", "Design", "manual")]
    world.later(days=400)
    with pytest.raises(Refused, match="no running subscription"):
        await seats.grant(world.ledger, ACME, place, kim, act(world.now), wait=True)


async def test_p4_a_manual_place_on_the_waitlist_is_served_by_the_next_run(world: World) -> None:
    place = ("Design", "CAD")
    eve, kim = await invite(world, "eve", "Design"), await invite(world, "kim", "Design")
    await seats.grant(world.ledger, ACME, place, eve, act(world.now), wait=False)
    await seats.grant(world.ledger, ACME, place, kim, act(world.now), wait=True)
    assert await settle(world) is RunState.NOTHING, "nobody is evicted"
    await seats.release(world.ledger, ACME, place, eve, act(world.now))
    assert await settle(world) is RunState.APPLIED
    found = await holdings(world.ledger, "kim")
    assert found["seats"] == [("CAD", "Design", "invited")]
    assert found["grants"] == [("CAD", "Design", "manual")]
    assert found["waiting"] == []
    assert await settle(world) is RunState.NOTHING


async def test_p4_a_manual_place_also_serves_the_mapping_that_asks_later(world: World) -> None:
    place = ("Design", "CAD")
    eve, kim = await invite(world, "eve", "Design"), await invite(world, "kim", "Design")
    await seats.grant(world.ledger, ACME, place, eve, act(world.now), wait=False)
    await seats.grant(world.ledger, ACME, place, kim, act(world.now), wait=True)
    world.source.put("kim", groups=["design"])
    await settle(world)
    assert (await holdings(world.ledger, "kim"))["waiting"] == [("CAD", "Design", "manual")]
    await seats.release(world.ledger, ACME, place, eve, act(world.now))
    await settle(world)
    found = await holdings(world.ledger, "kim")
    assert found["grants"] == [("CAD", "Design", "manual"), ("CAD", "Design", "mapping:design")]
    assert found["waiting"] == []
    assert await settle(world) is RunState.NOTHING


async def test_a_leaver_is_not_served_from_the_waitlist(world: World) -> None:
    place = ("Site", "CAD")
    bo = await identity(world, "bo")
    eve, kim = await invite(world, "eve", "Site"), await invite(world, "kim", "Site")
    await seats.grant(world.ledger, ACME, place, eve, act(world.now), wait=False)
    await seats.grant(world.ledger, ACME, place, kim, act(world.now), wait=True)
    await people.remove(world.ledger, ACME, kim, act(world.now))
    await seats.release(world.ledger, ACME, place, eve, act(world.now))
    assert await settle(world) is RunState.NOTHING
    world.source.change("bo", disabled=True)
    await settle(world)
    with pytest.raises(Refused, match="is disabled"):
        await seats.grant(world.ledger, ACME, ("Design", "CAD"), bo, act(world.now), wait=True)


async def test_a_seat_needs_the_team_and_a_team_is_not_left_under_a_seat(world: World) -> None:
    eve = await invite(world, "eve")
    with pytest.raises(Refused, match="is not in Team Design"):
        await seats.grant(world.ledger, ACME, ("Design", "CAD"), eve, act(world.now), wait=False)
    await people.join(world.ledger, ACME, "Design", eve, act(world.now))
    await seats.grant(world.ledger, ACME, ("Design", "CAD"), eve, act(world.now), wait=False)
    with pytest.raises(Refused, match="holds or waits for CAD"):
        await people.leave(world.ledger, ACME, "Design", eve, act(world.now))
    assert (await holdings(world.ledger, "eve"))["seats"] == [("CAD", "Design", "invited")]


async def test_p3_fields_of_linked_people_belong_to_their_directory(world: World) -> None:
    anna = await identity(world, "anna")
    settings = InviteSettings()
    with pytest.raises(Refused, match=r"directory corp owns anna@acme\.example \(anchor anchor-anna\)") as caught:
        await people.change(world.ledger, ACME, anna, {"family_name": "X"}, settings, act(world.now))
    assert "the directory owns this: change it there" in caught.value.next_step
    with pytest.raises(Refused, match="directory corp owns"):
        await people.remove(world.ledger, ACME, anna, act(world.now))


async def test_r6_fields_of_unlinked_people_are_edited(world: World) -> None:
    eve = await invite(world, "eve")
    settings = InviteSettings()
    fields = {"mail": "eva@acme.example", "family_name": "Król"}
    for expected in (True, False):
        done = await people.change(world.ledger, ACME, eve, fields, settings, act(world.now))
        assert done.changed is expected
    assert await identity(world, "eva") == eve
    with pytest.raises(Exists):
        await people.change(world.ledger, ACME, eve, {"mail": "anna@acme.example"}, settings, act(world.now))
    with pytest.raises(Refused, match="not a registered domain"):
        await people.change(world.ledger, ACME, eve, {"mail": "eve@other.example"}, settings, act(world.now))
    with pytest.raises(BadInput):
        await people.change(world.ledger, ACME, eve, {"family_name": "a\x00b"}, settings, act(world.now))
    assert await verbs(world.ledger, eve) == ["person.invited", "person.changed"]


async def test_r6_who_was_invited_by_hand_is_removed_by_hand(world: World) -> None:
    eve = await invite(world, "eve", "Design")
    await seats.grant(world.ledger, ACME, ("Design", "CAD"), eve, act(world.now), wait=False)
    for expected in (True, False):
        assert (await people.remove(world.ledger, ACME, eve, act(world.now))).changed is expected
    assert await holdings(world.ledger, "eve") == {"teams": [], "seats": [], "grants": [], "waiting": []}
    assert await settle(world) is RunState.NOTHING
    assert await invite(world, "eve") != eve, "D9: a recycled address is somebody else"


async def test_whoever_is_removed_is_not_among_the_invited(world: World) -> None:
    eve = await invite(world, "eve")
    async with world.ledger.read(ACME) as reader:
        before = await roster.due_count(reader, INVITE_EXPIRY)
    await people.remove(world.ledger, ACME, eve, act(world.now))
    async with world.ledger.read(ACME) as reader:
        assert await roster.due_count(reader, INVITE_EXPIRY) == before - 1
        waiting = await roster.people_page(reader, Wanted(due=INVITE_EXPIRY), None, 100)
    assert eve not in {row.id for row in waiting}
    assert len(waiting) == before - 1


async def test_an_actor_bound_to_teams_sees_and_edits_those_alone(world: World) -> None:
    async with world.ledger.read(ACME) as reader:
        site, _ = await people.team_named(reader, "Site", act(world.now))
    anna, bound = await identity(world, "anna"), act(world.now, teams=frozenset({site}))
    with pytest.raises(NotFound, match=r"there is no Team 'Design' \(there are: Site\)"):
        await people.leave(world.ledger, ACME, "Design", anna, bound)
    with pytest.raises(NotFound):
        await people.change(world.ledger, ACME, anna, {"family_name": "X"}, InviteSettings(), bound)
    with pytest.raises(BadInput, match="one of them"):
        await people.invite(world.ledger, ACME, Newcomer("eve@acme.example"), InviteSettings(), bound)
    eve = await invite(world, "eve", "Site", "Design")
    with pytest.raises(Refused, match="also in a Team"):
        await people.remove(world.ledger, ACME, eve, bound)
    assert (await people.leave(world.ledger, ACME, site, eve, bound)).changed


async def test_unknown_people_teams_and_offerings_are_not_found(world: World) -> None:
    eve = await invite(world, "eve", "Design")
    for edit in (
        people.join(world.ledger, ACME, "Desing", eve, act(world.now)),
        people.join(world.ledger, ACME, "Design", "nobody", act(world.now)),
        seats.grant(world.ledger, ACME, ("Design", "CAM"), eve, act(world.now), wait=True),
        seats.release(world.ledger, ACME, ("Design", "CAM"), eve, act(world.now)),
    ):
        with pytest.raises(NotFound):
            await edit
