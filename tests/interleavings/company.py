"""A company whose daemons, people, administrators and provider act at once, each through the product's own doors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

from aiohttp import streams, web
from aiohttp.test_utils import make_mocked_request

from connector.directory.base import Reading, ReadRequest
from connector.directory.mapping import AttributeRules
from connector.directory.scim.inbox import Mailbox, ScimInboxSource
from connector.directory.scim.settings import ScimInboxSettings
from connector.reconcile.by_hand import people, restrictions
from connector.reconcile.by_hand import seats as hand_seats
from connector.reconcile.by_hand.rules import Act as ByHand
from connector.reconcile.by_hand.rules import Exists
from connector.reconcile.by_hand.sign_in import Arrival, claim
from connector.reconcile.policy.invites import InviteSettings
from connector.reconcile.policy.policy import Policy
from connector.reconcile.run import ConfiguredSource, Setup
from connector.reconcile.state.teams import ensure_organization
from connector.scim import routes
from connector.sso.provider import connection_steps
from connector.sso.saml.subject import SubjectKind
from ledger.errors import NotFound, Refused, Retryable, Stale
from ledger.identity import Email
from ledger.jobs import Job
from ledger.published.iceberg import Warehouse
from rosterd import worker
from rosterd.handover import Handover
from rosterd.health import Metrics
from rosterd.pushes import Pushes
from rosterd.service import Service
from rosterd.supervisor import Supervisor
from rosterd.verbs import reconcile as verbs
from tests.interleavings.simulator import Process, Simulator, acting, doing, running
from tests.parts.directories import ORGANIZATION, RULES, HandSource

INBOX = "corp"
_GROUP = "/Groups/g-design"
_PLACE = ("Design", "CAD")


@dataclass
class Company:
    """What every process of it shares: its directory, and what the script said of people.

    ``files``: where published tables lie. ``off``: whoever was disabled at any time; ``left``: whoever was taken out of
    the group; ``readings``: task → the number of its newest reading.
    """

    sim: Simulator
    policies: dict[str, Policy]
    pushed: bool
    files: Path
    directory: SimSource | None = None
    off: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    members: dict[str, bool] = field(default_factory=dict)
    active: dict[str, bool] = field(default_factory=dict)
    readings: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def source(self, service: SimService) -> ConfiguredSource:
        """The directory as one process reads it."""
        if self.directory is not None:
            return ConfiguredSource(cast(Any, self.directory), RULES)
        settings = ScimInboxSettings(id=INBOX)
        source = PushedSource(settings, Mailbox(service.inbox_store, ORGANIZATION.id))
        source.company = self
        return ConfiguredSource(source, AttributeRules.from_settings(settings))

    async def was_read(self) -> None:
        """The running task has read the directory: others go on until it goes on with what it read."""
        self.count += 1
        self.readings[acting()] = self.count
        if running() is None:
            return
        await self.sim.stop(f"has read the directory, reading {self.count}")
        if self.sim.chance().random() < 0.1:
            self.sim.stand_still(200.0)
        await asyncio.sleep(self.sim.chance().choice((0, 1, 10, 40)))  # the rest of the pages


class _Meanwhile:
    """Reads as the source beside it does, and lets others go on before what it read is used."""

    company: Company

    async def read(self, request: ReadRequest, *, now: Any) -> Reading:
        found: Reading = await super().read(request, now=now)  # type: ignore[misc]
        await self.company.was_read()
        return found


class SimSource(_Meanwhile, HandSource):
    """A directory in memory."""


class PushedSource(_Meanwhile, ScimInboxSource):
    """The product's own."""


class SimService(Service):
    """What a process opens, but for its policy and its directory, which the script changes."""

    company: Company
    process: Process
    policy: Policy
    inbox_store: Any

    @asynccontextmanager
    async def setup(self, organization: str) -> AsyncIterator[Setup]:
        yield Setup(ORGANIZATION, self.policy, (self.company.source(self),))

    def warehouse(self) -> Warehouse:
        if self._warehouse is None:
            self._warehouse = Warehouse.open(f"file:{self.company.files}", self.ledger.url)
        return self._warehouse

    async def register(self) -> dict[str, tuple[str, ...]]:
        return {
            ORGANIZATION.id: await ensure_organization(self.ledger, ORGANIZATION, self.policy.teams, now=self.clock())
        }


class InProcess(Supervisor):
    """The product's supervisor; its workers work in this process."""

    sim: Simulator

    async def _work(self, job: Job) -> None:
        heart = asyncio.create_task(self._beat(job))
        try:
            with doing(f"{job.kind} {self.sim.number(job.id)}, attempt {job.attempts}"):
                answer = await worker.answer(self._service, Handover.of(self._service.settings, job))
                await self._settle(job, answer)
        finally:
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)

    async def _beat(self, job: Job) -> None:
        """Signs of life, as beside a real worker."""
        await self._keep_alive(job, cast(Any, SimpleNamespace(returncode=0)))


async def supervise(service: SimService) -> None:
    """A daemon's supervisor, until it is killed."""
    supervisor = InProcess(service, Metrics())
    supervisor.sim = service.process.sim
    await supervisor.run()


async def signs_in(service: SimService, uid: str) -> None:
    """Somebody signs in for the first or the next time; who was disabled meanwhile is refused."""
    mail = f"{uid}@acme.example"
    with suppress(Refused, Retryable):
        arrival = Arrival(Email.parse(mail), "idp", mail, SubjectKind.MAIL)
        await claim(service.ledger, ORGANIZATION.id, arrival, now=service.clock())


async def turns(service: SimService, uid: str, back: float | None) -> None:
    """The directory disables somebody, and perhaps enables them again."""
    await turn(service, uid, active=False)
    if back is not None:
        await asyncio.sleep(back)
        await turn(service, uid, active=True)


