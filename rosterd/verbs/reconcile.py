"""plan · apply · approve · undo: people and seats, through connector.reconcile.run."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import BadInput, NotFound, Refused
from rosterd.verbs.console import (
    SHORT_ID,
    Json,
    MaybeReason,
    OneOrganization,
    Result,
    Session,
    Several,
    ask_why,
    at_a_terminal,
    choose,
    chosen,
    perform,
    reading,
    visible,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from connector.directory.base import CheckLine
    from connector.reconcile.show.outcome import Planned, RunOutcome
    from rosterd.service import Service

Named = Annotated[str, typer.Option("--organization", "-o", help="Id of the organization; all when left out.")]


class Against(StrEnum):
    """What a plan may be made against instead of the directories."""

    LAST_READING = "last-reading"


_ONLY = "A part of the plan: one address, Team, mapping or group (by its DN); may be given several times."
_PART = "The digest is of this part, as `rosterd plan --only` showed it; nothing else is applied."
_OTHER = "Another organization file: what it would change, as if it were in force."


def plan(
    context: typer.Context,
    organization: Named = "",
    markdown: Annotated[bool, typer.Option("--markdown", help="As a document for a ticket or a review.")] = False,
    everybody: Annotated[bool, typer.Option("--all", help="List everybody; long lists are folded otherwise.")] = False,
    other: Annotated[Path | None, typer.Option("--config", metavar="FILE", help=_OTHER)] = None,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="PERSON|TEAM|GROUP", help=_ONLY)] = None,
    against: Annotated[Against | None, typer.Option("--against", help="Ask no directory: what was last read.")] = None,
    as_json: Json = False,
) -> None:
    """Read the directories and say what would change. Writes nothing to anybody."""
    session: Session = context.obj

    async def work(service: Service) -> Result:
        from connector.reconcile import run

        names = chosen(service.settings, organization)
        if other is not None:
            from rosterd.loading import load_customer

            customer = load_customer(other)
            names = [choose(service.settings, customer.organization.id)]
            service.try_out(customer)
        unread = await _unread(service) if other is None else {}
        found: dict[str, Result] = {}
        for name in names:
            async with reading(session, name) as step, service.setup(name) as setup:
                planned = await run.plan(
                    service.ledger,
                    setup,
                    now=service.clock(),
                    progress=step,
                    against_last=against is not None,
                    only=only or (),
                )
                planned = replace(planned, tried=str(other) if other is not None else "")
                text = planned.markdown.splitlines() if markdown else planned.every_line if everybody else planned.lines
                notes = await _gone(service, name)
                if line := unread.get(name):
                    notes.append(f"{line.what} → {line.fix}")
                found[name] = _Document(planned, (*text, *notes))
        return found[names[0]] if len(names) == 1 else Several(found)

    perform(context, as_json, work)


def apply(
    context: typer.Context,
    organization: Named = "",
    digest: Annotated[str, typer.Option("--digest", help="The plan you have seen; approves what it shows.")] = "",
    auto: Annotated[bool, typer.Option("--auto", help="Whatever the guard lets through.")] = False,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="PERSON|TEAM|GROUP", help=_PART)] = None,
    as_json: Json = False,
) -> None:
    """Apply exactly the plan with this digest, or its part (--only), or what the guard lets through (--auto)."""
    session: Session = context.obj
    if bool(digest) == auto:
        raise typer.BadParameter("give exactly one of --digest DIGEST (see rosterd plan) and --auto")
    if auto and only:
        raise typer.BadParameter("a part is applied by its digest: `rosterd plan --only` shows it")

    async def work(service: Service) -> Result:
        from connector.reconcile import run
        from rosterd.service import actor

        await service.register()
        names = [choose(service.settings, organization)]
        if auto and not organization:
            names = list(service.settings.customers)
        unread = await _unread(service)
        if line := next((unread[name] for name in names if name in unread), None):
            what = f"{line.what}, and would take back what is applied now"
            raise Refused(what, where="apply", next_step=line.fix)
        found: dict[str, Result] = {}
        for name in names:
            async with (
                reading(session, name) as step,
                service.leased(name) as fence,
                service.setup(name) as setup,
            ):
                done = await run.apply(
                    service.ledger,
                    setup,
                    now=service.clock(),
                    actor=actor(),
                    digest=digest or None,
                    auto=auto,
                    only=only or (),
                    fence=fence,
                    progress=step,
                )
                found[name] = _Ran(done)
        return found[names[0]] if len(names) == 1 else Several(found)

    perform(context, as_json, work)


def approve(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(help="Digest of the held set, or its first 8 digits or more.")],
    reason: Annotated[
        str, typer.Option("--reason", help="Why this harm is meant; kept in the audit. Asked for on a terminal.")
    ] = "",
    organization: OneOrganization = "",
    despite_freeze: Annotated[bool, typer.Option("--despite-freeze", help="Even inside a freeze window.")] = False,
    as_json: Json = False,
) -> None:
    """Let exactly one held set through (what of it is still true)."""
    if not reason.strip() and not at_a_terminal():
        raise typer.BadParameter("say why this harm is meant: --reason TEXT (on a terminal it is asked for)")

    async def work(service: Service) -> Result:
        from connector.reconcile import run
        from rosterd.service import actor

        await service.register()
        name = organization or await _holder(service, digest)
        why = reason.strip() or await _asked_about(service, name, digest)
        async with service.leased(name) as fence, service.setup(name) as setup:
            return _Ran(
                await run.approve(
                    service.ledger,
                    setup,
                    digest,
                    reason=why,
                    actor=actor(),
                    now=service.clock(),
                    fence=fence,
                    despite_freeze=despite_freeze,
                )
            )

    perform(context, as_json, work)


def undo(
    context: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run to undo, or how it begins.")],
    reason: MaybeReason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be restored.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Restore what a run changed, as a new audited run; edits made since are kept and named."""
    if not dry_run and not reason.strip():
        if not at_a_terminal():
            raise typer.BadParameter(
                "say why: --reason TEXT (on a terminal it is asked for), or --dry-run to look first"
            )
        reason = ask_why()

    async def work(service: Service) -> Result:
        from connector.reconcile import run
        from rosterd.service import actor

        name, whole_id = await _owner(service, run_id, chosen(service.settings, organization))
        async with service.leased(name) as fence, service.setup(name) as setup:
            return await run.undo(
                service.ledger,
                setup,
                whole_id,
                actor=actor(),
                reason=reason,
                now=service.clock(),
                fence=fence,
                dry_run=dry_run,
            )

    perform(context, as_json, work)


