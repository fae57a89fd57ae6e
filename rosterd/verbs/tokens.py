"""token create · list · revoke: API tokens of one organization; the text of a token is shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from access.principal import Purpose, Scope
from ledger.errors import BadInput, NotFound
from ledger.team import Role
from rosterd.verbs.console import Grid, Json, OneOrganization, Result, Shown, choose, perform

if TYPE_CHECKING:
    from ledger.store.tokens import TokenRow
    from rosterd.service import Service

app = typer.Typer(help="API tokens of an organization.", no_args_is_help=True)


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for, in words.")],
    organization: OneOrganization = "",
    team: Annotated[
        list[str] | None, typer.Option("--team", help="Team it may read; repeatable; all when none.")
    ] = None,
    scope: Annotated[list[Scope] | None, typer.Option("--scope", help="Right it holds; repeatable.")] = None,
    role: Annotated[list[Role] | None, typer.Option("--role", help="Role it acts as; repeatable.")] = None,
    network: Annotated[list[str] | None, typer.Option("--network", help="CIDR it may come from; repeatable.")] = None,
    purpose: Annotated[Purpose, typer.Option("--purpose", help="What its reads are for (R12).")] = Purpose.REPORT,
    directory: Annotated[
        str, typer.Option("--directory", help="With --scope scim: the scim_inbox directory it pushes to.")
    ] = "",
    expires_in: Annotated[str, typer.Option("--expires-in", help="Its life, at most 366d.")] = "90d",
    as_json: Json = False,
) -> None:
    """Make a token and print it, this once."""
    # eleven parameters: what one types

    async def work(service: Service) -> Result:
        from access import tokens

        await service.register()
        chosen = choose(service.settings, organization)
        now = service.clock()
        spec = tokens.TokenSpec(
            name=name,
            expires_at=now + _life(expires_in),
            roles=tuple(role or ((Role.SERVICE,) if _is_machine(scope or []) else (Role.REPORT_READER,))),
            scopes=tuple(scope or ()),
            team_ids=await _team_ids(service, chosen, team or []),
            networks=tuple(network or ()),
            purpose=purpose,
            directory=_inbox(service, chosen, directory, scope or []),
        )
        made = await tokens.create(
            service.ledger, chosen, spec, pepper=service.pepper(), actor=service.operator(chosen), now=now
        )
        lines = [made.text, "  → keep it: it is shown this once; send it as Authorization: Bearer …"]
        if spec.directory:
            lines.append(
                f"  → the identity provider pushes to {service.settings.installation.server.public_url}/scim/v2"
            )
        return Shown(tuple(lines), made.to_json())

    perform(context, as_json, work)


@app.command("list")
def list_tokens(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """List the tokens; their text is not kept."""

    async def work(service: Service) -> Result:
        from access import tokens

        rows = await tokens.list(service.ledger, choose(service.settings, organization))
        columns = ("id", "name", "state", "scopes", "teams", "expires", "last used")
        grid = Grid(columns, tuple(_shown(row, service) for row in rows))
        return Shown((), {"tokens": [row.to_json() for row in rows]}, grid)

    perform(context, as_json, work)


@app.command()
def revoke(
    context: typer.Context,
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The eight characters after rpt_.")],
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Revoke a token at once."""

    async def work(service: Service) -> Result:
        from access import tokens

        chosen = choose(service.settings, organization)
        who = service.operator(chosen)
        await tokens.revoke(service.ledger, chosen, token_id, actor=who, now=service.clock())
        return Shown((f"token {token_id} is revoked",), {"id": token_id, "revoked": True})

    perform(context, as_json, work)


def _shown(row: TokenRow, service: Service) -> tuple[str, ...]:
    now = service.clock()
    state = "revoked" if row.revoked_at else "expired" if row.expires_at <= now else "live"
    last = row.last_used_at.date().isoformat() if row.last_used_at else "never"
    teams = str(len(row.team_ids)) if row.team_ids else "all"
    scopes = " ".join(f"{scope} → {row.directory}" if scope == Scope.SCIM else scope for scope in row.scopes)
    return (row.id, row.name, state, scopes, teams, row.expires_at.date().isoformat(), last)


def _is_machine(scopes: list[Scope]) -> bool:
    """Rights that no reader holds need the service role."""
    return bool({Scope.USAGE_WRITE, Scope.SCIM} & set(scopes))


def _inbox(service: Service, organization: str, directory: str, scopes: list[Scope]) -> str:
    """The directory a pushing token is for: the named one, or the only one there is. Raises ``BadInput``."""
    if Scope.SCIM not in scopes:
        return directory
    from rosterd.faults import close

    declared = service.settings.customer(organization).settings.directories
    known = [item.id for item in declared if item.kind == "scim_inbox"]
    if directory in known or (not directory and len(known) == 1):
        return directory or known[0]
    if not known:
        raise BadInput(
            'no directory of the organization file has kind = "scim_inbox"',
            where="--directory",
            next_step="add one, then rosterd check",
        )
    raise BadInput(
        f"{directory!r} is no inbox{close(directory, known)}" if directory else "there are several inboxes",
        where="--directory",
        next_step=f"name one of: {', '.join(known)}",
    )


def _life(text: str) -> timedelta:
    from ledger.settings import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise BadInput(str(error), where="--expires-in", next_step="write 90d or 12h") from error


async def _team_ids(service: Service, organization: str, names: list[str]) -> tuple[str, ...]:
    """Ids of the named Teams; raises ``NotFound`` with the closest name."""
    from ledger.identity import fold
    from ledger.store import people
    from rosterd.faults import close

    async with service.ledger.read(organization) as reader:
        teams = await people.open_teams(reader)
    by_key = {row[2]: row[0] for row in teams}
    for name in names:
        if fold(name) not in by_key:
            hint = close(name, [row[1] for row in teams])
            raise NotFound(f"unknown Team {name!r}{hint}", where="--team", next_step="name a Team of the organization")
    return tuple(by_key[fold(name)] for name in names)


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    root.add_typer(app, name="token")
