"""Usage as the book knows it: the legal basis for collecting it, events, days, the pseudonym of a person (R11–R13c).

Only the day of an event is kept, never its time. Pure: no I/O, no clock here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.instant import require_aware

DEFINITION_VERSION = 1
"""Version of what ``is_active`` means: at least one observed event of that person, offering and day."""


class CollectionState(StrEnum):
    """What silence proves. Nobody's seat is judged idle on a day that was not observed."""

    OBSERVED = "observed"
    OFFLINE = "offline"
    UNSUPPORTED = "unsupported"
    OPTED_OUT = "opted_out"


STATE_ORDER: tuple[CollectionState, ...] = tuple(CollectionState)
"""Strongest first: one observed event makes the day observed."""


class UsageSource(StrEnum):
    """How use is paid: ``sus`` a single-user seat, ``flex`` tokens."""

    SUS = "sus"
    FLEX = "flex"


class DayStatus(StrEnum):
    """provisional until the finalisation lag has passed; then a change makes a numbered revision."""

    PROVISIONAL = "provisional"
    FINAL = "final"


class BasisKind(StrEnum):
    """On what ground people's usage is collected (R13c); which one applies is the customer's own judgement."""

    NOTICE = "notice"
    CONSENT = "consent"
    WORKS_AGREEMENT = "works_agreement"
    CONTRACT = "contract"
    LEGITIMATE_INTEREST = "legitimate_interest"


@dataclass(frozen=True, slots=True)
class LegalBasis:
    """What an admin has recorded (R13c). It covers use from ``effective_on`` on, in the organization's report zone.

    Raises ``ValueError`` when purposes, person categories or the evidence are missing.
    """

    kind: BasisKind
    purposes: tuple[str, ...]
    person_categories: tuple[str, ...]
    transfers: tuple[str, ...]
    effective_on: date
    evidence: str

    def __post_init__(self) -> None:
        missing = [name for name in ("purposes", "person_categories", "evidence") if not getattr(self, name)]
        if missing:
            raise ValueError(f"a legal basis names its {', '.join(missing)} (R13c)")


@dataclass(frozen=True, slots=True)
class Holding:
    """One identity held a mail address for ``[since, until)``; ``removed``: it had been removed by then (D9)."""

    identity_id: str
    since: datetime
    until: datetime | None
    removed: bool = False


@dataclass(frozen=True, slots=True)
class UsageEvent:
    """One accepted fact from a product, already resolved to a day and an identity."""

    event_id: str
    day: date
    identity_id: str
    offering_code: str
    version: str = ""
    source: UsageSource = UsageSource.SUS
    tokens: Decimal | None = None
    collection_state: CollectionState = CollectionState.OBSERVED


@dataclass(frozen=True, slots=True)
class UsageDay:
    """One identity × offering × version × source × day, before a Team is attributed to it."""

    day: date
    identity_id: str
    offering_code: str
    version: str
    source: UsageSource
    tokens: Decimal | None
    collection_state: CollectionState

    @property
    def is_active(self) -> bool:
        """Whether use was observed (``DEFINITION_VERSION``)."""
        return self.collection_state is CollectionState.OBSERVED


def fold(events: Iterable[UsageEvent]) -> tuple[UsageDay, ...]:
    """The usage days of ``events``, sorted: what the store computes in SQL, stated once as a function.

    An event id counts once (the first wins); order and batching of the rest do not matter.
    """
    seen: set[str] = set()
    found: dict[tuple[date, str, str, str, UsageSource], tuple[Decimal | None, CollectionState]] = {}
    for event in events:
        if event.event_id in seen:
            continue
        seen.add(event.event_id)
        key = (event.day, event.identity_id, event.offering_code, event.version, event.source)
        tokens, state = found.get(key, (None, event.collection_state))
        if event.tokens is not None:
            tokens = (tokens or 0) + event.tokens
        found[key] = (tokens, min(state, event.collection_state, key=STATE_ORDER.index))
    return tuple(UsageDay(*key, *found[key]) for key in sorted(found))


Activity = dict[tuple[date, str, str], tuple[int, int]]
"""(first day of month, identity, offering) → bits of its days: use was observed; the product could not observe."""


def with_days(activity: Activity, days: Iterable[date], rows: Iterable[UsageDay]) -> Activity:
    """``activity`` with ``days`` set anew from ``rows``; all other days stay as they are."""
    fresh: dict[date, int] = {}
    for day in days:
        month = day.replace(day=1)
        fresh[month] = fresh.get(month, 0) | 1 << (day.day - 1)
    out = {
        key: (used & ~fresh.get(key[0], 0), unseen & ~fresh.get(key[0], 0)) for key, (used, unseen) in activity.items()
    }
    for row in rows:
        key = (row.day.replace(day=1), row.identity_id, row.offering_code)
        used, unseen = out.get(key, (0, 0))
        bit = 1 << (row.day.day - 1)
        out[key] = (used | bit, unseen) if row.is_active else (used, unseen | bit)
    return {key: masks for key, masks in out.items() if masks != (0, 0)}


def user_key(secret: bytes, organization: str, identity_id: str, *, version: int = 1) -> str:
    """The pseudonym of a person in reports: ``u<version>-`` and 32 hexadecimal digits.

    Keyed HMAC-SHA-256 under a key derived for the organization alone: stable inside it, unlinkable across two, and
    not computable from a mail address or id without the secret, which is kept apart (GDPR Art. 4(5)).
    """
    if not secret:
        raise ValueError("user keys need a secret")
    own = hmac.digest(secret, f"user-key\x1f{version}\x1f{organization}".encode(), hashlib.sha256)
    return f"u{version}-{hmac.digest(own, identity_id.encode(), hashlib.sha256).hex()[:32]}"


@dataclass(frozen=True, slots=True)
class Calendar:
    """Days of one organization's ``report_zone``, and when they become final."""

    zone: ZoneInfo
    finalise_after: timedelta

    @classmethod
    def of(cls, report_zone: str, finalise_after_days: int) -> Calendar:
        """Raises ``ValueError`` for an unknown zone."""
        try:
            return cls(ZoneInfo(report_zone), timedelta(days=finalise_after_days))
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{report_zone!r} is not a time zone") from error

    def day_of(self, at: datetime) -> date:
        """The day ``at`` falls on."""
        return require_aware(at).astimezone(self.zone).date()

    def starts_at(self, day: date) -> datetime:
        """The first instant of ``day``, aware, UTC (days of 23 and 25 hours included)."""
        return require_aware(datetime.combine(day, time.min, tzinfo=self.zone))

    def status(self, day: date, now: datetime) -> DayStatus:
        """Final once the lag has passed since the end of ``day``."""
        ended = self.starts_at(day + timedelta(days=1))
        return DayStatus.FINAL if ended + self.finalise_after <= now else DayStatus.PROVISIONAL

    def final_through(self, now: datetime) -> date:
        """The last final day."""
        day = self.day_of(now - self.finalise_after)
        while self.status(day, now) is DayStatus.PROVISIONAL:
            day -= timedelta(days=1)
        return day
