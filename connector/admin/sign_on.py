"""``/admin/v1/sso`` and ``/admin/v1/sync``: domains, the identity provider, tests, the gate, directory sync (R1, R5).

Routes only, no rules: the same steps as ``rosterd sso`` and ``rosterd sync``.
"""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from access.principal import Scope
from connector.admin.answering import Answering, Asked, Body, answer, asked, body
from connector.admin.describing import Route
from connector.admin.people import Why
from connector.admin.teams import Reason
from connector.reconcile.by_hand import bonds
from connector.sso import steps
from connector.sso.domain_names import normalise
from connector.sso.gate import rebind_window
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


class TurnedOn(Body):
    """Which domain has to be on afterwards; empty: every one that is proved and tested."""

    domain: str = Field(default="", max_length=253)


class NewCertificate(Body):
    """A certificate that a refresh added."""

    sha256: str = Field(min_length=8, max_length=200)
    """How its SHA-256 begins, as the identity provider shows it."""


class Window(Body):
    """For how long everybody may be bound anew, once each, and why."""

    days: int = Field(ge=1, le=30)
    reason: str = Field(min_length=1, max_length=2000)


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
        sso, sync, domain, relink = Scope.SSO_WRITE, Scope.SYNC_ENABLE, "/sso/domains/{domain}", "/sso/relinks/{id}"
        return [
            Route("GET", "/sso", "Domains, identity provider, what is missing, what will lapse", self.status, sso),
            Route("POST", "/sso/domains", "Register a domain: what to publish", self.add, sso, body=NewDomain,
                  status=201),
            Route("POST", f"{domain}/verify", "Look for the proof now", self.verify, sso),
            Route("DELETE", domain, "Give a domain up", self.release, sso, asked=Release),
            Route("POST", f"{domain}/test", "A page for one test sign-in", self.test, sso, status=201),
            Route("POST", "/sso/connection", "Connect the identity provider", self.connect, sso, body=Metadata),
            Route("POST", "/sso/certificates", "Say that a certificate a refresh added is right", self.confirm, sso,
                  body=NewCertificate),
            Route("GET", "/sso/refusals/{reference}", "Why a sign-in was refused", self.explain, sso),
            Route("GET", "/sso/relinks", "Sign-ins by another subject that wait", self.relinks, sso),
            Route("POST", f"{relink}/approve", "Let the other subject be this person", self.approve, sso, body=Reason),
            Route("POST", f"{relink}/refuse", "Turn the other subject away", self.refuse, sso, body=Reason),
            Route("DELETE", "/sso/bonds/{identity}", "End the bond of a person", self.unbind, sso, asked=Why),
            Route("POST", "/sso/rebind-window", "Let everybody be bound anew, once each", self.open_window, sso,
                  body=Window, status=201),
            Route("DELETE", "/sso/rebind-window", "Close the window", self.close_window, sso, asked=Why),
            Route("POST", "/sso/on", "Turn on what was tested", self.turn_on, sso, body=TurnedOn),
            Route("POST", "/sso/off", "Turn single sign-on off", self.turn_off, sso, body=TurnedOff),
            Route("GET", "/sync", "Whether directory sync runs, and why not", self.sync, sync),
            Route("POST", "/sync/enable", "Enable directory sync, or confirm its return", self.enable, sync),
            Route("POST", "/sync/disable", "Switch directory sync off", self.disable, sync),
        ]  # fmt: skip

    async def status(self, request: web.Request) -> web.Response:
        """Everything about the organization's single sign-on."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        listed = self.acts.sign_on(who.organization).graces
        async with self.ledger.read(who.organization) as reader:
            return answer((await steps.status(reader, now=self.acts.clock(), listed=listed)).to_json())

    async def add(self, request: web.Request) -> web.Response:
        """The record to publish; its token is shown this once."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        name = _given_domain((await body(request, NewDomain)).domain)
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
        own = self.acts.sign_on(who.organization)
        report = await steps.verify_domain(
            self.ledger,
            who.organization,
            _asked_domain(request),
            dns=own.dns,
            actor=who.actor,
            now=self.acts.clock(),
            fetch=own.fetch,
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
        wanted = await body(request, TurnedOn, optional=True)
        report = await steps.turn_on(
            self.ledger,
            who.organization,
            actor=who.actor,
            now=self.acts.clock(),
            domain=_given_domain(wanted.domain) if wanted.domain else "",
            second_approver=self.acts.sign_on(who.organization).settings.second_approver,
        )
        return answer(report.to_json())

    async def confirm(self, request: web.Request) -> web.Response:
        """Which certificate it is."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        wanted = (await body(request, NewCertificate)).sha256
        found = await steps.confirm_certificate(
            self.ledger, who.organization, wanted, actor=who.actor, now=self.acts.clock()
        )
        return answer({"sha256": found.thumbprint, "confirmed": True})

    async def explain(self, request: web.Request) -> web.Response:
        """The reason, in words, with the next command."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        async with self.ledger.read(who.organization) as reader:
            return answer((await steps.explain(reader, request.match_info["reference"])).to_json())

    async def relinks(self, request: web.Request) -> web.Response:
        """What waits, and what was refused, until it runs out."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        async with self.ledger.read(who.organization) as reader:
            found = await bonds.held_relinks(reader, self.acts.clock())
        return answer({"relinks": [item.to_json() for item in found]})

    async def approve(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        reason = (await body(request, Reason)).reason
        relink = request.match_info["id"]
        done = await bonds.approve_relink(self.ledger, who.organization, relink, who, reason, self.acts.clock())
        return answer(done.to_json())

    async def refuse(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        reason = (await body(request, Reason)).reason
        relink = request.match_info["id"]
        done = await bonds.refuse_relink(self.ledger, who.organization, relink, who, reason, self.acts.clock())
        return answer(done.to_json())

    async def unbind(self, request: web.Request) -> web.Response:
        """What was done."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        reason = asked(request, Why).reason
        identity = request.match_info["identity"]
        done = await bonds.unbind(self.ledger, who.organization, identity, who, reason, self.acts.clock())
        return answer(done.to_json())

    async def open_window(self, request: web.Request) -> web.Response:
        """The window."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        wanted = await body(request, Window)
        made = await rebind_window.open_window(
            self.ledger, who.organization, days=wanted.days, reason=wanted.reason, who=who, now=self.acts.clock()
        )
        return answer(made.to_json(), status=201)

    async def close_window(self, request: web.Request) -> web.Response:
        """Whether one was open."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        reason = asked(request, Why).reason
        done = await rebind_window.close_window(
            self.ledger, who.organization, reason=reason, who=who, now=self.acts.clock()
        )
        return answer({"changed": done})

    async def turn_off(self, request: web.Request) -> web.Response:
        """Whether it was on before."""
        who = await self.may_see_all(request, Scope.SSO_WRITE)
        reason = (await body(request, TurnedOff)).reason
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


def _given_domain(text: str) -> str:
    try:
        return normalise(text)
    except ValueError as error:
        raise BadInput(str(error), where="domain") from error


def _asked_domain(request: web.Request) -> str:
    text = request.match_info["domain"]
    try:
        return normalise(text)
    except ValueError as error:
        raise NotFound(f"{text[:100]} is not registered", next_step="GET /admin/v1/sso lists the domains") from error
