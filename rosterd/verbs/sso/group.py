"""The verbs of `rosterd sso`: prove a domain, connect the identity provider, test, turn on (R1, R5)."""

from __future__ import annotations

import typer

from rosterd.verbs.sso import bonds, directory_sync, domains, guide, provider, status, switch


def add_to(root: typer.Typer) -> None:
    """Register the verbs; ``sso add-domain``, ``sso enable-sync`` and ``sso disable-sync`` are other names."""
    sso = typer.Typer(
        help="Single sign-on: prove a domain, connect the identity provider, test, turn on.", no_args_is_help=True
    )
    for part in (status, domains, provider, switch, bonds, guide):
        part.add_to(sso)
    sso.command("add-domain", hidden=True)(domains.add)
    sso.command("enable-sync", hidden=True)(directory_sync.enable)
    sso.command("disable-sync", hidden=True)(directory_sync.disable)
    root.add_typer(sso, name="sso")
