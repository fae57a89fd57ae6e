"""team join · leave, seat grant · release: manual reasons beside those of directories, in the operator's name (P3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rosterd.verbs.console import Json, MaybeReason, OneOrganization, Reason, choose, perform

if TYPE_CHECKING:
    from connector.reconcile.by_hand.people import Edited
    from connector.reconcile.by_hand.rules import Act
    from rosterd.service import Service

team = typer.Typer(help="Memberships of Teams by hand.", no_args_is_help=True)
seat = typer.Typer(help="Seats by hand.", no_args_is_help=True)

TeamName = Annotated[str, typer.Argument(metavar="TEAM", help="Name or id of the Team.")]
Offering = Annotated[str, typer.Argument(metavar="OFFERING", help="Code of the offering.")]
Mail = Annotated[str, typer.Argument(metavar="MAIL", help="Mail address of the person.")]


@team.command()
def join(
    context: typer.Context,
    name: TeamName,
    mail: Mail,
    reason: MaybeReason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Add a person to a Team, beside what directories grant."""

    async def work(service: Service) -> Edited:
        from connector.reconcile.by_hand import people

        chosen, identity, act = await _whom(service, organization, mail, reason)
        return await people.join(service.ledger, chosen, name, identity, act)

    perform(context, as_json, work)


@team.command()
def leave(
    context: typer.Context,
    name: TeamName,
    mail: Mail,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """End a membership that was made by hand; what a directory grants is changed there."""

    async def work(service: Service) -> Edited:
        from connector.reconcile.by_hand import people

        chosen, identity, act = await _whom(service, organization, mail, reason)
        return await people.leave(service.ledger, chosen, name, identity, act)

    perform(context, as_json, work)


@seat.command()
def grant(
    context: typer.Context,
    name: TeamName,
    offering: Offering,
    mail: Mail,
    reason: MaybeReason = "",
    wait: Annotated[bool, typer.Option("--wait", help="A place on the waitlist will do when none is free.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Give a person a seat of a Team's subscription, or one more reason for the one they hold."""

    async def work(service: Service) -> Edited:
        from connector.reconcile.by_hand import seats

        chosen, identity, act = await _whom(service, organization, mail, reason)
        return await seats.grant(service.ledger, chosen, (name, offering), identity, act, wait=wait)

    perform(context, as_json, work)


@seat.command()
def release(
    context: typer.Context,
    name: TeamName,
    offering: Offering,
    mail: Mail,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """End the manual reason for a seat, or a manual place on the waitlist; the seat ends with its last reason."""

    async def work(service: Service) -> Edited:
        from connector.reconcile.by_hand import seats

        chosen, identity, act = await _whom(service, organization, mail, reason)
        return await seats.release(service.ledger, chosen, (name, offering), identity, act)

    perform(context, as_json, work)


async def _whom(service: Service, organization: str, mail: str, reason: str) -> tuple[str, str, Act]:
    """The organization, the identity of the person, and the edit; raises ``NotFound``."""
    from connector.reconcile.by_hand import people
    from connector.reconcile.by_hand.rules import Act
    from rosterd.service import actor

    chosen = choose(service.settings, organization)
    async with service.ledger.read(chosen) as reader:
        identity = await people.find(reader, mail)
    return chosen, identity, Act(actor(), service.clock(), reason)


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    root.add_typer(team, name="team")
    root.add_typer(seat, name="seat")
