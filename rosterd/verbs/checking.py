"""check: is everything set up, and (--live) does everything really answer? clock: is this host's clock right?

With ``--live --daemon`` it is the container's health check, which asks the daemon alone: a directory that does not
answer, or a file that was broken since, is no reason to end a daemon that goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rosterd.verbs.console import (
    Json,
    OneOrganization,
    Reason,
    Result,
    Session,
    Shown,
    answer,
    chosen,
    perform,
    progress,
)

if TYPE_CHECKING:
    from connector.directory.base import CheckLine
    from rosterd.service import Service


clock = typer.Typer(help="This host's clock, where it is not believed.", no_args_is_help=True)


@clock.callback()
def about_clock() -> None:
    """This host's clock, where it is not believed."""


def check(
    context: typer.Context,
    live: Annotated[bool, typer.Option("--live", help="Really connect to everything.")] = False,
    audit: Annotated[bool, typer.Option("--audit", help="Verify the audit chain.")] = False,
    moved: Annotated[
        bool, typer.Option("--moved", help="public_url is meant to be another now: write it down, say who must change.")
    ] = False,
    daemon: Annotated[
        bool, typer.Option("--daemon", help="With --live: ask the running daemon, and nothing else.")
    ] = False,
    mail_to: Annotated[
        str, typer.Option("--mail-to", metavar="ADDRESS", help="With --live: send a test mail to this address.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Check the configuration; every failure is named with its fix."""
    session: Session = context.obj
    session.as_json = session.as_json or as_json
    if daemon:
        if audit or moved or not live:
            raise typer.BadParameter("--daemon asks the running daemon alone: rosterd check --live --daemon")
        from rosterd.loading import load_server
        from rosterd.readiness import ask_daemon

        answer(session, _result((), [ask_daemon(load_server(session.config), required=True)]))
    if mail_to and not live:
        raise typer.BadParameter("--mail-to really connects: rosterd check --live --mail-to ADDRESS")
    from rosterd.checks import answers, book, mail
    from rosterd.checks.offline import offline

    settings = session.load()
    found = list(offline(settings))
    if not live and not audit and not moved:
        answer(session, _result(found, live=False))

    async def work(service: Service) -> Result:
        if moved:
            found.extend([line async for line in book.confirm_moved(service)])
        found.extend([line async for line in book.known_offerings(service)])
        found.extend([line async for line in book.own_addresses(service)])
        found.extend([line async for line in book.declared_domains(service)])
        found.extend([line async for line in mail.outbox(service)])
        found.extend([line async for line in mail.invites(service)])
        connected: list[CheckLine] = []
        if live:
            with progress(session) as step:
                connected = [line async for line in answers.every(service, step)]
            serving = connected[-1].ok and not connected[-1].note  # the daemon's line
            connected += [line async for line in mail.live(service, mail_to, serving=serving)]
        if audit:
            found.extend([line async for line in book.audits(service)])
        return _result(found, connected)

    perform(context, as_json, work)


@clock.command()
def accept(
    context: typer.Context,
    reason: Reason = "",
    organization: OneOrganization = "",
    as_json: Json = False,
) -> None:
    """Say that this host's clock is right: from now on what is written is compared with it."""

    async def work(service: Service) -> Result:
        from ledger.audit import AuditEvent
        from ledger.instant import to_text
        from ledger.store import audit
        from rosterd.service import actor

        now = service.clock()
        lines, found = [], {}
        for name in chosen(service.settings, organization):
            async with service.ledger.accept_clock(name, at=now) as book:
                after = {"clock": to_text(now), "instant": to_text(book.at)}
                await audit.append(book, [AuditEvent(actor(), "clock.accepted", "clock", reason, after=after)])
            async with (await service.inbox()).accept_clock(name, at=now):
                pass
            stands = f"; its time stands at {after['instant']} until the clock is there" if book.at > now else ""
            lines.append(f"{name}: the clock of this host, {after['clock']}, is accepted{stands}")
            found[name] = after
        return Shown(tuple(lines), {"accepted": found})

    perform(context, as_json, work)


def _result(settings: Sequence[CheckLine], connected: Sequence[CheckLine] = (), *, live: bool = True) -> Shown:
    """Exit 0; 2 when something is configured wrongly; 4 when something does not answer."""
    lines: list[str] = []
    for line in (*settings, *connected):
        lines.append(f"{'FAIL' if not line.ok else 'note' if line.note else 'ok  '}  {line.what}")
        if line.fix and (line.note or not line.ok):
            lines.append(f"      → {line.fix}")
    code = 2 if not all(line.ok for line in settings) else 4 if not all(line.ok for line in connected) else 0
    if not live and code == 0:
        lines.append("The files are good; rosterd check --live really connects.")
    document = {
        "ok": code == 0,
        "checks": [
            {"ok": line.ok, "what": line.what, "fix": line.fix, "note": line.note} for line in (*settings, *connected)
        ],
    }
    return Shown(tuple(lines), document, exit_code=code)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(check)
    app.add_typer(clock, name="clock")
