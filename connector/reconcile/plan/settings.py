"""The sections of an organization file that say who gets what and how much may be taken away.

Values only: contradictions between sections are found by ``policy.Policy.build``. No I/O here.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from ledger.identity import Email, a_label
from ledger.settings import Duration, SettingsModel

Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
"""An id that appears in provenance, limits and messages."""

Percent = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=0, le=1_000_000)]


class OnHeld(StrEnum):
    """What a run with held changes still does (G2)."""

    APPLY_ADDITIONS = "apply-additions"
    APPLY_NOTHING = "apply-nothing"


class TeamSettings(SettingsModel):
    """``[[teams]]``: one Team and who administers it (R6, R8)."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    """Name of the Team; unique in the organization, compared without case."""

    primary_admin: str = ""
    """Mail address of the Primary Admin; takes effect once that person is known. Empty: nobody yet."""

    secondary_admins: tuple[str, ...] = ()
    """Mail addresses of Secondary Admins of this Team."""

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for mail in (self.primary_admin, *self.secondary_admins):
            if mail:
                Email.parse(mail)
        return self


class RoleSettings(StrEnum):
    """An admin role that a mapping may grant (R6)."""

    NONE = ""
    PRIMARY_ADMIN = "primary_admin"
    SECONDARY_ADMIN = "secondary_admin"
    SSO_ADMIN = "sso_admin"


class MappingLimitSettings(SettingsModel):
    """``[mappings.limits]``: how much may be taken from this mapping's people unasked; before ``[limits]`` (G1)."""

    day_percent: Percent | None = None
    """Share of its people that one kind of harm may touch in 24 hours; empty: ``[limits] team_day_percent``."""

    day_floor: Count | None = None
    """… but at least this many people; empty: ``[limits] team_day_floor``."""


class MappingSettings(SettingsModel):
    """``[[mappings]]``: a directory group, or who has certain attributes, gives its people one Team and seats (R3)."""

    id: Key
    """Key of the mapping; provenance of all it grants is ``mapping:<id>``, so renaming it is leaving and joining."""

    directory: Key
    """Id of the directory the group is read from."""

    group: Annotated[str, Field(max_length=2000)] = ""
    """The group: its DN, its name, or ``anchor:<entryUUID or objectGUID>``. Give this or ``where``."""

    where: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Instead of a group: our field → values, compared without case; a person needs one of the values of every field. Fields are those of ``[directories.attributes]`` and mail_domain."""  # noqa: E501

    exclude: tuple[str, ...] = ()
    """Mail addresses of people whom this mapping gives nothing."""

    exclude_groups: tuple[str, ...] = ()
    """Groups, named like ``group``, whose people this mapping gives nothing; one that is not read freezes it (D2)."""

    team: Annotated[str, Field(min_length=1)]
    """Name of the Team its people join."""

    role: RoleSettings = RoleSettings.NONE
    """Admin role its people hold: primary_admin or secondary_admin of the Team, or sso_admin of the organization; only with ``[sync] allow_roles``."""  # noqa: E501

    keep_group: bool = False
    """Whether the directory's group itself is kept too, read-only: who is in it, since when; only with ``group``."""

    offerings: tuple[str, ...] = ()
    """Offering codes of which each of its people gets one seat from the Team's subscriptions."""

    priority: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    """Smaller is served first when seats run short; then first come, then mail address (P4)."""

    release_after: Duration | None = None
    """Overrides ``[offboarding] release_after`` for seats this mapping grants (G7)."""

    remove_after: Duration | None = None
    """Overrides ``[offboarding] remove_after`` for people this mapping brought in (G7)."""

    limits: MappingLimitSettings | None = None
    """``[mappings.limits]``: how much may be taken from this mapping's people unasked; instead of ``[limits]`` (G1)."""

    @field_validator("exclude")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _mails(value)


