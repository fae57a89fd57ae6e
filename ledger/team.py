"""Organizations, Teams and the roles that administer them (R6). Pure: no I/O here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """Who administers (domain.md, Words) and who may read. ``service`` and ``auditor`` exist for tokens."""

    PRIMARY_ADMIN = "primary_admin"
    SECONDARY_ADMIN = "secondary_admin"
    SSO_ADMIN = "sso_admin"
    REPORT_READER = "report_reader"
    AUDITOR = "auditor"
    SERVICE = "service"
    OPERATOR = "operator"


ORGANIZATION_ID = r"^[a-z0-9][a-z0-9-]{0,62}$"
"""What an id may be: it names files, folders and schemas."""


@dataclass(frozen=True, slots=True)
class Organization:
    """The customer; ``id`` is its key in the admin file. ``report_zone``: IANA zone whose days its reports use."""

    id: str
    name: str
    report_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Team:
    """The group of Authorized Users that one Primary Admin manages."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class AdminRole:
    """One identity holds ``role`` (over ``team_id``, or organization-wide when empty) since ``valid_from``."""

    identity_id: str
    role: Role
    team_id: str
    valid_from: datetime
    valid_to: datetime | None = None
