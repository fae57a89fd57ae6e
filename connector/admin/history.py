"""``/admin/v1/runs``, ``/audit``, ``/plans`` and ``/undo``: what happened, what would, and taking it back (P1, A3, A4).

Prohibition: routes only. Planning and undoing are enqueued and done by a worker.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import AwareDatetime, Field

from access.principal import Principal, Scope
from connector.admin import shown
from connector.admin.answering import Answering, Body, Paged, answer, asked, body, cursor_of, paged, place_of, raw
from connector.admin.describing import Route
from ledger.errors import BadInput, NotFound
from ledger.instant import from_micros, to_micros
from ledger.store import jobs, pages, runs

PLAN = "plan"
"""The kind of the job that computes a plan: its answer is the job's outcome, and nothing else is written (P1)."""

UNDO = "undo"
"""The kind of the job that shows or does an undo (A3)."""


class AuditAsked(Paged):
    """Which events."""

    subject: str = Field(default="", max_length=200)
    """Id of what they are about."""
    actor: str = Field(default="", max_length=200)
    """Who did it."""
    verb: str = Field(default="", max_length=100)
    """What was done."""
    run: str = Field(default="", max_length=64)
    """Id of the run they belong to."""
    since: AwareDatetime | None = Field(default=None, alias="from")
    """The first instant, inclusive."""
    until: AwareDatetime | None = Field(default=None, alias="to")
    """The instant after the last one, exclusive."""


class Undoing(Body):
    """Which run to undo, and why."""

    run: str = Field(min_length=1, max_length=64)
    reason: str = Field(default="", max_length=2000)
    dry_run: bool = False
    """Only show what would be restored."""


class History(Answering):
    """One method per route; all of them concern everybody."""

    def routes(self) -> list[Route]:
        """The table."""
        approve = Scope.RUNS_APPROVE
        return [
            Route("GET", "/runs", "Runs, newest first", self.list_runs, approve, asked=Paged),
            Route("GET", "/runs/{id}", "One run with its evidence and problems", self.run, approve),
            Route("POST", "/plans", "Compute a plan; its answer is the job's outcome", self.plan, approve, status=202),
            Route("POST", "/undo", "Show or do the undo of a run", self.undo, approve, body=Undoing, status=202),
            Route("GET", "/audit", "What was done, newest first", self.audit, Scope.AUDIT_READ, asked=AuditAsked),
        ]

    async def list_runs(self, request: web.Request) -> web.Response:
        """A page of runs."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        wanted = asked(request, Paged)
        place = place_of(wanted.cursor, int, str)
        before = (from_micros(place[0]), str(place[1])) if place else None
        async with self.ledger.read(who.organization) as reader:
            rows = await pages.runs_page(reader, before, wanted.limit + 1)
        page = paged("runs", rows, wanted.limit, lambda row: cursor_of(to_micros(row.started_at), row.id),
                     lambda row: row.to_json())  # fmt: skip
        return answer(page)

    async def run(self, request: web.Request) -> web.Response:
        """One run."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        row = await self._find(who, request.match_info["id"])
        return answer({**row.to_json(), "evidence": list(row.evidence), "problems": list(row.problems)})

    async def plan(self, request: web.Request) -> web.Response:
        """202 with the job to follow."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        if (await raw(request)).strip() not in {b"", b"{}"}:
            raise BadInput("a plan takes no body", where="body", next_step="send none")
        return await self._enqueue(who, PLAN, {}, PLAN)

    async def undo(self, request: web.Request) -> web.Response:
        """202 with the job to follow; ``dry_run`` shows and writes nothing."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        wanted = await body(request, Undoing)
        if not wanted.dry_run and not wanted.reason.strip():
            raise BadInput("an undo needs a reason (or dry_run to look first)", where="reason", next_step="say why")
        row = await self._find(who, wanted.run)
        payload = {"run": row.id, "reason": wanted.reason.strip(), "dry_run": wanted.dry_run, "actor": who.actor}
        return await self._enqueue(who, UNDO, payload, "" if wanted.dry_run else f"{UNDO}:{row.id}")

    async def audit(self, request: web.Request) -> web.Response:
        """A page of events."""
        who = await self.may_see_all(request, Scope.AUDIT_READ)
        wanted = asked(request, AuditAsked)
        place = place_of(wanted.cursor, int)
        which = pages.Asked(wanted.subject, wanted.actor, wanted.verb, wanted.run, wanted.since, wanted.until)
        async with self.ledger.read(who.organization) as reader:
            rows = await pages.audit_page(reader, which, place[0] if place else None, wanted.limit + 1)
        return answer(paged("events", rows, wanted.limit, lambda row: cursor_of(row.seq), shown.event))

    async def _find(self, who: Principal, run_id: str) -> runs.RunRow:
        async with self.ledger.read(who.organization) as reader:
            row = await runs.get(reader, run_id)
        if row is None:
            raise NotFound(f"there is no run {run_id}", next_step="GET /admin/v1/runs lists them")
        return row

    async def _enqueue(self, who: Principal, kind: str, payload: dict[str, Any], key: str) -> web.Response:
        now = self.acts.clock()
        job = await jobs.enqueue(self.ledger, who.organization, kind, payload, now=now, dedupe_key=key)
        place = f"/admin/v1/jobs/{job}"
        return answer({"job": job, "href": place}, status=202, headers={"Location": place})
