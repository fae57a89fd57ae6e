"""``/admin/v1/sso`` and ``/admin/v1/sync``: domains, the identity provider, tests, the gate, directory sync (R1, R5).

Routes only, no rules: the same steps as ``rosterd sso`` and ``rosterd sync``.
"""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from access.principal import Scope
from connector.admin.answering import Answering, Asked, Body, answer, asked, body
from connector.admin.describing import Route
from connector.sso import steps
from connector.sso.domain_names import normalise
from ledger.errors import BadInput, NotFound, Refused

_MOST_METADATA = 1024 * 1024


class NewDomain(Body):
    """A domain to prove, one that the organization's file declares."""

    domain: str = Field(min_length=1, max_length=253)


class Metadata(Body):
    """An identity provider: its metadata, or the address it is fetched from; neither: as the file says."""

    metadata: str = Field(default="", max_length=_MOST_METADATA)
    """The XML document itself."""

    url: str = Field(default="", max_length=2000)
    """Its https address."""


class TurnedOff(Body):
    """Why; kept in the audit."""

    reason: str = Field(min_length=1, max_length=2000)


class Release(Asked):
    """Whether the domain is given up although directory sync depends on it."""

    confirmed: bool = False


class SignOn(Answering):
    """One method per route."""

    def routes(self) -> list[Route]:
        """The table."""
        sso, sync, domain = Scope.SSO_WRITE, Scope.SYNC_ENABLE, "/sso/domains/{domain}"
        return [
            Route("GET", "/sso", "Domains, identity provider, what is missing, what will lapse", self.status, sso),
            Route("POST", "/sso/domains", "Register a domain: what to publish", self.add, sso, body=NewDomain,
                  status=201),
            Route("POST", f"{domain}/verify", "Look for the proof now", self.verify, sso),
            Route("DELETE", domain, "Give a domain up", self.release, sso, asked=Release),
            Route("POST", f"{domain}/test", "A page for one test sign-in", self.test, sso, status=201),
            Route("POST", "/sso/connection", "Connect the identity provider", self.connect, sso, body=Metadata),
            Route("POST", "/sso/on", "Turn on what was tested", self.turn_on, sso),
            Route("POST", "/sso/off", "Turn single sign-on off", self.turn_off, sso, body=TurnedOff),
            Route("GET", "/sync", "Whether directory sync runs, and why not", self.sync, sync),
            Route("POST", "/sync/enable", "Enable directory sync, or confirm its return", self.enable, sync),
            Route("POST", "/sync/disable", "Switch directory sync off", self.disable, sync),
        ]  # fmt: skip

    async def status(self, request: web.Request) -> web.Response:
        """Everything about the organization's single sign-on."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        async with self.ledger.read(who.organization) as reader:
            return answer((await steps.status(reader, now=self.acts.clock())).to_json())

    async def add(self, request: web.Request) -> web.Response:
        """The record to publish; its token is shown this once."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        given = (await body(request, NewDomain)).domain
        try:
            name = normalise(given)
        except ValueError as error:
            raise BadInput(str(error), where="domain") from error
        grace = self.acts.sign_on(who.organization).graces.get(name)
        if grace is None:
            raise Refused(
                f"{name} is not among the domains of the organization's file",
                where="domain",
                next_step=f'add [[domains]] name = "{name}" to the file, then POST /admin/v1/reload',
            )
        made = await steps.add_domain(
            self.ledger, who.organization, name, actor=who.actor, now=self.acts.clock(), grace=grace
        )
        return answer(made.to_json(), status=201)

    async def verify(self, request: web.Request) -> web.Response:
        """What the look proved, and where the domain and its gate stand since."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        report = await steps.verify_domain(
            self.ledger,
            who.organization,
            _asked_domain(request),
            dns=self.acts.sign_on(who.organization).dns,
            actor=who.actor,
            now=self.acts.clock(),
        )
        return answer(report.to_json())

    async def release(self, request: web.Request) -> web.Response:
        """That it was released."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        confirmed = asked(request, Release).confirmed
        name = _asked_domain(request)
        await steps.release_domain(
            self.ledger, who.organization, name, actor=who.actor, now=self.acts.clock(), confirmed=confirmed
        )
        return answer({"domain": name, "released": True})

    async def test(self, request: web.Request) -> web.Response:
        """The page to open in a browser, once."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        name = _asked_domain(request)
        provider = self.acts.sign_on(who.organization).provider
        ticket = await steps.begin_test(
            self.ledger, provider, who.organization, name, actor=who.actor, now=self.acts.clock()
        )
        return answer(ticket.to_json(), status=201)

    async def connect(self, request: web.Request) -> web.Response:
        """What connecting led to."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        wanted = await body(request, Metadata, optional=True, most=2 * _MOST_METADATA)
        if wanted.metadata and wanted.url:
            raise BadInput("give the metadata or its address, not both", where="url")
        own = self.acts.sign_on(who.organization)
        document = wanted.metadata.encode() or await own.metadata(wanted.url)
        report = await steps.connect(
            self.ledger,
            who.organization,
            document,
            settings=own.settings,
            actor=who.actor,
            now=self.acts.clock(),
            source=wanted.url or ("" if wanted.metadata else own.settings.metadata),
            allow_http_on_loopback=own.provider.settings.allow_http_on_loopback,
        )
        return answer(report.to_json())

    async def turn_on(self, request: web.Request) -> web.Response:
        """What is on now."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        report = await steps.turn_on(self.ledger, who.organization, actor=who.actor, now=self.acts.clock())
        return answer(report.to_json())

    async def turn_off(self, request: web.Request) -> web.Response:
        """Whether it was on before."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        reason = (await body(request, TurnedOff)).reason.strip()
        done = await steps.turn_off(
            self.ledger, who.organization, reason=reason, actor=who.actor, now=self.acts.clock()
        )
        return answer({"changed": done})

    async def sync(self, request: web.Request) -> web.Response:
        """The state of directory sync."""
        who = await self.may_see_all(request, Scope.SYNC_ENABLE)
        return await self._sync(who.organization)

    async def enable(self, request: web.Request) -> web.Response:
        """The state after it; 409 with every missing step."""
        who = await self.may_see_all(request, Scope.SYNC_ENABLE)
        await steps.enable_sync(self.ledger, who.organization, actor=who.actor, now=self.acts.clock())
        return await self._sync(who.organization)

    async def disable(self, request: web.Request) -> web.Response:
        """The state after it."""
        who = await self.may_see_all(request, Scope.SYNC_ENABLE)
        await steps.disable_sync(self.ledger, who.organization, actor=who.actor, now=self.acts.clock())
        return await self._sync(who.organization)

    async def _sync(self, organization: str) -> web.Response:
        async with self.ledger.read(organization) as reader:
            return answer((await steps.sync_status(reader, now=self.acts.clock())).to_json())


def _asked_domain(request: web.Request) -> str:
    text = request.match_info["domain"]
    try:
        return normalise(text)
    except ValueError as error:
        raise NotFound(f"{text[:100]} is not registered", next_step="GET /admin/v1/sso lists the domains") from error
