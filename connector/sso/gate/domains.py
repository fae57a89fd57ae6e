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

from connector.sso.domain_names import registered

TOKEN_LIFE = timedelta(days=30)
"""A token that proved nothing for so long is FAILED."""
NEGATIVES_APART = timedelta(hours=1)
"""Two negative checks count as two only when they are this far apart."""
UNVERIFIABLE_AFTER = timedelta(days=7)
"""Without one positive answer for so long, silence itself is a lapse."""
HOLD = timedelta(days=30)
"""How long a released domain is held before another organization may claim it."""
DEFAULT_GRACE = timedelta(hours=24)

JITTER = 0.1
"""How much earlier or later than its time a look may be, so that not everybody is asked in one second."""

RECORD_PREFIX = "_rosterd-challenge"
FILE_PATH = "/.well-known/rosterd-challenge"
_QUOTES = "\"'`“”„«»\\\\"
# a token with or without ``token=``, in whatever quotes a DNS console left around it: only the name says what a record
# is for, and only its owner was shown these 256 random bits (they count for one organization, domain and attempt)
_TOKEN = re.compile(rf"(?:^|[\s{_QUOTES}])(?:token=[{_QUOTES}]*)?([A-Za-z2-7]{{52}})(?=[\s{_QUOTES};,]|$)")
_FILE = re.compile(rb"[ \t\r\n]*([A-Za-z2-7]{52})[ \t\r\n]*")


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


class Way(StrEnum):
    """By what a domain is proved: the TXT record · the file at its own web server (N13)."""

    DNS = "dns"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one way showed in one look. ``otherwise``: resolvers enough show another token at the record's name."""

    answer: Answer
    why: str = ""
    otherwise: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """One look, both ways together. ``way``: which decided it; ``why`` says what was unreadable or absent;
    ``mistake``: what is wrong with what was published."""

    at: datetime
    answer: Answer
    why: str = ""
    way: Way = Way.DNS
    mistake: str = ""


@dataclass(frozen=True, slots=True)
class DomainEvidence:
    """What is known of one domain. ``checks`` are those of the present token, and of those that it replaced while
    their proof was missing, oldest first."""

    domain: str
    added_at: datetime
    grace: timedelta = DEFAULT_GRACE
    token_issued_at: datetime | None = None
    token_expires_at: datetime | None = None
    checks: Sequence[Check] = ()
    released_at: datetime | None = None
    version: int = 0
    undeclared_at: datetime | None = None
    """Since when the organization's file no longer names it; it is frozen until the file does, or it is released."""

    @property
    def last_found(self) -> Check | None:
        """The last look that found the proof."""
        return next((check for check in reversed(self.checks) if check.answer is Answer.FOUND), None)

    @property
    def proved_by(self) -> Way | None:
        """The way it was last proved."""
        return self.last_found.way if self.last_found else None


@dataclass(frozen=True, slots=True)
class DomainStanding:
    """A state, since when, and for STALE and LOST why; ``lost_at`` is the instant a STALE domain will be lost.

    ``silent``: LOST because nothing showed the proof for seven days, not because it was seen to be gone.
    """

    state: DomainState
    since: datetime
    why: str = ""
    lost_at: datetime | None = None
    unreadable: bool = False
    silent: bool = False
    way: Way = Way.DNS
    """By what it was last proved; for what was seen to be gone, where that was seen: the step mends it there."""

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
    way = evidence.proved_by or Way.DNS
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
        if _negatively_lost(negatives, evidence.grace) == lost:
            return DomainStanding(DomainState.LOST, lost, negatives[-1].why, way=negatives[-1].way)
        why = "nobody looked" if checks[-1].answer is Answer.FOUND else checks[-1].why
        return DomainStanding(DomainState.LOST, lost, why, silent=True, way=way)
    unreadable = checks[-1].answer is Answer.UNREADABLE
    if negatives:
        ends = negatives[0].at + max(evidence.grace, NEGATIVES_APART)
        last = negatives[-1]
        return DomainStanding(DomainState.STALE, negatives[0].at, last.why, ends, unreadable, way=last.way)
    return DomainStanding(DomainState.VERIFIED, since, checks[-1].why if unreadable else "", lost, unreadable, way=way)


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


def settled(dns: Finding, web: Finding | None, proved_by: Way | None) -> tuple[Way, Finding]:
    """One look, both ways together: which way decides, and what it says (N13). ``web``: None when it was not asked.

    Either way proves. Only the way that a domain stands by can take the proof away: that acme.com answers 404 is no
    news of a TXT record, and a missing record none of a file. Another token in TXT wins over any file.
    """
    if dns.answer is Answer.FOUND or dns.otherwise:
        return Way.DNS, dns
    if web is not None and web.answer is Answer.FOUND:
        return Way.WEB, web
    both = f"{dns.why}; {web.why}" if web else dns.why
    if proved_by is Way.WEB:
        gone = web is not None and web.answer is dns.answer is Answer.ABSENT
        return Way.WEB, Finding(Answer.ABSENT if gone else Answer.UNREADABLE, both)
    return Way.DNS, Finding(dns.answer, dns.why if proved_by is Way.DNS else both)


def next_look(evidence: DomainEvidence, now: datetime, every: timedelta) -> datetime | None:
    """When to look again without being asked; None for a domain that waits for its admin.

    Every ``every``, hourly while the proof is missing or cannot be read, give or take a tenth: decided by the domain
    and the last look, so that asking again changes nothing. Hourly looks are never earlier, or two negatives would not
    be an hour apart.
    """
    found = standing(evidence, now)
    if found.state not in {DomainState.VERIFIED, DomainState.STALE, DomainState.LOST}:
        return None
    last = evidence.checks[-1]
    digest = hashlib.sha256(f"{evidence.domain} {last.at.isoformat()}".encode()).digest()
    part = int.from_bytes(digest[:4]) / 0xFFFFFFFF  # 0 to 1
    if found.state is DomainState.STALE or found.unreadable:
        return last.at + min(every, NEGATIVES_APART) * (1 + JITTER * part)
    return last.at + every * (1 + JITTER * (2 * part - 1))


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


def file_url(domain: str) -> str:
    """Where the file belongs: at the domain's own host, not at www. (apex only)."""
    return f"https://{domain}{FILE_PATH}"


def file_counts(domain: str) -> bool:
    """Whether a file can prove a domain: a registered one itself, no name below it (N13: apex only). Whoever keeps one
    host of acme.com is not its owner, and the claim to that host would shut the owner of acme.com out."""
    return registered(domain) == domain


def proof_place(domain: str, way: Way) -> str:
    """Where the proof of a domain belongs that was seen by ``way``, in words; what a file proved before it had to be
    the registered domain's own goes on in DNS."""
    return file_url(domain) if way is Way.WEB and file_counts(domain) else f"the TXT record {record_name(domain)}"


def token_hash(token: str) -> str:
    """What is kept of a token; case does not matter in base32."""
    return hashlib.sha256(token.lower().encode("ascii")).hexdigest()


def tokens_of(texts: Sequence[str]) -> list[str]:
    """The hash of every token that TXT strings (already joined) publish."""
    return [token_hash(token) for text in texts for token in _TOKEN.findall(text)]


def token_of_file(body: bytes) -> str | None:
    """The hash of the token that is the whole body of a file; None: it is anything else."""
    found = _FILE.fullmatch(body)
    return token_hash(found[1].decode("ascii")) if found else None
