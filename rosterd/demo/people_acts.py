"""Acts three to six: people come, change, and leave; a reading breaks off; too many go at once."""

from __future__ import annotations

from datetime import timedelta

from rosterd.demo.company import Employee, employee
from rosterd.demo.files import first_of
from rosterd.demo.postbox import text_of
from rosterd.demo.signon_acts import claim
from rosterd.demo.stage import Stage, Standing

_WEEK = timedelta(days=7)


async def arrive(stage: Stage) -> None:
    """Act 3: plan, apply by digest: invites, Teams, seats, a waitlist."""
    tell = stage.teller
    tell.say(f"The directory holds {len(stage.company.people)} people. `rosterd plan` reads it and writes nothing:")
    planned = await stage.plan()
    tell.quote([line for line in planned.lines if line and not line.startswith("  ")])
    tell.say("So many invites at once are more than the limits let through unasked; applying the digest approves them.")
    outcome = await stage.apply(planned.digest)
    tell.quote(outcome.lines[:3])
    standing = await stage.standing()
    tell.grid(("Team", "people"), sorted(standing.members.items()))
    tell.fact(f"{standing.people.get('active', 0)} identities, {sum(standing.seats.values())} seats {standing.seats}")
    tell.fact(f"{standing.waiting} people wait for a seat: Design bought fewer RENDER seats than it has people")
    first = stage.company.in_group("design")[0]
    tell.say(f"The invites are mailed. {first.display_name} gets this one:")
    mail = await stage.mail_to(first.mail, "invites you")
    said = text_of(mail)
    tell.quote([f"Subject: {mail['Subject']}", *[line for line in said.splitlines() if line][:6]])
    link = next(line for line in said.splitlines() if "/invite?" in line)
    tell.say(f"{first.display_name} follows the link and signs in at the company's own identity provider:")
    tell.quote([await claim(link, first.mail)])
    tell.fact(await stage.person(first.mail))
    again = await stage.plan()
    tell.fact("planning again right away finds nothing to change", ok=again.plan.empty)


async def change(stage: Stage) -> None:
    """Act 4: one leaver, one disabled, one mover, one rename, one rehire."""
    company, tell = stage.company, stage.teller
    leaver, disabled, mover, renamed = company.in_group("design")[-4:]
    company = company.without(leaver.uid).changed(disabled.uid, disabled=True).moved(mover.uid, "design", "site")
    company = company.changed(renamed.uid, family_name="Szczęsny-Wójcik", mail="szczesny-wojcik@acme.example")
    tell.say(f"{leaver.display_name} leaves, {disabled.display_name} is disabled, {mover.display_name} moves to Site,")
    tell.say(f"{renamed.display_name} marries and gets a new mail address.")
    stage.clock.advance(timedelta(days=1))
    stage.publish_directory(company)
    first = await stage.apply()
    tell.quote(first.lines, limit=6)
    tell.fact(f"first complete reading: {await stage.person(leaver.mail)}")
    stage.clock.advance(timedelta(minutes=20))
    second = await stage.apply()
    tell.quote(second.lines, limit=4)
    tell.fact(f"leaver, absent twice: {await stage.person(leaver.mail)}")
    tell.fact(f"disabled, at once: {await stage.person(disabled.mail)}")
    tell.fact(f"mover: {await stage.person(mover.mail)}")
    tell.fact(f"renamed: {await stage.person('szczesny-wojcik@acme.example')}")
    await _rehire(stage, leaver)


async def _rehire(stage: Stage, leaver: Employee) -> None:
    tell = stage.teller
    stage.clock.advance(timedelta(days=3))
    number = int(leaver.number)
    back = employee(leaver.given_name, leaver.family_name, number, "design", hired="again")
    stage.publish_directory(stage.company.joined(back, "design"))
    tell.say(f"Three days later {leaver.display_name} is hired again: a new entry, the same employee number.")
    planned = await stage.plan()
    if planned.guarded.held:
        await stage.apply(planned.digest)
    else:
        await stage.apply()
    tell.fact(f"rehired: {await stage.person(back.mail)}")


async def cut_off(stage: Stage) -> None:
    """Act 5: the directory's export is cut off in the middle."""
    tell = stage.teller
    before = await stage.standing()
    path = stage.folder / "people.ldif"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    stage.clock.advance(timedelta(hours=1))
    tell.say("The export breaks off half way. Half of the people are not in it.")
    planned = await stage.plan()
    tell.quote([planned.lines[0]])
    first, second = await stage.confirm()
    after = await stage.standing()
    tell.fact(f"exit codes {first.exit_code} and {second.exit_code}: the source is incomplete", ok=first.exit_code == 4)
    tell.fact(f"with access before: {before.with_access}, after: {after.with_access}", ok=before == after)
    path.write_bytes(whole)


async def mass_removal(stage: Stage) -> None:
    """Act 6: a whole Team vanishes from the directory; held, then approved by digest."""
    tell = stage.teller
    site = [person.uid for person in stage.company.in_group("site")]
    gone = site[len(site) // 2 :]
    before = await stage.standing()
    stage.publish_directory(stage.company.without(*gone))
    stage.clock.advance(timedelta(days=1))
    tell.say(f"{len(gone)} people of Site vanish from a directory that answers perfectly well.")
    _, held = await stage.confirm()
    tell.quote(held.lines, limit=5)
    admin = await stage.mail_to(first_of(stage.company, "Site"), "approval")
    tell.say(f"Who may approve is told by mail, {admin['To']} among them:")
    tell.quote([f"Subject: {admin['Subject']}", *[line for line in text_of(admin).splitlines() if line][2:4]])
    middle = await stage.standing()
    tell.fact(f"exit code {held.exit_code}; nobody has lost anything", ok=_same_access(before, middle))
    tell.say(f"The administrator looks, and means it: `rosterd approve {held.held[:12]} --reason 'Site closes'`")
    approved = await stage.approve(held.held, "the Site office closes")
    tell.quote(approved.lines, limit=3)
    after = await stage.standing()
    tell.fact(f"seats before {before.seats}, after {after.seats}")
    stage.clock.advance(_WEEK + timedelta(hours=1))
    await stage.keep_evidence()
    released = await stage.apply()
    if released.held:
        await stage.approve(released.held, "the Site office closed")
    last = await stage.standing()
    tell.fact(f"a week later their seats are free again: {last.seats}")


def _same_access(before: Standing, after: Standing) -> bool:
    return before.members == after.members and before.seats == after.seats
