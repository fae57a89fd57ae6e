"""publish · report held · report runs · report usage: what waits, what runs did, and what was published.

``report held`` says what waits for approval, why, for how long, and who is in it (G2, G3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import BadInput, NotFound
from rosterd.verbs.console import (
    SHORT_ID,
    Grid,
    Json,
    OneOrganization,
    Result,
    Session,
    Shown,
    choose,
    perform,
    progress,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from connector.reconcile.plan.settings import LimitSettings
    from ledger.publication import Publication
    from ledger.store.runs import HeldSet
    from rosterd.service import Service

app = typer.Typer(help="What was published, and what runs did.", no_args_is_help=True)
_COLUMNS = ["team_id", "user_key", "is_active", "usage_date"]


def publish(context: typer.Context, organization: OneOrganization = "", as_json: Json = False) -> None:
    """Make everything that was taken in visible to reports, as one publication."""
    session: Session = context.obj

    async def work(service: Service) -> Result:
        from connector.usage.publish import publish as publish_usage

        await service.register()
        name = choose(service.settings, organization)
        settings = service.settings.customer(name).settings.reporting
        with progress(session) as step:
            counted = None if step is None else lambda done, total: step("days", done, total)
            made = await publish_usage(
                service.ledger,
                service.warehouse(),
                name,
                now=service.clock(),
                secret=service.pseudonym_key(),
                settings=settings,
                progress=counted,
            )
        rows = {dataset: table.rows for dataset, table in sorted(made.tables.items())}
        grid = Grid(("dataset", "rows"), tuple((dataset, str(count)) for dataset, count in rows.items()))
        return Shown((_named(made),), {"publication": made.id, "number": made.number, "rows": rows}, grid)

    perform(context, as_json, work)


@app.command()
def usage(
    context: typer.Context,
    organization: OneOrganization = "",
    since: Annotated[str, typer.Option("--from", help="First day, YYYY-MM-DD; 30 days back when left out.")] = "",
    until: Annotated[str, typer.Option("--to", help="First day no longer counted; tomorrow when left out.")] = "",
    as_json: Json = False,
) -> None:
    """Published usage by Team; groups below the organization's smallest size are not counted out."""

    async def work(service: Service) -> Result:
        from ledger.store import publications

        name = choose(service.settings, organization)
        last = _day(until) if until else service.clock().date() + timedelta(days=1)
        first = _day(since) if since else last - timedelta(days=30)
        if first >= last:
            what = f"--from {first} is not before --to {last}, the first day that is no longer counted"
            raise BadInput(what, next_step=f"--to {first + timedelta(days=1)} counts that one day")
        async with service.ledger.read(name) as reader:
            publication = await publications.latest(reader)
        if publication is None:
            raise NotFound("nothing was published yet", where=name, next_step="rosterd publish")
        names = await _team_names(service, name, publication)
        found = await _by_team(service, name, publication, first, last)
        least = service.settings.customer(name).settings.reporting.min_group_size
        rows = [_row(names, least, item) for item in found]
        document = {"publication": publication.id, "from": first, "to": last, "teams": rows}
        cells = tuple((row["team"], _count(row["people"], least), str(row["days_used"])) for row in rows)
        grid = Grid(("Team", "people", "days used"), cells)
        return Shown((f"{_named(publication)}; usage from {first} to {last}",), document, grid)

    perform(context, as_json, work)


@app.command("runs")
def list_runs(
    context: typer.Context,
    organization: OneOrganization = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="Newest runs to list.")] = 20,
    as_json: Json = False,
) -> None:
    """The newest runs: what each did, from what was committed (A4)."""

    async def work(service: Service) -> Result:
        from connector.reconcile.plan.words import expiry
        from ledger.instant import to_minute
        from ledger.store import runs

        name = choose(service.settings, organization)
        async with service.ledger.read(name) as reader:
            rows = await runs.latest(reader, limit)
            waiting = await runs.held_sets(reader, ("open",))
        document = {"runs": [row.to_json() for row in rows], "held": [item.to_json() for item in waiting]}
        cells = tuple(
            (row.id[:SHORT_ID], row.kind, row.state, to_minute(row.started_at), _counts(row.counts)) for row in rows
        )
        lines = tuple(
            f"held: {item.digest[:SHORT_ID]} ({len(item.changes)} changes, {item.to_json()['why']});"
            f" {expiry(item.expires_at, service.clock())}"
            for item in waiting
        )
        return Shown(lines, document, Grid(("run", "kind", "state", "started", "changes"), cells))

    perform(context, as_json, work)


