"""sync status · enable · disable: switching directory sync (R1, R5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from rosterd.verbs.console import Json, OneOrganization, Result, Shown, choose, perform

if TYPE_CHECKING:
    from connector.sso.gate.sync import SyncStatus
    from rosterd.service import Service


def sync_status(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Whether sync is off, ready, enabled or suspended, and why."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import sync as switch

        async with service.ledger.read(choose(service.settings, organization)) as reader:
            return _sync(await switch.sync_status(reader, now=service.clock()))

    perform(context, as_json, work)


def enable(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Enable directory sync; refused with every missing step until single sign-on is on (R5)."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import sync as switch
        from rosterd.service import actor

        await service.register()
        name = choose(service.settings, organization)
        now = service.clock()
        await switch.enable_sync(service.ledger, name, actor=actor(), now=now)
        async with service.ledger.read(name) as reader:
            return _sync(await switch.sync_status(reader, now=now))

    perform(context, as_json, work)


def disable(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Switch directory sync off; what it granted stays as it is."""

    async def work(service: Service) -> Result:
        from connector.sso.gate import sync as switch
        from rosterd.service import actor

        name = choose(service.settings, organization)
        now = service.clock()
        await switch.disable_sync(service.ledger, name, actor=actor(), now=now)
        async with service.ledger.read(name) as reader:
            return _sync(await switch.sync_status(reader, now=now))

    perform(context, as_json, work)


def _sync(found: SyncStatus) -> Shown:
    return Shown(sync_lines(found), found.to_json())


def sync_lines(found: SyncStatus) -> tuple[str, ...]:
    """The state, why, and while it is suspended what ends that."""
    said = (*found.reasons, *(f"missing: {step}" for step in found.missing))
    return (f"sync: {found.state.value}", *(f"  {line}" for line in said))


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    sync = typer.Typer(help="Directory sync: off, ready, enabled, suspended.", no_args_is_help=True)
    sync.command("status")(sync_status)
    sync.command()(enable)
    sync.command()(disable)
    root.add_typer(sync, name="sync")
