"""What each organization's last transaction left of its time, in either store: one row, under the lock.

Prohibition: decides nothing; ``ledger.book_time`` says what an instant is.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Table

from ledger.book_time import HostTime, LastWrite
from ledger.store.book import Book, Reader
from ledger.store.tables import people

_MICROSECOND = timedelta(microseconds=1)


async def last(reader: Reader, table: Table) -> LastWrite | None:
    """What the organization's last transaction left; None before the first."""
    row = await reader.first(reader.select(table))
    if row is None:
        return None
    host = HostTime(row.wall, row.steady / 1e6, row.boot)
    return LastWrite(row.at, host, row.behind * _MICROSECOND, row.ahead * _MICROSECOND)


async def present(reader: Reader, now: datetime) -> datetime:
    """``now``, or the last transaction of the ledger that the reader sees, where that is later: what was written is
    never in the future. A ``Book`` sees its own."""
    if isinstance(reader, Book):
        return max(now, reader.at)
    written = await last(reader, people.book_time)
    return max(now, written.at) if written else now


async def keep(book: Book, table: Table, left: LastWrite) -> None:
    """What this transaction leaves."""
    row = {
        "at": left.at,
        "wall": left.host.wall,
        "steady": round(left.host.steady * 1e6),
        "boot": left.host.boot,
        "behind": left.behind // _MICROSECOND,
        "ahead": left.ahead // _MICROSECOND,
    }
    await book.upsert(table, (), [row])
