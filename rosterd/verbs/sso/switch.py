"""sso test · explain · on · off · release-provider: one real sign-in, and then with exactly that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.instant import to_minute
from rosterd.verbs.console import Json, OneOrganization, Reason, Result, Shown, choose, perform
from rosterd.verbs.sso.words import Domain, label

if TYPE_CHECKING:
    from rosterd.service import Service


def begin_test(
    context: typer.Context, domain: Domain, organization: OneOrganization = "", as_json: Json = False
) -> None:
    """Print a page to open in a browser for one test sign-in (the daemon must be running)."""

    async def work(service: Service) -> Result:
        from connector.sso import steps
        from rosterd.readiness import ask_daemon
        from rosterd.service import actor

        name = choose(service.settings, organization)
        ticket = await steps.begin_test(
            service.ledger, service.provider(), name, label(domain), actor=actor(), now=service.clock()
        )
        lines = [ticket.url, f"  → open it in a browser; after it passed: rosterd sso on {ticket.domain}"]
        daemon = await asyncio.to_thread(ask_daemon, service.settings.installation.server, required=True)
        lines += [] if daemon.ok else [f"  warning: {daemon.what} → {daemon.fix}"]
        return Shown(tuple(lines), ticket.to_json())

    perform(context, as_json, work)


def explain(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REF", help="As the page of a refused sign-in showed it.")],
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Why a sign-in was refused, and what to do about it."""

    async def work(service: Service) -> Result:
        from connector.sso import steps

        async with service.ledger.read(choose(service.settings, organization)) as reader:
            found = await steps.explain(reader, reference)
        what = f"{found.at:%Y-%m-%d %H:%M:%S} UTC: a {found.purpose} by connection {found.connection_id} was refused"
        return Shown((what, *(f"  {line}" for line in found.in_words())), found.to_json())

    perform(context, as_json, work)


def on(
    context: typer.Context,
    domain: Annotated[
        str, typer.Argument(help="This domain has to be on afterwards; every proved and tested one is.")
    ] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Turn single sign-on on with exactly what was tested. Says which domains are on, and what the others miss."""

    async def work(service: Service) -> Result:
        from connector.sso.gate.connections import ASKED_FOR
        from connector.sso.provider import connection_steps
        from connector.sso.settings import SsoSettings
        from rosterd.service import actor

        name = choose(service.settings, organization)
        settings = service.settings.customer(name).settings.sso or SsoSettings()
        report = await connection_steps.turn_on(
            service.ledger,
            name,
            actor=actor(),
            now=service.clock(),
            domain=label(domain) if domain else "",
            second_approver=settings.second_approver,
        )
        if report.asked:
            until = to_minute(report.asked.at + ASKED_FOR)
            waits = (
                f"{report.asked.actor} asked to turn single sign-on on; it is not on yet",
                f"  → somebody else completes it before {until}: {report.next_step}",
            )
            return Shown(waits, report.to_json(), exit_code=3)
        lines = [f"single sign-on is on for {', '.join(report.domains)}"]
        lines += [f"  not on: {step}" for step in report.missing]
        lines += [f"  the gate is closed: {step}" for step in report.closed]
        lines += [f"  → {report.next_step}"] if report.next_step else []
        return Shown(tuple(lines), report.to_json(), exit_code=3 if report.closed else 0)

    perform(context, as_json, work)


def off(context: typer.Context, reason: Reason = "", organization: OneOrganization = "", as_json: Json = False) -> None:
    """Turn single sign-on off. Sync is suspended with it; nobody loses anything."""

    async def work(service: Service) -> Result:
        from connector.sso.provider import connection_steps
        from rosterd.service import actor

        name = choose(service.settings, organization)
        done = await connection_steps.turn_off(service.ledger, name, reason=reason, actor=actor(), now=service.clock())
        return Shown(("single sign-on is off" if done else "it was off already",), {"changed": done})

    perform(context, as_json, work)


def release_provider(
    context: typer.Context,
    entity_id: Annotated[str, typer.Argument(metavar="ENTITY_ID", help="As `rosterd sso connect` or `on` refused it.")],
    reason: Reason = "",
    as_json: Json = False,
) -> None:
    """Free an identity provider that the wrong organization holds; what is on by it there is turned off."""

    async def work(service: Service) -> Result:
        from connector.sso.provider.release import release_provider as release
        from rosterd.service import actor

        return await release(service.ledger, entity_id, reason=reason, actor=actor(), now=service.clock())

    perform(context, as_json, work)


def add_to(sso: typer.Typer) -> None:
    """Register the verbs."""
    sso.command("test")(begin_test)
    sso.command()(explain)
    sso.command()(on)
    sso.command()(off)
    sso.command("release-provider")(release_provider)
