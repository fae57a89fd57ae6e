"""Where the next page begins: an opaque, signed position, pinned to one publication and one question.

A cursor holds the publication, fingerprints of the question (organization, privacy mode, filters, order) and of its
Teams, and the last row's order values. Signed with a key derived from the pepper: nobody else makes or changes one.
Pure: no I/O here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from ledger.instant import from_micros, to_micros
from ledger.published.datasets import ColumnType, Dataset
from reporting_api.errors import Problem, invalid
from reporting_api.query.model import Order, Query, fingerprint, teams_fingerprint

_MAC_BYTES = 16
_MOST = 2000


@dataclass(frozen=True, slots=True)
class Position:
    """What a genuine cursor says. ``values`` are still as encoded: ``values_of`` reads them."""

    snapshot: str
    question: str
    teams: str
    values: tuple[Any, ...]
    expires_at: datetime


class Cursors:
    """Writes and reads cursors under one key. ``life``: how long a cursor is good for (24 h at least)."""

    def __init__(self, pepper: bytes, life: timedelta) -> None:
        self._key = hmac.digest(pepper, b"reporting-cursor", hashlib.sha256)
        self.life = life

    def write(self, query: Query, row: Sequence[Any], columns: Sequence[str], now: datetime) -> str:
        """The cursor behind ``row`` (values of ``columns``), the last one of a page of ``query``."""
        place = {name: position for position, name in enumerate(columns)}
        values = [_encode(row[place[order.column]]) for order in query.order]
        expires = to_micros(now + self.life)
        body = msgspec.json.encode([query.snapshot, fingerprint(query), teams_fingerprint(query), values, expires])
        return base64.urlsafe_b64encode(self._mac(body) + body).rstrip(b"=").decode("ascii")

    def read(self, text: str, now: datetime) -> Position:
        """The position; raises ``Problem``: 400 for what we never wrote, 410 ``cursor-expired`` for the old."""
        if len(text) > _MOST:
            raise _forged()
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _forged() from error
        mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
        if not hmac.compare_digest(mac, self._mac(body)):
            raise _forged()
        snapshot, question, teams, values, expires = msgspec.json.decode(body)
        position = Position(snapshot, question, teams, tuple(values), from_micros(expires))
        if position.expires_at <= now:
            raise expired("the cursor is older than it may be")
        return position

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_MAC_BYTES]


def values_of(position: Position, order: Sequence[Order], dataset: Dataset) -> tuple[Any, ...]:
    """The order values in their Python types."""
    types = (dataset.by_name[item.column].type for item in order)
    return tuple(_decode(value, kind) for value, kind in zip(position.values, types, strict=True))


def check(position: Position, query: Query) -> None:
    """Raise ``Problem``: 400 when the cursor belongs to another question, 410 when its Teams changed meanwhile."""
    if position.question != fingerprint(query):
        raise invalid(
            "cursor",
            "this cursor belongs to another query or credential",
            next_step="follow `next` as it is given, or start again without a cursor",
        )
    if position.teams != teams_fingerprint(query):
        raise expired("the Teams this credential may read here have changed since the first page")


def expired(why: str) -> Problem:
    """The 410 for cursors."""
    return Problem("cursor-expired", why, next_step="start again without a cursor")


def _forged() -> Problem:
    return invalid("cursor", "this is not a cursor of ours", next_step="follow `next` as it is given")


def _encode(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_micros(value)
    return value.isoformat() if isinstance(value, date) else value


def _decode(value: Any, kind: ColumnType) -> Any:
    if value is None:
        return None
    if kind is ColumnType.DATE:
        return date.fromisoformat(value)
    return from_micros(value) if kind is ColumnType.TIMESTAMP else value
