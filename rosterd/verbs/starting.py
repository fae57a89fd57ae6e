"""init: a first configuration and its keys."""

from __future__ import annotations

import asyncio
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.errors import BadInput
from ledger.identity import a_label
from ledger.modes import private_file
from ledger.team import ORGANIZATION_ID
from rosterd.verbs.console import Json, Session, Shown, answer

if TYPE_CHECKING:
    from rosterd.settings import Settings


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder to write into.")] = Path(),
    organization: Annotated[str, typer.Option("--organization", "-o", help="Id of the first customer.")] = "acme",
    domain: Annotated[str, typer.Option("--domain", help="Mail domain of the first customer.")] = "acme.example",
    as_json: Json = False,
) -> None:
    """Write a first configuration and generate its keys (mode 0600). Overwrites nothing."""
    from connector.sso.saml.signing import ensure_key
    from rosterd.clock import utc_now
    from rosterd.first_files import SAML_CERTIFICATE, SAML_KEY, first_files
    from rosterd.loading import load

    session: Session = context.obj
    session.as_json = session.as_json or as_json
    if not re.fullmatch(ORGANIZATION_ID, organization):
        raise BadInput(f"{organization!r} is no id", where="--organization", next_step=f"choose {ORGANIZATION_ID}")
    try:
        domain = a_label(domain)
    except ValueError as error:
        raise BadInput(str(error), where="--domain", next_step="name the domain of the mail addresses") from error
    files = first_files(organization, domain)
    existing = [str(folder / name) for name in files.configuration if (folder / name).exists()]
    if existing:
        raise BadInput(
            f"there is a configuration already: {', '.join(existing)}",
            where=str(folder),
            next_step="choose another folder; rosterd check reads the one that is there",
        )
    written: list[str] = []
    for name, text in files.configuration.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        for path in (folder / name, (folder / name).parent):  # whoever else wrote them would say whose keys are read
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
        written.append(name)
    for name, make in files.secrets.items():
        if private_file(folder / name, make()):
            written.append(name)
    if ensure_key(folder / SAML_KEY, folder / SAML_CERTIFICATE, name=domain, now=utc_now()):
        written += [SAML_KEY, SAML_CERTIFICATE]
    written += _make_stores(load(folder / "rosterd.toml", {}))
    lines = [f"written: {folder / name}" for name in written]
    document: dict[str, Any] = {"folder": str(folder), "written": written}
    steps = (f"edit {folder / 'organizations' / f'{organization}.toml'}", f"rosterd -c {folder / 'rosterd.toml'} check")
    answer(session, Shown((*lines, *(f"  → {step}" for step in steps)), {**document, "next": list(steps)}))


def _make_stores(settings: Settings) -> list[str]:
    """An empty ledger and inbox, unless there is a ledger: no other command but ``serve`` makes one."""
    from ledger.store.engine import Ledger
    from rosterd.service import Service

    file = Ledger.file(settings.installation.database.url)
    if file.exists():
        return []

    async def make() -> None:
        async with Service.opened(settings, makes=True) as service:
            await service.inbox()

    asyncio.run(make())
    return [f"{file.parent.name}/{name}.db" for name in ("ledger", "inbox")]


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(init)
