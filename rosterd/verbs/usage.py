"""usage status · basis · withdraw · user-level · opt-out · opt-in: what permits looking at usage (R11, R13c);
usage quarantine list · replay · drop: the rows of it that were set aside."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import BadInput, NotFound
from ledger.jobs import Unleased
from ledger.usage import BasisKind, LegalBasis
from rosterd.verbs.console import Grid, Json, OneOrganization, Reason, Result, Session, Shown, choose, perform, progress

if TYPE_CHECKING:
    from ledger.reporting import TeamReporting
    from ledger.store.book import Reader
    from rosterd.service import Service

app = typer.Typer(help="What permits looking at people's usage (R11, R13c).", no_args_is_help=True)
quarantine = typer.Typer(help="Rows of usage that were set aside.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
Cause = Annotated[str, typer.Option("--cause", help="Only rows with this in a cause: list shows them.")]
Source = Annotated[str, typer.Option("--source", help="Only rows of this sender or file (file:NAME).")]
Batch = Annotated[str, typer.Option("--batch", help="Only rows of this batch.")]
Mails = Annotated[list[str], typer.Argument(metavar="MAIL…", help="Mail addresses.")]


@app.command()
def status(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """The legal basis in force, and which Teams' user-level reports are switched on."""

    async def work(service: Service) -> Result:
        from ledger.store import consent, reporting

        name = choose(service.settings, organization)
        async with service.ledger.read(name) as reader:
            basis = await consent.legal_basis(reader)
            teams = await reporting.teams(reader, service.clock().date())
        rows = tuple((team.name, str(team.tier), _on(team.user_level), _on(team.personal_data)) for team in teams)
        document = {"basis": _document(basis), "teams": [_team(team) for team in teams]}
        return Shown(_basis_lines(basis), document, Grid(("Team", "tier", "user level", "named"), rows))

    perform(context, as_json, work)


