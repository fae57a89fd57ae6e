"""``/admin/v1/people``: who is known, invites by hand, edits, links (R6, P3, D9). Routes only, no rules."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from aiohttp import web
from pydantic import Field

from access.principal import Principal, Scope
from connector.admin import shown
from connector.admin.answering import Answering, Asked, Body, Paged, answer, asked, body, cursor_of, paged, place_of
from connector.admin.describing import Route
from connector.reconcile.by_hand import invites as invites_by_hand
from connector.reconcile.by_hand import links, renames
from connector.reconcile.by_hand import people as by_hand
from connector.reconcile.by_hand.people import Newcomer
from connector.reconcile.by_hand.rules import Person
from connector.reconcile.explain import explain
from connector.reconcile.policy.invites import parse_mail
from ledger.identity import INVITE_EXPIRY, IdentityState
from ledger.jobs import Unleased
from ledger.store import kept_groups, people, roster
from ledger.store.book import Reader
from ledger.store.roster import Wanted

_NAME = Field(default="", max_length=200)


class PeopleAsked(Paged):
    """Which people."""

    mail: str = Field(default="", max_length=254)
    """Exactly this address, compared without case."""

    team: str = Field(default="", max_length=200)
    """Id or name of a Team they are in, hold a seat of, or wait for."""

    state: Literal["", "active", "disabled", "absent", "removed"] = ""
    """Of the identity."""

    invite: Literal["", "open", "expired"] = ""
    """Whose invite nobody accepted yet: all of them, or those past their date."""


class NewPerson(Body):
    """Somebody to invite."""

    mail: str = Field(max_length=254)
    given_name: str = _NAME
    family_name: str = _NAME
    display_name: str = _NAME
    employee_number: str = _NAME
    teams: tuple[str, ...] = ()
    """Ids or names of Teams to join at once."""
    reason: str = Field(default="", max_length=2000)


class PersonFields(Body):
    """What changes; what is left out stays."""

    mail: str = Field(default="", max_length=254)
    given_name: str = _NAME
    family_name: str = _NAME
    display_name: str = _NAME
    employee_number: str = _NAME
    reason: str = Field(default="", max_length=2000)


class NewLink(Body):
    """The entry that stands for the person from now on."""

    source: str = Field(max_length=64)
    anchor: str = Field(max_length=500)
    reason: str = Field(max_length=2000)


class NewAddress(Body):
    """The address of the person's own entry that counts from now on."""

    mail: str = Field(max_length=254)
    reason: str = Field(max_length=2000)


class Why(Asked):
    """Why something is taken away; kept in the audit."""

    reason: str = Field(max_length=2000)


