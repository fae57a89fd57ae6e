"""The commands that come next, as a shell takes them: quoted, with the configuration named where it has to be."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from ledger.errors import BadInput
from ledger.secret import SecretRef
from rosterd.checks.keys import secrets_of
from rosterd.first.answers import DIRECTORY_ID
from rosterd.settings import Settings

SHOWN = 3
"""How many commands are named; each of them names the ones after it."""


def rosterd_command(config: Path, *words: str) -> str:
    """``rosterd [-c CONFIG] WORDS``; without ``-c`` where rosterd reads this file by itself."""
    by_itself = Path(os.environ.get("ROSTERD_CONFIG") or "rosterd.toml")
    named = () if by_itself.absolute() == config.absolute() else ("-c", str(config))
    return shlex.join(("rosterd", *named, *words))


def next_steps(settings: Settings, organization: str) -> tuple[str, ...]:
    """The next three commands for a customer, each of which works as it stands."""
    return tuple(_steps(settings, organization))[:SHOWN]


def ask_for(reference: SecretRef) -> str:
    """The command that asks for a secret and puts it where it is looked for: it is typed, and shown nowhere."""
    if reference.scheme == "env":
        return f"read -rs {reference.name} && export {reference.name}"
    file = shlex.quote(reference.name)
    folder = shlex.quote(str(Path(reference.name).parent))
    return f'(umask 077 && mkdir -p {folder} && read -rs secret && printf "%s" "$secret" > {file})'


def is_set(reference: SecretRef) -> bool:
    """Whether a secret can be had."""
    try:
        reference.reveal()
    except BadInput:
        return False
    return True


def _steps(settings: Settings, organization: str) -> Iterator[str]:
    customer = settings.customer(organization)
    named = ("--organization", organization) if len(settings.customers) > 1 else ()
    config = settings.file
    kinds = [item.kind for item in customer.settings.directories]
    if not kinds:
        yield f'"${{EDITOR:-vi}}" {shlex.quote(str(customer.file))}'
    yield from (ask_for(item) for item in secrets_of(customer.settings) if not is_set(item))
    yield rosterd_command(config, "check")
    if "scim_inbox" in kinds:
        words = ("--scope", "scim", "--directory", DIRECTORY_ID, *named)
        yield rosterd_command(config, "token", "create", f"{organization} pushes", *words)
    for domain in customer.settings.domains[:1]:
        yield rosterd_command(config, "sso", "add", domain.name, *named)
    yield rosterd_command(config, "sso", "guide")
