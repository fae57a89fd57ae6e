"""The SCIM inbox at work: who is pushing to which directory, and the run that pushes ask for.

Constructs and enqueues; decides nothing. A push is answered without waiting for the ledger, which a run may hold for
seconds: what it asks for is enqueued behind the answer, and the schedule's next run would see the push anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from aiohttp import web

from access.errors import Forbidden
from access.principal import Principal, Scope
from connector.directory.scim.settings import ScimInboxSettings
from connector.scim import routes as scim
from connector.scim.routes import Pushing
from ledger.errors import RosterdError
from ledger.store import jobs
from ledger.store.inbox import Inbox
from rosterd.job_kinds import RECONCILE
from rosterd.logs import event
from rosterd.service import Service

PATH = "/scim/v2"
_log = logging.getLogger(__name__)


class Pushes:
    """``principal``: who holds the bearer token of a request; raises ``Unauthenticated``."""

    def __init__(self, service: Service, principal: Callable[[web.Request], Awaitable[Principal]]) -> None:
        self._service = service
        self._principal = principal
        self._due: dict[str, float] = {}  # by the loop's clock, which no step of the wall clock moves
        self._tasks: set[asyncio.Task[None]] = set()

    def mount(self, app: web.Application, inbox: Inbox) -> None:
        """Add ``/scim/v2``; what is still to be enqueued is waited for when the application ends."""
        url = self._service.settings.installation.server.public_url
        acts = scim.Acts(authenticate=self.authenticate, clock=self._service.clock, pushed=self.pushed, public_url=url)
        app.add_subapp(PATH, scim.make_app(inbox, acts))
        app.cleanup_ctx.append(self._ending)

    async def authenticate(self, request: web.Request) -> Pushing:
        """Which directory's inbox the token is for.

        Raises ``Unauthenticated``, and ``Forbidden`` for a token of another kind, or of a directory that is no inbox.
        """
        who = await self._principal(request)
        who.require(Scope.SCIM)
        customer = self._service.settings.customers.get(who.organization)
        for item in customer.settings.directories if customer else ():
            if isinstance(item, ScimInboxSettings) and item.id == who.directory:
                return Pushing(who.organization, item.id, who.actor, strict=item.profile == "strict")
        raise Forbidden(
            f"the directory {who.directory!r} of this token is not an inbox",
            where="Authorization",
            next_step="make a token for one that is: rosterd token create NAME --scope scim --directory ID",
        )

    async def pushed(self, who: Pushing) -> None:
        """Something changed: one run soon, shared by every push until it begins."""
        after = self._service.settings.installation.schedule.reconcile_after_push
        steady, now = asyncio.get_running_loop().time(), self._service.clock()
        if not after or self._due.get(who.organization, steady) > steady:
            return
        self._due[who.organization] = steady + after.total_seconds()
        task = asyncio.create_task(self._enqueue(who.organization, now, now + after), name="run after a push")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enqueue(self, organization: str, now: datetime, due: datetime) -> None:
        try:
            await jobs.enqueue(
                self._service.ledger, organization, RECONCILE, now=now, run_after=due, dedupe_key=RECONCILE
            )
        except RosterdError as error:
            self._due.pop(organization, None)  # the next push asks again
            event(_log, "job.not_enqueued", level=logging.WARNING, organization=organization, why=error.what)

    async def _ending(self, _app: web.Application) -> AsyncIterator[None]:
        yield
        await asyncio.gather(*self._tasks, return_exceptions=True)
