"""``/sso/{organization}/…``: metadata, login, test, acs. Thin: every rule is in ``sign_in`` and ``response``.

Prohibition: why a response was refused is never shown, only logged and audited; no address to go on to is taken from
the browser.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from html import escape
from urllib.parse import parse_qsl

from aiohttp import web

from access.bodies import FORM, STATUS, read_body
from connector.sso import sign_in
from connector.sso.response import MAX_BASE64, SignInRefused
from connector.sso.saml import ServiceProvider
from connector.sso.sign_in import Outgoing, SignedIn
from ledger.errors import BadInput, Busy, NotFound, Refused
from ledger.store.engine import Ledger

_log = logging.getLogger("rosterd.sso")

Arrive = Callable[[web.Request, SignedIn], Awaitable[web.StreamResponse]]
"""What happens with somebody who has signed in (a session, an invite to claim); given by the composition."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PLAIN = "default-src 'none'; frame-ancestors 'none'"
_POSTING = "default-src 'none'; script-src 'unsafe-inline'; form-action *; frame-ancestors 'none'"
_MAX_BODY, _MAX_FIELDS = MAX_BASE64 * 2, 8
_MAX_ESCAPED = MAX_BASE64 // 10  # of base64 one character in thirty is, and unescaping many keeps everybody waiting
_GENERIC = "The sign-in could not be completed. Start again from the sign-in page, or ask your administrator."


@dataclass(frozen=True, slots=True)
class Entrance:
    """The four routes and what they need. ``organizations`` says which exist at the moment."""

    ledger: Ledger
    provider: ServiceProvider
    clock: Callable[[], datetime]
    organizations: Callable[[], Collection[str]]
    arrive: Arrive | None = None

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application at its root."""
        prefix = "/sso/{organization}"
        return [
            web.get(f"{prefix}/metadata", self.metadata),
            web.get(f"{prefix}/login", self.login),
            web.get(f"{prefix}/test", self.test),
            web.post(f"{prefix}/acs", self.acs),
        ]

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """Our metadata, to hand to the identity provider."""
        body = await self.provider.metadata(self._organization(request))
        return web.Response(body=body, content_type="application/samlmetadata+xml", headers=_HEADERS)

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Begin a sign-in; ``?domain=`` chooses the identity provider by mail domain."""
        name = self._organization(request)
        domain = request.query.get("domain", "")
        try:
            going = await sign_in.open_login(
                self.ledger, self.provider, name, domain, cookie=self._cookie(request), now=self.clock()
            )
        except NotFound:
            return _page("Single sign-on is not on here. Ask your administrator.", 404)
        return self._go(going)

    async def test(self, request: web.Request) -> web.StreamResponse:
        """Begin a test sign-in with the ticket an admin was given."""
        name = self._organization(request)
        ticket = request.query.get("ticket", "")
        try:
            going = await sign_in.open_test(
                self.ledger, self.provider, name, ticket, cookie=self._cookie(request), now=self.clock()
            )
        except (Refused, NotFound) as error:
            return _page(error.what, 400)
        return self._go(going)

    async def acs(self, request: web.Request) -> web.StreamResponse:
        """Take a response. A click on a tile (unsolicited) is discarded and begins a sign-in of ours instead."""
        name = self._organization(request)
        try:
            form = _form(await read_body(request, most=_MAX_BODY, kinds=(FORM,), packed=False, sized=True))
        except BadInput as error:
            return _page(_GENERIC, STATUS.get(type(error), 400))
        response, relay_state = form.get("SAMLResponse", ""), form.get("RelayState", "")
        try:
            done = await sign_in.finish(
                self.ledger,
                self.provider,
                name,
                response,
                cookie=self._cookie(request),
                relay_state=relay_state,
                now=self.clock(),
            )
        except SignInRefused as error:
            _log.warning("sign_in_refused organization=%s step=%d reason=%s", name, error.step, error.reason)
            if error.reason == "unsolicited":
                raise web.HTTPSeeOther(f"{self.provider.public_url}/sso/{name}/login", headers=_HEADERS) from error
            return _page(_GENERIC, 400)
        except Busy:
            return _page("Too many people are signing in at once. Try again in a moment.", 503)
        if done.purpose == sign_in.TEST:
            return _page(f"The test sign-in for {done.domain} passed. You may close this page.", 200)
        if self.arrive is None:
            return _page("You are signed in.", 200)
        return await self.arrive(request, done)

    def _organization(self, request: web.Request) -> str:
        name = request.match_info["organization"]
        if name not in self.organizations():
            raise web.HTTPNotFound(text="unknown organization")
        return name

    @property
    def _https(self) -> bool:
        return self.provider.public_url.startswith("https://")

    @property
    def _cookie_name(self) -> str:
        # the prefix makes browsers refuse a cookie planted by a neighbouring host
        return "__Host-rosterd-sign-in" if self._https else "rosterd-sign-in"

    def _cookie(self, request: web.Request) -> str:
        return request.cookies.get(self._cookie_name, "")

    def _go(self, going: Outgoing) -> web.StreamResponse:
        if going.location:
            answer = web.Response(status=303, headers={**_HEADERS, "Location": going.location})
        else:
            headers = {**_HEADERS, "Content-Security-Policy": _POSTING}
            answer = web.Response(text=going.form, content_type="text/html", headers=headers)
        answer.set_cookie(
            self._cookie_name,
            going.cookie,
            max_age=int(sign_in.REQUEST_LIFE.total_seconds()),
            httponly=True,
            secure=self._https,
            # the response comes as a cross-site POST; without https only loopback works, which is one site
            samesite="None" if self._https else "Lax",
        )
        return answer


def _form(body: bytes) -> dict[str, str]:
    """The fields of a posted form, each once; raises ``BadInput``."""
    if body.count(b"%") > _MAX_ESCAPED:
        raise BadInput("nearly everything is escaped")
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise BadInput("this is no form") from error
    found = dict(fields)
    if len(found) < len(fields):
        raise BadInput("a field is there twice")
    return found


def _page(text: str, status: int) -> web.Response:
    headers = {**_HEADERS, "Content-Security-Policy": _PLAIN}
    page = f"<!doctype html><html lang=en><title>Sign-in</title><p>{escape(text)}</p></html>"
    return web.Response(text=page, status=status, content_type="text/html", headers=headers)
