"""explain: why one person has what they have, by the ledger and the directories (P6). Decides nothing."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.errors import NotFound, RosterdError
from ledger.identity import IdentityState
from rosterd.verbs.console import Json, OneOrganization, Result, chosen, perform

if TYPE_CHECKING:
    from connector.reconcile.explain.answer import Explanation
    from rosterd.service import Service


def explain(
    context: typer.Context,
    mail: Annotated[str, typer.Argument(help="Mail address of the person.")],
    offline: Annotated[bool, typer.Option("--offline", help="Ask no directory: what the ledger says.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Why this person has, waits for, or lost each thing, and what each directory says of them now."""

    async def work(service: Service) -> Result:
        names = chosen(service.settings, organization)
        unknown: RosterdError = NotFound(f"nobody here has the address {mail!r}", next_step="check its spelling")
        outside: Explanation | None = None
        for name in names:
            try:
                found = await _explained(service, name, mail, offline)
            except NotFound as error:
                unknown = error
                continue
            if found.known:
                return found
            outside = outside or found
        if outside is None:
            raise unknown
        return outside

    perform(context, as_json, work)


async def _explained(service: Service, name: str, mail: str, offline: bool) -> Explanation:
    from connector.reconcile import run

    async with AsyncExitStack() as opened:
        setup = await opened.enter_async_context(service.setup(name))
        finders = () if offline else await opened.enter_async_context(service.finders(name))
        found = await run.explain(service.ledger, setup, mail, now=service.clock(), finders=finders)
    said = await _unmailed(service, name, found.mail) if found.state == IdentityState.ACTIVE else ()
    return replace(found, pending=(*found.pending, *said))


async def _unmailed(service: Service, name: str, mail: str) -> tuple[str, ...]:
    """Why somebody who has not signed in yet has no mail of their invite."""
    from connector.delivery import by_hand
    from connector.reconcile.by_hand import people

    async with service.ledger.read(name) as reader:
        person = await people.load(reader, await people.find(reader, mail))
        if person.signed_in:
            return ()
        host = service.settings.installation.mail.host
        found = await by_hand.unmailed(reader, {person.identity.id: person.mail}, host=host)
    return tuple(item.line for item in found.values())


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(explain)
