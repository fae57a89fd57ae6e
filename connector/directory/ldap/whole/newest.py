"""The newest date that a reading saw (D13): what a server without sync searches or contextCSN is followed by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from connector.directory.ldap.session import search
from connector.directory.ldap.wire import decode

MODIFY_TIMESTAMP = "modifyTimestamp"
_STAMP = MODIFY_TIMESTAMP.lower()


class Newest:
    """The newest modifyTimestamp among entries, taken out of them; one without it makes the others say nothing."""

    def __init__(self, stamp: str = "") -> None:
        self.stamp = stamp
        self.undated = False

    def see(self, attributes: dict[str, tuple[bytes, ...]]) -> None:
        """Take one entry's date out of its attributes."""
        values = attributes.pop(_STAMP, None)
        if not values or len(values[0]) < 15 or not values[0][:14].isdigit():
            self.undated = True
        elif (stamp := values[0].decode("ascii", "replace")) > self.stamp:
            self.stamp = stamp

    def before(self, seconds: float) -> str:
        """Where a reading of so many seconds surely stood when it began: whatever it missed is dated later than that,
        less the overlap. Empty when nothing is dated."""
        if self.undated or not self.stamp:
            return ""
        return less(self.stamp, timedelta(seconds=seconds + 1))


def needs_date(cursor: Mapping[str, Any] | None) -> bool:
    """Whether only the reading itself can say where it stands."""
    return cursor is not None and cursor.get("method") == MODIFY_TIMESTAMP


def asking_for_dates(query: search.Query) -> search.Query:
    """The query, with the date of each entry."""
    return replace(query, attributes=[*query.attributes, MODIFY_TIMESTAMP])


def dated(cursor: Mapping[str, Any] | None, newest: Newest | None, seconds: float) -> Mapping[str, Any] | None:
    """The cursor with where a reading of so many seconds began; None when its entries do not say it."""
    if cursor is None or newest is None:
        return cursor
    stamp = newest.before(seconds)
    return {**cursor, "since": stamp} if stamp else None


def instant(stamp: str) -> datetime:
    """The date of a CSN or a generalized time, to the second. Raises ``decode.Malformed``."""
    try:
        return datetime.strptime(stamp[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        raise decode.Malformed(f"{stamp[:40]!r} is no date") from None


def less(stamp: str, span: timedelta) -> str:
    """The generalized time so long before another one."""
    return f"{instant(stamp) - span:%Y%m%d%H%M%S}Z"
