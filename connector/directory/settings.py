"""What an organization file says about a directory: ``[[directories]]``, one of five kinds (D5, D7, D12, D15).

Pure: settings only; nothing is opened here.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator

from connector.directory import dn
from connector.directory.scim.settings import ScimInboxSettings, ScimSettings, checked_fields
from ledger.secret import SecretRef
from ledger.settings import Duration, SettingsModel

DEFAULT_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "mail": ("mail",),
    "given_name": ("givenName",),
    "family_name": ("sn",),
    "display_name": ("displayName", "cn"),
    "employee_number": ("employeeNumber",),
}
"""Our field → directory attributes where the organization file says nothing."""

Dialect = Literal["pwdAccountLockedTime", "nsAccountLock", "shadowExpire", "userAccountControl"]
ALL_DIALECTS: tuple[Dialect, ...] = ("pwdAccountLockedTime", "nsAccountLock", "shadowExpire", "userAccountControl")

_ATTRIBUTE = re.compile(r"(?:[A-Za-z][A-Za-z0-9-]*|\d+(?:\.\d+)+)(?:;[A-Za-z0-9-]+)*")
_GLOBAL_CATALOG = frozenset({3268, 3269})


class DisabledSettings(SettingsModel):
    """How this directory says that an account is disabled (D7). Disabled is positive evidence, not absence."""

    dialects: tuple[Dialect, ...] = ALL_DIALECTS
    """Built-in signs to believe: OpenLDAP pwdAccountLockedTime (only the permanent lock 000001010000Z), 389 and FreeIPA nsAccountLock, shadowExpire, and Active Directory userAccountControl with accountExpires."""  # noqa: E501
    attribute: str = ""
    """One more attribute that says so, for example employeeType; empty: none."""
    values: tuple[str, ...] = ()
    """Values of that attribute, compared without case, that mean disabled."""

    @model_validator(mode="after")
    def _together(self) -> DisabledSettings:
        if bool(self.attribute) != bool(self.values):
            raise ValueError("attribute and values belong together: give both or neither")
        return self


class _Common(SettingsModel):
    """What every kind of directory has."""

    # A password written where its reference belongs must not come back in an error.
    model_config = ConfigDict(hide_input_in_errors=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    """Name of this directory in mappings and links; never change it: people are bound to it."""
    groups_base: str = ""
    """Where groups are looked for by name or anchor, and nested groups in bulk; one given by DN may lie elsewhere."""
    anchor_attribute: str = "entryUUID"
    """The attribute that never changes while an entry lives: entryUUID, nsUniqueId, objectGUID …"""
    group_name_attribute: str = "cn"
    """The attribute a group is named by in a mapping that gives a name."""
    member_uid_attribute: str = "uid"
    """The attribute of people that memberUid values of posixGroup name."""
    sentinels: tuple[str, ...] = ()
    """DNs that must be visible in every reading; when one is not, absence under its base proves nothing (D3)."""
    attributes: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Our field → directory attributes, the first with a usable value wins. Known: mail, given_name, family_name, display_name, employee_number; any other name is kept as an attribute of the person."""  # noqa: E501
    mail_domains: tuple[str, ...] = ()
    """When a person has several mail addresses: domains in order of preference; then the alphabet decides."""
    disabled: DisabledSettings = DisabledSettings()
    """How disabled accounts are recognised."""

    @field_validator("sentinels", "groups_base")
    @classmethod
    def _names(cls, value: tuple[str, ...] | str) -> tuple[str, ...] | str:
        for name in (value,) if isinstance(value, str) else value:
            dn.parse(name)
        return value

    @field_validator("attributes")
    @classmethod
    def _fields(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return checked_fields(value, _ATTRIBUTE, "an attribute name")

    def field_attributes(self) -> dict[str, tuple[str, ...]]:
        """Every field with its attributes, defaults included."""
        return {**DEFAULT_ATTRIBUTES, **self.attributes}


class LdapSettings(_Common):
    """A directory server (OpenLDAP, 389, FreeIPA and others with a stable anchor attribute)."""

    kind: Literal["ldap"] = "ldap"
    """ldap"""
    servers: tuple[str, ...] = Field(min_length=1)
    """ldaps://host[:port], ldap://host (StartTLS) or ldapi://%2Fpath, in order of preference; one reading uses one."""
    plaintext: bool = False
    """Danger: true sends passwords and people unencrypted over ldap://. Only for a server on this machine."""
    tls_ca: str = ""
    """PEM file of the authority that signed the server's certificate; empty: the system's."""
    tls_verify: bool = True
    """Danger: false accepts any certificate, so anybody in between may answer as the directory."""
    tls_name: str = ""
    """Name expected in the certificate where it differs from the host in the address."""
    tls_certificate: str = ""
    """PEM file of our own certificate, for bind = "external" over TLS."""
    tls_key: str = ""
    """PEM file of its key."""
    bind: Literal["simple", "external", "anonymous"] = "simple"
    """simple: bind_dn and bind_password; external: SASL EXTERNAL (client certificate, ldapi); anonymous: none."""
    bind_dn: str = ""
    """Account that reads; it needs read rights on people, groups and the anchor attribute, and no others."""
    bind_password: SecretRef | None = None
    """env:NAME or file:PATH."""
    people_base: str | tuple[str, ...]
    """Where people are; several bases are several scopes."""
    people_filter: str = "(objectClass=inetOrgPerson)"
    """Which entries there are people (RFC 4515)."""
    groups_filter: str = (
        "(|(objectClass=groupOfNames)(objectClass=groupOfUniqueNames)(objectClass=posixGroup)(objectClass=group))"
    )
    """Which entries under groups_base are groups."""
    page_size: int = Field(default=1000, ge=1, le=100_000)
    """Entries per page; the server's own limit counts if it is smaller."""
    connect_timeout: Duration = timedelta(seconds=10)
    """Longest wait for a connection, TLS included."""
    bind_timeout: Duration = timedelta(seconds=10)
    """Longest wait for the answer to the bind."""
    page_timeout: Duration = timedelta(seconds=60)
    """Longest wait for one page of results."""
    attempts: int = Field(default=3, ge=1, le=10)
    """How often a reading that broke off is begun again, on the next server, inside its deadline."""
    retry_wait: Duration = timedelta(seconds=1)
    """Wait before the second attempt; doubled each time."""

    @property
    def people_bases(self) -> tuple[str, ...]:
        """Always a tuple."""
        return (self.people_base,) if isinstance(self.people_base, str) else self.people_base

    @field_validator("servers")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            parts = urlsplit(url)
            if (
                parts.scheme not in {"ldap", "ldaps", "ldapi"}
                or not parts.netloc
                or parts.path.strip("/")
                or parts.query
            ):
                raise ValueError(
                    f"{url!r} is not a server: write ldaps://host, ldap://host:port or ldapi://%2Frun%2Fslapd"
                )
        return value

    @field_validator("people_base")
    @classmethod
    def _bases(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        bases = (value,) if isinstance(value, str) else value
        if not bases or any(not dn.parse(base) for base in bases):
            raise ValueError("at least one DN is needed, and none may be empty")
        return value

    @model_validator(mode="after")
    def _credentials(self) -> LdapSettings:
        if self.bind == "simple" and not (self.bind_dn and self.bind_password):
            raise ValueError('bind = "simple" needs bind_dn and bind_password (or ask for bind = "anonymous")')
        if self.bind != "simple" and (self.bind_dn or self.bind_password):
            raise ValueError(f'bind = "{self.bind}" takes no bind_dn and no bind_password')
        if bool(self.tls_certificate) != bool(self.tls_key):
            raise ValueError("tls_certificate and tls_key belong together")
        return self


class ActiveDirectorySettings(LdapSettings):
    """An Active Directory domain, read from its domain controllers; as kind = "ldap", with defaults that fit."""

    kind: Literal["active_directory"] = "active_directory"  # type: ignore[assignment]  # the same table, other defaults
    """active_directory"""
    anchor_attribute: str = "objectGUID"
    """The attribute that never changes while an entry lives."""
    people_filter: str = "(&(objectCategory=person)(objectClass=user))"
    """Which entries under the people base are people (RFC 4515); computers are none."""
    groups_filter: str = "(objectCategory=group)"
    """Which entries under groups_base are groups."""

    @field_validator("servers")
    @classmethod
    def _no_global_catalog(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if urlsplit(url).port in _GLOBAL_CATALOG:
                raise ValueError(f"{url!r} is a global catalog, which hides members of groups: use port 636 or 389")
        return value


class LdifSettings(_Common):
    """An LDIF export (RFC 2849), for trials and for directories that only export."""

    kind: Literal["ldif"] = "ldif"
    """ldif"""
    file: str = Field(min_length=1)
    """Path of the file, relative to the organization file. A line "# exported: 2026-11-29T10:00:00Z" in it says when the export began: an older file in its place then takes nobody away."""  # noqa: E501
    people_base: str | tuple[str, ...] = ()
    """Where people are; empty: anywhere in the file."""
    people_classes: tuple[str, ...] = ("person", "organizationalPerson", "inetOrgPerson", "user")
    """An entry with one of these object classes is a person."""
    group_classes: tuple[str, ...] = ("groupOfNames", "groupOfUniqueNames", "posixGroup", "group")
    """An entry with one of these object classes is a group."""
    require_count: bool = False
    """True: a file that does not declare its number of entries (a line "# entries: N", or ldapsearch's "# numEntries: N") is taken as cut off."""  # noqa: E501

    @property
    def people_bases(self) -> tuple[str, ...]:
        """Always a tuple; empty when people may be anywhere."""
        if isinstance(self.people_base, str):
            return (self.people_base,) if self.people_base else ()
        return self.people_base

    @field_validator("people_base")
    @classmethod
    def _bases(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for base in (value,) if isinstance(value, str) else value:
            dn.parse(base)
        return value


AnyDirectory = LdapSettings | ActiveDirectorySettings | LdifSettings | ScimSettings | ScimInboxSettings
DirectorySettings = Annotated[AnyDirectory, Field(discriminator="kind")]
"""One ``[[directories]]`` table."""
