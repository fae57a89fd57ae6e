"""Where published tables are: namespace per organization, warehouse and catalog addresses.

Prohibition: opens no table.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

from ledger.errors import BadInput
from ledger.modes import private_file, private_folder

SCHEMA = "catalog"
"""The schema of the table catalog on PostgreSQL."""


def namespace(organization: str) -> str:
    """``rosterd_<organization>``, every character but a small letter or digit written as ``_xHEX_``.

    Injective, so that two organizations never share a namespace: ``_`` itself is doubled.
    """
    out = []
    for character in organization:
        if character == "_":
            out.append("__")
        elif character.isascii() and (character.islower() or character.isdigit()):
            out.append(character)
        else:
            out.append(f"_x{ord(character):x}_")
    return "rosterd_" + "".join(out)


def warehouse_uri(location: str) -> str:
    """``file:FOLDER`` (made, and made absolute) or ``s3://…`` as Iceberg writes it; raises ``BadInput``."""
    if location.startswith("s3://"):
        return location.rstrip("/")
    if location.startswith("file:"):
        path = Path(location.removeprefix("file://").removeprefix("file:")).resolve()
        private_folder(path)
        return f"file://{path}"
    raise BadInput(
        "the warehouse is neither a folder nor an S3 prefix",
        where="storage.warehouse",
        next_step="use file:FOLDER or s3://BUCKET/PREFIX",
    )


def catalog_uri(url: str) -> str:
    """Where the catalog is, from the ledger's URL; makes folder and file. Raises ``BadInput``."""
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///")).resolve() / "catalog.db"
        private_file(file)
        return f"sqlite:///{file}"
    if url.startswith("postgresql://"):
        joint = "&" if urlsplit(url).query else "?"
        return (
            url.replace("postgresql://", "postgresql+psycopg://", 1)
            + joint
            + "options="
            + quote(f"-csearch_path={SCHEMA}")
        )
    raise BadInput("the database is neither SQLite nor PostgreSQL", where="database.url")
