"""The witness: what was done, by whom, to whom and why, in a form whose digests can be chained.

One event per person and run, or per act (decision 0004). The chain covers salted digests only, so that the readable
payload, with its salt, can be erased without breaking it. Pure: no I/O, no clock, no randomness here.

::

    payload        = canonical JSON {reason, before, after, changes}
    payload_digest = SHA-256(salt + payload)
    digest         = SHA-256(canonical JSON [organization, seq, at, actor, verb, subject, run, plan digest,
                             payload_digest])
    head           = SHA-256(previous head + every digest of the batch)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import msgspec

from ledger.errors import BadInput

GENESIS = "0" * 64
"""The head before the first batch."""

_encoder = msgspec.json.Encoder(order="deterministic")


def given_reason(reason: str, what: str = "this is kept in the audit: it needs a reason") -> str:
    """The reason without outer space; raises ``BadInput`` for one that says nothing."""
    if not reason.strip():
        raise BadInput(what, where="reason", next_step="say why")
    return reason.strip()


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One act. ``subject`` is an id (identity, domain, held set …), never a mail address: the row is not erasable.

    ``before``, ``after`` and the entries of ``changes`` are JSON values; ``reason`` is what the actor gave. They, and
    nothing else, form the payload, which erasure may remove.
    """

    actor: str
    verb: str
    subject: str
    reason: str = ""
    before: Any = None
    after: Any = None
    changes: Sequence[Any] = ()
    plan_digest: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a sealed chain: what is exported (log line, metric, publication) and later compared."""

    organization: str
    seq: int
    head: str

    def __str__(self) -> str:
        return f"{self.organization}:{self.seq}:{self.head}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Back from ``str(head)``; raises ``ValueError``."""
        organization, seq, head = ("", "", *text.rsplit(":", 2))[-3:]
        if not organization or not seq.isdecimal() or len(head) != 64:
            raise ValueError(f"{text!r} is not an audit head: ORGANIZATION:SEQ:SHA256")
        return cls(organization, int(seq), head)


@dataclass(frozen=True, slots=True)
class Broken:
    """The first row that is not what was written: ``seq`` and what is wrong with it."""

    seq: int
    what: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What checking the whole chain of one organization found."""

    events: int
    """Events that were read and are right."""
    sealed_through: int
    """The last event a seal covers; later ones are only witnessed by their own digest."""
    head: Head | None
    erased: int
    """Events whose payload is gone (erasure)."""
    broken: Broken | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing is broken."""
        return self.broken is None

    def to_json(self) -> dict[str, Any]:
        """For ``--json`` and the admin API."""
        return {
            "ok": self.ok,
            "events": self.events,
            "sealed_through": self.sealed_through,
            "head": str(self.head) if self.head else None,
            "erased": self.erased,
            "broken": {"seq": self.broken.seq, "what": self.broken.what} if self.broken else None,
        }


def payload_of(event: AuditEvent) -> bytes:
    """The canonical payload: sorted keys, no spaces, empty parts left out."""
    return _encoder.encode(_parts(event))


def payloads_of(events: Iterable[AuditEvent]) -> list[bytes]:
    """``payload_of`` each of them, encoded in one go."""
    return _encoder.encode_lines(map(_parts, events)).split(b"\n")[:-1]


def _parts(event: AuditEvent) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    if event.reason:
        parts["reason"] = event.reason
    if event.before is not None:
        parts["before"] = event.before
    if event.after is not None:
        parts["after"] = event.after
    if event.changes:
        parts["changes"] = event.changes
    return parts


def payload_digest(salt: str, payload: bytes) -> str:
    """SHA-256 of salt and payload, hexadecimal. The salt keeps an erased payload from being guessed."""
    return sha256(salt.encode() + payload).hexdigest()


def event_digest(fields: Sequence[Any]) -> str:
    """The digest of one event row; ``fields`` in the order of the module's docstring, ``at`` in microseconds."""
    return sha256(_encoder.encode(fields)).hexdigest()


def event_digests(rows: Sequence[Sequence[Any]]) -> list[str]:
    """``event_digest`` of each row, encoded in one go."""
    return [sha256(line).hexdigest() for line in _encoder.encode_lines(rows).split(b"\n")[:-1]]


def next_head(previous: str, digests: Iterable[str]) -> str:
    """The chain's head after one more batch."""
    total = sha256(previous.encode())
    for digest in digests:
        total.update(digest.encode())
    return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event with its payload (None once erased), as the checker reads it."""

    seq: int
    fields: Sequence[Any]
    digest: str
    payload_digest: str
    salt: str | None
    payload: str | None


@dataclass(slots=True)
class Checker:
    """Folds rows and seals, in order, into a verdict; stops at the first broken one."""

    organization: str
    seals: Sequence[tuple[int, int, str, str]]
    """(from_seq, to_seq, previous_head, head), in order."""
    exported: Head | None = None
    expected: int = 1
    erased: int = 0
    broken: Broken | None = None
    _batch: list[str] = field(default_factory=list)
    _position: int = 0
    _head: str = GENESIS

    def feed(self, rows: Iterable[Row]) -> bool:
        """Check more rows; False once something is broken."""
        for row in rows:
            self.broken = self.broken or self._fault(row)
            if self.broken:
                return False
        return True

    def _fault(self, row: Row) -> Broken | None:
        if row.seq > self.expected:
            return Broken(self.expected, "deleted")
        if row.seq < self.expected:
            return Broken(row.seq, "inserted")
        if event_digest(row.fields) != row.digest:
            return Broken(row.seq, "changed")
        if row.payload is None or row.salt is None:
            self.erased += 1
        elif payload_digest(row.salt, row.payload.encode()) != row.payload_digest:
            return Broken(row.seq, "its payload was changed")
        self.expected += 1
        if self._position < len(self.seals):
            self._batch.append(row.digest)
            if row.seq == self.seals[self._position][1]:
                return self._close_batch()
        return None

    def _close_batch(self) -> Broken | None:
        start, end, previous, head = self.seals[self._position]
        if previous != self._head or next_head(previous, self._batch) != head:
            return Broken(start, f"a row of the batch {start}–{end} was rewritten together with its digest")
        if self.exported and self.exported.seq == end and self.exported.head != head:
            return Broken(start, f"the chain up to {end} is not the one that was exported")
        self._position += 1
        self._batch.clear()
        self._head = head
        return None

    def verdict(self) -> Verification:
        """The result, once every row was fed."""
        last = self.seals[-1] if self.seals else None
        broken = self.broken
        if broken is None and self._position < len(self.seals):
            broken = Broken(self.expected, "the tail was cut off: sealed events are missing")
        if broken is None and self.exported and self.exported.seq not in {seal[1] for seal in self.seals}:
            broken = Broken(self.expected, f"the tail was cut off: a head at {self.exported.seq} was exported")
        sealed = self.seals[self._position - 1] if self._position else None
        head = Head(self.organization, sealed[1], sealed[3]) if sealed and last else None
        return Verification(self.expected - 1, sealed[1] if sealed else 0, head, self.erased, broken)


def seal_rows(digests: Sequence[tuple[int, str]], previous: str, size: int) -> list[Mapping[str, Any]]:
    """Seals for events (seq, digest) in order, ``size`` at most in each."""
    seals: list[Mapping[str, Any]] = []
    for start in range(0, len(digests), size):
        batch = digests[start : start + size]
        head = next_head(previous, (digest for _, digest in batch))
        seals.append({"from_seq": batch[0][0], "to_seq": batch[-1][0], "previous_head": previous, "head": head})
        previous = head
    return seals
