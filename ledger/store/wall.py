"""The wall of the store: what SQLAlchemy or a driver raises leaves as one of our errors, chained with ``from``.

Prohibition: nothing is retried here and nothing is swallowed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ledger.errors import Busy, Final, RosterdError, Stale, Unavailable

FOREIGN = (SQLAlchemyError, psycopg.Error, sqlite3.Error)
"""Everything that may not pass."""

_BUSY_STATES = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock timeout
_DOWN_CLASSES = {"08", "53", "57", "58"}  # connection, resources, operator intervention, system error


@contextmanager
def wall(where: str) -> Iterator[None]:
    """Turn foreign errors into ours; ``where`` is the database as it may be shown (no password)."""
    try:
        yield
    except FOREIGN as error:
        raise translated(error, where) from error


def translated(error: BaseException, where: str) -> RosterdError:
    """Our error for a foreign one: ``Busy`` (wait), ``Stale`` (the key exists), ``Unavailable``, else ``Final``."""
    if isinstance(error, PoolTimeout):
        return Busy("every connection to the book is in use", where=where)
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None) or ""
    if state in _BUSY_STATES or _says(cause, sqlite3.OperationalError, "locked"):
        return Busy("another writer holds the book", where=where)
    if state == "23505" or _says(cause, sqlite3.IntegrityError, "UNIQUE"):
        return Stale(
            f"a row with this key exists already ({_first_line(cause)})",
            where=where,
            next_step="nothing was written; read again, then decide again",
        )
    if state == "25006" or _says(cause, sqlite3.OperationalError, "readonly"):
        return Final("a reader tried to write; nothing was written", where=where)
    if (
        state[:2] in _DOWN_CLASSES
        or getattr(error, "connection_invalidated", False)
        or (isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError) and not state)
        or _says(cause, sqlite3.OperationalError, "unable to open")
        or _says(cause, sqlite3.OperationalError, "disk")
    ):
        full = _says(cause, sqlite3.OperationalError, "full") or state == "53100"
        way = "free space on the disk of the database" if full else "rosterd check --live"
        return Unavailable(f"the database does not answer: {_first_line(cause)}", where=where, next_step=way)
    if _says(cause, sqlite3.DatabaseError, "not a database"):
        return Final(f"{_first_line(cause)}", where=where, next_step="restore its backup")
    return Final(f"the database refuses a statement: {_first_line(cause)}", where=where)


def _says(cause: BaseException, kind: type[BaseException], word: str) -> bool:
    return isinstance(cause, kind) and word in str(cause)


def _first_line(cause: BaseException) -> str:
    """The first line only: the following ones repeat row values, which may be personal."""
    return str(cause).partition("\n")[0]
