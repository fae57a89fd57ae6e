"""``python -m ledger.store.migrations.regenerate``: write revision 0001 of every store from ``tables``, once more.

Only before the first release: a released revision is never written again.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.autogenerate.api import AutogenContext
from alembic.runtime.migration import MigrationContext
from sqlalchemy import MetaData, create_engine

from ledger.store.migrations import FROZEN
from ledger.store.tables import inbox, metadata
from ledger.store.tables.base import Instant, Json, Text

_HEAD = '''"""The first schema of {store}. Generated from ``ledger.store.tables`` (hence its length); do not edit."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table and index."""
    {body}
'''
STORES: dict[str, MetaData] = {"ledger": metadata, "inbox": inbox.metadata}


def source(store: str) -> str:
    """The text of revision 0001 of one store."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        found = produce_migrations(context, STORES[store])
        operations = found.upgrade_ops
        if operations is None:
            raise RuntimeError("Alembic produced no operations")
        body = render_python_code(operations, render_item=_plainly, migration_context=context)
    engine.dispose()
    kept = [line for line in body.splitlines() if not line.strip().startswith("# ###")]
    return _HEAD.format(store=store, body="\n".join(kept).strip())


def _plainly(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Our column types as what the database stores, so that a revision never depends on today's classes."""
    if kind == "type" and isinstance(item, Instant):
        return "sa.BigInteger()"
    if kind == "type" and isinstance(item, Json):
        return "sa.Text()"
    if kind == "type" and repr(item) == repr(Text) and "postgresql" in getattr(item, "_variant_mapping", {}):
        return "TEXT"
    return False


def main() -> int:
    """Write the files; 1 once the schema is frozen."""
    if FROZEN:
        sys.stderr.write("revision 0001 is released: write a new revision instead\n")
        return 1
    written = []
    for store in STORES:
        path = Path(__file__).parent / "versions" / store / "0001_first.py"
        path.write_text(source(store), encoding="utf-8")
        written.append(str(path))
    ruff = shutil.which("ruff")
    if ruff:
        subprocess.run([ruff, "format", "--quiet", *written], check=True)  # noqa: S603
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
