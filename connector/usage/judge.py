"""Accept, quarantine or drop: one pure decision per row, from the row and what the book knows (R13c).

Nothing disappears: every row ends in exactly one of the three lists. Pure: no I/O, no clock here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from connector.usage.rows import BadRow, Row, mail_key, payload_of
from ledger.usage import Calendar, Holding

NO_BASIS = "no_legal_basis"
OPTED_OUT = "opted_out"

Accepted = tuple[str, date, str, str, str, str, Decimal | None, str]
"""event_id, day, identity_id, offering_code, version, source, tokens, collection_state."""
FIELDS = ("event_id", "occurred_at", "mail", "offering_code", "version", "source", "tokens", "collection_state")
"""Which field of a row each value of ``Accepted`` was made from."""
CONFLICT = "event_id is known with other content"


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A row that was set aside: where it stood, why, and (``payload``) as it was sent."""

    place: str
    event_id: str
    reasons: tuple[str, ...]
    payload: str = field(repr=False, default="")


@dataclass(slots=True)
class Verdict:
    """What becomes of a batch; ``origins``, ``set_aside``: the positions in it of accepted and quarantined rows."""

    accepted: list[Accepted] = field(default_factory=list)
    origins: list[int] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)
    set_aside: list[int] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class World:
    """What the book knew when a batch arrived.

    ``holdings``: by mail key, who held the address when. ``opted_out``: by identity, intervals of opting out.
    ``effective_on``: first day the legal basis covers; None when none is recorded. ``sealed``: days that can no longer
    be folded, because their staged events are gone.
    """

    now: datetime
    calendar: Calendar
    lateness_days: int
    clock_skew: timedelta
    effective_on: date | None
    offerings: Collection[str]
    holdings: Mapping[str, Sequence[Holding]]
    opted_out: Mapping[str, Sequence[tuple[datetime, datetime | None]]]
    sealed: Collection[date]


def judge(rows: Iterable[Row], world: World) -> Verdict:
    """Decide about ``rows``, each with its place (``line 7``)."""
    verdict = Verdict()
    window = _Window(world)
    for position, (place, row) in enumerate(rows):
        if world.effective_on is None:
            verdict.dropped[NO_BASIS] += 1
            continue
        identity, fault = _person(row.mail, row.occurred_at, world) if row.mail else ("", "")
        if identity in world.opted_out and _has_opted_out(world, identity, row.occurred_at):
            verdict.dropped[OPTED_OUT] += 1
            continue
        reasons = list(row.reasons) if isinstance(row, BadRow) else []
        if fault and fault not in reasons:
            reasons.append(fault)
        if row.offering_code and row.offering_code not in world.offerings:
            reasons.append(f"offering_code is not known: {row.offering_code}")
        day, fault = window.place(row.occurred_at) if row.occurred_at else (None, "")
        if day is not None and day < world.effective_on:
            verdict.dropped[NO_BASIS] += 1
            continue
        if fault:
            reasons.append(fault)
        if reasons or isinstance(row, BadRow) or day is None:
            verdict.quarantined.append(Quarantined(place, row.event_id, tuple(reasons), payload_of(row)))
            verdict.set_aside.append(position)
            continue
        verdict.origins.append(position)
        verdict.accepted.append(
            (
                row.event_id,
                day,
                identity,
                row.offering_code,
                row.version,
                row.source.value,
                row.tokens,
                row.collection_state.value,
            )
        )
    return verdict


@dataclass(frozen=True, slots=True)
class Sifted:
    """Accepted rows against what is staged: new, the same again, and the same event id with other content."""

    fresh: list[Accepted]
    duplicates: int
    conflicts: list[tuple[int, Quarantined]]
    """Each with its position in the batch."""


def sift(rows: Sequence[Row], verdict: Verdict, staged: Mapping[str, Accepted]) -> Sifted:
    """``staged``: what is known of the event ids of the batch. Of two rows of one id the first counts."""
    known = dict(staged)
    fresh: list[Accepted] = []
    conflicts: list[tuple[int, Quarantined]] = []
    for position, event in zip(verdict.origins, verdict.accepted, strict=True):
        before = known.setdefault(event[0], event)
        if before is event:
            fresh.append(event)
        elif before != event:
            differs = ", ".join(name for name, old, new in zip(FIELDS, before, event, strict=True) if old != new)
            place, row = rows[position]
            conflicts.append((position, Quarantined(place, event[0], (f"{CONFLICT}: {differs}",), payload_of(row))))
    return Sifted(fresh, len(verdict.accepted) - len(fresh) - len(conflicts), conflicts)


class _Window:
    """Days that may still be reported, as an ordered list of their first instants (a lookup, not a conversion)."""

    def __init__(self, world: World) -> None:
        today = world.calendar.day_of(world.now)
        oldest = today - timedelta(days=world.lateness_days)
        self._days = [oldest + timedelta(days=n) for n in range(world.lateness_days + 3)]
        self._starts = [world.calendar.starts_at(day) for day in self._days]
        self._latest = world.now + world.clock_skew
        self._world = world

    def place(self, at: datetime) -> tuple[date | None, str]:
        """The day of ``at``; or, for an instant that is not accepted, why (with its day where that is known)."""
        if at > self._latest:
            return None, "occurred_at lies in the future"
        position = bisect_right(self._starts, at) - 1
        if position < 0:
            return self._world.calendar.day_of(at), (
                f"occurred_at is older than is accepted: {self._world.lateness_days} days"
            )
        day = self._days[position]
        if day in self._world.sealed:
            return day, f"the usage of its day is closed: the staged events of {day} are no longer kept"
        return day, ""


def _person(mail: str, at: datetime | None, world: World) -> tuple[str, str]:
    """The identity that held ``mail`` at ``at``, or why there is none.

    An event from before the address was first known counts for its holder when nobody else ever held it: products
    report before the first reading of a directory. An address that changed hands (D9) is resolved by its dates.
    """
    key = mail_key(mail)
    if key is None:
        return "", "mail is not a mail address"
    holdings = world.holdings.get(key, ())
    if not holdings:
        return "", "the person is not known"
    if len(holdings) == 1 and holdings[0].until is None and not holdings[0].removed:
        return holdings[0].identity_id, ""
    if at is None:
        only = {holding.identity_id for holding in holdings}
        return (only.pop(), "") if len(only) == 1 else ("", "")
    return _holder(holdings, at)


def _holder(holdings: Sequence[Holding], at: datetime) -> tuple[str, str]:
    then = [holding for holding in holdings if holding.since <= at and (holding.until is None or at < holding.until)]
    if not then:
        only = {holding.identity_id for holding in holdings}
        if len(only) == 1 and at < min(holding.since for holding in holdings):
            return only.pop(), ""
        return "", "the person was not known at that time"
    living = {holding.identity_id for holding in then if not holding.removed}
    if len(living) == 1:
        return living.pop(), ""
    return "", "the address belonged to several people" if living else "the person had been removed"


def _has_opted_out(world: World, identity: str, at: datetime | None) -> bool:
    intervals = world.opted_out[identity]
    return any(until is None or (at is not None and since <= at < until) for since, until in intervals)