@app.command()
def held(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="Only this one, with everybody in it.")] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """What waits for approval; with a digest, everybody in that held set."""

    async def work(service: Service) -> Result:
        from connector.reconcile.apply.held_sets import find
        from connector.reconcile.plan.words import expiry
        from ledger.store import runs

        name = choose(service.settings, organization)
        limits = service.settings.customer(name).settings.limits
        async with service.ledger.read(name) as reader:
            found = [await find(reader, digest)] if digest else await runs.held_sets(reader, ("open",))
        now = service.clock()
        lines = [line for item in found for line in held_lines(item, limits, now)]
        documents = [{**item.to_json(), "expires": expiry(item.expires_at, now)} for item in found]
        if not digest:
            return Shown(tuple(lines) or ("nothing is held",), {"held": documents})
        rows = tuple(_held_row(change) for change in found[0].changes)
        document = {**documents[0], "state": found[0].state, "what": list(found[0].changes)}
        return Shown(tuple(lines), document, Grid(("person", "change", "what", "because"), rows))

    perform(context, as_json, work)


async def _team_names(service: Service, organization: str, publication: Publication) -> dict[str, str]:
    from ledger.published.datasets import TEAMS

    table = await _table(service, organization, publication, TEAMS.name, ["team_id", "team_name"])
    return dict(zip(table["team_id"].to_pylist(), table["team_name"].to_pylist(), strict=True))


async def _by_team(
    service: Service, organization: str, publication: Publication, first: date, last: date
) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from ledger.published.datasets import USAGE_DAILY

    table = await _table(service, organization, publication, USAGE_DAILY.name, _COLUMNS, first, last)
    days = table["usage_date"]
    bounds = (pa.scalar(first, pa.date32()), pa.scalar(last, pa.date32()))
    inside = pc.and_(pc.greater_equal(days, bounds[0]), pc.less(days, bounds[1]))
    active = table.filter(pc.and_(inside, table["is_active"]))
    grouped = active.group_by("team_id").aggregate([("user_key", "count_distinct"), ("user_key", "count")])
    found: list[dict[str, Any]] = grouped.to_pylist()
    return found


async def _table(
    service: Service,
    organization: str,
    publication: Publication,
    dataset: str,
    columns: list[str],
    first: date | None = None,
    last: date | None = None,
) -> pa.Table:
    published = publication.tables.get(dataset)
    if published is None:
        raise NotFound(f"{dataset} was never published", where=organization, next_step="rosterd publish")
    scan = await service.warehouse().scan(organization, dataset, published.snapshot, since=first, until=last)
    return scan.arrow_dataset().to_table(columns=columns)


def _row(names: dict[str, str], least: int, item: dict[str, Any]) -> dict[str, Any]:
    people = int(item["user_key_count_distinct"])
    few = people < least
    return {
        "team": names.get(item["team_id"], item["team_id"]),
        "people": None if few else people,
        "days_used": int(item["user_key_count"]),
        "suppressed": few,
    }


def _count(people: int | None, least: int) -> str:
    return f"fewer than {least}" if people is None else str(people)


def _counts(counts: Any) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


def _named(publication: Publication) -> str:
    from ledger.instant import to_text

    return f"publication {publication.number} ({publication.id}) of {to_text(publication.created_at)}"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise BadInput(f"{text!r} is not a day", next_step="write YYYY-MM-DD") from error


def held_lines(item: HeldSet, limits: LimitSettings, now: datetime) -> Sequence[str]:
    """How a held set stands, and what lets it through."""
    from connector.reconcile.plan.freeze import frozen
    from connector.reconcile.plan.words import expiry, moment, people
    from connector.reconcile.show.awaiting import approve_command
    from ledger.counted import counted

    kinds = Counter(str(change["kind"]) for change in item.changes)
    who = people(len({change["subject"] for change in item.changes}))
    what = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    undecided = item.state in {"open", "superseded"}
    since = f"held since {moment(item.created_at)}" + (f", {expiry(item.expires_at, now)}" if undecided else "")
    lines = [f"held set {item.digest[:12]} ({item.state}): {who}, {what}; {since}"]
    lines += [f"  because {why}" for why in item.why.splitlines()]
    lines += [f"  approved by {entry['by']}: {entry['reason']}" for entry in item.approvals]
    left = limits.approvers - len(item.approvals)
    if undecided and item.expires_at > now:
        if item.approvals or left > 1:
            lines.append(f"  needs {counted(left, 'more approval')}, each by another principal")
        through = bool(frozen(limits.freeze, now))
        lines.append(f"  if it is meant: {approve_command(item.digest, despite_freeze=through)}")
    return [*lines, f"  everybody in it: rosterd report held {item.digest[:12]}"]


def _held_row(change: Any) -> tuple[str, str, str, str]:
    arrow = f"{change['before'] or '·'} → {change['after'] or '·'}"
    what = f"{change['object']}: {arrow}" if change["object"] else arrow
    return (str(change["subject"]), str(change["kind"]), what, str(change["cause"]))


def add_to(root: typer.Typer) -> None:
    """Register the verbs."""
    root.command()(publish)
    root.add_typer(app, name="report")
