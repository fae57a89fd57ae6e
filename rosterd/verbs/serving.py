"""serve, reload: the daemon. demo: a small company's story, played on a machine of one's own."""

from __future__ import annotations

import importlib
import logging
import os
import signal
import time
from typing import Annotated

import typer

from ledger.errors import NotFound, Refused, Unavailable
from rosterd.programs import Only
from rosterd.verbs.console import Json, Session, Shown, answer

_RELOADED_WITHIN, _LOOK_AGAIN = 30.0, 0.1  # seconds
_log = logging.getLogger(__name__)


def serve_command(
    context: typer.Context,
    only: Annotated[Only, typer.Option("--only", help="One of the two programs alone.")] = Only.BOTH,
) -> None:
    """Run the daemon until SIGTERM; SIGHUP reloads the files."""
    session: Session = context.obj
    settings = session.load()
    import uvloop

    from rosterd import logs
    from rosterd.checks.files import open_files
    from rosterd.daemon import serve
    from rosterd.service import Service

    section = settings.installation.logging
    logs.configure(form=section.format, level="debug" if session.debug else section.level)

    for line in open_files(settings):
        if not line.ok:
            logs.event(_log, "file.open_to_others", level=logging.WARNING, what=line.what, fix=line.fix)

    async def run() -> None:
        async with Service.opened(settings, makes=True) as service:
            await serve(service, only)

    uvloop.run(run())


def reload_command(context: typer.Context, as_json: Json = False) -> None:
    """Let the daemon on this host read the files again (SIGHUP), and wait until it has."""
    from rosterd.readiness import running_daemon

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    settings = session.load()  # a file that is wrong is said here, and nothing is reloaded
    before = running_daemon(settings)
    if before is None:
        where = f"operator_listen {settings.installation.server.operator_listen}"
        raise Unavailable("no daemon of this rosterd.toml answers on this host", where=where, next_step="rosterd serve")
    try:
        os.kill(before.pid, signal.SIGHUP)
    except PermissionError as error:
        step = "run it as the user of the daemon, or: systemctl reload rosterd"
        raise Refused(f"process {before.pid} belongs to somebody else", where="reload", next_step=step) from error
    until, after = time.monotonic() + _RELOADED_WITHIN, before
    while (after.reloads, after.refused) == (before.reloads, before.refused) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN)
        after = running_daemon(settings) or after
    if after.reloads == before.reloads or after.refused > before.refused:
        step = "its log says which and why (reload.fault, reload.refused)"
        raise Refused(
            "the daemon keeps some or all of its settings of before", where=f"pid {before.pid}", next_step=step
        )
    names = ", ".join(after.files)
    answer(session, Shown((f"the daemon goes by the files as they are now: {names}",), {"reloaded": list(after.files)}))


def demo(
    context: typer.Context,
    keep: Annotated[bool, typer.Option("--serve", help="Keep it running and print what to try.")] = False,
    people: Annotated[int, typer.Option("--people", min=20, max=100_000, help="Size of the company.")] = 300,
    as_json: Json = False,
) -> None:
    """A small company, its identity provider and its directory: a story in eight acts, really executed."""
    try:
        story = importlib.import_module("rosterd.demo.story")
    except ModuleNotFoundError as error:
        raise NotFound("this build has no demo", next_step="install rosterd with its demo") from error
    session: Session = context.obj
    raise typer.Exit(int(story.main(serve=keep, people=people, as_json=as_json or session.as_json)))


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command(name="serve")(serve_command)
    app.command(name="reload")(reload_command)
    app.command()(demo)