class People(Answering):
    """One method per route."""

    def routes(self) -> list[Route]:
        """The table."""
        read, write = Scope.PEOPLE_READ, Scope.PEOPLE_WRITE
        one = "/people/{id}"
        return [
            Route("GET", "/people", "People, by mail address", self.list, read, asked=PeopleAsked),
            Route("POST", "/people", "Invite somebody by hand", self.invite, write, body=NewPerson, status=201),
            Route("GET", one, "One person with everything they have, and why", self.show, read),
            Route("PATCH", one, "Edit a person no directory owns", self.change, write, body=PersonFields),
            Route("DELETE", one, "Remove a person no directory owns", self.remove, write, asked=Why),
            Route("POST", f"{one}/invite", "Send the invite again", self.resend, write),
            Route("DELETE", f"{one}/invite", "Take back an invite by hand that was not accepted", self.cancel, write,
                  asked=Why),
            Route("POST", f"{one}/links", "Bind a directory entry (relink)", self.relink, write, body=NewLink),
            Route("POST", f"{one}/rename", "Make another address of the linked entry count", self.rename, write,
                  body=NewAddress),
            Route("DELETE", f"{one}/links/{{source}}", "Always refused: a link is moved, never taken away",
                  self.unlink, write, asked=Why),
        ]  # fmt: skip

    async def list(self, request: web.Request) -> web.Response:
        """A page of people."""
        who = await self.may(request, Scope.PEOPLE_READ)
        wanted = asked(request, PeopleAsked)
        after = place_of(wanted.cursor, str, str)
        now = self.acts.clock()
        async with self.ledger.read(who.organization) as reader:
            team = (await by_hand.team_named(reader, wanted.team, self.act(who)))[0] if wanted.team else ""
            rows = await roster.people_page(
                reader,
                Wanted(
                    mail_key=parse_mail(wanted.mail).key if wanted.mail else "",
                    team_id=team,
                    state=wanted.state or (IdentityState.ACTIVE.value if wanted.invite else ""),
                    bound=who.team_ids,
                    due=INVITE_EXPIRY if wanted.invite else "",
                    due_before=now if wanted.invite == "expired" else None,
                ),
                after,
                wanted.limit + 1,
            )
        return answer(paged("people", rows, wanted.limit, lambda row: cursor_of(row.mail_key, row.id), shown.person))

    async def show(self, request: web.Request) -> web.Response:
        """One person."""
        who = await self.may(request, Scope.PEOPLE_READ)
        return answer(await self._whole(who, request.match_info["id"]))

    async def invite(self, request: web.Request) -> web.Response:
        """201 with the person; 409 with the id of whoever has the address already."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        wanted = await body(request, NewPerson)
        newcomer = Newcomer(wanted.mail, wanted.given_name, wanted.family_name, wanted.display_name,
                            wanted.employee_number, wanted.teams)  # fmt: skip
        invites = self.acts.declared(who.organization).invites
        act = self.act(who, wanted.reason)
        made = await by_hand.invite(self.ledger, who.organization, newcomer, invites, act)
        headers = {"Location": f"/admin/v1/people/{made.identity_id}"}
        return answer({**await self._whole(who, made.identity_id), "edit": made.to_json()}, status=201, headers=headers)

    async def change(self, request: web.Request) -> web.Response:
        """The person as it is now."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        wanted = await body(request, PersonFields)
        fields = {name: str(getattr(wanted, name)) for name in wanted.model_fields_set - {"reason"}}
        invites = self.acts.declared(who.organization).invites
        act = self.act(who, wanted.reason)
        identity = request.match_info["id"]
        done = await by_hand.change(self.ledger, who.organization, identity, fields, invites, act)
        return answer({**await self._whole(who, identity), "edit": done.to_json()})

    async def remove(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        act = self.act(who, asked(request, Why).reason)
        return answer((await by_hand.remove(self.ledger, who.organization, request.match_info["id"], act)).to_json())

    async def resend(self, request: web.Request) -> web.Response:
        """Until when the invite stands now."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        invites = self.acts.declared(who.organization).invites
        act = self.act(who)
        async with self.ledger.write(who.organization, Unleased.BY_HAND, at=act.now) as book:
            person = await by_hand.load(book, request.match_info["id"])
            person.require_seen_by(act)
            done = await invites_by_hand.resend(book, person, invites, act)
        return answer(done.to_json())

    async def cancel(self, request: web.Request) -> web.Response:
        """What was taken back, and what stays."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        act = self.act(who, asked(request, Why).reason)
        return answer((await by_hand.cancel(self.ledger, who.organization, request.match_info["id"], act)).to_json())

    async def relink(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        wanted = await body(request, NewLink)
        entry = (wanted.source, wanted.anchor)
        directories = self.acts.declared(who.organization).directories
        act = self.act(who, wanted.reason)
        identity = request.match_info["id"]
        done = await links.relink(self.ledger, who.organization, identity, entry, directories, act)
        return answer(done.to_json())

    async def rename(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        wanted = await body(request, NewAddress)
        rules = self.acts.declared(who.organization).rules
        act = self.act(who, wanted.reason)
        identity = request.match_info["id"]
        done = await renames.rename(self.ledger, who.organization, identity, wanted.mail, rules, act)
        return answer(done.to_json())

    async def unlink(self, request: web.Request) -> web.Response:
        """Never: the refusal says what to do instead."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        act = self.act(who, asked(request, Why).reason)
        source = request.match_info["source"]
        await links.refuse_unlink(self.ledger, who.organization, request.match_info["id"], source, act)
        return answer({})

    async def _whole(self, who: Principal, identity_id: str) -> dict[str, object]:
        """Everything about one person; only the rows of the asker's Teams, and then without groups and explanation."""
        act = self.act(who)
        async with self.ledger.read(who.organization) as reader:
            person = await by_hand.load(reader, identity_id)
            person.require_seen_by(act)
            teams = {row[0]: row[1] for row in await people.open_teams(reader)
                     if not act.teams or row[0] in act.teams}  # fmt: skip
            restricted = await roster.restrictions(reader)
            due = await _invite_due(reader, person)
            groups = [] if act.teams else await _groups(reader, identity_id)
        document = {**shown.whole_person(person, teams, restricted, due, act.now), "groups": groups}
        if act.teams or person.identity.state == IdentityState.REMOVED:
            return {**document, "explain": []}
        policy = self.acts.declared(who.organization).policy
        told = await explain.explain(self.ledger, who.organization, policy, person.mail, act.now)
        return {**document, "explain": list(told.lines)}


async def _invite_due(reader: Reader, person: Person) -> datetime | None:
    return None if person.signed_in else await roster.due_of(reader, person.identity.id, INVITE_EXPIRY)


async def _groups(reader: Reader, identity_id: str) -> list[dict[str, object]]:
    """The kept groups somebody is in, by name."""
    rows = (await kept_groups.open_of(reader, [identity_id]))["groups"]
    names = await kept_groups.names(reader, {row.group_id for row in rows})
    rows.sort(key=lambda row: (names.get(row.group_id, ""), row.group_id))
    return [shown.group_membership(row, names) for row in rows]
