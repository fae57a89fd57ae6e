"""A Team as reporting sees it: its tier and what its admins have switched on (R10, R11, R13c). Pure: no I/O here."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.seat import Tier


@dataclass(frozen=True, slots=True)
class TeamReporting:
    """``user_level``: R11, an admin has switched user-level usage reports on. ``personal_data``: named columns may be
    read by ``reports:named``. ``min_group_size`` None = the installation's default."""

    id: str
    name: str
    tier: Tier
    user_level: bool = False
    personal_data: bool = False
    min_group_size: int | None = None
