"""Schema revisions of each store, run by ``Store.migrate`` inside its own transaction (Alembic, one folder per store).

Until the first release the tables still move: ``FROZEN`` is False and ``migrate`` builds them from ``tables``. Before
releasing, run ``python -m ledger.store.migrations.regenerate`` and set it to True; from then on a change of a table
comes with a new revision file, and a test compares the revisions' sum with ``tables`` on both databases.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

FROZEN = False
_FOLDER = Path(__file__).parent


def script_of(store: str) -> ScriptDirectory:
    """The revisions of ``ledger`` or ``inbox``."""
    return ScriptDirectory(str(_FOLDER), version_locations=[str(_FOLDER / "versions" / store)])


def upgrade(connection: Connection, store: str) -> None:
    """Run what is missing, up to the newest revision, inside the connection's open transaction."""
    script = script_of(store)

    def steps(revision: Any, _context: MigrationContext) -> Any:
        return script._upgrade_revs("head", revision)

    context = MigrationContext.configure(connection, opts={"fn": steps})
    with Operations.context(context):
        context.run_migrations()
