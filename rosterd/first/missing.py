"""What a customer that has a file still lacks: keys, secrets, the ledger; each with the command that mends it.

Looks at files and the environment; connects to nothing and changes nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ledger.modes import not_ours_alone
from ledger.secret import SecretRef
from rosterd.checks.keys import secrets_of
from rosterd.first.steps import ask_for, is_set, rosterd_command
from rosterd.settings import Settings


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that is not there, or not as it must be, and the command to type."""

    what: str
    command: str


def lacks(settings: Settings, organization: str) -> list[Lack]:
    """Everything, in the order in which it is needed. Raises ``NotFound`` for an organization that has no file."""
    installation, customer = settings.installation, settings.customer(organization)
    found = [
        *_key("the key of tokens", installation.secrets.pepper),
        *_key("the key of pseudonyms", installation.secrets.pseudonym_key),
        *_open(installation.saml.signing_key),  # it is made at its first use
    ]
    for reference in secrets_of(installation.database, installation.mail, customer.settings):
        found += _secret(reference)
    folder = installation.database.folder
    if folder is not None and not (file := folder / "ledger.db").is_file():
        said = f"there is no ledger: {file} (where there was one, restore its backup)"
        found.append(Lack(said, rosterd_command(settings.file, "serve")))
    return list(dict.fromkeys(found))


def open_keys(files: list[Path]) -> list[Lack]:
    """Keys that are there already and are not their owner's alone."""
    return [Lack(*found) for file in files if (found := not_ours_alone(file))]


def _key(what: str, reference: SecretRef) -> Iterator[Lack]:
    """A key of the installation."""
    if reference.scheme == "file" and not os.path.lexists(reference.name):
        file, folder = shlex.quote(reference.name), shlex.quote(str(Path(reference.name).parent))
        made = f"(umask 077 && mkdir -p {folder} && head -c 32 /dev/urandom | base64 > {file})"
        yield Lack(f"{what} is not there: {reference.name} (where there was one, restore its backup)", made)
    else:
        yield from _secret(reference)


def _secret(reference: SecretRef) -> Iterator[Lack]:
    yield from _open(reference)
    if not is_set(reference):
        yield Lack(f"the secret {reference} is not set", ask_for(reference))


def _open(reference: SecretRef) -> list[Lack]:
    return open_keys([Path(reference.name)]) if reference.scheme == "file" else []
