"""serve: the daemon. demo: a small company's story, played on a machine of one's own."""

from __future__ import annotations

import importlib
import logging
from typing import Annotated

import typer

from ledger.errors import NotFound
from rosterd.programs import Only
from rosterd.verbs.console import Json, Session

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
    app.command()(demo)