@app.command()
def basis(
    context: typer.Context,
    kind: Annotated[BasisKind, typer.Option("--kind", help="On what ground.")],
    purpose: Annotated[list[str], typer.Option("--purpose", help="What for; repeatable.")],
    category: Annotated[
        list[str], typer.Option("--category", help="Whose usage: employees, contractors …; repeatable.")
    ],
    evidence: Annotated[str, typer.Option("--evidence", help="Where it is written down.")],
    transfer: Annotated[list[str] | None, typer.Option("--transfer", help="Country it is sent to; repeatable.")] = None,
    effective_on: Annotated[
        str, typer.Option("--effective-on", help="First day, YYYY-MM-DD; today when left out.")
    ] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Record the legal basis: from then on usage is collected. Which one applies is your own judgement (R13c)."""

    async def work(service: Service) -> Result:
        from ledger.store import consent
        from rosterd.service import actor

        name = choose(service.settings, organization)
        first = _day(effective_on) if effective_on else service.clock().date()
        try:
            made = LegalBasis(kind, tuple(purpose), tuple(category), tuple(transfer or ()), first, evidence)
        except ValueError as error:
            raise BadInput(str(error), where="usage basis", next_step="rosterd usage basis --help") from error
        async with service.ledger.write(name, Unleased.BY_HAND, at=service.clock()) as book:
            await consent.record_basis(book, made, actor=actor())
        return Shown(_basis_lines(made), {"basis": _document(made)})

    perform(context, as_json, work)


@app.command()
def withdraw(
    context: typer.Context, reason: Reason = "", organization: OneOrganization = "", as_json: Json = False
) -> None:
    """End the legal basis: nothing more is collected."""

    async def work(service: Service) -> Result:
        from ledger.store import consent
        from rosterd.service import actor

        name = choose(service.settings, organization)
        async with service.ledger.write(name, Unleased.BY_HAND, at=service.clock()) as book:
            done = await consent.withdraw_basis(book, actor=actor(), reason=reason)
        text = "withdrawn: nothing more is collected" if done else "there was no legal basis"
        return Shown((text,), {"withdrawn": done})

    perform(context, as_json, work)


@app.command("user-level")
def user_level(
    context: typer.Context,
    team: Annotated[str, typer.Argument(metavar="TEAM", help="Name of the Team.")],
    on: Annotated[bool, typer.Option("--on/--off", help="Switch user-level usage reports on or off.")],
    named: Annotated[
        bool, typer.Option("--named", help="With names, for credentials that may; otherwise user keys.")
    ] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Switch a Team's user-level usage reports on or off (R11)."""

    async def work(service: Service) -> Result:
        from ledger.store import reporting
        from rosterd.service import actor

        await service.register()
        name = choose(service.settings, organization)
        async with service.ledger.write(name, Unleased.BY_HAND, at=service.clock()) as book:
            team_id, shown = await _team_id(book, team)
            await reporting.switch(book, team_id, user_level=on, personal_data=on and named, actor=actor())
        return Shown(
            (f"{shown}: user-level usage is {_on(on)}",), {"team": shown, "user_level": on, "named": on and named}
        )

    perform(context, as_json, work)


@app.command("opt-out")
def opt_out(
    context: typer.Context, mails: Mails, reason: Reason = "", organization: OneOrganization = "", as_json: Json = False
) -> None:
    """Stop collecting these people's usage."""
    _opt(context, mails, reason, organization, as_json, out=True)


@app.command("opt-in")
def opt_in(
    context: typer.Context, mails: Mails, reason: Reason = "", organization: OneOrganization = "", as_json: Json = False
) -> None:
    """Collect these people's usage again, from now on."""
    _opt(context, mails, reason, organization, as_json, out=False)


@quarantine.command("list")
def listed(
    context: typer.Context,
    cause: Cause = "",
    source: Source = "",
    batch: Batch = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="Rows to show, newest first.")] = 50,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """How many rows were set aside for each cause, and the newest of them."""

    async def work(service: Service) -> Result:
        from ledger.store import usage_quarantine
        from ledger.store.usage_quarantine import Chosen

        name, chosen = choose(service.settings, organization), Chosen(cause, source, batch)
        async with service.ledger.read(name) as reader:
            total, causes = await usage_quarantine.sums(reader, chosen)
            rows = await usage_quarantine.page(reader, chosen, None, limit)
        lines = [f"{total} rows in quarantine", *(f"  {count}: {text}" for text, count in causes.items())]
        if total > len(rows):
            lines.append(f"the newest {len(rows)} of them; all: rosterd usage quarantine list --limit {total}")
        if total:
            lines.append("  → once the cause is mended: rosterd usage quarantine replay")
        document = {"rows": total, "causes": causes, "quarantined_rows": [row.to_json() for row in rows]}
        shown = tuple((row.source, row.place, row.event_id, "; ".join(row.reasons)) for row in rows)
        return Shown(tuple(lines), document, Grid(("source", "place", "event", "reasons"), shown) if shown else None)

    perform(context, as_json, work)


