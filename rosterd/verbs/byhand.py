"""invite add · resend · cancel · list, relink, rename, restrict, lift: by an operator's hand, audited in their name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from rosterd.verbs.console import Grid, Json, OneOrganization, Reason, Result, Shown, choose, perform

if TYPE_CHECKING:
    from connector.reconcile.by_hand.rules import Act
    from rosterd.service import Service

app = typer.Typer(
    help="Invites of people: by hand, again, taken back, and those nobody accepted.", no_args_is_help=True
)

_MOST = 1000
Mail = Annotated[str, typer.Argument(help="Mail address of the person.")]
TeamName = Annotated[str, typer.Argument(metavar="TEAM", help="Name or id of the Team.")]


@app.command()
def add(
    context: typer.Context,
    mail: Mail,
    given_name: Annotated[str, typer.Option("--given-name", help="Given name.")] = "",
    family_name: Annotated[str, typer.Option("--family-name", help="Family name.")] = "",
    team: Annotated[list[str] | None, typer.Option("--team", help="Team to join at once; repeatable.")] = None,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Invite somebody no directory brings in."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import people
        from connector.reconcile.by_hand.people import Newcomer
        from rosterd.checks.mail import dead_end

        await service.register()
        chosen = choose(service.settings, organization)
        newcomer = Newcomer(mail, given_name, family_name, team_ids=tuple(team or ()))
        invites = service.settings.customer(chosen).settings.invites
        made = await people.invite(service.ledger, chosen, newcomer, invites, _act(service))
        why = await dead_end(service, chosen)
        note = f"the link of the invite leads nowhere yet: {why} → rosterd sso status"
        return replace(made, notes=(*made.notes, note)) if why else made

    perform(context, as_json, work)


@app.command()
def resend(context: typer.Context, mail: Mail, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Send the invite of one person again; it stands anew from now on."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import invites as invites_by_hand
        from connector.reconcile.by_hand import people
        from ledger.jobs import Unleased

        chosen = choose(service.settings, organization)
        invites = service.settings.customer(chosen).settings.invites
        act = _act(service)
        async with service.ledger.write(chosen, Unleased.BY_HAND, at=act.now) as book:
            person = await people.load(book, await people.find(book, mail))
            return await invites_by_hand.resend(book, person, invites, act)

    perform(context, as_json, work)


@app.command()
def cancel(
    context: typer.Context, mail: Mail, reason: Reason = "", organization: OneOrganization = "", as_json: Json = False
) -> None:
    """Take back an invite that was not accepted: what was given by hand ends; what a mapping gives stays."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import people

        chosen = choose(service.settings, organization)
        async with service.ledger.read(chosen) as reader:
            identity = await people.find(reader, mail)
        return await people.cancel(service.ledger, chosen, identity, _act(service, reason))

    perform(context, as_json, work)


@app.command("list")
def list_invites(
    context: typer.Context,
    expired: Annotated[bool, typer.Option("--expired", help="Only those past their date.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """List the invites nobody accepted yet, the first thousand by address."""

    async def work(service: Service) -> Result:
        from connector.delivery import by_hand
        from ledger.identity import INVITE_EXPIRY, IdentityState
        from ledger.instant import to_text
        from ledger.store import roster
        from ledger.store.roster import Wanted

        chosen = choose(service.settings, organization)
        now = service.clock()
        wanted = Wanted(state=IdentityState.ACTIVE.value, due=INVITE_EXPIRY, due_before=now if expired else None)
        async with service.ledger.read(chosen) as reader:
            rows = await roster.people_page(reader, wanted, None, _MOST)
            host = service.settings.installation.mail.host
            unmailed = await by_hand.unmailed(reader, {row.id: row.mail for row in rows}, host=host)
        found = [{"id": row.id, "mail": row.mail, "expires_at": to_text(row.due_at), "expired": row.due_at <= now,
                  "not_mailed": unmailed[row.id].why if row.id in unmailed else None} for row in rows]  # fmt: skip
        shown = tuple((row.mail, to_text(row.due_at), "expired" if row.due_at <= now else "",
                       f"not mailed: {unmailed[row.id].state}" if row.id in unmailed else "")
                      for row in rows)  # fmt: skip
        lines = tuple(by_hand.unmailed_in_words(unmailed.values())) if found else ("no invite is open",)
        return Shown(lines, {"invites": found}, Grid(("person", "expires", "", "mail"), shown) if found else None)

    perform(context, as_json, work)


def relink(
    context: typer.Context,
    mail: Mail,
    to: Annotated[str, typer.Option("--to", metavar="SOURCE:ANCHOR", help="The entry that stands for them now.")],
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Bind another directory entry to a person who stays the same: a migration, a rehire. Nothing is lost."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import links, people

        chosen = choose(service.settings, organization)
        entry = links.parse_entry(to)
        kinds = {item.id: item.kind for item in service.settings.customer(chosen).settings.directories}
        async with service.ledger.read(chosen) as reader:
            identity = await people.find(reader, mail)
        return await links.relink(service.ledger, chosen, identity, entry, kinds, _act(service, reason))

    perform(context, as_json, work)


def rename(
    context: typer.Context,
    mail: Mail,
    to: Annotated[str, typer.Option("--to", metavar="NEW", help="The address of their entry that counts now.")],
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Make another address of somebody's own entry the one that counts; runs keep it while the entry shows it."""

    async def work(service: Service) -> Result:
        from connector.directory.mapping import rules_by_source
        from connector.reconcile.by_hand import people, renames

        chosen = choose(service.settings, organization)
        rules = rules_by_source(service.settings.customer(chosen).settings.directories)
        async with service.ledger.read(chosen) as reader:
            identity = await people.find(reader, mail)
        return await renames.rename(service.ledger, chosen, identity, to, rules, _act(service, reason))

    perform(context, as_json, work)


def restrict(
    context: typer.Context,
    team: TeamName,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Restrict a Team at once (R16): its seats give no access and none is assigned, until it is lifted."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import restrictions

        chosen = choose(service.settings, organization)
        return await restrictions.restrict(service.ledger, chosen, team, _act(service, reason))

    perform(context, as_json, work)


def lift(
    context: typer.Context,
    team: TeamName,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Lift the restriction of a Team at once."""

    async def work(service: Service) -> Result:
        from connector.reconcile.by_hand import restrictions

        chosen = choose(service.settings, organization)
        return await restrictions.lift(service.ledger, chosen, team, _act(service, reason))

    perform(context, as_json, work)


def _act(service: Service, reason: str = "") -> Act:
    from connector.reconcile.by_hand.rules import Act
    from rosterd.service import actor

    return Act(actor(), service.clock(), reason)


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    root.add_typer(app, name="invite")
    for verb in (relink, rename, restrict, lift):
        root.command()(verb)
