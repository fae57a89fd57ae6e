"""import offerings | subscriptions | usage FILE: every bad row is named at once, and then nothing is imported.

``--template`` prints such a file instead. Usage is different: good rows are taken in, bad ones are quarantined with
their reasons (connector.usage.ingest).
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.jobs import Unleased
from rosterd.verbs.console import Json, OneOrganization, Result, Session, Shown, answer, choose, perform, progress

if TYPE_CHECKING:
    from connector.usage.files import Passed
    from connector.usage.ingest import IngestReport
    from rosterd.service import Service


class Form(StrEnum):
    """What a template is written in."""

    CSV = "csv"
    NDJSON = "ndjson"


class What(StrEnum):
    """What a file holds."""

    OFFERINGS = "offerings"
    SUBSCRIPTIONS = "subscriptions"
    USAGE = "usage"


def import_file(
    context: typer.Context,
    what: Annotated[
        What, typer.Argument(metavar="KIND", help="What the file holds: offerings, subscriptions or usage.")
    ],
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="CSV with a header, or NDJSON (.ndjson, .jsonl).")
    ] = None,
    template: Annotated[
        bool, typer.Option("--template", help="Print such a file: its columns explained, and example rows.")
    ] = False,
    form: Annotated[Form, typer.Option("--format", help="What --template is written in.")] = Form.CSV,
    encoding: Annotated[
        str, typer.Option("--encoding", help="Of a text, where it is not seen: utf-8, utf-16, cp1250, cp1252 …")
    ] = "",
    separator: Annotated[
        str, typer.Option("--separator", help="Of CSV, where it is not seen: comma, semicolon, tab or pipe.")
    ] = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Import offerings, subscriptions or usage events from a CSV or NDJSON file (usage: Parquet too)."""
    session: Session = context.obj
    if template:
        if file is not None:
            raise typer.BadParameter("--template reads no file: leave it out", param_hint="FILE")
        session.as_json = session.as_json or as_json
        answer(session, _template(what, form, separator))
    if file is None:
        raise typer.BadParameter(f"name the file; its format: rosterd import {what} --template", param_hint="FILE")

    async def work(service: Service) -> Result:
        await service.register()
        name = choose(service.settings, organization)
        if what is What.USAGE:
            return await _usage(session, service, name, file, encoding, separator)
        take = offerings if what is What.OFFERINGS else subscriptions
        return await take(service, name, file, encoding, separator)

    perform(context, as_json, work)


async def offerings(service: Service, name: str, file: Path, encoding: str = "", separator: str = "") -> Result:
    """Import the offerings of a file into organization ``name``; all of them or, with ``ManyErrors``, none."""
    from ledger.store import seats
    from rosterd import tabular

    values = tabular.offerings(file, tabular.read(file, "offerings", encoding, separator))
    changed = 0
    async with service.ledger.write(name, Unleased.INTAKE, at=service.clock()) as book:
        for value in values:
            changed += await seats.put_offering(book, value)
    return _imported("offerings", len(values), changed)


async def subscriptions(service: Service, name: str, file: Path, encoding: str = "", separator: str = "") -> Result:
    """Import the subscriptions of a file into organization ``name``; all of them or, with ``ManyErrors``, none."""
    from ledger.store import people, seats
    from rosterd import tabular

    rows = tabular.read(file, "subscriptions", encoding, separator)
    async with service.ledger.write(name, Unleased.INTAKE, at=service.clock()) as book:
        teams = {row[1]: row[0] for row in await people.open_teams(book)}
        codes = {item.code for item in await seats.open_offerings(book)}
        known = {item.id for item in await seats.open_subscriptions(book)}
        values = tabular.subscriptions(file, rows, teams=teams, offerings=codes, existing=known)
        changed = 0
        for value, contract in values:
            changed += await seats.put_subscription(book, value, contract)
    return _imported("subscriptions", len(values), changed)


async def _usage(session: Session, service: Service, name: str, file: Path, encoding: str, separator: str) -> Result:
    from connector.usage import files

    settings = service.settings.customer(name).settings.reporting
    with progress(session) as step:
        report = await files.import_file(
            service.ledger,
            name,
            file,
            now=service.clock(),
            settings=settings,
            progress=None
            if step is None
            else lambda passed: step("usage", passed.done, passed.total, counted=_so_far(passed)),
            encoding=encoding,
            separator=separator,
        )
    return UsageImported(report)


def _so_far(passed: Passed) -> str:
    """Rows as rows; bytes, where a file is measured in them, as bytes."""
    if not passed.in_bytes:
        return f"{passed.rows:,} of {passed.total:,} rows"
    from rich.filesize import decimal

    return f"{passed.rows:,} rows, {decimal(passed.done)} of {decimal(passed.total)}"


def _template(what: What, form: Form, separator: str) -> Shown:
    from rosterd.clock import utc_now
    from rosterd.templates import columns_of, template

    lines = template(what, utc_now().date(), separator, ndjson=form is Form.NDJSON)
    columns = [
        {"name": item.name, "required": item.needed, "holds": item.holds, "about": item.about}
        for item in columns_of(what)
    ]
    return Shown(tuple(lines), {"what": what, "format": form, "columns": columns, "template": "\n".join(lines) + "\n"})


_MOST_LINES = 20


class UsageImported:
    """The report of a usage import: exit 2 when rows were set aside, 3 when none was let in."""

    def __init__(self, report: IngestReport) -> None:
        self._report = report

    @property
    def exit_code(self) -> int:
        """0 · 2 something is wrong with the file · 3 nothing of it may be kept (no legal basis, opted out)."""
        report = self._report
        if report.quarantined_count or report.conflicts:
            return 2
        return 3 if report.dropped and not report.accepted + report.duplicates else 0

    @property
    def lines(self) -> tuple[str, ...]:
        """The counters, how many rows were set aside for each cause, and the first of them."""
        from connector.usage.judge import NO_BASIS

        report = self._report
        lines = [
            f"{report.accepted} accepted, {report.duplicates} known already, {report.conflicts} in conflict, "
            f"{report.quarantined_count} quarantined, {sum(report.dropped.values())} dropped"
        ]
        if report.fractions:
            lines.append(f"  {report.fractions} of them hold fractions of tokens: kept, and not published yet")
        lines += [f"  dropped {count}: {reason}" for reason, count in sorted(report.dropped.items())]
        if NO_BASIS in report.dropped:
            lines.append("  → nothing is collected without a legal basis (R13c): rosterd usage basis --help")
        lines += [f"  set aside {count}: {cause}" for cause, count in sorted(report.causes.items(), key=_most_first)]
        lines += [f"    {row.place}: {'; '.join(row.reasons)}" for row in report.quarantined[:_MOST_LINES]]
        if report.quarantined:
            lines.append("  → all that was set aside: rosterd usage quarantine list")
            lines.append("  → what a row holds: rosterd import usage --template")
        return tuple(lines)

    def to_json(self) -> object:
        """The report's own document."""
        return self._report.to_json()


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _imported(what: str, total: int, changed: int) -> Shown:
    text = f"{total} {what}: {changed} new or changed, {total - changed} as they were"
    return Shown((text,), {"what": what, "rows": total, "changed": changed})


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command(name="import")(import_file)