async def turn(service: SimService, uid: str, *, active: bool) -> None:
    company = service.company
    if not active:
        company.off.add(uid)  # before it is said: whoever reads it may act before we are told
    company.active[uid] = active
    if company.directory is not None:
        company.directory.change(uid, disabled=not active)
        company.sim.story.append(f"     the directory: {uid} is {'enabled' if active else 'disabled'}")
    else:
        await _push(service, f"/Users/u-{uid}", {"op": "replace", "path": "active", "value": active})


async def leaves_and_comes_back(service: SimService, uid: str) -> None:
    """The provider takes somebody out of the group and puts them in again, as others do at once."""
    company = service.company
    company.left.add(uid)
    company.members[uid] = False
    await _push(service, _GROUP, {"op": "remove", "path": f'members[value eq "u-{uid}"]'})
    await asyncio.sleep(1)
    company.members[uid] = True
    await _push(service, _GROUP, {"op": "add", "path": "members", "value": [{"value": f"u-{uid}"}]})


async def _push(service: SimService, path: str, operation: dict[str, Any]) -> None:
    """A PATCH over the product's routes, sent again while it is answered 503, as providers do."""
    who = routes.Pushing(ORGANIZATION.id, INBOX, "token:idp")

    async def authenticated(_request: web.Request) -> routes.Pushing:
        return who

    pushes = Pushes(service, cast(Any, None))
    acts = routes.Acts(authenticated, service.clock, pushes.pushed, "https://rosterd.example")
    app = routes.make_app(service.inbox_store, acts)
    app.freeze()
    body = json.dumps({"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": [operation]})
    for _ in range(20):
        payload = streams.StreamReader(Mock(_reading_paused=False), 2**16, loop=asyncio.get_running_loop())
        payload.feed_data(body.encode())
        payload.feed_eof()
        headers = {"Content-Type": "application/scim+json"}
        request = make_mocked_request("PATCH", path, headers=headers, payload=payload, app=app)
        answer = await app._handle(request)
        if answer.status < 400:
            return
        if answer.status not in {503, 409, 412}:
            raise AssertionError(f"{path} was answered {answer.status}: {getattr(answer, 'text', '')}")
        await asyncio.sleep(2)
    raise AssertionError(f"{path} was refused twenty times")


async def restricts(service: SimService) -> None:
    """An administrator restricts a Team and lifts it again."""
    for act in (restrictions.restrict, restrictions.lift):
        await _insist(lambda act=act: act(service.ledger, ORGANIZATION.id, "Design", _by_hand(service)))  # type: ignore[misc]
        await asyncio.sleep(5)


def _by_hand(service: SimService) -> ByHand:
    return ByHand("ada", service.clock(), "unpaid")


async def is_hired_by_hand(service: SimService, uid: str) -> None:
    """An administrator invites somebody whom no directory shows into the Team, and gives them a seat or a place in the
    line for one."""
    again, mail = (service.ledger, ORGANIZATION.id), f"{uid}@acme.example"
    with suppress(Exists):  # another administrator was first
        newcomer = people.Newcomer(mail, team_ids=("Design",))
        await _insist(lambda: people.invite(*again, newcomer, InviteSettings(), _by_hand(service)))
    await _grants(service, mail)


async def is_given_a_reason(service: SimService, uid: str) -> None:
    """An administrator gives somebody a seat by hand, or one more reason for it, and takes the reason back."""
    identity = await _grants(service, f"{uid}@acme.example")
    await asyncio.sleep(5)
    with suppress(Refused, NotFound):
        await _insist(lambda: hand_seats.release(service.ledger, ORGANIZATION.id, _PLACE, identity, _by_hand(service)))


async def _grants(service: SimService, mail: str) -> str:
    async with service.ledger.read(ORGANIZATION.id) as reader:
        identity = await people.find(reader, mail)
    with suppress(Refused):
        await _insist(
            lambda: hand_seats.grant(service.ledger, ORGANIZATION.id, _PLACE, identity, _by_hand(service), wait=True)
        )
    return identity


async def clocks_step(company: Company, seconds: float) -> None:
    """The clock of the hosts is set."""
    company.sim.step_clocks(seconds)


async def turns_sign_on_off(service: SimService, back: float) -> None:
    """Single sign-on is turned off, which shuts the gate, and on again."""
    again = (service.ledger, ORGANIZATION.id)
    await _insist(lambda: connection_steps.turn_off(*again, reason="a fire", actor="ada", now=service.clock()))
    await asyncio.sleep(back)
    await _insist(lambda: connection_steps.turn_on(*again, actor="ada", now=service.clock()))


async def _insist(act: Callable[[], Awaitable[Any]]) -> None:
    for _ in range(20):
        try:
            await act()
            return
        except Retryable:
            await asyncio.sleep(2)


async def commands(service: SimService, verb: str, **options: Any) -> None:
    """``rosterd apply`` or ``approve``, in a process of its own: what the verb does once its service is open."""
    made: list[Callable[[Service], Awaitable[Any]]] = []
    session = SimpleNamespace(debug=True, as_json=True, load=lambda: service.settings)
    perform, verbs.perform = verbs.perform, lambda _context, _json, work: made.append(work)  # type: ignore[assignment,misc]
    try:
        getattr(verbs, verb)(cast(Any, SimpleNamespace(obj=session)), **options)
    finally:
        verbs.perform = perform
    with suppress(Retryable, Refused, Stale, NotFound):  # somebody else was at work, or went on meanwhile
        await made[0](service)


async def reloads(service: SimService, name: str) -> None:
    """A daemon takes over a changed file."""
    service.policy = service.company.policies[name]
    service.process.sim.story.append(f"     {service.process.name} reloads: {name}")
