"""Mounts what the two programs answer over HTTP: ``/``, ``/v1``, ``/ingest``, ``/scim/v2``, ``/sso``, ``/admin/v1``,
health; and to the operator, at an address of its own, metrics.

Constructs only; every rule is behind the routes of its room.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any, Protocol

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from access import tokens
from access.errors import Unauthenticated
from access.principal import Principal
from access.proven import PROVEN
from access.trail import Trail
from connector.admin import routes as admin
from connector.directory.mapping import rules_by_source
from connector.reconcile.by_hand.sign_in import Arrival, RelinkHeld, claim
from connector.reconcile.plan.words import moment
from connector.sso import pages
from connector.sso.gate.explain_refusal import NOT_CLAIMED, RELINK_HELD
from connector.sso.invite_link import InviteLinks
from connector.sso.pages import Letterhead, Page
from connector.sso.provider.connection_steps import prove_key
from connector.sso.routes import Entrance
from connector.sso.settings import SsoSettings
from connector.sso.sign_in import SignedIn, turned_away
from connector.usage import routes as ingest
from connector.usage.settings import ReportingSettings
from ledger.errors import BadInput, Refused
from ledger.store.inbox import Inbox
from reporting_api.app import make_app, openapi_body, openapi_endpoint
from rosterd import health, provider_metadata
from rosterd.logs import event
from rosterd.pushes import Pushes
from rosterd.service import Service, policy
from rosterd.wire.addresses import forwarding
from rosterd.wire.limits import limiting

_log = logging.getLogger(__name__)
_SHOWN = 200  # characters of a path in the log


class Running(Protocol):
    """The daemon, as its faces see it."""

    service: Service
    metrics: health.Metrics

    @property
    def draining(self) -> bool:
        """From SIGTERM on."""

    @property
    def down(self) -> tuple[str, ...]:
        """Its tasks that are not at work."""

    def status(self) -> dict[str, Any]:
        """What it is doing."""

    async def reload(self, organization: str = "") -> None:
        """Take over changed files; raises what is wrong with the organization's own."""


async def make(daemon: Running, *, connector: bool, api: bool) -> web.Application:
    """The application; ``connector`` and ``api`` say which program's faces it has."""
    service = daemon.service
    server = service.settings.installation.server
    limited = limiting(
        server.anonymous_per_address, server.anonymous_per_organization, lambda: service.settings.customers.keys()
    )
    app = web.Application(
        middlewares=[_naming, health.counting(daemon.metrics), forwarding(server.trusted_proxies), limited]
    )
    app.add_routes(health.routes(service, draining=lambda: daemon.draining, down=lambda: daemon.down))
    app.router.add_get("/", _front(service))
    pepper = service.pepper()
    if api:
        _mount_api(app, service, pepper)
    if connector:
        _mount_connector(app, daemon, pepper, await service.inbox())
    return app


def make_operators(daemon: Running) -> web.Application:
    """What only the operator sees: figures, and why the daemon is not ready."""
    app = web.Application(middlewares=[_naming])
    shown = health.operators_routes(
        daemon.service, daemon.metrics, draining=lambda: daemon.draining, down=lambda: daemon.down
    )
    app.add_routes(shown)
    return app


def _mount_api(app: web.Application, service: Service, pepper: bytes) -> None:
    installation = service.settings.installation
    public_url = installation.server.public_url
    v1 = make_app(
        service.ledger, service.warehouse(), installation.api, service.clock, pepper=pepper, public_url=public_url
    )
    app.add_subapp("/v1", v1)
    app.router.add_get("/openapi.json", openapi_endpoint(openapi_body(installation.api, public_url)))


def _mount_connector(app: web.Application, daemon: Running, pepper: bytes, inbox: Inbox) -> None:
    service = daemon.service
    asking = Asking(service, pepper)
    app.cleanup_ctx.append(asking.running)
    Pushes(service, asking.principal).mount(app, inbox)
    app.add_routes(
        ingest.routes(
            service.ledger,
            authorize=asking.principal,
            clock=service.clock,
            settings_of=lambda organization: _reporting(service, organization),
            public_url=service.settings.installation.server.public_url,
        )
    )
    entrance = Entrance(
        service.ledger,
        service.provider(),
        service.clock,
        lambda: service.settings.customers.keys(),
        arrive=lambda done: arrive(service, done),
        invites=InviteLinks(pepper, service.settings.installation.server.public_url),
        letterhead=lambda organization: letterhead(service, organization),
    )
    app.add_routes(entrance.routes())
    acts = admin.Acts(
        authenticate=asking.principal,
        status=daemon.status,
        reload=daemon.reload,
        clock=service.clock,
        declared=lambda organization: _declared(service, organization),
        sign_on=lambda organization: _sign_on(service, organization),
    )
    app.add_subapp("/admin/v1", admin.make_app(service.ledger, acts))


