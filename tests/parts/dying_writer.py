"""A process of the tests that writes 5,000 rows and says how far it is; it is killed there.

``python -m tests.parts.dying_writer URL NOW`` prints ``inside`` before the commit and ``committed`` after it, and waits
for a line on stdin each time.
"""

from __future__ import annotations

import asyncio
import sys
from datetime import datetime

from ledger.audit import AuditEvent
from ledger.store import audit
from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.fences import ALONE


async def write(url: str, now: datetime) -> None:
    """Rows and audit events in one transaction."""
    ledger = Ledger.open(url)
    async with ledger.write("acme", ALONE, at=now, run_id="r1") as book:
        await book.begin(people.team, ("id", "name", "name_key"), [(f"t{n}", "A", "a") for n in range(5000)])
        await audit.append(book, [AuditEvent("system:rosterd", "team.created", f"t{n}") for n in range(5000)])
        print("inside", flush=True)
        sys.stdin.readline()
    print("committed", flush=True)
    sys.stdin.readline()
    await ledger.close()


if __name__ == "__main__":
    asyncio.run(write(sys.argv[1], datetime.fromisoformat(sys.argv[2])))
