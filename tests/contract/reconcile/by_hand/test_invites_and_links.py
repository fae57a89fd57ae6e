"""R4, D9, R16: invites that expire, are sent again or silent; links moved by hand; restricted Teams. Both databases."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from connector.reconcile import run
from connector.reconcile.by_hand import invites, links, people, restrictions, seats
from connector.reconcile.by_hand.sign_in import Arrival, claim
from connector.reconcile.policy.invites import InviteSettings
from connector.reconcile.show.outcome import RunState
from ledger.errors import BadInput, NotFound, Refused
from ledger.identity import Email
from ledger.store.engine import Ledger
from tests.parts.directories import ORGANIZATION, Somebody, World, make_world, mapping, policy, stand_in_gate
from tests.parts.edits import DIRECTORIES, act, due, holdings, identity, invite, mailed, register, verbs
from tests.parts.fences import ALONE

ACME = ORGANIZATION.id


@pytest.fixture(autouse=True)
def _gate(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in_gate(monkeypatch)


@pytest.fixture
async def world(ledger: Ledger, now: datetime) -> World:
    """Anna and Bo come from group design with a seat each."""
    made = await make_world(ledger, now, policy(mapping("design", "Design", "CAD")), Design_CAD=3)
    made.source.put("anna", "bo", groups=["design"])
    await register(made)
    await settle(made)
    return made


async def settle(world: World) -> RunState:
    world.later(minutes=1)
    return (await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)).state


async def signs_in(world: World, name: str) -> tuple[str, ...]:
    arrival = Arrival(Email.parse(f"{name}@acme.example"), "idp", f"s-{name}")
    return (await claim(world.ledger, ACME, arrival, now=world.now)).offerings


async def resend(world: World, name: str, settings: InviteSettings | None = None) -> invites.Resent:
    async with world.ledger.write(ACME, ALONE, at=world.now) as book:
        person = await people.load(book, await people.find(book, f"{name}@acme.example"))
        return await invites.resend(book, person, settings or InviteSettings(), act(world.now, ""))


async def test_an_invite_expires_and_accepting_it_forgets_that(world: World) -> None:
    anna, bo = await identity(world, "anna"), await identity(world, "bo")
    made_at = world.now
    assert await due(world.ledger) == dict.fromkeys((anna, bo), made_at + timedelta(days=30))
    await signs_in(world, "anna")
    assert await due(world.ledger) == {bo: made_at + timedelta(days=30)}


async def test_an_invite_is_sent_again_until_it_is_accepted(world: World) -> None:
    bo = await identity(world, "bo")
    world.later(days=40)
    again = await resend(world, "bo")
    assert again.expires_at == world.now + timedelta(days=30)
    assert (await due(world.ledger))[bo] == again.expires_at
    assert (await mailed(world.ledger)).count(bo) == 2
    assert (await verbs(world.ledger, bo))[-1] == "invite.resent"
    await signs_in(world, "bo")
    with pytest.raises(Refused, match="has accepted"):
        await resend(world, "bo")


async def test_silent_invites_make_people_and_seats_and_mail_nobody(ledger: Ledger, now: datetime) -> None:
    quiet = InviteSettings(send=False)
    rules = policy(mapping("design", "Design", "CAD"), invites=quiet)
    world = await make_world(ledger, now, rules, Design_CAD=3)
    world.source.put("anna", groups=["design"])
    await register(world)
    await settle(world)
    eve = await invite(world, "eve", "Design", settings=quiet)
    assert (await holdings(ledger, "anna"))["seats"] == [("CAD", "Design", "invited")]
    assert await mailed(ledger) == []
    await resend(world, "eve", quiet)
    assert await mailed(ledger) == [eve], "somebody asked for this one"


async def test_invites_that_never_expire_have_no_due_date(ledger: Ledger, now: datetime) -> None:
    world = await make_world(ledger, now, policy(mapping("design", "Design")))
    await register(world)
    await invite(world, "eve", settings=InviteSettings(expire_after=timedelta(0)))
    assert await due(ledger) == {}


async def test_an_expired_invite_is_reported_and_keeps_its_seat(world: World) -> None:
    world.later(days=31)
    outcome = await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    assert outcome.counts == {}
    found = [problem.subjects for problem in outcome.problems if problem.code == "invite-expired"]
    assert found == [("anna@acme.example", "bo@acme.example")]
    assert (await holdings(world.ledger, "bo"))["seats"] == [("CAD", "Design", "invited")]


async def test_an_expired_invite_releases_its_synced_seat_where_that_is_set(ledger: Ledger, now: datetime) -> None:
    rules = policy(mapping("design", "Design", "CAD"), invites=InviteSettings(release_expired=True))
    world = await make_world(ledger, now, rules, Design_CAD=4)
    world.source.put("anna", "bo", "cy", groups=["design"])
    await register(world)
    await settle(world)
    await signs_in(world, "anna")
    cy = await identity(world, "cy")
    await seats.grant(ledger, ACME, ("Design", "CAD"), cy, act(world.now), wait=False)
    world.later(days=31)
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    assert outcome.counts == {"ReleaseSeat": 1}
    assert (await holdings(ledger, "bo"))["seats"] == []
    assert (await holdings(ledger, "bo"))["teams"] == [("Design", "mapping:design")]
    assert (await holdings(ledger, "anna"))["seats"] == [("CAD", "Design", "active")]
    assert len((await holdings(ledger, "cy"))["grants"]) == 2, "P3: something manual holds it"
    assert await settle(world) is RunState.NOTHING, "it is not handed out again by itself"
    await resend(world, "bo", rules.invites)
    assert await settle(world) is RunState.APPLIED
    assert (await holdings(ledger, "bo"))["seats"] == [("CAD", "Design", "invited")]


async def test_seats_of_expired_invites_are_held_by_the_limits(ledger: Ledger, now: datetime) -> None:
    tight = {"day_percent": 0, "day_floor": 1, "team_day_percent": 0, "team_day_floor": 1}
    rules = policy(mapping("design", "Design", "CAD"), limits=tight, invites=InviteSettings(release_expired=True))
    world = await make_world(ledger, now, rules, Design_CAD=9)
    world.source.put(*(f"p{number}" for number in range(6)), groups=["design"])
    await register(world)
    planned = await run.plan(ledger, world.setup, now=world.now)
    await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", digest=planned.digest)
    world.later(days=31)
    outcome = await run.apply(ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    assert (outcome.state, outcome.held_counts) == (RunState.HELD, {"ReleaseSeat": 6})


def test_whether_a_plan_mails_people_is_part_of_its_digest() -> None:
    rules = mapping("design", "Design")
    assert policy(rules).hash != policy(rules, invites=InviteSettings(send=False)).hash
    assert policy(rules).hash == policy(rules, invites=InviteSettings(domains=("partner.example",))).hash


async def test_d9_a_person_is_relinked_by_hand_and_keeps_everything(world: World) -> None:
    bo = await identity(world, "bo")
    before = await holdings(world.ledger, "bo")
    world.source.drop("bo")
    world.source.put(Somebody("bo2", mail="bo@acme.example"), groups=["design"])
    await settle(world)
    entry = ("corp", "ANCHOR-bo2")
    done = await links.relink(world.ledger, ACME, bo, entry, DIRECTORIES, act(world.now, "new directory"))
    assert done.notes == ("corp:anchor-bo no longer stands for bo@acme.example",)
    world.later(days=2)
    await settle(world)
    assert await holdings(world.ledger, "bo") == before
    assert not (await links.relink(world.ledger, ACME, bo, entry, DIRECTORIES, act(world.now))).changed
    world.later(days=2)
    assert await settle(world) is RunState.NOTHING


async def test_d9_an_entry_that_is_somebody_else_s_is_not_taken(world: World) -> None:
    bo = await identity(world, "bo")
    with pytest.raises(Refused, match=r"somebody else: anna@acme\.example"):
        await links.relink(world.ledger, ACME, bo, ("corp", "anchor-anna"), DIRECTORIES, act(world.now))
    with pytest.raises(BadInput, match="no directory 'crop'"):
        await links.relink(world.ledger, ACME, bo, ("crop", "x"), DIRECTORIES, act(world.now))
    with pytest.raises(BadInput, match="needs a reason"):
        await links.relink(world.ledger, ACME, bo, ("corp", "x"), DIRECTORIES, act(world.now, ""))


async def test_d9_a_person_invited_by_hand_is_bound_to_a_scim_entry(world: World) -> None:
    eve = await invite(world, "eve")
    done = await links.relink(world.ledger, ACME, eve, ("hr", "2819C223-7F76"), DIRECTORIES, act(world.now))
    assert done.what == "eve@acme.example is bound to hr:2819C223-7F76", "SCIM ids keep their case"
    assert (await verbs(world.ledger, eve))[-1] == "link.moved"


async def test_p3_a_link_is_never_taken_away_by_hand(world: World) -> None:
    anna = await identity(world, "anna")
    with pytest.raises(Refused, match="owned by directory corp") as caught:
        await links.refuse_unlink(world.ledger, ACME, anna, "corp", act(world.now))
    assert "rosterd relink" in caught.value.next_step
    with pytest.raises(NotFound):
        await links.refuse_unlink(world.ledger, ACME, anna, "hr", act(world.now))


@pytest.mark.parametrize("text", ["corp", ":x", "corp:", ""])
def test_an_entry_is_source_and_anchor(text: str) -> None:
    with pytest.raises(BadInput, match="names no entry"):
        links.parse_entry(text)
    assert links.parse_entry("corp:a:b") == ("corp", "a:b")


async def test_r16_a_restricted_team_assigns_and_activates_nothing_and_loses_nothing(world: World) -> None:
    before = await holdings(world.ledger, "anna")
    await restrictions.restrict(world.ledger, ACME, "Design", act(world.now, "unpaid since March"))
    world.source.put("cy", groups=["design"])
    outcome = await run.apply(world.ledger, world.setup, fence=ALONE, now=world.now, actor="test", auto=True)
    assert outcome.counts == {"Invite": 1, "JoinTeam": 1, "Wait": 1}
    assert ("restricted", ("Design",)) in [(problem.code, problem.subjects) for problem in outcome.problems]
    assert await signs_in(world, "anna") == ()
    assert await holdings(world.ledger, "anna") == before
    eve = await invite(world, "eve", "Design")
    with pytest.raises(Refused, match=r"restricted \(R16: unpaid since March"):
        await seats.grant(world.ledger, ACME, ("Design", "CAD"), eve, act(world.now), wait=True)


async def test_r16_lifting_gives_everything_back(world: World) -> None:
    for expected in (True, False):
        done = await restrictions.restrict(world.ledger, ACME, "design", act(world.now, "unpaid"))
        assert done.changed is expected
    world.source.put("cy", groups=["design"])
    await settle(world)
    for expected in (True, False):
        assert (await restrictions.lift(world.ledger, ACME, "Design", act(world.now, "paid"))).changed is expected
    await settle(world)
    assert (await holdings(world.ledger, "cy"))["seats"] == [("CAD", "Design", "invited")]
    assert await signs_in(world, "anna") == ("CAD",)
    team = done.identity_id
    assert await verbs(world.ledger, team) == ["team.restricted", "team.lifted"]
    assert await mailed(world.ledger, "team.restricted") == await mailed(world.ledger, "team.lifted") == [team]


async def test_r16_restricting_needs_a_reason_and_a_team(world: World) -> None:
    with pytest.raises(BadInput, match="needs a reason"):
        await restrictions.restrict(world.ledger, ACME, "Design", act(world.now, ""))
    with pytest.raises(NotFound):
        await restrictions.restrict(world.ledger, ACME, "Desing", act(world.now))


async def test_r16_nothing_restricts_by_itself(world: World) -> None:
    world.source.put(*(f"p{number}" for number in range(9)), groups=["design"])
    await settle(world)
    assert await mailed(world.ledger, "team.restricted") == []
