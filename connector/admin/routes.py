"""``/admin/v1``: status, reload, runs, held sets, approving. Small on purpose.

Prohibition: routes only. Approving is enqueued and done by a worker; who may do what is ``access``' answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import msgspec
from aiohttp import web

from access.errors import Unauthenticated
from access.principal import Principal, Scope
from ledger.errors import BadInput, ManyErrors, NotFound, Refused, Retryable, RosterdError, Unavailable
from ledger.store import jobs, runs
from ledger.store.engine import Ledger

APPROVE = "approve"
"""The kind of the job that lets a held set through."""

_ERRORS = "https://rosterd.invalid/errors/"
_MOST_BODY = 64 * 1024
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Approval(msgspec.Struct, forbid_unknown_fields=True):
    """Body of ``POST /admin/v1/approvals``."""

    digest: str
    reason: str
    despite_freeze: bool = False


@dataclass(frozen=True, slots=True)
class Acts:
    """What the routes are handed: who is asking, and what only the daemon itself can do."""

    authenticate: Callable[[web.Request], Awaitable[Principal]]
    status: Callable[[], dict[str, Any]]
    reload: Callable[[], Awaitable[None]]
    clock: Callable[[], datetime]


def make_app(ledger: Ledger, acts: Acts) -> web.Application:
    """The sub-application for ``/admin/v1``."""
    routes = _Routes(ledger, acts)
    app = web.Application(middlewares=[_problems], client_max_size=_MOST_BODY)
    app.add_routes(
        [
            web.get("/status", routes.status),
            web.post("/reload", routes.reload),
            web.get("/runs", routes.list_runs),
            web.get("/runs/{id}", routes.run),
            web.get("/held", routes.held),
            web.get("/held/{digest}", routes.held_set),
            web.post("/approvals", routes.approve),
            web.get("/jobs/{id}", routes.job),
        ]
    )
    return app


class _Routes:
    """One method per route; each first asks who it is."""

    def __init__(self, ledger: Ledger, acts: Acts) -> None:
        self._ledger = ledger
        self._acts = acts

    async def status(self, request: web.Request) -> web.Response:
        """What the daemon is doing, as far as it concerns the asker's organization."""
        who = await self._may(request, Scope.RUNS_APPROVE)
        async with self._ledger.read(who.organization) as reader:
            held = await runs.held_sets(reader, ("open",))
            last = await runs.latest(reader, 1)
        shown = {**self._acts.status(), "organizations": [who.organization]}
        newest = last[0].to_json() if last else None
        return _json({**shown, "held": [item.to_json() for item in held], "last_run": newest})

    async def reload(self, request: web.Request) -> web.Response:
        """Read the files again; 400 with every fault when they are bad, and then the old ones stay in force."""
        await self._may(request, Scope.SETTINGS_WRITE)
        await self._acts.reload()
        return _json({"reloaded": True})

    async def list_runs(self, request: web.Request) -> web.Response:
        """The newest runs."""
        who = await self._may(request, Scope.RUNS_APPROVE)
        async with self._ledger.read(who.organization) as reader:
            return _json({"runs": [row.to_json() for row in await runs.latest(reader, 50)]})

    async def run(self, request: web.Request) -> web.Response:
        """One run with its evidence and problems."""
        who = await self._may(request, Scope.RUNS_APPROVE)
        async with self._ledger.read(who.organization) as reader:
            row = await runs.get(reader, request.match_info["id"])
        if row is None:
            raise NotFound(f"there is no run {request.match_info['id']}")
        return _json({**row.to_json(), "evidence": list(row.evidence), "problems": list(row.problems)})

    async def held(self, request: web.Request) -> web.Response:
        """The held sets that wait."""
        who = await self._may(request, Scope.RUNS_APPROVE)
        async with self._ledger.read(who.organization) as reader:
            return _json({"held": [item.to_json() for item in await runs.held_sets(reader, ("open",))]})

    async def held_set(self, request: web.Request) -> web.Response:
        """One held set with every change in it."""
        who = await self._may(request, Scope.RUNS_APPROVE)
        item = await self._find(who, request.match_info["digest"])
        return _json({**item.to_json(), "what": list(item.changes)})

    async def approve(self, request: web.Request) -> web.Response:
        """Enqueue the approval of exactly one held set; 202 with the job to follow.

        Its outcome says in ``lines`` when one more approval by another principal is needed (G3).
        """
        who = await self._may(request, Scope.RUNS_APPROVE)
        try:
            wanted = msgspec.json.decode(await request.read(), type=Approval)
        except msgspec.DecodeError as error:
            raise BadInput(f"the body cannot be used: {error}", next_step='send {"digest": …, "reason": …}') from error
        if not wanted.reason.strip():
            raise BadInput("an approval needs a reason", where="reason")
        item = await self._find(who, wanted.digest)
        payload = {"digest": item.digest, "reason": wanted.reason.strip(), "actor": who.actor,
                   "despite_freeze": wanted.despite_freeze}  # fmt: skip
        now = self._acts.clock()
        job = await jobs.enqueue(
            self._ledger, who.organization, APPROVE, payload, now=now, dedupe_key=f"{APPROVE}:{item.digest}:{who.actor}"
        )
        place = f"/admin/v1/jobs/{job}"
        return _json({"job": job, "href": place}, status=202, headers={"Location": place})

    async def job(self, request: web.Request) -> web.Response:
        """What became of a job."""
        who = await self._may(request, Scope.RUNS_APPROVE)
        job = await jobs.get(self._ledger, request.match_info["id"])
        if job.organization != who.organization:
            raise NotFound(f"there is no job {job.id}")
        return _json({"id": job.id, "kind": job.kind, "state": job.state.value, "outcome": job.outcome})

    async def _may(self, request: web.Request, scope: Scope) -> Principal:
        who = await self._acts.authenticate(request)
        who.require(scope)
        return who

    async def _find(self, who: Principal, digest: str) -> runs.HeldSet:
        async with self._ledger.read(who.organization) as reader:
            held = await runs.held_sets(reader, ("open",))
        found = [item for item in held if len(digest) >= 8 and item.digest.startswith(digest)]
        if len(found) != 1:
            _no_held_set(digest)
        return found[0]


