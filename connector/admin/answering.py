"""How every route of ``/admin/v1`` asks who it is, reads bodies and parameters, pages, and says what is wrong.

Prohibition: no rules here; whether somebody may is ``access``' answer, whether it can be done the ledger's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from access.bodies import JSON, TooLarge, TooSlow, UnreadBody, read_body
from access.errors import Forbidden, Unauthenticated
from access.principal import Principal, Scope
from connector.directory.mapping import AttributeRules
from connector.reconcile.by_hand.rules import Act, Exists
from connector.reconcile.policy.invites import InviteSettings
from connector.reconcile.policy.policy import Policy
from connector.sso.proof.web import Fetch
from connector.sso.saml.service_provider import ServiceProvider
from connector.sso.settings import DnsSettings, SsoSettings
from ledger.errors import BadInput, ManyErrors, NotFound, Refused, Retryable, RosterdError, Stale, Unavailable
from ledger.store.engine import Ledger

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
M = TypeVar("M", bound=BaseModel)

ERRORS = "https://rosterd.invalid/errors/"
MEDIA_TYPE = "application/problem+json"
_MOST_BODY = 64 * 1024
_LATEST = 253_402_300_799_999_999  # microseconds: the end of the year 9999
_HTTP = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}


class Body(BaseModel):
    """Base of every body: strict types, unknown keys refused, values never repeated in errors."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True
    )


class Asked(BaseModel):
    """Base of every set of query parameters: texts become numbers and instants, unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)


class Paged(Asked):
    """A page of a list."""

    limit: int = Field(default=50, ge=1, le=500)
    """Rows of a page."""

    cursor: str = Field(default="", max_length=1000)
    """From ``next``; opaque."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What an organization's file declares, as far as routes hand it on. ``directories``: id → kind; ``rules``: how
    each is mapped."""

    policy: Policy
    invites: InviteSettings
    directories: Mapping[str, str]
    rules: Mapping[str, AttributeRules]


@dataclass(frozen=True, slots=True)
class OwnSignOn:
    """What single sign-on needs of an organization's file and of the installation. ``graces``: of each domain that the
    file declares; ``metadata``: the identity provider's, of an address, or where the file says it is (empty);
    ``fetch``: asks a domain's own web server."""

    dns: DnsSettings
    settings: SsoSettings
    graces: Mapping[str, timedelta]
    provider: ServiceProvider
    metadata: Callable[[str], Awaitable[bytes]]
    fetch: Fetch


@dataclass(frozen=True, slots=True)
class Acts:
    """What the routes are handed: who is asking, and what only the daemon itself can do."""

    authenticate: Callable[[web.Request], Awaitable[Principal]]
    status: Callable[[], dict[str, Any]]
    reload: Callable[[str], Awaitable[None]]
    """For an organization; raises ``ManyErrors`` with what is wrong with its own file."""
    clock: Callable[[], datetime]
    declared: Callable[[str], Declared]
    """Of an organization; raises ``NotFound``."""
    sign_on: Callable[[str], OwnSignOn]
    """Of an organization; raises ``NotFound``."""


class Answering:
    """Base of every class of routes: the ledger, the clock, and who is asking."""

    def __init__(self, ledger: Ledger, acts: Acts) -> None:
        self.ledger = ledger
        self.acts = acts

    async def may(self, request: web.Request, scope: Scope) -> Principal:
        """Who is asking; raises ``Unauthenticated`` or ``Forbidden``."""
        who = await self.acts.authenticate(request)
        who.require(scope)
        return who

    async def may_see_all(self, request: web.Request, scope: Scope) -> Principal:
        """As ``may``, and refuses a credential that is bound to Teams: the answer concerns everybody."""
        who = await self.may(request, scope)
        who.require_every_team()
        return who

    def act(self, who: Principal, reason: str = "") -> Act:
        """An edit by ``who``, now."""
        return Act(who.actor, self.acts.clock(), reason.strip(), who.team_ids)


async def body(request: web.Request, model: type[M], *, optional: bool = False, most: int = _MOST_BODY) -> M:
    """The body; raises ``ManyErrors`` with every error at its place. ``optional``: none at all means all defaults;
    ``most``: bytes."""
    text = await raw(request, most)
    try:
        found = model.model_validate_json(text if text.strip() or not optional else b"{}")
    except ValidationError as error:
        raise _faults(error, f"send {_shape(model)}") from error
    _require_storable(found)
    return found


async def raw(request: web.Request, most: int = _MOST_BODY) -> bytes:
    """The body as it came, ``most`` bytes at most; raises as ``read_body`` does."""
    return await read_body(request, most=most, kinds=(JSON,), bare=True)