class GuestSettings(SettingsModel):
    """``[[guests]]``: people of domains that are not the organization's may be granted these mappings only (D11)."""

    domains: tuple[str, ...]
    """Mail domains of other companies; exactly these names, not what is below them."""

    mappings: tuple[Key, ...]
    """Ids of the mappings that count for them; a mapping that grants a role cannot be one of them."""

    mails: tuple[str, ...] = ()
    """Only these addresses of those domains; empty: everybody whom such a mapping means."""

    @field_validator("domains", "mappings")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("the list is empty: a rule that names nothing admits nobody")
        return value

    @field_validator("domains")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(a_label(name) for name in value)

    @field_validator("mails")
    @classmethod
    def _addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return _mails(value)


class OffboardingSettings(SettingsModel):
    """``[offboarding]``: how slowly a leaver leaves (D3, G7)."""

    release_after: Duration = timedelta(days=7)
    """Seats pause at once and are released after this long; 0 releases at once."""

    remove_after: Duration = timedelta(days=30)
    """The identity is removed, and its Teams left, after this long."""

    confirm_after: Duration = timedelta(minutes=15)
    """Absence counts only when a second complete reading agrees that began at least this long after the first one
    ended; where ``reconcile_every`` is as long, that is the third."""


def _aware(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"{value.isoformat()} names no zone: write an instant such as 2026-12-24T00:00:00Z")
    return value.astimezone(UTC)


class FreezeSettings(SettingsModel):
    """``[[limits.freeze]]``: no harm is applied between two instants; additions and invites go on (G3)."""

    starts_at: Annotated[datetime, Field(alias="from"), AfterValidator(_aware)]
    """First instant of the freeze, with its zone."""

    until: Annotated[datetime, AfterValidator(_aware)]
    """First instant after it, with its zone."""

    reason: Annotated[str, Field(min_length=1, max_length=200)]
    """Why; shown with everything it holds."""

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.until <= self.starts_at:
            raise ValueError("until lies after from")
        return self


class LimitSettings(SettingsModel):
    """``[limits]``: how much may be taken away unasked, over sliding windows (G1, G2)."""

    day_percent: Percent = 10
    """Share of the organization's people that one kind of harm may touch in 24 hours."""

    day_floor: Count = 5
    """… but at least this many people."""

    day_ceiling: Count = 200
    """… and never more than this many people."""

    month_percent: Percent = 25
    """Share of the organization's people in 30 days (at least ``day_floor`` people)."""

    team_day_percent: Percent = 20
    """Share of one Team's or one mapping's people in 24 hours."""

    team_day_floor: Count = 2
    """… but at least this many people."""

    on_held: OnHeld = OnHeld.APPLY_ADDITIONS
    """What happens to the rest of a run that holds something: its additions are applied, or nothing is."""

    approval_expires: Duration = timedelta(hours=72)
    """How long a held set can be approved."""

    approvers: Annotated[int, Field(ge=1, le=2)] = 1
    """How many principals approve a held set; with 2, apply --digest by one of them approves no harm either (G3)."""

    freeze: tuple[FreezeSettings, ...] = ()


class SyncSettings(SettingsModel):
    """``[sync]``: whom sync never harms, and how it recognises people (D9, G4)."""

    protected: tuple[str, ...] = ()
    """Mail addresses that sync never takes anything from."""

    protect_admins: bool = True
    """Whether everybody who holds an admin role is protected too; the last Primary Admin of a Team always is."""

    correlate_by_employee_number: bool = True
    """Whether a new anchor with the employee number of somebody who is gone is that person (rehire, migration)."""

    allow_roles: bool = False
    """Danger: true lets whoever edits the directory make admins, through the ``role`` of a mapping."""

    doubt_percent: int = Field(20, ge=0, le=100)
    """When more than this share of the people are kept only because a group still lists them, or is missing, the
    reading itself is doubted: exit 4, and one line in place of theirs."""

    doubt_floor: int = Field(3, ge=0)
    """… and never with this many people or fewer."""

    doubt_after: Duration = timedelta(days=7)
    """Whoever is not shown for this long, and kept only because a group still lists them or is missing, is put before a
    person: held, never applied without an approval."""

    fresh_within: Duration = timedelta(hours=24)
    """A directory that could not be read whole for this long is notified, once; 0 never notifies."""

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for mail in self.protected:
            Email.parse(mail)
        return self


def _mails(value: tuple[str, ...]) -> tuple[str, ...]:
    for mail in value:
        Email.parse(mail)
    return value
