"""What can be set: ``rosterd.toml`` (one per installation) and ``organizations/*.toml`` (one per customer).

Each room defines its own sections; this file only assembles them. Values only: files are read by ``loading``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

from pydantic import Field, IPvAnyNetwork, field_validator

from access.outbound.settings import OutboundSettings
from connector.delivery.mail.settings import MailSettings, OrganizationMailSettings
from connector.directory.settings import DirectorySettings
from connector.reconcile.plan.settings import (
    GuestSettings,
    LimitSettings,
    MappingSettings,
    OffboardingSettings,
    SyncSettings,
    TeamSettings,
)
from connector.reconcile.policy.invites import InviteSettings
from connector.sso.settings import DnsSettings, DomainSettings, SamlSettings, SsoSettings
from connector.usage.settings import ReportingSettings
from ledger.errors import NotFound
from ledger.identity import Email, a_label
from ledger.secret import SecretRef
from ledger.settings import Duration, SettingsModel
from ledger.team import ORGANIZATION_ID, Organization
from reporting_api.settings import ApiSettings


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    return host.strip("[]"), int(port)


class ServerSettings(SettingsModel):
    """``[server]``: where the daemon listens and what others call it."""

    listen: str = "127.0.0.1:8080"
    """HOST:PORT; put a TLS-terminating proxy in front. Port 0 takes a free one and logs it."""

    operator_listen: str = "127.0.0.1:8081"
    """HOST:PORT of /metrics and of /health/ready with its details: for the operator, never for the public."""

    public_url: str = "http://127.0.0.1:8080"
    """The address others reach it by: next links, SAML endpoints and invite links are built from it. https, but on one
    machine alone. It is part of our SAML entityID: after a change rosterd check --moved says who must change too."""

    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Networks of the proxies in front: only what they say in Forwarded or X-Forwarded-For is believed."""

    anonymous_per_address: Annotated[int, Field(ge=1)] = 600
    """Requests a minute that one address (IPv6: one /64) may make without a token; a sign-in is two of them."""

    anonymous_per_organization: Annotated[int, Field(ge=1)] = 6000
    """Requests a minute that all addresses together may make at the sign-in pages of one organization."""

    drain: Duration = timedelta(seconds=30)
    """How long requests and runs that have begun may go on after SIGTERM."""

    @field_validator("listen", "operator_listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        host, separator, port = value.rpartition(":")
        if not separator or not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{value!r} is not HOST:PORT, for example 127.0.0.1:8080")
        return value

    @field_validator("public_url")
    @classmethod
    def _public(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{value!r} is not an http(s) address without query")
        return value.rstrip("/")

    @property
    def address(self) -> tuple[str, int]:
        """Host (without the brackets of IPv6) and port."""
        return _address(self.listen)

    @property
    def operator_address(self) -> tuple[str, int]:
        """The same of the operator's listener."""
        return _address(self.operator_listen)


class DatabaseSettings(SettingsModel):
    """``[database]``: where the ledger is kept."""

    url: str = "sqlite:///var"
    """sqlite:///FOLDER (relative to this file), or postgresql://USER@HOST[:PORT]/NAME."""

    password: SecretRef | None = None
    """Password of a PostgreSQL user, by reference."""

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if not value.startswith(("sqlite:///", "postgresql://")):
            raise ValueError("the database is neither sqlite:///FOLDER nor postgresql://USER@HOST/NAME")
        if value.startswith("postgresql://") and urlsplit(value).password:
            raise ValueError('the address holds a password: write it as password = "env:NAME" or "file:PATH"')
        return value

    @property
    def folder(self) -> Path | None:
        """Where SQLite keeps its files; None for a server."""
        return Path(self.url.removeprefix("sqlite:///")) if self.url.startswith("sqlite:///") else None

    def connection_url(self) -> str:
        """``url`` with the revealed password in its place; never print it."""
        if self.password is None or not self.url.startswith("postgresql://"):
            return self.url
        parts = urlsplit(self.url)
        user, _, rest = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{user}:{quote(self.password.reveal(), safe='')}@{rest}"))


class StorageSettings(SettingsModel):
    """``[storage]``: where published datasets are kept."""

    warehouse: str = "file:var/warehouse"
    """Iceberg tables: file:FOLDER (relative to this file) or s3://BUCKET/PREFIX."""

    @field_validator("warehouse")
    @classmethod
    def _warehouse(cls, value: str) -> str:
        if not value.startswith(("file:", "s3://")):
            raise ValueError("the warehouse is neither file:FOLDER nor s3://BUCKET/PREFIX")
        return value

    @property
    def folder(self) -> Path | None:
        """Where the tables are files; None for S3."""
        local = self.warehouse.startswith("file:")
        return Path(self.warehouse.removeprefix("file://").removeprefix("file:")) if local else None


class SecretsSettings(SettingsModel):
    """``[secrets]``: keys of the installation, made by ``rosterd init``, by reference."""

    pepper: SecretRef = SecretRef("file", "secrets/pepper")
    """HMAC key of API tokens and cursors; changing it ends every token."""

    pseudonym_key: SecretRef = SecretRef("file", "secrets/pseudonym-key")
    """HMAC key of the user keys in reports; changing it makes new pseudonyms."""


class ScheduleSettings(SettingsModel):
    """``[schedule]``: how often the daemon does what; 0 switches one off."""

    reconcile_every: Duration = timedelta(minutes=15)
    """Reading the directories of every organization and applying what the guard lets through."""

    reconcile_after_push: Duration = timedelta(seconds=30)
    """A run this long after an identity provider pushed something over SCIM; pushes until then share it."""

    publish_every: Duration = timedelta(hours=1)
    """Publishing datasets that changed."""

    evidence_every: Duration = timedelta(hours=24)
    """Looking again at domains, certificates and metadata; at a domain whose proof is missing, every hour."""

    full_reading_every: Duration = timedelta(hours=24)
    """A full reading at least this often, where runs between are incremental."""

    run_deadline: Duration = timedelta(minutes=30)
    """A worker process that takes longer is stopped; its transaction never happened."""


class LoggingSettings(SettingsModel):
    """``[logging]``: lines on stderr. No secrets ever; mail addresses only at debug."""

    format: Literal["text", "json"] = "text"
    """text: key=value; json: one object a line."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""


class InstallationSettings(SettingsModel):
    """``rosterd.toml``: one per installation. Secrets are references (env:NAME or file:PATH), never values."""

    organizations: str = "organizations/*.toml"
    """Files of the customers, relative to this file. A key outside tables stands before the first [table]."""

    server: ServerSettings = ServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    secrets: SecretsSettings = SecretsSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    dns: DnsSettings = DnsSettings()
    outbound: OutboundSettings = OutboundSettings()
    saml: SamlSettings = SamlSettings()
    api: ApiSettings = ApiSettings()
    mail: MailSettings = MailSettings()
    logging: LoggingSettings = LoggingSettings()


class OrganizationSection(SettingsModel):
    """``[organization]``: who the customer is."""

    id: Annotated[str, Field(pattern=ORGANIZATION_ID)]
    """Key of the customer everywhere; never change it: its whole history is kept under it."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Name shown to people."""

    report_zone: str = "UTC"
    """IANA time zone whose days its reports use."""

    @field_validator("report_zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{value!r} is not an IANA time zone, for example Europe/Warsaw") from error
        return value


class OrganizationSettings(SettingsModel):
    """``organizations/*.toml``: one per customer. It says what should be; acts (proving a domain, turning SSO on,
    enabling sync, approving) are commands with an actor."""

    organization: OrganizationSection
    domains: tuple[DomainSettings, ...] = ()
    sso: SsoSettings | None = None
    teams: tuple[TeamSettings, ...] = ()
    directories: tuple[DirectorySettings, ...] = ()
    mappings: tuple[MappingSettings, ...] = ()
    guests: tuple[GuestSettings, ...] = ()
    offboarding: OffboardingSettings = OffboardingSettings()
    limits: LimitSettings = LimitSettings()
    sync: SyncSettings = SyncSettings()
    invites: InviteSettings = InviteSettings()
    mail: OrganizationMailSettings = OrganizationMailSettings()
    reporting: ReportingSettings = ReportingSettings()

    def foreign_sender(self, installation: MailSettings) -> str:
        """The domain that ``[mail] sender`` of this file may not use; empty where it is one of ``[[domains]]``, or the
        domain that the installation itself sends from."""
        own, of_all = (Email.parse(item.sender).domain if item.sender else "" for item in (self.mail, installation))
        return "" if own in {"", of_all, *(a_label(item.name) for item in self.domains)} else own


@dataclass(frozen=True, slots=True)
class Customer:
    """One organization file as loaded; relative paths in it are relative to its folder."""

    settings: OrganizationSettings
    file: Path
    mark: str = ""
    """Of what the file says, whatever its comments and its place: two that are equal were read from the same words."""

    @property
    def organization(self) -> Organization:
        """The ledger's value."""
        section = self.settings.organization
        return Organization(section.id, section.name, section.report_zone)

    def claims(self) -> tuple[str, ...]:
        """What only one organization may claim: its id and its domains."""
        domains = dict.fromkeys(a_label(item.name) for item in self.settings.domains)
        return (f"organization {self.organization.id!r}", *(f"domain {name}" for name in domains))


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was set: the installation and its customers by id, in file order."""

    installation: InstallationSettings
    customers: Mapping[str, Customer]
    file: Path

    def customer(self, organization: str) -> Customer:
        """The customer with this id; raises ``NotFound`` naming the ones that exist."""
        if organization not in self.customers:
            known = ", ".join(self.customers) or "none"
            raise NotFound(
                f"unknown organization {organization!r} (known: {known})", next_step="name one of them, or add its file"
            )
        return self.customers[organization]
