"""Invites: whom one may invite, how long an invite stands, and when it may be repeated (R4, R6).

Pure: no I/O, no clock here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator

from ledger.errors import BadInput, Refused
from ledger.identity import Email, IdentityState, a_label
from ledger.settings import Duration, SettingsModel


class InviteSettings(SettingsModel):
    """``[invites]``: who is told of an invite, and how long one stands."""

    send: bool = True
    """Whether an invite is mailed by itself. false: identities and seats are made in silence, and
    ``rosterd invite resend MAIL`` tells one person at a time."""

    expire_after: Duration = timedelta(days=30)
    """An invite that nobody accepted counts as expired, and is reported, after this long; 0: never."""

    release_expired: bool = False
    """Whether seats of an expired invite are released, inside the limits; false: they are only reported."""

    domains: tuple[Annotated[str, AfterValidator(a_label)], ...] = ()
    """Domains beyond the registered ones whose people may be invited by hand."""


def expired(due: Mapping[str, datetime], waiting: Callable[[str], bool], now: datetime) -> frozenset[str]:
    """Identities whose invite is past its date. ``waiting``: whether somebody is active and has never signed in."""
    return frozenset(identity for identity, at in due.items() if at <= now and waiting(identity))


def expires_at(settings: InviteSettings, now: datetime) -> datetime | None:
    """When an invite sent at ``now`` expires; None: never."""
    return now + settings.expire_after if settings.expire_after else None


def require_domain(mail: Email, registered: Collection[str], settings: InviteSettings) -> None:
    """Raise ``Refused`` for an address outside the registered domains and ``[invites] domains``: a mistyped domain
    would mail an invite, and give a seat, to a stranger. Raise ``BadInput`` for what no relay accepts."""
    if why := mail.refused_by_relays:
        raise BadInput(f"{mail.text!r} is not a mail address: {why}", where="mail", next_step="write local@domain")
    if mail.domain in registered or mail.domain in settings.domains:
        return
    raise Refused(
        f"{mail.domain} is not a registered domain of the organization (registered: "
        f"{', '.join(sorted(registered)) or 'none'})",
        where="mail",
        next_step=f"correct the address, or: rosterd sso add {mail.domain}, or name it in [invites] domains",
    )


def require_unclaimed(mail: str, state: str, signed_in: bool) -> None:
    """Raise ``Refused`` when there is nothing to invite to any more: the person has signed in, or is not active."""
    if state != IdentityState.ACTIVE:
        raise Refused(f"{mail} is {state}: nothing to invite to", where="invite", next_step=f"rosterd explain {mail}")
    if signed_in:
        raise Refused(f"{mail} has accepted: they have signed in already", where="invite")


def parse_mail(text: str) -> Email:
    """An address out of a body or a command; raises ``BadInput`` at ``mail``."""
    try:
        return Email.parse(text)
    except ValueError as error:
        raise BadInput(str(error), where="mail", next_step="write local@domain") from error
