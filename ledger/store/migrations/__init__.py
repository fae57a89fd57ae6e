"""Schema revisions of each store, run by ``Store.migrate`` inside its own transaction (Alembic, one folder per store).

``FROZEN``: revision 0001 stands. A change of a table comes with a new revision file; a test compares the revisions'
sum with ``tables`` on both databases. (``python -m ledger.store.migrations.regenerate`` wrote 0001.)
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from ledger.errors import BadInput

FROZEN = True
_FOLDER = Path(__file__).parent
_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


def turn() -> asyncio.Lock:
    """One migration at a time in one event loop: Alembic's ``op`` is one global, whichever connection is meant."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def script_of(store: str) -> ScriptDirectory:
    """The revisions of ``ledger`` or ``inbox``."""
    return ScriptDirectory(str(_FOLDER), version_locations=[str(_FOLDER / "versions" / store)])


def upgrade(connection: Connection, store: str, to: str = "head") -> None:
    """Run what is missing, up to the newest revision or the one named, inside the connection's open transaction.

    Raises ``BadInput`` where a newer version has migrated it: there is no way back but a backup of before.
    """
    script = script_of(store)

    def steps(revision: Any, _context: MigrationContext) -> Any:
        try:
            script.get_revisions(revision)
        except CommandError as error:
            raise BadInput(
                f"the {store} is at revision {', '.join(revision)}, which this version does not know:"
                " a newer rosterd has migrated it",
                where=connection.engine.url.database or "",
                next_step="install that version again, or restore the backup of before the upgrade",
            ) from error
        return script._upgrade_revs(to, revision)

    context = MigrationContext.configure(connection, opts={"fn": steps})
    with Operations.context(context):
        context.run_migrations()
