"""people: who is known, in which Teams, with which seats."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rosterd.verbs.console import Grid, Json, OneOrganization, Result, Shown, choose, perform

if TYPE_CHECKING:
    from ledger.identity import IdentityState
    from rosterd.service import Service


def people(
    context: typer.Context,
    team: Annotated[str, typer.Option("--team", help="Only who is in this Team, has a seat of it or waits.")] = "",
    state: Annotated[str, typer.Option("--state", help="Only active, disabled, absent or removed people.")] = "",
    invited: Annotated[bool, typer.Option("--invited", help="Only who has not accepted their invite yet.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="Most people to list.")] = 500,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """List people by mail address, with their Teams and seats; rosterd explain MAIL says why."""
    from ledger.identity import INVITE_EXPIRY, IdentityState

    chosen = _state(state, IdentityState)

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand
        from connector.reconcile.by_hand.people import team_named
        from connector.reconcile.by_hand.rules import Act
        from ledger.store import roster
        from ledger.store.roster import Wanted
        from rosterd.service import actor

        name = choose(service.settings, organization)
        async with service.ledger.read(name) as reader:
            act = Act(actor(), service.clock())
            team_id = (await team_named(reader, team, act))[0] if team else ""
            wanted = Wanted(team_id=team_id, state=chosen, due=INVITE_EXPIRY if invited else "")
            rows = await roster.people_page(reader, wanted, None, limit + 1)
            ids = [row.id for row in rows]
            teams = await roster.teams_of_each(reader, ids)
            seats = await roster.seats_of_each(reader, ids)
            waiting = {row.id: row.mail for row in rows[:limit]} if invited else {}
            host = service.settings.installation.mail.host
            unmailed = await by_hand.unmailed(reader, waiting, host=host) if waiting else {}
        found = [_person(row, teams.get(row.id, []), seats.get(row.id, [])) for row in rows[:limit]]
        cells = tuple((one["mail"], one["name"], one["state"], ", ".join(one["teams"]), _seats(one)) for one in found)
        more = len(rows) > limit
        lines = ["nobody"] if not found else ["there are more: --limit"] if more else []
        lines += by_hand.unmailed_in_words(unmailed.values())
        return Shown(
            tuple(lines), {"people": found, "more": more}, Grid(("mail", "name", "state", "Teams", "seats"), cells)
        )

    perform(context, as_json, work)


def _state(given: str, states: type[IdentityState]) -> str:
    if given and given not in set(states):
        raise typer.BadParameter(f"{given!r} is none of {', '.join(states)}", param_hint="--state")
    return given


def _person(row: Any, teams: list[str], seats: list[tuple[str, str]]) -> dict[str, Any]:
    name = row.display_name or f"{row.given_name} {row.family_name}".strip()
    held = [{"offering": offering, "state": state} for offering, state in seats]
    return {"id": row.id, "mail": row.mail, "name": name, "state": row.state, "teams": teams, "seats": held}


def _seats(person: dict[str, Any]) -> str:
    """``CAD, RENDER (invited)``: the state only where it is not the usual one."""
    return ", ".join(
        one["offering"] if one["state"] == "active" else f"{one['offering']} ({one['state']})"
        for one in person["seats"]
    )


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(people)