@dataclass(frozen=True, slots=True)
class _Ran:
    """What a run did, and how to take it back."""

    outcome: RunOutcome

    @property
    def lines(self) -> tuple[str, ...]:
        """The run's own, and its id where it changed anything."""
        if not self.outcome.counts or self.outcome.state not in ("applied", "held"):
            return self.outcome.lines
        run_id = self.outcome.run_id[:SHORT_ID]
        return (
            *self.outcome.lines,
            f"run {run_id}: `rosterd undo {run_id} --dry-run` says what undoing it would restore",
        )

    @property
    def exit_code(self) -> int:
        """The run's own."""
        return self.outcome.exit_code

    def to_json(self) -> Any:
        """The same."""
        return self.outcome.to_json()


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


async def _unread(service: Service) -> dict[str, CheckLine]:
    """The organizations whose files a daemon on this host does not go by yet."""
    from rosterd.readiness import unread

    return await asyncio.to_thread(unread, service.settings)


async def _gone(service: Service, name: str) -> list[str]:
    """What applying the file does to the domains that it no longer names, which is no change of a plan."""
    from connector.sso.gate.evidence import known

    listed = {item.name for item in service.settings.customers[name].settings.domains}
    async with service.ledger.read(name) as reader:
        domains = (await known(reader)).domains
    gone = [domain for domain, found in domains.items() if found.undeclared_at is None and domain not in listed]
    return [
        f"note: the file no longer names the domain {domain}: once it is applied, nobody of it is added or removed"
        f" → put it back, or: rosterd sso release {domain}"
        for domain in gone
    ]


async def _holder(service: Service, digest: str) -> str:
    """The organization with a held set of this digest."""
    from ledger.store import runs

    for name in service.settings.customers:
        async with service.ledger.read(name) as reader:
            held = await runs.held_sets(reader, ("open", "approved", "applied", "superseded", "expired"))
        if any(item.digest.startswith(digest) for item in held):
            return name
    raise NotFound(f"no held set begins with {digest!r}", next_step="rosterd plan names what is held")


async def _owner(service: Service, beginning: str, organizations: Iterable[str]) -> tuple[str, str]:
    """The organization a run belongs to, and the run's whole id."""
    from ledger.store import runs

    found: list[tuple[str, str]] = []
    for name in organizations:
        async with service.ledger.read(name) as reader:
            found += [(name, run_id) for run_id in await runs.beginning_with(reader, beginning)]
    if not found:
        raise NotFound(f"there is no run {beginning!r}", next_step="rosterd report runs lists them")
    if len(found) > 1:
        raise BadInput(f"{beginning!r} names {len(found)} runs", next_step="give more of its id: rosterd report runs")
    return found[0]


async def _asked_about(service: Service, organization: str, digest: str) -> str:
    """Why a held set is meant, of somebody who sees what is in it."""
    from connector.reconcile.apply.held_sets import find
    from rosterd.verbs.reports import held_lines

    async with service.ledger.read(organization) as reader:
        held = await find(reader, digest)
    limits = service.settings.customer(organization).settings.limits
    typer.echo("\n".join(visible(line) for line in held_lines(held, limits, service.clock())), err=True)
    typer.echo(
        "Approving it makes exactly these changes, as far as they are still true; then it can be undone.", err=True
    )
    return ask_why()


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    for verb in (plan, apply, approve, undo):
        app.command()(verb)
