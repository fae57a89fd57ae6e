"""Usage as it is sent: over a real socket to the real routes, or as a file; one outcome for both."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from access.errors import Unauthenticated
from access.principal import Principal, Scope
from connector.usage.files import import_file
from connector.usage.formats.bodies import CSV, NDJSON, PARQUET
from connector.usage.routes import PATH, routes
from connector.usage.settings import ReportingSettings
from ledger.errors import BadInput
from ledger.store.engine import Ledger
from ledger.team import Role
from tests.parts.usage_company import ORG

KINDS = {"ndjson": NDJSON[0], "csv": CSV, "parquet": PARQUET}
SENDERS = {
    "good": Principal("token:1", ORG, frozenset({Role.SERVICE}), frozenset({Scope.USAGE_WRITE})),
    "other": Principal("token:4", ORG, frozenset({Role.SERVICE}), frozenset({Scope.USAGE_WRITE})),
    "operator": Principal("operator:eva", ORG, frozenset({Role.OPERATOR}), frozenset(Scope)),
    "reader": Principal("token:2", ORG, frozenset({Role.REPORT_READER}), frozenset({Scope.REPORTS_PSEUDONYM})),
    "elsewhere": Principal("token:3", "nowhere", frozenset({Role.SERVICE}), frozenset({Scope.USAGE_WRITE})),
}


async def authorize(request: web.Request) -> Principal:
    """A stand-in for the token check: the names of ``SENDERS`` are tokens."""
    sender = SENDERS.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
    if sender is None:
        raise Unauthenticated("unknown")
    return sender


@dataclass(frozen=True, slots=True)
class Wire:
    """A client of the routes, which stand on a free port."""

    server: TestServer
    session: ClientSession

    async def ask(
        self, method: str, path: str, body: bytes = b"", *, who: str = "good", **headers: str
    ) -> tuple[int, Mapping[str, str], Any]:
        """Status, headers and document of the answer to ``who`` of ``SENDERS``. ``headers``: with ``_`` for ``-``."""
        own = {"Authorization": f"Bearer {who}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        url = self.server.make_url(path)
        async with self.session.request(method, url, data=io.BytesIO(body) if body else None, headers=own) as answer:
            return answer.status, answer.headers, await answer.json(content_type=None)

    async def post(self, body: bytes, kind: str = "ndjson", **headers: str) -> tuple[int, Mapping[str, str], Any]:
        """Send one batch."""
        return await self.ask("POST", PATH, body, **{"Content_Type": KINDS.get(kind, kind), **headers})


@asynccontextmanager
async def wire(ledger: Ledger, now: datetime, **settings: Any) -> AsyncIterator[Wire]:
    """The routes as the daemon mounts them."""
    app = web.Application()
    app.add_routes(
        routes(
            ledger,
            authorize=authorize,
            clock=lambda: now,
            settings_of=lambda _: ReportingSettings(**settings),
            public_url="https://r.example",
        )
    )
    server = TestServer(app)
    await server.start_server(auto_decompress=False)
    async with server, ClientSession(auto_decompress=False) as session:
        yield Wire(server, session)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch, however it came. ``refused``: it was refused whole; why, and the way out."""

    accepted: int = 0
    known: int = 0
    conflicts: int = 0
    quarantined: int = 0
    dropped: int = 0
    causes: Mapping[str, int] = field(default_factory=dict)
    places: tuple[tuple[str, tuple[str, ...]], ...] = field(default=(), compare=False)
    fractions: int = field(default=0, compare=False)
    refused: str = ""

    @property
    def rows(self) -> int:
        """Sum of all counters."""
        return self.accepted + self.known + self.conflicts + self.quarantined + self.dropped


def outcome(document: Any) -> Outcome:
    """From an answer; asserts that no row vanished."""
    made = Outcome(
        *(document[name] for name in ("accepted", "duplicates", "conflicts", "quarantined")),
        sum(document["dropped"].values()),
        document["causes"],
        tuple((row["place"], tuple(row["reasons"])) for row in document["quarantined_rows"]),
        document["fractions"],
    )
    assert made.rows == document["rows"], document
    return made


async def by_wire(client: Wire, body: bytes, kind: str, **headers: str) -> Outcome:
    """Send a body; asserts that whatever it is, it is answered with a report or a problem."""
    status, _, document = await client.post(body, kind, **headers)
    if status == 200:
        return outcome(document)
    assert status in {400, 413, 415}, document
    return Outcome(refused=f"{document['detail']} → {document.get('next_step', '')}")


async def by_file(
    ledger: Ledger, path: Path, now: datetime, encoding: str = "", separator: str = "", **settings: Any
) -> Outcome:
    """Import a file."""
    try:
        report = await import_file(
            ledger, ORG, path, now=now, settings=ReportingSettings(**settings), encoding=encoding, separator=separator
        )
    except BadInput as error:
        return Outcome(refused=f"{error.what} → {error.next_step}")
    return outcome(report.to_json())
