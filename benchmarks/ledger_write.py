"""How fast the book takes and gives very many rows: identities, memberships, audit events, on both databases.

Floor of the same run: the bare driver (``executemany``, ``COPY``) with the same rows, ready made, into the same table.
``python benchmarks/ledger_write.py [--small] [--people N]``
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from ledger.audit import AuditEvent
from ledger.instant import new_ids
from ledger.jobs import Unleased
from ledger.store import audit
from ledger.store.engine import Ledger
from ledger.store.tables import people
from tests.parts.postgres import PostgresServer

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
IDENTITY = ("id", "mail", "mail_key", "given_name", "family_name", "display_name", "state", "employee_number")
MEMBERSHIP = ("identity_id", "team_id", "provenance", "source_id", "cause")
FIXED = ("row_id", "organization_id", "valid_from", "recorded_at", "run_id")

Rows = Sequence[tuple[Any, ...]]


def company(count: int) -> tuple[list[str], Rows, Rows]:
    """Ids, identities and three memberships each."""
    ids = new_ids(count)
    identities = [
        (one, f"a{n}@x.pl", f"a{n}@x.pl", "Ewa", "Nowak", "Ewa Nowak", "active", "") for n, one in enumerate(ids)
    ]
    memberships = [(one, f"t{n}", "mapping:m", "ldap", "cn=design") for n in range(3) for one in ids]
    return ids, identities, memberships


def floor(url: str, identities: Rows, memberships: Rows) -> float:
    """Seconds the bare driver needs, ids and lines being ready; its rows are then removed."""
    parts = []
    for table, columns, rows in (("identity", IDENTITY, identities), ("team_membership", MEMBERSHIP, memberships)):
        tails = [(row_id, "floor", 1, 1, "r") for row_id in new_ids(len(rows))]
        extra = ("attributes",) if table == "identity" else ()
        whole = [(*row, *(("{}",) if extra else ()), *tail) for row, tail in zip(rows, tails, strict=True)]
        parts.append((table, (*columns, *extra, *FIXED), whole))
    return _sqlite_floor(url, parts) if url.startswith("sqlite") else _postgres_floor(url, parts)


def _sqlite_floor(url: str, parts: list[tuple[str, tuple[str, ...], Rows]]) -> float:
    connection = sqlite3.connect(url.removeprefix("sqlite:///") + "/ledger.db", isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-65536")
    start = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    for table, columns, rows in parts:
        connection.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})",  # noqa: S608
            rows,
        )
    connection.execute("COMMIT")
    took = time.perf_counter() - start
    for table, _, _ in parts:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    connection.close()
    return took


def _postgres_floor(url: str, parts: list[tuple[str, tuple[str, ...], Rows]]) -> float:
    blocks = [
        (table, columns, "".join("\t".join(map(str, row)) + "\n" for row in rows)) for table, columns, rows in parts
    ]
    with psycopg.connect(url, options="-csearch_path=ledger") as connection:
        start = time.perf_counter()
        with connection.cursor() as cursor:
            for table, columns, block in blocks:
                with cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
                    copy.write(block)
        connection.commit()
        took = time.perf_counter() - start
        for table, _, _ in parts:
            connection.execute(f"TRUNCATE {table}")
    return took


async def measure(url: str, count: int) -> list[tuple[str, float, float | None]]:
    """(what, seconds, floor) per line."""
    ledger = Ledger.open(url)
    await ledger.migrate()
    ids, identities, memberships = company(count)
    least = floor(url, identities, memberships)
    found: list[tuple[str, float, float | None]] = []
    columns = (*IDENTITY, "attributes")
    with_attributes = [(*row, {}) for row in identities]
    start = time.perf_counter()
    async with ledger.write("acme", Unleased.BY_HAND, at=NOW, run_id="r1") as book:
        await book.begin(people.identity, columns, with_attributes)
        await book.begin(people.team_membership, MEMBERSHIP, memberships)
    found.append((f"begin {count:,} identities + {3 * count:,} memberships", time.perf_counter() - start, least))
    events = [AuditEvent("system:rosterd", "bundle.applied", one, changes=[{"kind": "Invite"}]) for one in ids]
    start = time.perf_counter()
    async with ledger.write("acme", Unleased.BY_HAND, at=NOW, run_id="r1") as book:
        await audit.append(book, events)
    found.append((f"append {count:,} audit events", time.perf_counter() - start, None))
    async with ledger.write("acme", Unleased.BY_HAND, at=NOW) as book:
        await audit.seal(book)
    async with ledger.read("acme") as reader:
        start = time.perf_counter()
        await reader.tuples(reader.open(people.identity))
        found.append((f"read {count:,} identities (tuples)", time.perf_counter() - start, None))
        start = time.perf_counter()
        await reader.all(reader.open(people.identity))
        found.append((f"read {count:,} identities (rows)", time.perf_counter() - start, None))
        start = time.perf_counter()
        assert (await audit.verify(reader)).ok
        found.append((f"verify {count:,} audit events", time.perf_counter() - start, None))
    await ledger.close()
    return found


def main() -> None:
    """Measure both databases and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--people", type=int, default=100_000)
    arguments = parser.parse_args()
    count = 5_000 if arguments.small else arguments.people
    table = Table("database", "what", "seconds", "floor", "ratio")
    server = PostgresServer.start(durable=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            for name, url in (("SQLite", f"sqlite:///{folder}"), ("PostgreSQL", server.create_database())):
                for what, took, least in asyncio.run(measure(url, count)):
                    ratio = f"{took / least:.2f}" if least else ""
                    table.add_row(name, what, f"{took:.2f}", f"{least:.2f}" if least else "", ratio)
    finally:
        server.stop()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
