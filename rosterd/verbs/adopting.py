"""adopt: takes what was given by hand under a mapping's care, through connector.reconcile.adopt.adopt (P3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rosterd.verbs.console import Json, MaybeReason, OneOrganization, Result, Session, choose, perform, reading

if TYPE_CHECKING:
    from rosterd.service import Service


def adopt(
    context: typer.Context,
    mapping: Annotated[str, typer.Argument(help="Id of the mapping that takes care from now on.")],
    digest: Annotated[str, typer.Option("--digest", help="The adoption you have seen; approves what it shows.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show; the same as without --digest.")] = False,
    reason: MaybeReason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Take manual memberships of people in a mapped group under the mapping's care; shown first, then --digest."""
    session: Session = context.obj
    if digest and dry_run:
        raise typer.BadParameter("give --digest DIGEST to adopt or --dry-run to look, not both")

    async def work(service: Service) -> Result:
        from connector.reconcile.adopt import adopt as adoption
        from connector.reconcile.plan.order import Order
        from rosterd.service import actor

        name = choose(service.settings, organization)
        if not digest:
            async with reading(session, name) as step, service.setup(name) as setup:
                return await adoption.preview(service.ledger, setup, mapping, now=service.clock(), progress=step)
        await service.register()
        async with reading(session, name) as step, service.leased(name) as fence, service.setup(name) as setup:
            order = Order(adoption.KIND, actor(), service.clock(), fence, digest, reason)
            return await adoption.adopt(service.ledger, setup, mapping, order, step)

    perform(context, as_json, work)


def add_to(app: typer.Typer) -> None:
    """Register the verb."""
    app.command()(adopt)
