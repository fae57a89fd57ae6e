"""``/admin/v1``: one table of every route, and the daemon's own: status, reload, held sets, approving, jobs.

Prohibition: routes only. Approving is enqueued and done by a worker; who may do what is ``access``' answer.
"""

from __future__ import annotations

import hashlib
from typing import NoReturn

import msgspec
from aiohttp import web

from access.principal import Principal, Scope
from connector.admin.answering import Acts, Answering, Body, Declared, OwnSignOn, answer, body, problem, problems
from connector.admin.describing import Route, document
from connector.admin.groups import Groups
from connector.admin.history import History
from connector.admin.outbox import Outbox
from connector.admin.people import People
from connector.admin.seats import Seats
from connector.admin.sign_on import SignOn
from connector.admin.teams import Teams
from ledger.errors import BadInput, NotFound
from ledger.store import jobs, runs
from ledger.store.engine import Ledger

__all__ = ["APPROVE", "Acts", "Declared", "OwnSignOn", "PREFIX", "make_app", "problem", "table"]

APPROVE = "approve"
"""The kind of the job that lets a held set through."""

PREFIX = "/admin/v1"


class Approval(Body):
    """Which held set, and why."""

    digest: str
    reason: str
    despite_freeze: bool = False


def make_app(ledger: Ledger, acts: Acts) -> web.Application:
    """The sub-application for ``/admin/v1``."""
    app = web.Application(middlewares=[problems])
    app.add_routes([route.definition() for route in table(ledger, acts)])
    return app


def table(ledger: Ledger, acts: Acts) -> list[Route]:
    """Every route there is; the OpenAPI document is made of it."""
    rooms = (_Routes, SignOn, History, People, Teams, Seats, Groups, Outbox)
    found = [route for room in rooms for route in room(ledger, acts).routes()]
    described = document(found, PREFIX)

    async def openapi(_request: web.Request) -> web.Response:
        return answer(described)

    return [*found, Route("GET", "/openapi.json", "This document", openapi, None)]


class _Routes(Answering):
    """One method per route; each first asks who it is."""

    def routes(self) -> list[Route]:
        """The table."""
        approve = Scope.RUNS_APPROVE
        return [
            Route("GET", "/status", "What the daemon is doing", self.status, approve),
            Route("POST", "/reload", "Read the files again", self.reload, Scope.SETTINGS_WRITE),
            Route("GET", "/held", "Held sets that wait", self.held, approve),
            Route("GET", "/held/{digest}", "One held set with every change", self.held_set, approve),
            Route("POST", "/approvals", "Let one held set through", self.approve, approve, body=Approval, status=202),
            Route("GET", "/jobs/{id}", "What became of a job", self.job, approve),
        ]

    async def status(self, request: web.Request) -> web.Response:
        """What the daemon is doing, as far as it concerns the asker's organization."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        async with self.ledger.read(who.organization) as reader:
            held = await runs.held_sets(reader, ("open",))
            last = await runs.latest(reader, 1)
        shown = {**self.acts.status(), "organizations": [who.organization]}
        newest = last[0].to_json() if last else None
        return answer({**shown, "held": [item.to_json() for item in held], "last_run": newest})

    async def reload(self, request: web.Request) -> web.Response:
        """Read the files again; 400 with every fault of the asker's own file, whose settings then stay in force."""
        who = await self.may_see_all(request, Scope.SETTINGS_WRITE)
        await self.acts.reload(who.organization)
        return answer({"reloaded": True})

    async def held(self, request: web.Request) -> web.Response:
        """The held sets that wait."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        async with self.ledger.read(who.organization) as reader:
            return answer({"held": [item.to_json() for item in await runs.held_sets(reader, ("open",))]})

    async def held_set(self, request: web.Request) -> web.Response:
        """One held set with every change in it."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        item = await self._find(who, request.match_info["digest"])
        return answer({**item.to_json(), "what": list(item.changes)})

    async def approve(self, request: web.Request) -> web.Response:
        """Enqueue the approval of exactly one held set; 202 with the job to follow.

        Its outcome says in ``lines`` when one more approval by another principal is needed (G3).
        """
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        wanted = await body(request, Approval)
        if not wanted.reason.strip():
            raise BadInput("an approval needs a reason", where="reason")
        item = await self._find(who, wanted.digest)
        payload = {"digest": item.digest, "reason": wanted.reason.strip(), "actor": who.actor,
                   "despite_freeze": wanted.despite_freeze}  # fmt: skip
        asked = hashlib.sha256(msgspec.json.encode(payload, order="sorted")).hexdigest()  # the same again is one job
        job = await jobs.enqueue(
            self.ledger, who.organization, APPROVE, payload, now=self.acts.clock(), dedupe_key=f"{APPROVE}:{asked}"
        )
        place = f"/admin/v1/jobs/{job}"
        return answer({"job": job, "href": place}, status=202, headers={"Location": place})

    async def job(self, request: web.Request) -> web.Response:
        """What became of a job."""
        who = await self.may_see_all(request, Scope.RUNS_APPROVE)
        job = await jobs.get(self.ledger, request.match_info["id"])
        if job.organization != who.organization:
            raise NotFound(f"there is no job {job.id}")
        return answer({"id": job.id, "kind": job.kind, "state": job.state.value, "outcome": job.outcome})

    async def _find(self, who: Principal, digest: str) -> runs.HeldSet:
        async with self.ledger.read(who.organization) as reader:
            held = await runs.held_sets(reader, ("open",))
        found = [item for item in held if len(digest) >= 8 and item.digest.startswith(digest)]
        if len(found) != 1:
            _no_held_set(digest)
        return found[0]


def _no_held_set(digest: str) -> NoReturn:
    raise NotFound(f"there is no single open held set {digest!r}", next_step="GET /admin/v1/held lists them")