def _no_held_set(digest: str) -> NoReturn:
    raise NotFound(f"there is no single open held set {digest!r}", next_step="GET /admin/v1/held lists them")


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error of ours as RFC 9457."""
    try:
        return await handler(request)
    except RosterdError as error:
        return problem(error)


def problem(error: RosterdError) -> web.Response:
    """``application/problem+json`` of an error; never says why a token was refused."""
    status, kind = _status(error)
    body: dict[str, Any] = {"type": _ERRORS + kind, "title": kind.replace("-", " "), "status": status}
    body |= {"detail": error.what, "next_step": error.next_step}
    if isinstance(error, ManyErrors):
        body["detail"] = f"{len(error.faults)} errors"
        body["errors"] = [{"where": fault.where, "what": fault.what} for fault in error.faults]
    elif error.where:
        body["where"] = error.where
    headers = {"Cache-Control": "no-store"}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="rosterd"'
    if isinstance(error, Retryable):
        headers["Retry-After"] = str(max(1, int(error.after.total_seconds())))
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/problem+json", headers=headers
    )


def _status(error: RosterdError) -> tuple[int, str]:
    known: tuple[tuple[type[RosterdError], int, str], ...] = (
        (Unauthenticated, 401, "unauthenticated"),
        (NotFound, 404, "not-found"),
        (BadInput, 400, "invalid-request"),
        (Refused, 403, "role-required"),
        (Retryable, 503, "try-again"),
        (Unavailable, 503, "unavailable"),
    )
    for kind, status, name in known:
        if isinstance(error, kind):
            return status, name
    return 500, "internal"


def _json(document: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )
