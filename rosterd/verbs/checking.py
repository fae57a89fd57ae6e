"""check: is everything set up, and (--live) does everything really answer?

With ``--live --daemon`` it is the container's health check, which asks the daemon alone: a directory that does not
answer, or a file that was broken since, is no reason to end a daemon that goes on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from rosterd.verbs.console import Json, Result, Session, Shown, answer, perform

if TYPE_CHECKING:
    from connector.directory.base import CheckLine
    from rosterd.service import Service


def check(
    context: typer.Context,
    live: Annotated[bool, typer.Option("--live", help="Really connect to everything.")] = False,
    audit: Annotated[bool, typer.Option("--audit", help="Verify the audit chain.")] = False,
    daemon: Annotated[
        bool, typer.Option("--daemon", help="With --live: ask the running daemon, and nothing else.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check the configuration; every failure is named with its fix."""
    session: Session = context.obj
    session.as_json = session.as_json or as_json
    if daemon:
        if audit or not live:
            raise typer.BadParameter("--daemon asks the running daemon alone: rosterd check --live --daemon")
        from rosterd.loading import load_server
        from rosterd.readiness import ask_daemon

        answer(session, _result((), [ask_daemon(load_server(session.config), required=True)]))
    from rosterd import checks

    found = checks.offline(session.load())
    if not live and not audit:
        answer(session, _result(found, live=False))

    async def work(service: Service) -> Result:
        found.extend([line async for line in checks.known_offerings(service)])
        connected: list[CheckLine] = []
        if live:
            connected = [line async for line in checks.live(service)]
        if audit:
            found.extend([line async for line in checks.audits(service)])
        return _result(found, connected)

    perform(context, as_json, work)


def _result(settings: Sequence[CheckLine], connected: Sequence[CheckLine] = (), *, live: bool = True) -> Shown:
    """Exit 0; 2 when something is configured wrongly; 4 when something does not answer."""
    lines: list[str] = []
    for line in (*settings, *connected):
        lines.append(f"{'ok  ' if line.ok else 'FAIL'}  {line.what}")
        if not line.ok and line.fix:
            lines.append(f"      → {line.fix}")
    code = 2 if not all(line.ok for line in settings) else 4 if not all(line.ok for line in connected) else 0
    if not live and code == 0:
        lines.append("The files are good; rosterd check --live really connects.")
    document = {
        "ok": code == 0,
        "checks": [{"ok": line.ok, "what": line.what, "fix": line.fix} for line in (*settings, *connected)],
    }
    return Shown(tuple(lines), document, exit_code=code)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(check)
