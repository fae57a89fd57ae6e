"""The kinds of mail: of which message of the outbox, to whom, and whether several of them may be one mail (L5, L7).

Pure: no I/O here. Prohibition: decides nothing about when a mail goes out, and holds no words of one (``templates``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final


class Readers(StrEnum):
    """Who is written to, as a role: the people who hold it are looked up when the mail goes out (L5)."""

    PERSON = "person"
    """The person whom the message is about."""
    APPROVERS = "approvers"
    """Everybody who may approve a held set: by a role over the organization, or over every Team of it."""
    SSO_ADMINS = "sso_admins"
    """The administrators of single sign-on of the organization."""
    TEAM_ADMIN = "team_admin"
    """The Primary Admin of the Team that the message is about."""
    OPERATOR = "operator"
    """Who operates the installation: ``[mail] operator``."""
    ASKED = "asked"
    """An address that somebody gave by hand."""


READ_BY: Final[Mapping[Readers, str]] = MappingProxyType(
    {
        Readers.PERSON: "the person",
        Readers.APPROVERS: "who may approve",
        Readers.SSO_ADMINS: "the administrators of single sign-on",
        Readers.TEAM_ADMIN: "the Primary Admin of the Team",
        Readers.OPERATOR: "the operator",
        Readers.ASKED: "the address that was given",
    }
)
"""How readers are named to people."""


@dataclass(frozen=True, slots=True)
class MailKind:
    """One kind of mail.

    ``name``: the kind of the outbox message. ``when``: what has happened, in one sentence. ``raised``: whether the
    product writes such messages today. ``digest``: whether several messages to the same readers may be put together
    into one mail. ``example``: a payload as it is really written, for previews and for checks of templates.
    """

    name: str
    readers: Readers
    when: str
    example: Mapping[str, Any]
    raised: bool = True
    digest: bool = False

    @property
    def sent(self) -> bool:
        """Whether anything sends it today: a message of the outbox, or somebody who asks for it."""
        return self.raised or self.readers is Readers.ASKED

    def __post_init__(self) -> None:
        """A person is told of their own matters one by one."""
        if self.digest and self.readers in {Readers.PERSON, Readers.ASKED}:
            raise ValueError(f"{self.name}: a digest is for readers who hold a role")


_DIGEST = "6f1f0c2f9d0a4be1a8a3a4f2f3c0d5e67f0b1c2d3e4f5061728394a5b6c7d8e9"
_TEAM = "0198a3d27c4e7b51a1f0c2d3e4f50617"
_APPROVE = f"rosterd approve {_DIGEST[:12]}"

_ALL = (
    MailKind(
        "invite.mail",
        Readers.PERSON,
        "Somebody gets a place in a Team, or an invite is sent to them again.",
        {"mail": "jane.doe@acme.example", "name": "Jane Doe", "mapping": "design"},
    ),
    MailKind(
        "invite.reminder",
        Readers.PERSON,
        "An invite was not accepted yet and expires soon.",
        {"mail": "jane.doe@acme.example", "name": "Jane Doe", "mapping": "design"},
        raised=False,
    ),
    MailKind(
        "plan.held",
        Readers.APPROVERS,
        "A run would take more away than the limits allow: these changes wait for an approval.",
        {
            "digest": _DIGEST,
            "why": "12 people would lose their seat in one day, at most 5 may: day limit of Team Design",
            "counts": {"LeaveTeam": 12, "PauseSeat": 12},
            "expires_at": "2026-07-30T14:05:00Z",
            "approvers": 2,
            "next": _APPROVE,
        },
        digest=True,
    ),
    MailKind(
        "plan.approval_needed",
        Readers.APPROVERS,
        "A held set was approved once and needs the approval of another principal.",
        {"digest": _DIGEST, "approved_by": "ada@acme.example", "next": _APPROVE},
        digest=True,
    ),
    MailKind(
        "identity.doubt",
        Readers.APPROVERS,
        "Somebody's entry is gone from the directory, but a group still names it: only a person can tell (E15).",
        {
            "mail": "jan.kowalski@acme.example",
            "name": "Jan Kowalski",
            "dn": "uid=jan.kowalski,ou=people,dc=acme,dc=example",
            "group": "cn=design,ou=groups,dc=acme,dc=example",
            "absent_since": "2026-07-16T14:05:00Z",
            "digest": _DIGEST,
            "next": _APPROVE,
        },
        raised=False,
        digest=True,
    ),
    MailKind(
        "sync.suspended",
        Readers.SSO_ADMINS,
        "Single sign-on is no longer proved for any domain: directory sync is suspended.",
        {
            "reasons": ["cert_expired"],
            "missing": [
                "acme.example: every signing certificate of the identity provider has expired (cert_expired) → get its"
                " new metadata, then: rosterd sso connect METADATA"
            ],
            "next": "rosterd sso status",
        },
    ),
    MailKind(
        "sync.resumed",
        Readers.SSO_ADMINS,
        "Single sign-on is proved again: directory sync goes on.",
        {"reasons": ["cert_expired"], "suspended_at": "2026-07-22T08:30:00Z", "next": "rosterd plan"},
    ),
    MailKind(
        "sso.forecast",
        Readers.SSO_ADMINS,
        "Single sign-on will lapse on a date that is known, unless something is done.",
        {
            "reason": "cert_expired",
            "lapses_at": "2026-08-22T00:00:00Z",
            "domains": ["acme.example"],
            "next": "rosterd sso status",
        },
        raised=False,
    ),
    MailKind(
        "connection.continued",
        Readers.SSO_ADMINS,
        "The identity provider shows another signing certificate, and sign-ins go on with it.",
        {
            "to": "sso_admin",
            "version": 4,
            "added": [{"sha256": "9f" * 32, "until": "2029-07-23T00:00:00Z"}],
            "removed": [{"sha256": "3c" * 32, "until": "2026-08-22T00:00:00Z"}],
            "valid_until": None,
            "source": "https://idp.acme.example/metadata",
            "by": "refresh",
            "next": f"rosterd sso confirm-certificate {'9f' * 8}",
        },
    ),
    MailKind(
        "connection.draft_waits",
        Readers.SSO_ADMINS,
        "The metadata of the identity provider has changed in a way that only an administrator may accept.",
        {
            "to": "sso_admin",
            "version": 5,
            "why": "it is of another identity provider, https://other.example/metadata",
            "next": "rosterd sso status",
        },
    ),
    MailKind(
        "relink.held",
        Readers.SSO_ADMINS,
        "Somebody signed in with a person's address but as another account of the identity provider.",
        {"id": "5a3f0c9be21d", "expires_at": "2026-07-30T14:05:00Z", "next": "rosterd sso relinks"},
        digest=True,
    ),
    MailKind(
        "seats.short",
        Readers.TEAM_ADMIN,
        "More people wait for a seat of the Team than before.",
        {
            "team": "Design",
            "team_id": _TEAM,
            "offering": "CAD",
            "waiting": 3,
            "waiting_before": 1,
            "capacity": 25,
            "why": "CAD @ Design: 28 wanted, 25 paid for: 3 people wait",
            "next": "buy 3 more seats of CAD for Team Design, then rosterd import subscriptions FILE",
        },
        digest=True,
    ),
    MailKind(
        "team.restricted",
        Readers.TEAM_ADMIN,
        "An administrator restricted the Team (R16).",
        {"team": "Design", "team_id": _TEAM, "reason": "the invoice of May is not paid", "seats": 25},
        digest=True,
    ),
    MailKind(
        "team.lifted",
        Readers.TEAM_ADMIN,
        "An administrator lifted the restriction of the Team.",
        {"team": "Design", "team_id": _TEAM, "reason": "the invoice of May was paid"},
        digest=True,
    ),
    MailKind(
        "coverage.true_up",
        Readers.TEAM_ADMIN,
        "The renewal is near, and some subscriptions of the Team's users are not upgraded to Business (R14).",
        {
            "team": "Design",
            "team_id": _TEAM,
            "unpaid": 4,
            "renews_on": "2026-09-30",
        },
        raised=False,
        digest=True,
    ),
    MailKind(
        "seat.home_copy",
        Readers.TEAM_ADMIN,
        "Somebody left whose home copy the customer has to revoke (R20).",
        {
            "team": "Design",
            "team_id": _TEAM,
            "offering": "CAD",
            "mail": "jan.kowalski@acme.example",
            "name": "Jan Kowalski",
            "left_at": "2026-07-23T14:05:00Z",
        },
        raised=False,
        digest=True,
    ),
    MailKind(
        "source.stale",
        Readers.OPERATOR,
        "A directory was not read whole for longer than [sync] fresh_within.",
        {
            "source": "corp",
            "scopes": ["ou=people,dc=acme,dc=example"],
            "last_complete_at": "2026-07-22T14:05:00Z",
            "why": "directory corp was not read whole since 2026-07-22T14:05:00Z: ou=people,dc=acme,dc=example:"
            " connection refused",
            "effect": "nobody loses anything because of it; leavers who are only absent keep their seats meanwhile",
            "next": "rosterd check --live",
        },
        digest=True,
    ),
    MailKind(
        "source.fresh",
        Readers.OPERATOR,
        "A directory that was told to be stale is read whole again.",
        {
            "source": "corp",
            "why": "directory corp is read whole again; it was told to be stale at 2026-07-23T14:05:00Z",
            "next": "rosterd report runs",
        },
        digest=True,
    ),
    MailKind(
        "mail.test",
        Readers.ASKED,
        "Somebody asked for a test mail.",
        {"asked_by": "ada@acme.example"},
        raised=False,
    ),
)

KINDS: Final[Mapping[str, MailKind]] = MappingProxyType({kind.name: kind for kind in _ALL})
"""Kind of the outbox message → kind of mail, in the order in which documents list them."""

RAISED: Final = frozenset(kind.name for kind in KINDS.values() if kind.raised)
"""Kinds of messages of the outbox that become mail."""
