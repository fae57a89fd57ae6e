"""A worker process of the tests: claims and finishes every due job of kind ``count``, then prints what it did.

``python -m tests.parts.job_taker URL HOLDER NOW`` waits for a line on stdin, so that two of them start together.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timedelta

from ledger.store import jobs
from ledger.store.engine import Ledger


async def take(url: str, holder: str, now: datetime) -> list[str]:
    """Ids of the jobs this process did, in order."""
    ledger = Ledger.open(url)
    done: list[str] = []
    while job := await jobs.claim(ledger, ["count"], holder, now=now, deadline=timedelta(minutes=5)):
        await jobs.heartbeat(ledger, job, now=now)
        await jobs.finish(ledger, job, now=now, outcome={"by": holder})
        done.append(job.id)
    await ledger.close()
    return done


if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    print(json.dumps(asyncio.run(take(sys.argv[1], sys.argv[2], datetime.fromisoformat(sys.argv[3])))))
