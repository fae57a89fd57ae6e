"""Looks at domains: by which door a file is fetched, and when the next look is due.

Enqueues; decides nothing. The schedule's own tick (``evidence_every``) is the net under it: it begins again what a
ledger that was moved, or a job that was given up, has ended.
"""

from __future__ import annotations

from datetime import timedelta

from connector.sso.proof.domain_steps import next_look
from connector.sso.proof.web import Fetch
from ledger.store import jobs
from rosterd.job_kinds import EVIDENCE
from rosterd.service import Service


def fetch(service: Service) -> Fetch | None:
    """How the file that proves a domain is fetched; None: not at all, until there is the one door out (N12)."""
    return None


async def enqueue_next(service: Service, organization: str) -> None:
    """One job for when the first domain is due again, or the one that waits already if that is sooner.

    How long to wait is counted in the book's time and waited for by the ledger's clock, so that a clock of this host
    that steps makes nobody wait longer (decision 0025).
    """
    every = service.settings.installation.schedule.evidence_every
    if not every:
        return
    now = service.clock()
    async with service.ledger.read(organization) as reader:
        wait = await next_look(reader, now=now, every=every)
    if wait is not None:
        await jobs.enqueue(
            service.ledger,
            organization,
            EVIDENCE,
            now=now,
            run_after=now + max(wait, _LEAST),
            dedupe_key=EVIDENCE,
        )


_LEAST = timedelta(minutes=1)
"""Whatever is due: a domain that cannot be looked at is not tried again at once, for ever."""
