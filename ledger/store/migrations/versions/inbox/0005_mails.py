"""By which mail addresses people are found."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BATCH = 1000
LONGEST = 250


def upgrade() -> None:
    """Create the table, and fill it from what was pushed so far, some rows at a time."""
    names = ("organization_id", "connection_id", "mail", "id")
    columns = [sa.Column(name, TEXT, nullable=False) for name in names]
    table = op.create_table("inbox_mail", *columns, sa.PrimaryKeyConstraint(*names))
    stored = sa.table("inbox_resource", *map(sa.column, ("organization_id", "connection_id", "kind", "id", "document")))
    key = sa.tuple_(stored.c.organization_id, stored.c.connection_id, stored.c.kind, stored.c.id)
    after = ("", "", "", "")
    while True:
        asked = sa.select(*key.clauses, stored.c.document).where(key > sa.tuple_(*after)).order_by(*key.clauses)
        rows = op.get_bind().execute(asked.limit(BATCH)).all()
        if not rows:
            return
        after = tuple(rows[-1][:4])
        people = [row for row in rows if row[2] == "User"]
        found = [(row[0], row[1], mail, row[3]) for row in people for mail in _mails(json.loads(row[4]))]
        if found:
            op.bulk_insert(table, [dict(zip(names, values, strict=True)) for values in found])


def _mails(document: Any) -> set[str]:
    values = [item.get("value") for item in document.get("emails") or () if isinstance(item, dict)]
    return {_fold(value)[:LONGEST] for value in values if isinstance(value, str)} - {""}


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold()).strip()
