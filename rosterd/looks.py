"""When the next look at an organization's domains, or at its provider's metadata, is due, as a job.

Enqueues; decides nothing. The schedule's own tick (``evidence_every``) is the net under it: it begins again what ended
with a job that was given up.
"""

from __future__ import annotations

from datetime import timedelta

from connector.sso.proof.domain_steps import next_look
from connector.sso.provider.refresh import next_refresh
from ledger.store import jobs
from rosterd.job_kinds import EVIDENCE
from rosterd.service import Service

_LEAST = timedelta(minutes=1)
"""A domain that is due and cannot be looked at is not tried again at once, for ever."""


async def enqueue_next(service: Service, organization: str) -> None:
    """One job for when the first domain or the provider's metadata is due again, or the one that waits already if that
    is sooner.

    How long to wait is counted in the book's time and waited for by the ledger's clock, so that a clock of this host
    that steps makes nobody wait longer (decision 0025).
    """
    every = service.settings.installation.schedule.evidence_every
    if not every:
        return
    now = service.clock()
    async with service.ledger.read(organization) as reader:
        waits = (await next_look(reader, now=now, every=every), await next_refresh(reader, now=now))
    owed = [wait for wait in waits if wait is not None]
    if owed:
        due = now + max(min(owed), _LEAST)
        await jobs.enqueue(service.ledger, organization, EVIDENCE, now=now, run_after=due, dedupe_key=EVIDENCE)
