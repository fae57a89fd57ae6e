"""``/admin/v1/teams``: Teams, their members, manual memberships, restrictions (R6, P3, R16). Routes only, no rules."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import Field

from access.principal import Scope
from connector.admin import shown
from connector.admin.answering import Answering, Body, Paged, answer, asked, body, cursor_of, paged, place_of
from connector.admin.describing import Route
from connector.admin.people import Why
from connector.reconcile.by_hand import people as by_hand
from connector.reconcile.by_hand import restrictions
from ledger.store import people, roster


class Reason(Body):
    """Why; kept in the audit."""

    reason: str = Field(default="", max_length=2000)


class Restriction(Body):
    """Why the Team is restricted; kept in the audit and shown on the Team."""

    reason: str = Field(min_length=1, max_length=2000)


class Teams(Answering):
    """One method per route."""

    def routes(self) -> list[Route]:
        """The table."""
        read, write, restrict = Scope.PEOPLE_READ, Scope.PEOPLE_WRITE, Scope.TEAMS_RESTRICT
        member, restriction = "/teams/{team}/members/{identity}", "/teams/{team}/restriction"
        return [
            Route("GET", "/teams", "Teams, their admins, sizes and restrictions", self.list, read),
            Route("GET", "/teams/{team}/members", "Members and why they are", self.members, read, asked=Paged),
            Route("PUT", member, "A manual membership, beside synced ones", self.join, write, body=Reason),
            Route("DELETE", member, "End the manual membership", self.leave, write, asked=Why),
            Route("PUT", restriction, "Restrict the Team at once (R16)", self.restrict, restrict, body=Restriction),
            Route("DELETE", restriction, "Lift the restriction at once", self.lift, restrict, asked=Why),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """Every Team the asker may see."""
        who = await self.may(request, Scope.PEOPLE_READ)
        async with self.ledger.read(who.organization) as reader:
            teams = [row for row in await people.open_teams(reader) if not who.team_ids or row[0] in who.team_ids]
            counts = await roster.member_counts(reader)
            restricted = await roster.restrictions(reader)
            admins: dict[str, list[dict[str, str]]] = {}
            for _, identity, role, team in await people.open_roles(reader):
                admins.setdefault(team, []).append({"identity": identity, "role": role})
        return answer({"teams": [
            {"id": team_id, "name": name, "members": counts.get(team_id, 0), "admins": admins.get(team_id, []),
             "restricted": shown.restriction(restricted.get(team_id))}
            for team_id, name, _ in sorted(teams, key=lambda row: row[2])
        ]})  # fmt: skip

    async def members(self, request: web.Request) -> web.Response:
        """A page of members, each with every reason."""
        who = await self.may(request, Scope.PEOPLE_READ)
        wanted = asked(request, Paged)
        after = place_of(wanted.cursor, str, str)
        async with self.ledger.read(who.organization) as reader:
            team_id, name = await by_hand.team_named(reader, request.match_info["team"], self.act(who))
            rows = await roster.members_page(reader, team_id, after, wanted.limit + 1)
            reasons = await roster.provenances(reader, team_id, [row.id for row in rows])

        def show(row: Any) -> dict[str, Any]:
            found = {key: getattr(row, key) for key in ("id", "mail", "display_name", "state")}
            return {**found, "reasons": [shown.reason(item) for item in reasons.get(row.id, ())]}

        page = paged("members", rows, wanted.limit, lambda row: cursor_of(row.mail_key, row.id), show)
        return answer({"team": {"id": team_id, "name": name}, **page})

    async def join(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        act = self.act(who, (await body(request, Reason, optional=True)).reason)
        place = request.match_info
        done = await by_hand.join(self.ledger, who.organization, place["team"], place["identity"], act)
        return answer(done.to_json())

    async def leave(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        act = self.act(who, asked(request, Why).reason)
        place = request.match_info
        done = await by_hand.leave(self.ledger, who.organization, place["team"], place["identity"], act)
        return answer(done.to_json())

    async def restrict(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.TEAMS_RESTRICT)
        act = self.act(who, (await body(request, Restriction)).reason)
        done = await restrictions.restrict(self.ledger, who.organization, request.match_info["team"], act)
        return answer(done.to_json())

    async def lift(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.TEAMS_RESTRICT)
        act = self.act(who, asked(request, Why).reason)
        done = await restrictions.lift(self.ledger, who.organization, request.match_info["team"], act)
        return answer(done.to_json())
