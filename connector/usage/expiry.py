"""Old publications go, with the files only they needed; what somebody still pins stays.

Prohibition: never touches the latest publication, a pinned one, or the last one before a revision.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ledger.jobs import Unleased
from ledger.published.datasets import DATASETS
from ledger.published.iceberg import Warehouse
from ledger.published.sweep import Swept
from ledger.store import publications
from ledger.store.engine import Ledger

KEEP_FOR = timedelta(days=7)
GRACE = timedelta(days=1)


async def expire(
    ledger: Ledger,
    warehouse: Warehouse,
    organization: str,
    *,
    now: datetime,
    keep_for: timedelta = KEEP_FOR,
    grace: timedelta = GRACE,
) -> Swept:
    """Forget publications older than ``keep_for``, then sweep their tables, and what dead publishes left.

    Files younger than ``grace`` are left alone: a publish under way may own them. The ledger forgets first, so a crash
    in between leaves only files that the next call removes.
    """
    async with ledger.write(organization, Unleased.INTAKE, at=now) as book:
        await publications.expire(book, before=now - keep_for)
        needed = publications.needed(await publications.every(book))
    swept = Swept()
    for name in DATASETS:
        swept += await warehouse.sweep(organization, name, keep=needed.get(name, frozenset()), before=now - grace)
    return swept
