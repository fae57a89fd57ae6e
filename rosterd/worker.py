"""A worker process: does one job and answers with one JSON line. ``python -m rosterd.worker``, run by ``supervisor``.

Each kind of job imports what it needs where it is done: sealing loads no directory and no name server.

Standard input gives one ``Handover`` line and then stays open: when it closes, the supervisor is gone and so is this
process; its transaction never happened (A1, A4).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import uvloop

from ledger.book_time import WrongClock
from ledger.errors import Overtaken, Retryable, RosterdError
from ledger.jobs import Errand, Unleased
from rosterd import job_kinds, logs
from rosterd.handover import Handover
from rosterd.heartbeat import heartbeat
from rosterd.service import Service

_OVERTAKEN = 5.0
"""Seconds until a job is done again whose worker lost its lease."""

Work = Callable[[Service, Handover], Awaitable[dict[str, Any]]]


async def reconcile(service: Service, task: Handover) -> dict[str, Any]:
    """Read, decide, apply what the guard lets through; nothing at all while nobody has enabled sync (R5)."""
    from connector.reconcile import run
    from connector.sso.gate.sync import SyncState, sync_status

    async with service.ledger.read(task.organization) as reader:
        status = await sync_status(reader)
    if status.state is SyncState.OFF:
        return {"state": "sync is off"}
    async with (
        heartbeat(task.organization) as step,
        service.leased(task.organization, task.claim) as fence,
        service.setup(task.organization) as setup,
    ):
        outcome = await run.apply(
            service.ledger,
            setup,
            now=service.clock(),
            actor="service:schedule",
            auto=True,
            fence=fence,
            progress=step,
        )
    return outcome.for_job()


async def approve(service: Service, task: Handover) -> dict[str, Any]:
    """Let one held set through, in the name of who asked."""
    from connector.reconcile import run

    payload, organization = task.payload, task.organization
    async with service.leased(organization, task.claim) as fence, service.setup(organization) as setup:
        outcome = await run.approve(
            service.ledger,
            setup,
            str(payload["digest"]),
            reason=str(payload["reason"]),
            actor=str(payload["actor"]),
            now=service.clock(),
            fence=fence,
            despite_freeze=bool(payload.get("despite_freeze", False)),
        )
    return outcome.for_job()


async def plan(service: Service, task: Handover) -> dict[str, Any]:
    """Read and decide; write nothing (P1). Long lists are cut, and say how long they are."""
    from connector.reconcile import run

    async with heartbeat(task.organization) as step, service.setup(task.organization) as setup:
        planned = await run.plan(service.ledger, setup, now=service.clock(), progress=step)
    return planned.for_job()


async def undo(service: Service, task: Handover) -> dict[str, Any]:
    """Show or do the undo of one run, in the name of who asked (A3)."""
    from connector.reconcile import run

    payload, organization = task.payload, task.organization
    async with service.leased(organization, task.claim) as fence, service.setup(organization) as setup:
        undone = await run.undo(
            service.ledger,
            setup,
            str(payload["run"]),
            actor=str(payload["actor"]),
            reason=str(payload["reason"]),
            now=service.clock(),
            fence=fence,
            dry_run=bool(payload["dry_run"]),
        )
    return undone.for_job()


async def evidence(service: Service, task: Handover) -> dict[str, Any]:
    """Look again at every domain that is or was proved and is due, and at the metadata of the live connection; the next
    look is enqueued for when it is."""
    from connector.sso.proof.domain_steps import recheck_domains
    from connector.sso.provider.refresh import refresh
    from connector.sso.settings import SsoSettings
    from rosterd.looks import enqueue_next

    installation = service.settings.installation
    fence = Errand(Unleased.EVIDENCE, task.claim)
    reports = await recheck_domains(
        service.ledger,
        task.organization,
        dns=installation.dns,
        fetch=service.fetch_proof,
        every=installation.schedule.evidence_every,
        now=service.clock(),
        fence=fence,
    )
    refreshed = await refresh(
        service.ledger,
        task.organization,
        settings=service.settings.customer(task.organization).settings.sso or SsoSettings(),
        fetch=service.fetch_metadata,
        now=service.clock(),
        fence=fence,
        allow_http_on_loopback=installation.saml.allow_http_on_loopback,
    )
    await enqueue_next(service, task.organization)
    found: dict[str, Any] = {report.domain: report.gate.state.value for report in reports}
    return found | ({"metadata": refreshed.to_json()} if refreshed else {})


async def publish_usage(service: Service, task: Handover) -> dict[str, Any]:
    """Make what was taken in visible."""
    from connector.usage.publish import publish

    made = await publish(
        service.ledger,
        service.warehouse(),
        task.organization,
        now=service.clock(),
        secret=service.pseudonym_key(),
        settings=service.settings.customer(task.organization).settings.reporting,
        fence=Errand(Unleased.PUBLICATION, task.claim),
    )
    return {"publication": made.id, "number": made.number}


async def seal(service: Service, task: Handover) -> dict[str, Any]:
    """Seal the audit events committed so far; the head goes into the log, out of a database administrator's reach."""
    from ledger.store import audit

    fence = Errand(Unleased.SEAL, task.claim)
    async with service.ledger.write(task.organization, fence, at=service.clock()) as book:
        head = await audit.seal(book)
    return {"head": head.head, "through": head.seq} if head else {}


WORK: Mapping[str, Work] = {
    job_kinds.RECONCILE: reconcile,
    job_kinds.APPROVE: approve,
    job_kinds.EVIDENCE: evidence,
    job_kinds.PUBLISH: publish_usage,
    job_kinds.SEAL: seal,
    job_kinds.PLAN: plan,
    job_kinds.UNDO: undo,
}
"""Job kind → what does it."""


async def work(handover: Handover) -> dict[str, Any]:
    """Do the job; what became of it, as ``{"outcome": …}`` or ``{"error": …, "retry_after": seconds or null}``."""
    async with Service.opened(handover.settings) as service:
        return await answer(service, handover)


async def answer(service: Service, task: Handover) -> dict[str, Any]:
    """As ``work``, on a service that is open."""
    try:
        return {"outcome": await WORK[task.kind](service, task)}
    except RosterdError as error:
        after = error.after.total_seconds() if isinstance(error, Retryable) else None
        if isinstance(error, Overtaken):  # nothing was written: whoever asked for it still wants it
            after = _OVERTAKEN
        untried = isinstance(error, WrongClock)  # it says nothing about the job
        return {"error": error.what, "where": error.where, "retry_after": after, "untried": untried}


def main() -> int:
    """Read the handover, do the work, print the answer; 0 when there is an answer at all."""
    handover = Handover.from_line(sys.stdin.buffer.readline())
    section = handover.settings.installation.logging
    logs.configure(form=section.format, level=section.level)
    for number in (
        signal.SIGTERM,
        signal.SIGINT,
    ):  # a group may be told; our supervisor decides
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow_supervisor, name="supervisor watch", daemon=True).start()
    done = uvloop.run(work(handover))
    sys.stdout.buffer.write(msgspec.json.encode(done, enc_hook=str) + b"\n")
    sys.stdout.buffer.flush()
    return 0


def _follow_supervisor() -> None:
    """End with the process that started us: when its end of the pipe closes."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(75)


if __name__ == "__main__":
    sys.exit(main())