def asked(request: web.Request, model: type[M]) -> M:
    """The query parameters; raises ``ManyErrors`` for unknown, repeated or wrong ones."""
    query = request.rel_url.query
    faults = [BadInput("given more than once", where=name) for name in set(query) if len(query.getall(name)) > 1]
    if faults:
        raise ManyErrors(faults)
    try:
        found = model.model_validate(dict(query))
        _require_storable(found)
        return found
    except ValidationError as error:
        known = ", ".join(field.alias or name for name, field in model.model_fields.items()) or "none"
        raise _faults(error, f"parameters: {known}") from error


def _require_storable(found: BaseModel) -> None:
    """Raise ``ManyErrors`` for texts that no database keeps."""
    faults = [
        BadInput("holds a NUL character", where=name)
        for name, value in found
        if isinstance(value, str) and "\0" in value
    ]
    if faults:
        raise ManyErrors(faults)


def _faults(error: ValidationError, next_step: str) -> ManyErrors:
    found = [
        BadInput(item["msg"], where=".".join(str(part) for part in item["loc"]) or "body") for item in error.errors()
    ]
    return ManyErrors(found, next_step=next_step)


def _shape(model: type[BaseModel]) -> str:
    names = ", ".join(f'"{name}": …' for name in model.model_fields)
    return f"{{{names}}}"


def cursor_of(*values: str | int) -> str:
    """An opaque place in a list."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=").decode("ascii")


def place_of(cursor: str, *types: type) -> tuple[Any, ...] | None:
    """Back from ``cursor_of``; None for none. Raises ``BadInput`` for what we never wrote."""
    if not cursor:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        values = msgspec.json.decode(raw)
    except (binascii.Error, ValueError) as error:
        raise _no_cursor() from error
    if not isinstance(values, list) or [type(value) for value in values] != list(types):
        raise _no_cursor()
    if any("\0" in value if isinstance(value, str) else not 0 <= value <= _LATEST for value in values):
        raise _no_cursor()
    return tuple(values)


def _no_cursor() -> BadInput:
    return BadInput("this is not a cursor of this list", where="cursor", next_step="follow `next` as it is given")


def paged(name: str, rows: Sequence[Any], limit: int, cursor: Callable[[Any], str], show: Callable[[Any], Any]) -> Any:
    """``{name: […], "next": cursor or null}`` of up to ``limit + 1`` rows."""
    more = len(rows) > limit
    shown = rows[:limit]
    return {name: [show(row) for row in shown], "next": cursor(shown[-1]) if more else None}


def answer(document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer that nobody caches."""
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error as RFC 9457, those of HTTP itself too."""
    try:
        if any(not value.isprintable() for value in request.match_info.values()):
            raise NotFound("no id has control characters")
        return await handler(request)
    except RosterdError as error:
        return problem(error)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        kind = _HTTP.get(error.status, "invalid-request")
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return _problem(
            {"detail": error.reason, "next_step": "see /admin/v1/openapi.json"}, error.status, kind, headers
        )


def problem(error: RosterdError) -> web.Response:
    """``application/problem+json`` of an error; never says why a token was refused."""
    status, kind = _status(error)
    parts: dict[str, Any] = {"detail": error.what, "next_step": error.next_step}
    if isinstance(error, ManyErrors):
        count = len(error.faults)
        parts["detail"] = f"{count} errors" if count != 1 else error.faults[0].what
        parts["errors"] = [{"where": fault.where, "what": fault.what} for fault in error.faults]
    elif error.where:
        parts["where"] = error.where
    if isinstance(error, Exists):
        parts["id"] = error.identity_id
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="rosterd"'
    if isinstance(error, Retryable):
        headers["Retry-After"] = str(max(1, int(error.after.total_seconds())))
    return _problem(parts, status, kind, headers)


def _problem(parts: Mapping[str, Any], status: int, kind: str, headers: Mapping[str, str]) -> web.Response:
    document = {"type": ERRORS + kind, "title": kind.replace("-", " "), "status": status, **parts}
    return web.Response(
        body=msgspec.json.encode(document),
        status=status,
        content_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **headers},
    )


KINDS: tuple[tuple[type[RosterdError], int, str], ...] = (
    (Unauthenticated, 401, "unauthenticated"),
    (NotFound, 404, "not-found"),
    (UnreadBody, 415, "unread-body"),
    (TooLarge, 413, "too-large"),
    (TooSlow, 408, "too-slow"),
    (BadInput, 400, "invalid-request"),
    (Forbidden, 403, "role-required"),
    (Exists, 409, "exists"),
    (Stale, 409, "stale"),
    (Refused, 409, "refused"),
    (Retryable, 503, "try-again"),
    (Unavailable, 503, "unavailable"),
)
"""Error → status and the end of the problem's type; the first that fits."""


def _status(error: RosterdError) -> tuple[int, str]:
    return next(((status, name) for kind, status, name in KINDS if isinstance(error, kind)), (500, "internal"))