@quarantine.command()
def replay(
    context: typer.Context,
    cause: Cause = "",
    source: Source = "",
    batch: Batch = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Judge rows again by what is known now; those that are good leave quarantine and are counted."""
    session: Session = context.obj

    async def work(service: Service) -> Result:
        from connector.usage.quarantine import Replayed, replay_page
        from ledger.store.usage_quarantine import Chosen, Place
        from rosterd.service import actor

        name, done = choose(service.settings, organization), Replayed()
        settings = service.settings.customer(name).settings.reporting
        before: Place | None = None
        with progress(session) as step:
            while True:
                part, before = await replay_page(
                    service.ledger, name, Chosen(cause, source, batch), before,
                    now=service.clock(), actor=actor(), settings=settings,
                )  # fmt: skip
                done += part
                if step is not None:
                    step("rows", done.rows, 0)
                if before is None:
                    break
        text = (
            f"{done.rows} rows judged again: {done.accepted} accepted, {done.duplicates} known already, "
            f"{done.conflicts} in conflict, {done.quarantined} still quarantined, {done.dropped} dropped"
        )
        return Shown((text,), done.to_json())

    perform(context, as_json, work)


@quarantine.command()
def drop(
    context: typer.Context,
    reason: Reason = "",
    cause: Cause = "",
    source: Source = "",
    batch: Batch = "",
    everything: Annotated[bool, typer.Option("--all", help="Drop all that is there.")] = False,
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Take rows out of quarantine for good."""
    if not (cause or source or batch or everything):
        raise typer.BadParameter("say which rows: --cause, --source, --batch or --all")

    async def work(service: Service) -> Result:
        from connector.usage import quarantine as rows
        from ledger.store.usage_quarantine import Chosen
        from rosterd.service import actor

        name = choose(service.settings, organization)
        dropped = await rows.drop(
            service.ledger, name, Chosen(cause, source, batch), now=service.clock(), actor=actor(), reason=reason
        )
        return Shown((f"{dropped} rows dropped",), {"dropped": dropped})

    perform(context, as_json, work)


def _opt(context: typer.Context, mails: list[str], reason: str, organization: str, as_json: bool, *, out: bool) -> None:
    async def work(service: Service) -> Result:
        from ledger.store import consent
        from rosterd.service import actor

        name = choose(service.settings, organization)
        async with service.ledger.write(name, Unleased.BY_HAND, at=service.clock()) as book:
            ids = await _identities(book, mails)
            if out:
                changed = await consent.opt_out(book, ids, cause=reason, actor=actor())
            else:
                changed = await consent.opt_in(book, ids, actor=actor(), reason=reason)
        return Shown((f"{changed} of {len(mails)} people changed",), {"changed": changed})

    perform(context, as_json, work)


async def _identities(reader: Reader, mails: list[str]) -> list[str]:
    """Ids by address; raises ``NotFound`` naming every address nobody has."""
    from ledger.identity import Email, IdentityState
    from ledger.store import people

    found: list[str] = []
    missing: list[str] = []
    for mail in mails:
        try:
            rows = await people.identities_by_mail(reader, Email.parse(mail).key)
        except ValueError:
            rows = []
        present = [str(row[1]) for row in rows if row[7] != IdentityState.REMOVED.value]
        found += present
        missing += [] if present else [mail]
    if missing:
        names = ", ".join(missing)
        raise NotFound(f"nobody has the address {names}", next_step="nothing was changed; correct the spelling")
    return found


async def _team_id(reader: Reader, name: str) -> tuple[str, str]:
    from ledger.identity import fold
    from ledger.store import people
    from rosterd.faults import close

    teams = await people.open_teams(reader)
    for row in teams:
        if row[2] == fold(name):
            return str(row[0]), str(row[1])
    hint = close(name, [row[1] for row in teams])
    raise NotFound(f"unknown Team {name!r}{hint}", where="TEAM", next_step="rosterd usage status lists them")


def _basis_lines(basis: LegalBasis | None) -> tuple[str, ...]:
    if basis is None:
        return ("no legal basis is recorded: no usage is collected (R13c)", "  → rosterd usage basis --help")
    return (
        f"legal basis: {basis.kind.value}, from {basis.effective_on}, for {', '.join(basis.purposes)}; "
        f"of {', '.join(basis.person_categories)}; evidence: {basis.evidence}",
    )


def _document(basis: LegalBasis | None) -> dict[str, Any] | None:
    if basis is None:
        return None
    return {
        "kind": basis.kind.value,
        "purposes": basis.purposes,
        "person_categories": basis.person_categories,
        "transfers": basis.transfers,
        "effective_on": basis.effective_on,
        "evidence": basis.evidence,
    }


def _team(team: TeamReporting) -> dict[str, Any]:
    return {"team": team.name, "tier": str(team.tier), "user_level": team.user_level, "named": team.personal_data}


def _on(value: bool) -> str:
    return "on" if value else "off"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{text!r} is not a day", where="--effective-on", next_step="write YYYY-MM-DD") from error


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    root.add_typer(app, name="usage")
