"""init: a first configuration and its keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ledger.errors import BadInput
from rosterd.verbs.console import Json, Session, Shown, answer


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder to write into.")] = Path(),
    organization: Annotated[str, typer.Option("--organization", "-o", help="Id of the first customer.")] = "acme",
    domain: Annotated[str, typer.Option("--domain", help="Mail domain of the first customer.")] = "acme.example",
    as_json: Json = False,
) -> None:
    """Write a first configuration and generate its keys (mode 0600). Overwrites nothing."""
    from connector.sso.signing import ensure_key
    from rosterd.clock import utc_now
    from rosterd.first_files import SAML_CERTIFICATE, SAML_KEY, first_files

    session: Session = context.obj
    session.as_json = session.as_json or as_json
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
        written.append(name)
    for name, make in files.secrets.items():
        if not (folder / name).exists():
            _write_secret(folder / name, make())
            written.append(name)
    if ensure_key(folder / SAML_KEY, folder / SAML_CERTIFICATE, name=domain, now=utc_now()):
        written += [SAML_KEY, SAML_CERTIFICATE]
    lines = [f"written: {folder / name}" for name in written]
    document: dict[str, Any] = {"folder": str(folder), "written": written}
    steps = (f"edit {folder / 'organizations' / f'{organization}.toml'}", f"rosterd -c {folder / 'rosterd.toml'} check")
    answer(session, Shown((*lines, *(f"  → {step}" for step in steps)), {**document, "next": list(steps)}))


def _write_secret(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)


def add_to(app: typer.Typer) -> None:
    """Register the verbs."""
    app.command()(init)
