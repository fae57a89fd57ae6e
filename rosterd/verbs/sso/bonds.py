"""sso relinks · unbind · rebind-window: who signs in as whom, decided by an administrator (N4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rosterd.verbs.console import Grid, Json, OneOrganization, Reason, Result, Shown, choose, perform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connector.reconcile.by_hand.bonds import HeldRelink
    from rosterd.service import Service

relinks = typer.Typer(
    help="Sign-ins by another subject than the bound one: what waits, approve, refuse.", invoke_without_command=True
)
window = typer.Typer(help="The one window in which everybody is bound anew, once each.", no_args_is_help=True)
Mail = Annotated[str, typer.Argument(metavar="MAIL", help="Mail address of the person.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="As `rosterd sso relinks` shows it: the person's reference.")]


@relinks.callback()
def list_relinks(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """List what waits and what was refused, until it runs out."""
    if context.invoked_subcommand:
        return

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import bonds

        async with service.ledger.read(choose(service.settings, organization)) as reader:
            return _listed(await bonds.held_relinks(reader, service.clock()))

    perform(context, as_json, work)


@relinks.command()
def approve(
    context: typer.Context,
    relink_id: Id,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Let the other subject sign in as this person from now on; the one before no longer does."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import bonds

        chosen = choose(service.settings, organization)
        who = service.operator(chosen)
        return await bonds.approve_relink(service.ledger, chosen, relink_id, who, reason, service.clock())

    perform(context, as_json, work)


@relinks.command()
def refuse(
    context: typer.Context,
    relink_id: Id,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Turn the other subject away until the relink runs out."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import bonds

        chosen = choose(service.settings, organization)
        who = service.operator(chosen)
        return await bonds.refuse_relink(service.ledger, chosen, relink_id, who, reason, service.clock())

    perform(context, as_json, work)


def unbind(
    context: typer.Context, mail: Mail, reason: Reason = "", organization: OneOrganization = "", as_json: Json = False
) -> None:
    """End the bond of a person to their subject; what they have stays. Their next sign-in binds them again."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import bonds, people

        chosen = choose(service.settings, organization)
        async with service.ledger.read(chosen) as reader:
            identity = await people.find(reader, mail)
        who = service.operator(chosen)
        return await bonds.unbind(service.ledger, chosen, identity, who, reason, service.clock())

    perform(context, as_json, work)


@window.command("open")
def open_window(
    context: typer.Context,
    days: Annotated[int, typer.Option("--days", help="For how long, 1 to 30.")],
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Open it, after a test with what the identity provider sends now."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import rebind_window

        chosen = choose(service.settings, organization)
        who = service.operator(chosen)
        return await rebind_window.open_window(
            service.ledger, chosen, days=days, reason=reason, who=who, now=service.clock()
        )

    perform(context, as_json, work)


@window.command("close")
def close_window(
    context: typer.Context, reason: Reason = "", organization: OneOrganization = "", as_json: Json = False
) -> None:
    """Close it before its time; who was bound anew stays so."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import rebind_window

        chosen = choose(service.settings, organization)
        who = service.operator(chosen)
        done = await rebind_window.close_window(service.ledger, chosen, reason=reason, who=who, now=service.clock())
        return Shown(("the window is closed" if done else "no window was open",), {"changed": done})

    perform(context, as_json, work)


def _listed(found: Sequence[HeldRelink]) -> Shown:
    columns = ("id", "person", "address since", "bound since", "asks", "until")
    rows = [
        (
            item.row.id,
            f"{item.mail} ({item.state})" if item.state != "active" else item.mail,
            item.row.mail_since.date().isoformat() + (" (after the bond!)" if item.mail_changed else ""),
            f"{item.row.bonded_at.date().isoformat()} by {item.row.was_kind or 'NameID'}",
            f"{item.row.kind} {item.row.subject[:12]}",
            f"refused by {item.row.refused_by}" if item.row.refused_at else item.row.expires_at.date().isoformat(),
        )
        for item in found
    ]
    lines = (
        ("ask each person, by another way than mail, whether it was them; then:",
         "  → rosterd sso relinks approve ID, or rosterd sso relinks refuse ID")
        if found else ("nothing waits",)
    )  # fmt: skip
    return Shown(lines, {"relinks": [item.to_json() for item in found]}, Grid(columns, tuple(rows)) if found else None)


def add_to(sso: typer.Typer) -> None:
    """Register the verbs below ``rosterd sso``."""
    sso.command()(unbind)
    sso.add_typer(relinks, name="relinks")
    sso.add_typer(window, name="rebind-window")
