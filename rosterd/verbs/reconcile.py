"""plan · apply · approve · undo: people and seats, through connector.reconcile.run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import NotFound
from rosterd.verbs.console import Json, OneOrganization, Reason, Result, Session, Several, choose, perform, reading

if TYPE_CHECKING:
    from connector.reconcile.show.outcome import Planned
    from rosterd.service import Service

Named = Annotated[str, typer.Argument(metavar="ORGANIZATION", help="Id of the organization; all when left out.")]


class Against(StrEnum):
    """What a plan may be made against instead of the directories."""

    LAST_READING = "last-reading"


_OTHER = "Another organization file: what it would change, as if it were in force."


def plan(
    context: typer.Context,
    organization: Named = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="As a document for a ticket or a review.")] = False,
    everybody: Annotated[bool, typer.Option("--all", help="List everybody; long lists are folded otherwise.")] = False,
    other: Annotated[Path | None, typer.Option("--config", metavar="FILE", help=_OTHER)] = None,
    against: Annotated[Against | None, typer.Option("--against", help="Ask no directory: what was last read.")] = None,
    as_json: Json = False,
) -> None:
    """Read the directories and say what would change. Writes nothing to anybody."""
    session: Session = context.obj

    async def work(service: Service) -> Result:
        from connector.reconcile import run

        names = [choose(service.settings, organization)] if organization else list(service.settings.customers)
        if other is not None:
            from rosterd.loading import load_customer

            customer = load_customer(other)
            names = [choose(service.settings, customer.organization.id)]
            service.try_out(customer)
        found: dict[str, Result] = {}
        for name in names:
            async with reading(session, name) as step, service.setup(name) as setup:
                planned = await run.plan(
                    service.ledger, setup, now=service.clock(), progress=step, against_last=against is not None
                )
                text = planned.markdown.splitlines() if markdown else planned.every_line if everybody else planned.lines
                found[name] = _Document(planned, tuple(text))
        return found[names[0]] if len(names) == 1 else Several(found)

    perform(context, as_json, work)


def apply(
    context: typer.Context,
    organization: Named = "",
    digest: Annotated[str, typer.Option("--digest", help="The plan you have seen; approves what it shows.")] = "",
    auto: Annotated[bool, typer.Option("--auto", help="Whatever the guard lets through.")] = False,
    as_json: Json = False,
) -> None:
    """Apply exactly the plan with this digest, or (--auto) what the guard lets through."""
    session: Session = context.obj
    if bool(digest) == auto:
        raise typer.BadParameter("give exactly one of --digest DIGEST (see rosterd plan) and --auto")

    async def work(service: Service) -> Result:
        from connector.reconcile import run
        from rosterd.service import actor

        await service.register()
        names = [choose(service.settings, organization)]
        if auto and not organization:
            names = list(service.settings.customers)
        found: dict[str, Result] = {}
        for name in names:
            async with (
                reading(session, name) as step,
                service.leased(name) as fence,
                service.setup(name) as setup,
            ):
                found[name] = await run.apply(
                    service.ledger,
                    setup,
                    now=service.clock(),
                    actor=actor(),
                    digest=digest or None,
                    auto=auto,
                    fence=fence,
                    progress=step,
                )
        return found[names[0]] if len(names) == 1 else Several(found)

    perform(context, as_json, work)


def approve(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(help="Digest of the held set, or its first 8 digits or more.")],
    reason: Annotated[str, typer.Option("--reason", help="Why this harm is meant; kept in the audit.")],
    organization: OneOrganization = "",
    despite_freeze: Annotated[bool, typer.Option("--despite-freeze", help="Even inside a freeze window.")] = False,
    as_json: Json = False,
) -> None:
    """Let exactly one held set through (what of it is still true)."""

    async def work(service: Service) -> Result:
        from connector.reconcile import run
        from rosterd.service import actor

        await service.register()
        name = organization or await _holder(service, digest)
        async with service.leased(name) as fence, service.setup(name) as setup:
            return await run.approve(
                service.ledger,
                setup,
                digest,
                reason=reason,
                actor=actor(),
                now=service.clock(),
                fence=fence,
                despite_freeze=despite_freeze,
            )

    perform(context, as_json, work)


def undo(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run to undo.")],
    reason: Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be restored.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Restore what a run changed, as a new audited run; edits made since are kept and named."""
    if not dry_run and not reason:
        raise typer.BadParameter("an undo needs --reason (or --dry-run to look first)")

    async def work(service: Service) -> Result:
        from connector.reconcile import run
        from rosterd.service import actor

        name = organization or await _owner(service, run_id)
        async with service.leased(name) as fence, service.setup(name) as setup:
            return await run.undo(
                service.ledger,
                setup,
                run_id,
                actor=actor(),
                reason=reason,
                now=service.clock(),
                fence=fence,
                dry_run=dry_run,
            )

    perform(context, as_json, work)


@dataclass(frozen=True, slots=True)
class _Document:
    """A plan in the form that was asked for."""

    planned: Planned
    lines: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """The plan's own."""
        return self.planned.exit_code

    def to_json(self) -> Any:
        """The same in every form."""
        return self.planned.to_json()


async def _holder(service: Service, digest: str) -> str:
    """The organization with a held set of this digest."""
    from ledger.store import runs

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            held = await runs.held_sets(reader, ("open", "approved", "applied", "superseded", "expired"))
        if any(item.digest.startswith(digest) for item in held):
            return name
    raise NotFound(f"no held set begins with {digest!r}", next_step="rosterd plan names what is held")


async def _owner(service: Service, run_id: str) -> str:
    """The organization a run belongs to."""
    from ledger.store import runs

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            if await runs.get(reader, run_id) is not None:
                return name
    raise NotFound(f"there is no run {run_id!r}", next_step="rosterd report runs lists them")


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    for verb in (plan, apply, approve, undo):
        app.command()(verb)
