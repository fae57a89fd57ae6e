"""``POST /ingest/v1/usage-events`` over a real socket."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from access.errors import Unauthenticated
from access.principal import Principal, Scope
from connector.usage.formats.bodies import CONTENT_TYPES, MAX_BYTES
from connector.usage.routes import PATH, routes
from ledger.store.engine import Ledger
from ledger.team import Role
from tests.parts.usage_company import NOW, ORG, event, found, ndjson

GOOD = "good"
SENDERS = {
    "good": Principal("token:1", ORG, frozenset({Role.SERVICE}), frozenset({Scope.USAGE_WRITE})),
    "reader": Principal("token:2", ORG, frozenset({Role.REPORT_READER}), frozenset({Scope.REPORTS_PSEUDONYM})),
    "elsewhere": Principal("token:3", "nowhere", frozenset({Role.SERVICE}), frozenset({Scope.USAGE_WRITE})),
}


async def authorize(request: web.Request) -> Principal:
    """A stand-in for the token check: the names of ``SENDERS`` are tokens."""
    sender = SENDERS.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
    if sender is None:
        raise Unauthenticated("unknown")
    return sender


@pytest.fixture
async def post(ledger: Ledger) -> AsyncIterator[Any]:
    await found(ledger)
    app = web.Application()
    app.add_routes(routes(ledger, authorize=authorize, clock=lambda: NOW, public_url="https://r.example"))
    server = TestServer(app)
    await server.start_server(auto_decompress=False)
    async with server, ClientSession() as session:

        async def send(body: bytes, *, token: str = GOOD, kind: str = CONTENT_TYPES[0], **headers: str) -> Any:
            own = {"Authorization": f"Bearer {token}", "Content-Type": kind, **headers}
            async with session.post(server.make_url(PATH), data=io.BytesIO(body), headers=own) as answer:
                return answer.status, answer.headers, await answer.json(content_type=None)

        yield send


async def test_a_batch_is_answered_with_what_became_of_every_row(post: Any) -> None:
    body = ndjson(event(1), event(1), event(2, mail="x")) + b"{broken\n"
    status, headers, report = await post(body)
    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    assert {name: report[name] for name in ("rows", "accepted", "duplicates", "quarantined", "dropped")} == {
        "rows": 4,
        "accepted": 1,
        "duplicates": 1,
        "quarantined": 2,
        "dropped": {},
    }
    assert [row["place"] for row in report["quarantined_rows"]] == ["line 3", "line 4"]
    status, _, report = await post(body)
    assert (status, report["accepted"], report["duplicates"]) == (200, 0, 2)


async def test_a_compressed_batch_is_taken_and_a_bomb_is_not(post: Any) -> None:
    packed = gzip.compress(ndjson(event(1)))
    assert (await post(packed, **{"Content-Encoding": "gzip"}))[0] == 200
    bomb = gzip.compress(b" " * (MAX_BYTES + 1))
    assert (await post(bomb, **{"Content-Encoding": "gzip"}))[0] == 413


@pytest.mark.parametrize(
    ("body", "options", "status", "kind"),
    [
        (b"", {"token": "unknown"}, 401, "unauthenticated"),
        (b"", {"token": "reader"}, 403, "role-required"),
        (b"", {"token": "elsewhere"}, 404, "not-found"),
        (b"{}", {"kind": "application/json"}, 415, "unsupported-media-type"),
        (b"{}", {"kind": "application/x-ndjson; charset=latin-1"}, 415, "unsupported-media-type"),
        (b" \n[{}]", {}, 400, "invalid-body"),
        (b"{}\n" * 10_001, {}, 413, "batch-too-large"),
        (b" " * (MAX_BYTES + 1), {}, 413, "batch-too-large"),
    ],
)
async def test_what_is_refused_whole_is_a_problem(post: Any, body: bytes, options: Any, status: int, kind: str) -> None:
    got, headers, problem = await post(body, **options)
    assert (got, problem["status"], problem["type"]) == (status, status, f"https://r.example/ingest/v1/errors/{kind}")
    assert headers["Content-Type"].startswith("application/problem+json")
    assert problem["title"]
    assert ("WWW-Authenticate" in headers) == (status == 401)
    assert json.dumps(problem).count("Bearer good") == 0


async def test_an_empty_batch_is_a_sign_of_life(post: Any) -> None:
    status, _, report = await post(b"")
    assert (status, report["rows"]) == (200, 0)
