"""The files of a first configuration, as ``rosterd init`` writes them: small, valid, and ready to be edited.

Makes text and keys; writes nothing.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import BadInput
from rosterd.first.answers import DIRECTORY_ID, Answers
from rosterd.first.kinds import DirectoryKind
from rosterd.settings import InstallationSettings, OrganizationSettings
from rosterd.settings_docs import chosen, schemas

INSTALLATION = {
    "organizations": "organizations/*.toml",
    "server": {"listen": "127.0.0.1:8080", "public_url": "http://127.0.0.1:8080"},
    "database": {"url": "sqlite:///var"},
    "storage": {"warehouse": "file:var/warehouse"},
    "secrets": {"pepper": "file:secrets/pepper", "pseudonym_key": "file:secrets/pseudonym-key"},
}
"""What a first rosterd.toml says."""

SCHEMA_FOLDER = ".schema"
"""Where the JSON Schemas lie that the first line of each file names; editors check and complete with them."""

_EXAMPLES = "`python -m rosterd.settings_docs --write` writes config/ here, out of the rosterd that is installed"
_DIRECTORY_EXAMPLE = f"""
# Where people come from; rosterd reads it and never writes to it.
# [[directories]]
# id = "{DIRECTORY_ID}"
# kind = "ldif"
# file = "people.ldif"
"""
_MAPPING_EXAMPLE = f"""
# Which group gives which Team, and a seat of which offerings.
# [[mappings]]
# id = "design"
# directory = "{DIRECTORY_ID}"
# group = "design"
# team = "Design"
# offerings = ["CAD"]
"""

SAML_KEY = "secrets/saml-key.pem"
SAML_CERTIFICATE = "secrets/saml-certificate.pem"
"""Where ``[saml]`` expects the key that signs our sign-in requests, unless set otherwise."""

_KEPT_FROM_GIT = ("secrets", "var", "lab")
_IGNORED = """\
# Keys, the ledger and everything made while rosterd runs: none of it belongs into a repository.
/secrets/
/var/
/lab/
*.new
"""


@dataclass(frozen=True, slots=True)
class FirstFiles:
    """Path → text of the configuration and of what goes with it; path → maker of each key file (mode 0600)."""

    configuration: Mapping[str, str]
    beside: Mapping[str, str]
    secrets: Mapping[str, Callable[[], bytes]]


def first_files(answers: Answers, folder: Path) -> FirstFiles:
    """What ``rosterd init`` writes for an installation with one customer. Raises ``ManyErrors`` or ``BadInput``."""
    name = f"organizations/{answers.organization}.toml"
    return FirstFiles(
        configuration={"rosterd.toml": installation(), name: organization(answers, folder / name, folder)},
        beside={**schema_files(), **_ignores(folder)},
        secrets={"secrets/pepper": key, "secrets/pseudonym-key": key},
    )


def installation() -> str:
    """rosterd.toml."""
    head = f"""\
#:schema ./{SCHEMA_FOLDER}/rosterd.schema.json
# rosterd.toml: one per installation. Every other key, with its meaning: config/rosterd.example.toml
# ({_EXAMPLES})
"""
    return f"{head}\n{chosen(InstallationSettings, INSTALLATION)}"


def organization(answers: Answers, file: Path, folder: Path) -> str:
    """One customer's file, as it lies at ``file`` of the configuration in ``folder``."""
    schema = os.path.relpath(folder / SCHEMA_FOLDER / "organization.schema.json", file.parent)
    guide = f"# About this kind of directory: {answers.kind.guide}\n" if answers.kind.guide else ""
    head = f"""\
#:schema {schema if schema.startswith(".") else f"./{schema}"}
# One file per customer. Every other key, with its meaning: config/organizations/acme.example.toml
# ({_EXAMPLES})
{guide}# Who gets what: docs/guides/who-gets-what.md
"""
    examples = _DIRECTORY_EXAMPLE if answers.kind is DirectoryKind.LATER else ""
    examples += "" if answers.mappings else _MAPPING_EXAMPLE
    return f"{head}\n{chosen(OrganizationSettings, answers.tables(file, folder))}{examples}"


def organization_file(pattern: str, identifier: str, folder: Path) -> Path:
    """Where a customer's file belongs, so that ``organizations = "PATTERN"`` finds it. Raises ``BadInput``."""
    file = (folder / pattern).with_name(f"{identifier}.toml")
    if "*" in str(Path(pattern).parent) or not file.match(pattern):
        raise BadInput(
            f'organizations = "{pattern}" would not find a file {identifier}.toml',
            where=str(folder / "rosterd.toml"),
            next_step='set organizations = "organizations/*.toml", or write the file by hand',
        )
    return file


def schema_files() -> dict[str, str]:
    """The JSON Schemas of the rosterd that runs, where the first lines of the files look for them."""
    return {f"{SCHEMA_FOLDER}/{name}": text for name, text in schemas().items()}


def key() -> bytes:
    """A fresh key as text: 43 characters, 256 bits."""
    return secrets.token_urlsafe(32).encode("ascii") + b"\n"


def _ignores(folder: Path) -> dict[str, str]:
    """What keeps keys and the ledger out of git; a ``.gitignore`` that is there is somebody's own, and stays."""
    try:
        lines = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {".gitignore": _IGNORED}
    known = {line.strip().strip("/") for line in lines}
    return {f"{name}/.gitignore": "*\n" for name in _KEPT_FROM_GIT if name not in known and name != "lab"}
