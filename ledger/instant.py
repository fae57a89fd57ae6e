"""Time and ids: aware UTC instants, half-open intervals, UUIDv7 row ids.

Pure: reads no clock (``new_id`` takes its time bits from uuid-utils and decides nothing).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import uuid_utils

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def require_aware(value: datetime) -> datetime:
    """Return ``value`` in UTC; raise ``ValueError`` for a naive datetime."""
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(f"naive datetime {value.isoformat()}: every instant carries a zone")
    return value.astimezone(UTC)


def to_micros(value: datetime) -> int:
    """Microseconds since 1970-01-01T00:00Z; exact, the form instants are stored in."""
    return (require_aware(value) - _EPOCH) // _MICROSECOND


def from_micros(value: int) -> datetime:
    """The aware UTC datetime of ``to_micros``."""
    return _EPOCH + timedelta(microseconds=value)


def to_text(value: datetime) -> str:
    """RFC 3339 with ``Z``, microseconds only when there are any."""
    return require_aware(value).isoformat().replace("+00:00", "Z")


def to_minute(value: datetime) -> str:
    """As people read it: ``2026-07-23 14:05 UTC``."""
    return f"{require_aware(value):%Y-%m-%d %H:%M} UTC"


def new_id() -> str:
    """A fresh UUIDv7 as 32 hexadecimal digits: sorts by creation."""
    return uuid_utils.uuid7().hex


def new_ids(count: int) -> list[str]:
    """``count`` fresh ids, for bulk writes."""
    uuid7 = uuid_utils.uuid7
    return [uuid7().hex for _ in range(count)]
