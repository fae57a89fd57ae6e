"""``/admin/v1/seats`` and ``/subscriptions``: who holds what, manual grants, what is free (R6, P4). Routes only."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import Field

from access.principal import Scope
from connector.admin import shown
from connector.admin.answering import Answering, Asked, Body, Paged, answer, asked, body, cursor_of, paged, place_of
from connector.admin.describing import Route
from connector.admin.people import Why
from connector.reconcile.by_hand import people as by_hand
from connector.reconcile.by_hand import seats as seats_by_hand
from ledger.store import people, roster, seats


class SeatsAsked(Paged):
    """Which seats."""

    team: str = Field(default="", max_length=200)
    """Id or name of the Team whose subscription they are of."""

    offering: str = Field(default="", max_length=200)
    """Offering code."""


class TeamAsked(Asked):
    """Of which Team."""

    team: str = Field(default="", max_length=200)
    """Id or name; every Team when left out."""


class Grant(Body):
    """A manual reason for a seat."""

    wait: bool = False
    """Whether a place on the waitlist will do when no seat is free."""
    reason: str = Field(default="", max_length=2000)


class Seats(Answering):
    """One method per route."""

    def routes(self) -> list[Route]:
        """The table."""
        read, write = Scope.PEOPLE_READ, Scope.PEOPLE_WRITE
        one = "/seats/{team}/{offering}/{identity}"
        return [
            Route("GET", "/seats", "Seats with their reasons", self.list, read, asked=SeatsAsked),
            Route("PUT", one, "A manual reason for a seat, or a place on the waitlist", self.grant, write, body=Grant),
            Route(
                "DELETE", one, "End the manual reason, and the seat with the last one", self.release, write, asked=Why
            ),
            Route(
                "GET", "/subscriptions", "Terms with use, and what is free", self.subscriptions, read, asked=TeamAsked
            ),
        ]

    async def list(self, request: web.Request) -> web.Response:
        """A page of seats."""
        who = await self.may(request, Scope.PEOPLE_READ)
        wanted = asked(request, SeatsAsked)
        after = place_of(wanted.cursor, str)
        async with self.ledger.read(who.organization) as reader:
            chosen: Any = who.team_ids
            if wanted.team:
                chosen = [(await by_hand.team_named(reader, wanted.team, self.act(who)))[0]]
            place = after[0] if after else ""
            rows = await roster.seats_page(reader, chosen, wanted.offering, place, wanted.limit + 1)
            grants = await roster.grants_of(reader, [row.id for row in rows])
            teams = {row[0]: row[1] for row in await people.open_teams(reader)}
            restricted = await roster.restrictions(reader)

        def show(row: Any) -> dict[str, Any]:
            return {**shown.seat(row, teams, grants.get(row.id, ()), restricted), "mail": row.mail}

        return answer(paged("seats", rows, wanted.limit, lambda row: cursor_of(row.id), show))

    async def grant(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        wanted = await body(request, Grant, optional=True)
        at = request.match_info
        act = self.act(who, wanted.reason)
        place = (at["team"], at["offering"])
        done = await seats_by_hand.grant(self.ledger, who.organization, place, at["identity"], act, wait=wanted.wait)
        return answer(done.to_json())

    async def release(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may(request, Scope.PEOPLE_WRITE)
        act = self.act(who, asked(request, Why).reason)
        at = request.match_info
        place = (at["team"], at["offering"])
        done = await seats_by_hand.release(self.ledger, who.organization, place, at["identity"], act)
        return answer(done.to_json())

    async def subscriptions(self, request: web.Request) -> web.Response:
        """Every term, and per Team and offering what is running, held, free and waited for today."""
        who = await self.may(request, Scope.PEOPLE_READ)
        wanted = asked(request, TeamAsked)
        day = self.acts.clock().date()
        async with self.ledger.read(who.organization) as reader:
            found = await seats.open_subscriptions(reader)
            if wanted.team:
                team = (await by_hand.team_named(reader, wanted.team, self.act(who)))[0]
                found = [item for item in found if item.team_id == team]
            elif who.team_ids:
                found = [item for item in found if item.team_id in who.team_ids]
            counts = await roster.seat_counts(reader)
            waiting = await roster.waiting_counts(reader)
        used: dict[str, int] = {}
        held: dict[tuple[str, str], int] = {}
        for (team, offering, subscription), count in counts.items():
            used[subscription] = used.get(subscription, 0) + count
            held[team, offering] = held.get((team, offering), 0) + count
        quantity: dict[tuple[str, str], int] = {}
        for item in found:
            key = (item.team_id, item.offering_code)
            quantity[key] = quantity.get(key, 0) + (item.quantity if item.runs_on(day) else 0)
        found.sort(key=lambda item: (item.team_id, item.offering_code, item.starts_on, item.id))
        pools = [
            {"team": key[0], "offering": key[1], "quantity": quantity[key], "held": held.get(key, 0),
             "free": quantity[key] - held.get(key, 0), "waiting": waiting.get(key, 0)}
            for key in sorted(quantity)
        ]  # fmt: skip
        shown_terms = [shown.subscription(item, used.get(item.id, 0), day) for item in found]
        return answer({"subscriptions": shown_terms, "pools": pools})
