"""check: is everything set up, and (--live) does everything really answer? Also the container's health check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from connector.directory.base import CheckLine
from rosterd import checks
from rosterd.service import Service
from rosterd.verbs.console import Json, Result, Session, Shown, answer, perform


def check(
    context: typer.Context,
    live: Annotated[bool, typer.Option("--live", help="Really connect to everything.")] = False,
    audit: Annotated[bool, typer.Option("--audit", help="Verify the audit chain.")] = False,
    daemon: Annotated[bool, typer.Option("--daemon", help="With --live: the daemon must answer.")] = False,
    as_json: Json = False,
) -> None:
    """Check the configuration; every failure is named with its fix."""
    session: Session = context.obj
    session.as_json = session.as_json or as_json
    found = checks.offline(session.load())
    if not live and not audit:
        answer(session, _result(found, live=False))

    async def work(service: Service) -> Result:
        found.extend([line async for line in checks.known_offerings(service)])
        connected: list[CheckLine] = []
        if live:
            connected = [line async for line in checks.live(service, daemon=daemon)]
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
