"""A domain's standing, read from its evidence: ADDED → PENDING → VERIFIED → STALE → LOST, FAILED, RELEASED (sso.md §1).

Pure: no I/O, no clock here. Nothing stores a standing; it is decided each time from checks and their instants.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

TOKEN_LIFE = timedelta(days=30)
"""A token that proved nothing for so long is FAILED."""
NEGATIVES_APART = timedelta(hours=1)
"""Two negative checks count as two only when they are this far apart."""
UNVERIFIABLE_AFTER = timedelta(days=7)
"""Without one positive answer for so long, silence itself is a lapse."""
HOLD = timedelta(days=30)
"""How long a released domain is held before another organization may claim it."""
DEFAULT_GRACE = timedelta(hours=24)

RECORD_PREFIX = "_rosterd-challenge"
_TOKEN = re.compile(r"(?:^|\s)token=([A-Za-z2-7]{52})(?=\s|$)")


class DomainState(StrEnum):
    """STALE is a warning (the proof is missing, not yet lost); LOST closes the gate."""

    ADDED = "added"
    PENDING = "pending"
    VERIFIED = "verified"
    STALE = "stale"
    LOST = "lost"
    FAILED = "failed"
    RELEASED = "released"


class Answer(StrEnum):
    """What one check proved: the token is there · authoritatively not there · nothing."""

    FOUND = "found"
    ABSENT = "absent"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Check:
    """One check of the record by all resolvers. ``why`` says what was unreadable or absent, for people."""

    at: datetime
    answer: Answer
    why: str = ""


@dataclass(frozen=True, slots=True)
class DomainEvidence:
    """What is known of one domain. ``checks`` are those of the present token, oldest first."""

    domain: str
    added_at: datetime
    grace: timedelta = DEFAULT_GRACE
    token_issued_at: datetime | None = None
    token_expires_at: datetime | None = None
    checks: Sequence[Check] = ()
    released_at: datetime | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class DomainStanding:
    """A state, since when, and for STALE and LOST why; ``lost_at`` is the instant a STALE domain will be lost."""

    state: DomainState
    since: datetime
    why: str = ""
    lost_at: datetime | None = None
    unreadable: bool = False

    @property
    def proved(self) -> bool:
        """Whether the domain counts as the organization's: VERIFIED or STALE."""
        return self.state in {DomainState.VERIFIED, DomainState.STALE}


def standing(evidence: DomainEvidence, now: datetime) -> DomainStanding:
    """The domain's standing at ``now``. Checks later than ``now`` are not evidence yet."""
    if evidence.released_at is not None and evidence.released_at <= now:
        return DomainStanding(DomainState.RELEASED, evidence.released_at)
    if evidence.token_issued_at is None or evidence.token_expires_at is None:
        return DomainStanding(DomainState.ADDED, evidence.added_at)
    checks = [check for check in evidence.checks if check.at <= now]
    found = [check for check in checks if check.answer is Answer.FOUND]
    if not found or found[0].at >= evidence.token_expires_at:
        return _unproved(evidence.token_issued_at, evidence.token_expires_at, checks, now)
    return _proved(evidence, checks, now)


def _unproved(issued: datetime, expires: datetime, checks: Sequence[Check], now: datetime) -> DomainStanding:
    why = checks[-1].why if checks else "the record was not looked for yet"
    if now >= expires:
        return DomainStanding(DomainState.FAILED, expires, why)
    return DomainStanding(DomainState.PENDING, issued, why)


def _proved(evidence: DomainEvidence, checks: Sequence[Check], now: datetime) -> DomainStanding:
    """Walk the checks: a positive answer proves (again), missing ones make it STALE and then LOST."""
    since = last_found = next(check.at for check in checks if check.answer is Answer.FOUND)
    negatives: list[Check] = []
    for check in checks:
        if check.answer is Answer.FOUND:
            lost = _lost_at(last_found, negatives, evidence.grace)
            if lost is not None and lost <= check.at:
                since = check.at
            last_found, negatives = check.at, []
        elif check.answer is Answer.ABSENT and check.at > last_found:
            negatives.append(check)
    lost = _lost_at(last_found, negatives, evidence.grace)
    if lost is not None and lost <= now:
        why = negatives[-1].why if _negatively_lost(negatives, evidence.grace) == lost else "unverifiable"
        return DomainStanding(DomainState.LOST, lost, why)
    unreadable = checks[-1].answer is Answer.UNREADABLE
    if negatives:
        ends = negatives[0].at + max(evidence.grace, NEGATIVES_APART)
        return DomainStanding(DomainState.STALE, negatives[0].at, negatives[-1].why, ends, unreadable)
    return DomainStanding(DomainState.VERIFIED, since, checks[-1].why if unreadable else "", lost, unreadable)


def _negatively_lost(negatives: Sequence[Check], grace: timedelta) -> datetime | None:
    """When two negatives an hour apart, and the grace since the first, make the proof lost; None: not (yet)."""
    if not negatives:
        return None
    first = negatives[0].at
    second = next((check.at for check in negatives if check.at - first >= NEGATIVES_APART), None)
    return None if second is None else max(second, first + grace)


def _lost_at(last_found: datetime, negatives: Sequence[Check], grace: timedelta) -> datetime:
    silent = last_found + UNVERIFIABLE_AFTER
    lost = _negatively_lost(negatives, grace)
    return silent if lost is None else min(silent, lost)


def record_name(domain: str) -> str:
    """Where the TXT record belongs: ``_rosterd-challenge.acme.com``."""
    return f"{RECORD_PREFIX}.{domain}"


def make_token(random: bytes) -> str:
    """32 random bytes as 52 characters of base32, small letters."""
    if len(random) != 32:
        raise ValueError("a token is made of 32 random bytes")
    return base64.b32encode(random).decode("ascii").rstrip("=").lower()


def record_value(token: str) -> str:
    """The text to publish. ``expiry=never``: the record stays, and is looked at every day while SSO is used."""
    return f"token={token} expiry=never"


def token_hash(token: str) -> str:
    """What is kept of a token; case does not matter in base32."""
    return hashlib.sha256(token.lower().encode("ascii")).hexdigest()


def holds_token(texts: Sequence[str], expected_hash: str) -> bool:
    """Whether any of the TXT strings (already joined) publishes the expected token."""
    return any(token_hash(token) == expected_hash for text in texts for token in _TOKEN.findall(text))
