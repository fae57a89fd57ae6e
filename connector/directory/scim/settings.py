"""What an organization file says about SCIM: a provider that we read (``kind = "scim"``, D16), and the inbox that a
provider pushes to (``kind = "scim_inbox"``, G6).

Pure: settings only; nothing is opened here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from ledger.secret import SecretRef
from ledger.settings import Duration, SettingsModel

ENTERPRISE_URN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:user"
"""RFC 7643 §4.3, in lower case."""
ENTERPRISE = "enterprise."
"""How attributes of that extension are named in an organization file: ``enterprise.department``."""

SCIM_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "mail": ("emails.primary", "emails.work", "emails"),
    "given_name": ("name.givenName",),
    "family_name": ("name.familyName",),
    "display_name": ("displayName", "name.formatted"),
    "employee_number": ("enterprise.employeeNumber",),
}
"""Our field → SCIM attributes where the organization file says nothing."""

Profile = Literal["auto", "standard", "entra", "aws"]
Membership = Literal["auto", "members", "user-groups", "filter"]
InboxProfile = Literal["generic", "entra", "okta", "strict"]

_ATTRIBUTE = re.compile(r"(?:urn:[A-Za-z0-9:._-]+:)?[A-Za-z$][A-Za-z0-9$_-]*(?:\.[A-Za-z$][A-Za-z0-9$_-]*){0,2}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")


def checked_fields(
    value: dict[str, tuple[str, ...]], attribute: re.Pattern[str], kind: str
) -> dict[str, tuple[str, ...]]:
    """An ``attributes`` table of any kind of directory: well-formed fields and names, and a source of the mail.

    Raises ``ValueError`` naming the first wrong field or name; ``kind`` says what a name should have been.
    """
    for field, names in value.items():
        if not _FIELD.fullmatch(field):
            raise ValueError(f"{field!r} is not a field name: small letters, digits and _")
        for name in names:
            if not attribute.fullmatch(name):
                raise ValueError(f"{field}: {name!r} is not {kind}")
    if not value.get("mail", ("mail",)):
        raise ValueError("mail: at least one attribute is needed")
    return value


@dataclass(frozen=True, slots=True)
class DisabledSign:
    """``active = false`` is positive evidence that an account is disabled (D7)."""

    dialects: tuple[Literal["userAccountControl"], ...] = ()
    attribute: str = "active"
    values: tuple[str, ...] = ("false", "0")


class _Common(SettingsModel):
    """What reading a provider and being pushed to have alike."""

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    """Name of this directory in mappings, links and the tokens of an inbox; never change it: people are bound to it."""
    sentinels: tuple[str, ...] = ()
    """Users/<id or userName> or Groups/<id or displayName> that must be visible in every reading (D3)."""
    attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Our field → SCIM attributes, the first with a usable value wins: userName, name.givenName, emails.work, emails.primary, addresses.work.country, enterprise.department, urn:…:attribute. Known fields: mail, given_name, family_name, display_name, employee_number; any other is kept as an attribute of the person."""  # noqa: E501
    mail_domains: tuple[str, ...] = ()
    """When a person has several mail addresses: domains in order of preference; then the alphabet decides."""

    @field_validator("attributes")
    @classmethod
    def _fields(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return checked_fields(value, _ATTRIBUTE, "a SCIM attribute")

    @field_validator("sentinels")
    @classmethod
    def _sentinels(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if not re.fullmatch(r"(?:Users|Groups)/.+", name):
                raise ValueError(f"{name!r}: a sentinel is Users/<id or userName> or Groups/<id or displayName>")
        return value

    @property
    def disabled(self) -> DisabledSign:
        """How a disabled account looks."""
        return DisabledSign()

    def field_attributes(self) -> dict[str, tuple[str, ...]]:
        """Every field with its attributes, defaults included, the enterprise extension by its short name."""
        fields = {**SCIM_ATTRIBUTES, **self.attributes}
        return {field: tuple(_short(name) for name in names) for field, names in fields.items()}


class ScimSettings(_Common):
    """A SCIM 2.0 service provider that we read (RFC 7644): index paging, or RFC 9865 cursors where it has them."""

    # A token written where its reference belongs must not come back in an error.
    model_config = ConfigDict(hide_input_in_errors=True)

    kind: Literal["scim"] = "scim"
    """scim"""
    url: str
    """Base address, for example https://idp.acme.example/scim/v2; /Users and /Groups are below it."""
    token: SecretRef | None = None
    """Bearer token with read rights on users and groups: env:NAME or file:PATH."""
    plaintext: bool = False
    """Danger: true allows http://, which sends the token and people unencrypted. Only for a server on this machine."""
    tls_ca: str = ""
    """PEM file of the authority that signed the server's certificate; empty: the system's."""
    tls_verify: bool = True
    """Danger: false accepts any certificate, so anybody in between may answer as the directory."""
    profile: Profile = "auto"
    """Known departures from the standard: standard, entra (Microsoft Entra's SCIM API) or aws (IAM Identity Center); auto: by the host in the address."""  # noqa: E501
    paging: Literal["auto", "index", "cursor"] = "auto"
    """How lists are read: what ServiceProviderConfig promises or a probe shows (auto), startIndex, or RFC 9865 cursors."""  # noqa: E501
    membership: Membership = "auto"
    """Where membership is read: members of groups, groups of users (user-groups), or one search of users per group (filter); auto: the first that shows anybody."""  # noqa: E501
    users_filter: str = ""
    """Which users are read (RFC 7644 §3.4.2.2); empty: all. Never leave out inactive ones: they would look deleted."""
    page_size: int = Field(default=100, ge=2, le=10_000)
    """Resources per page; the server's own limit counts if it is smaller."""
    connect_timeout: Duration = timedelta(seconds=10)
    """Longest wait for a connection, TLS included."""
    page_timeout: Duration = timedelta(seconds=60)
    """Longest wait for one page."""
    page_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, le=1024**3)
    """Largest answer that is taken."""
    attempts: int = Field(default=4, ge=1, le=10)
    """How often a request is made when the server answers 429 or 5xx or the connection breaks, inside the deadline."""
    readings: int = Field(default=3, ge=1, le=10)
    """How often a list that changed while it was read is read again; after that its scope is unknown."""
    retry_wait: Duration = timedelta(seconds=1)
    """Wait before a second attempt, doubled each time; a Retry-After of the server counts instead."""
    shrink_percent: int = Field(default=20, ge=0, le=100)
    """A list that lost more than this share between two readings of one run proves nothing in that run."""

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"https", "http"} or not parts.hostname:
            raise ValueError("url must look like https://host/scim/v2")
        if parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("url takes no query, no fragment and no password")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _encrypted(self) -> ScimSettings:
        if urlsplit(self.url).scheme == "http" and not self.plaintext:
            raise ValueError("url must begin with https:// (or ask for plaintext = true)")
        return self


class ScimInboxSettings(_Common):
    """People and groups that an identity provider pushes to our ``/scim/v2`` (RFC 7644); nothing is fetched."""

    kind: Literal["scim_inbox"] = "scim_inbox"
    """scim_inbox"""
    profile: InboxProfile = "generic"
    """Who pushes: entra, okta or generic take what these providers really send, and note each time it was bent; strict refuses what departs from the standard."""  # noqa: E501


def _short(name: str) -> str:
    if name.lower().startswith(ENTERPRISE_URN + ":"):
        return ENTERPRISE + name[len(ENTERPRISE_URN) + 1 :]
    return name
