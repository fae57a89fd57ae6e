"""``/sso/{organization}/…``: metadata, login, invite, test, acs, done. Thin: every rule is in ``sign_in`` and
``response``, every word in ``pages``.

Prohibition: why a login was refused is never shown, only logged and audited under the reference on the page (N17); of a
test, which an admin began in this browser, the page says why. No address to go on to is taken from the browser.

Each sign-in has a cookie of its own, so that several tabs work; a browser keeps the newest few. How a sign-in ended is
shown by a page of its own (``done``), which can be loaded again: it is in another cookie, sealed, for a while.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from aiohttp import web

from access.bodies import FORM, STATUS, read_body
from connector.sso import invite_link, pages, refusals, sign_in
from connector.sso.gate.explain_refusal import warning_in_words
from connector.sso.invite_link import InviteLinks
from connector.sso.pages import HEADERS, Letterhead, Page
from connector.sso.saml.posting_page import POLICY
from connector.sso.saml.request_seal import TEST
from connector.sso.saml.response import MAX_BASE64, SignInRefused
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.sign_in import Outgoing, RequestRefused, SignedIn
from ledger.errors import BadInput, Busy, NotFound, Refused
from ledger.store.engine import Ledger

_log = logging.getLogger("rosterd.sso")

Arrive = Callable[[SignedIn], Awaitable[Page]]
"""What happens with somebody who has signed in (an invite to claim), and the page that says so; given by the
composition."""

END_LIFE = timedelta(minutes=10)
"""How long a browser can load the page again that says how its sign-in ended."""
_MAX_BODY, _MAX_FIELDS = MAX_BASE64 * 2, 8
_MAX_ESCAPED = MAX_BASE64 // 10  # of base64 one character in thirty is, and unescaping many keeps everybody waiting
_MOST_COOKIES = 6


@dataclass(frozen=True, slots=True)
class Entrance:
    """The routes and what they need. ``organizations`` says which exist at the moment; ``invites``: reads the links of
    invites; None: there are none. ``letterhead``: whose a page is, by the organization in its address, which need not
    exist."""

    ledger: Ledger
    provider: ServiceProvider
    clock: Callable[[], datetime]
    organizations: Callable[[], Collection[str]]
    arrive: Arrive | None = None
    invites: InviteLinks | None = None
    letterhead: Callable[[str], Letterhead] = Letterhead

    def routes(self) -> list[web.RouteDef]:
        """To be added to an application at its root."""
        prefix = "/sso/{organization}"
        return [
            web.get(f"{prefix}/metadata", self.metadata),
            # they act: who only looks (HEAD: mail scanners, previews) must not spend a ticket
            web.get(f"{prefix}/login", self.login, allow_head=False),
            web.get(f"{prefix}/test", self.test, allow_head=False),
            web.get(f"{prefix}/invite", self.invite),
            web.post(f"{prefix}/acs", self.acs),
            web.get(f"{prefix}/done", self.done),
        ]

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        """Our metadata, to hand to the identity provider."""
        body = await self.provider.metadata(self._organization(request))
        return web.Response(body=body, content_type="application/samlmetadata+xml", headers=HEADERS)

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Begin a sign-in; ``?domain=`` chooses the identity provider by mail domain."""
        name = self._organization(request)
        domain = request.query.get("domain", "")
        invite = self._invited(request, name)
        try:
            going = await sign_in.open_login(self.ledger, self.provider, name, domain, now=self.clock(), invite=invite)
        except NotFound:
            return self._page(request, Page(kind="not_on", status=404))
        return self._go(request, name, going)

    async def invite(self, request: web.Request) -> web.StreamResponse:
        """What became of an invite, and the way to the organization's own sign-in page. Nothing is spent by looking."""
        name = self._organization(request)
        found = await invite_link.standing(self.ledger, name, self._invited(request, name), now=self.clock())
        way = urlencode({"domain": found.domain, "i": request.query["i"]}) if found.open else ""
        return self._page(
            request,
            Page(
                kind=found.kind,
                status=200 if found.domain else 404,
                values={"name": found.name},
                way=f"{self.provider.public_url}/sso/{name}/login?{way}" if way else "",
            ),
        )

    def _invited(self, request: web.Request, organization: str) -> str:
        """The person whose invite's link was followed; empty: none was."""
        text = request.query.get("i", "")
        return self.invites.identity(organization, text) if self.invites is not None and text else ""

    async def test(self, request: web.Request) -> web.StreamResponse:
        """Begin a test sign-in with the ticket an admin was given."""
        name = self._organization(request)
        ticket = request.query.get("ticket", "")
        try:
            going = await sign_in.open_test(self.ledger, self.provider, name, ticket, now=self.clock())
        except (Refused, NotFound) as error:
            reasons = (error.what, *([f"→ {error.next_step}"] if error.next_step else ()))
            return self._page(request, Page(kind="test_not_begun", status=400, reasons=reasons))
        return self._go(request, name, going)

    async def acs(self, request: web.Request) -> web.StreamResponse:
        """Take a response. A click on a tile (unsolicited) is discarded and begins a sign-in of ours instead."""
        name = self._organization(request)
        try:
            form = _form(await read_body(request, most=_MAX_BODY, kinds=(FORM,), packed=False, sized=True))
        except BadInput as error:
            return self._page(request, self._again(name, "refused", STATUS.get(type(error), 400)))
        response, relay_state = form.get("SAMLResponse", ""), form.get("RelayState", "")
        try:
            done = await sign_in.finish(
                self.ledger,
                self.provider,
                name,
                response,
                cookies=list(self._cookies(request).values()),
                relay_state=relay_state,
                now=self.clock(),
            )
        except SignInRefused as error:
            if error.reason == "unsolicited" and not isinstance(error, RequestRefused):
                raise web.HTTPSeeOther(f"{self.provider.public_url}/sso/{name}/login", headers=HEADERS) from error
            return self._page(request, self._refused(name, error))
        except Busy:
            return self._page(request, self._again(name, "busy", 503))
        if done.purpose == TEST:
            warnings = [f"Warning: {warning_in_words(found)}." for found in done.warnings]
            left = await sign_in.left_after_test(self.ledger, name, done.domain, now=self.clock())
            return self._end(name, Page(kind="test_passed", values={"domain": done.domain}, reasons=(*warnings, *left)))
        return self._end(name, await self.arrive(done) if self.arrive else Page(kind="signed_in"))

    async def done(self, request: web.Request) -> web.StreamResponse:
        """How the sign-in ended that this browser came back from; nothing is spent by looking, again and again."""
        name = self._organization(request)
        kept = request.cookies.get(self._end_cookie, "")
        end = pages.opened(self.provider.ends, name, request.query.get("n", ""), kept, self.clock())
        return self._page(request, end or Page(kind="lapsed"))

    def _organization(self, request: web.Request) -> str:
        name = request.match_info["organization"]
        if name not in self.organizations():
            answer = self._page(request, Page(kind="nobody", status=404))
            raise web.HTTPNotFound(text=answer.text, headers=answer.headers)
        return name

    def _page(self, request: web.Request, page: Page) -> web.Response:
        return pages.answered(request, page, self.letterhead(request.match_info["organization"]))

    def _again(self, organization: str, kind: str, status: int, reference: str = "") -> Page:
        """What went wrong and can be begun anew."""
        way = f"{self.provider.public_url}/sso/{organization}/login"
        return Page(kind=kind, status=status, reference=reference, way=way)

    def _end(self, organization: str, page: Page) -> web.Response:
        """The way to the page that says how a sign-in ended: whoever loads that one again posts nothing anew."""
        name = secrets.token_urlsafe(8)
        address = f"{self.provider.public_url}/sso/{organization}/done?n={name}"
        answer = web.Response(status=303, headers={**HEADERS, "Location": address})
        sealed = pages.sealed(self.provider.ends, organization, name, page, self.clock() + END_LIFE)
        # Lax: the way there began at the identity provider, and a page of another site needs no more than a link
        self._set(answer, self._end_cookie, sealed, END_LIFE, samesite="Lax")
        return answer

    @property
    def _https(self) -> bool:
        return self.provider.public_url.startswith("https://")

    @property
    def _cookie_name(self) -> str:
        # the prefix makes browsers refuse a cookie planted by a neighbouring host
        return "__Host-rosterd-sign-in" if self._https else "rosterd-sign-in"

    @property
    def _end_cookie(self) -> str:
        return "__Host-rosterd-signed-in" if self._https else "rosterd-signed-in"

    def _cookies(self, request: web.Request) -> dict[str, str]:
        """The requests that this browser keeps, sealed, by the name of their cookie."""
        return {name: text for name, text in request.cookies.items() if name.startswith(self._cookie_name)}

    def _refused(self, organization: str, error: SignInRefused) -> Page:
        refusal = error.refusal if isinstance(error, RequestRefused) else None
        reference = refusal.reference if refusal else refusals.reference()
        _log.warning(
            "sign_in_refused organization=%s step=%d reason=%s reference=%s",
            organization,
            error.step,
            error.reason,
            reference,
        )
        if refusal is None or refusal.purpose != TEST:
            return self._again(organization, "refused", 400, reference)
        return Page(
            kind="test_refused",
            status=400,
            values={"domain": refusal.domain},
            reasons=refusal.in_words(),
            reference=reference,
        )

    def _go(self, request: web.Request, organization: str, going: Outgoing) -> web.StreamResponse:
        if going.location:
            answer = web.Response(status=303, headers={**HEADERS, "Location": going.location})
        else:
            headers = {**HEADERS, "Content-Security-Policy": POLICY}
            answer = web.Response(text=going.form, content_type="text/html", headers=headers)
        for name in self._outworn(request, organization):
            self._set(answer, name, "", timedelta(0))
        own = f"{self._cookie_name}-{hashlib.sha256(going.request_id.encode()).hexdigest()[:10]}"
        self._set(answer, own, going.cookie, sign_in.REQUEST_LIFE)
        return answer

    def _outworn(self, request: web.Request, organization: str) -> list[str]:
        """Cookies that the browser is to forget: too many, oldest first, and those of no use here."""
        by_age = []
        for name, text in self._cookies(request).items():
            found = self.provider.seal.opened(text, organization)
            by_age.append((found.begun_at.timestamp() if found else 0.0, name))
        return [name for _, name in sorted(by_age)][: max(0, len(by_age) + 1 - _MOST_COOKIES)]

    def _set(self, answer: web.Response, name: str, value: str, life: timedelta, samesite: str = "") -> None:
        answer.set_cookie(
            name,
            value,
            max_age=int(life.total_seconds()),
            httponly=True,
            secure=self._https,
            # the response comes as a cross-site POST; without https only loopback works, which is one site
            samesite=samesite or ("None" if self._https else "Lax"),
        )


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