class Asking:
    """Turns a bearer token into who is asking."""

    def __init__(self, service: Service, pepper: bytes) -> None:
        self._service = service
        self._pepper = pepper
        self._trail: Trail | None = None

    async def running(self, _app: web.Application) -> AsyncIterator[None]:
        """Notes the use of tokens behind the answers: nobody waits for the ledger to be free."""
        async with Trail.running(self._service.ledger) as self._trail:
            yield

    async def principal(self, request: web.Request) -> Principal:
        """Raises ``Unauthenticated``; why goes into the log, never into the answer."""
        scheme, _, text = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        try:
            if scheme.lower() != "bearer":
                raise Unauthenticated("no bearer token")
            who = await tokens.authenticate(
                self._service.ledger,
                text.strip(),
                pepper=self._pepper,
                now=self._service.clock(),
                remote=request.remote or "",
                trail=self._trail,
            )
            request[PROVEN] = True
            return who
        except Unauthenticated as error:
            event(_log, "request.refused", path=request.path[:_SHOWN], cause=error.cause)
            raise


def letterhead(service: Service, organization: str = "") -> Letterhead:
    """Whose pages are shown at an organization's addresses: its own; where there is none, the installation's."""
    mail, customer = service.settings.installation.mail, service.settings.customers.get(organization)
    if customer is None:
        return Letterhead(mail.sender_name, mail.language)
    settings = customer.settings
    return Letterhead(settings.organization.name, settings.mail.language or mail.language)


def _front(service: Service) -> Handler:
    """What this address is, for whoever follows the foot of a mail; of organizations it says nothing."""

    async def front(request: web.Request) -> web.StreamResponse:
        return pages.answered(request, Page(kind="front"), letterhead(service))

    return front


async def arrive(service: Service, done: SignedIn) -> Page:
    """Somebody has signed in: their invite is claimed. Whoever was not invited gets nothing and is told so."""
    try:
        who = done.subject
        arrival = Arrival(
            done.mail,
            done.entity_id,
            who.key,
            who.kind,
            who.earlier,
            who.earlier_by_address,
            done.signer,
            _no_first(done),
            done.invite,
        )
        claimed = await claim(service.ledger, done.organization, arrival, now=service.clock())
    except Refused as error:
        held = isinstance(error, RelinkHeld)
        reason = RELINK_HELD if held else NOT_CLAIMED
        refusal = await turned_away(service.ledger, done, error.what, now=service.clock(), reason=reason)
        event(_log, "invite.refused", organization=done.organization, why=error.what, reference=refusal.reference)
        what = f"{error.what} ({error.next_step})" if held else error.what
        return Page(kind="turned_away", status=403, reasons=(what,), reference=refusal.reference)
    if done.proves and not claimed.first:
        await prove_key(service.ledger, done.organization, done.connection_id, done.signer, now=service.clock())
    event(_log, "invite.claimed", organization=done.organization, first=claimed.first, seats=len(claimed.offerings))
    seats = ("seats",) if claimed.offerings else ()
    other = ("for_another",) if done.invite not in {"", claimed.identity_id} else ()
    values = {"mail": claimed.mail, "seats": ", ".join(claimed.offerings)}
    return Page(kind="welcome", values=values, notes=(*seats, *other))


def _no_first(done: SignedIn) -> Refused | None:
    """Why this sign-in binds nobody for the first time: its certificate came by a refresh and is new (N1)."""
    if done.held_until is None:
        return None
    return Refused(
        f"{done.mail} signs in for the first time, and your identity provider signs with a certificate that is new:"
        f" try again after {moment(done.held_until)}, or ask your administrator to confirm it",
        where=done.organization,
        next_step="rosterd sso status names it: rosterd sso confirm-certificate SHA256",
    )


def _declared(service: Service, organization: str) -> admin.Declared:
    """What the organization's file says now; raises ``NotFound`` when it has gone."""
    customer = service.settings.customer(organization)
    kinds = {item.id: item.kind for item in customer.settings.directories}
    rules = rules_by_source(customer.settings.directories)
    return admin.Declared(policy(customer), customer.settings.invites, kinds, rules)


def _sign_on(service: Service, organization: str) -> admin.OwnSignOn:
    """What single sign-on needs of the organization's file as it is now; raises ``NotFound`` when it has gone."""
    customer = service.settings.customer(organization)

    async def metadata(address: str) -> bytes:
        if address and not address.startswith("https://"):
            raise BadInput("is no https address", where="url", next_step="or send the document itself as metadata")
        if not address:
            return await provider_metadata.configured(service, customer)
        return await provider_metadata.given(service, address, customer.file.parent)

    return admin.OwnSignOn(
        service.settings.installation.dns,
        customer.settings.sso or SsoSettings(),
        {item.name: item.grace for item in customer.settings.domains},
        service.provider(),
        metadata,
        service.fetch_proof,
    )


def _reporting(service: Service, organization: str) -> ReportingSettings:
    """An organization's reporting settings as they are now; the defaults when its file has gone."""
    customer = service.settings.customers.get(organization)
    return customer.settings.reporting if customer else ReportingSettings()


@web.middleware
async def _naming(request: web.Request, handler: health.Handler) -> web.StreamResponse:
    """The last wall over HTTP: an unexpected exception is one log line and a plain 500."""
    try:
        return await handler(request)
    except (web.HTTPException, ConnectionError):  # the client has gone: aiohttp tidies up
        raise
    except Exception:
        fields = {"path": request.path[:_SHOWN], "method": request.method}
        _log.exception("request.failed", extra={"fields": fields})
        body = '{"type":"about:blank","title":"Internal error","status":500}'
        return web.Response(text=body, status=500, content_type="application/problem+json")
