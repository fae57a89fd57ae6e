"""``/ingest/v1`` over a real socket."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from connector.usage.formats.bodies import MAX_BYTES
from ledger.store import usage
from ledger.store.engine import Ledger
from tests.parts.sent_usage import Wire, wire
from tests.parts.usage_company import NOW, ORG, event, found, ndjson

GOOD = ndjson(event(1))
CSV = b"event_id,occurred_at,mail,offering_code\ne-1,2026-03-01T10:00:00Z,anna.kowalska@acme.example,CAD\n"


@pytest.fixture
async def client(ledger: Ledger) -> AsyncIterator[Wire]:
    await found(ledger)
    async with wire(ledger, NOW) as opened:
        yield opened


@pytest.fixture
async def light(sqlite_url: str) -> AsyncIterator[Wire]:
    """What needs one database only."""
    ledger = Ledger.open(sqlite_url)
    await found(ledger)
    async with wire(ledger, NOW) as opened:
        yield opened
    await ledger.close()


async def test_a_batch_is_answered_with_what_became_of_every_row(client: Wire) -> None:
    body = ndjson(event(1), event(1), event(1, version="x"), event(2, mail="x")) + b"{broken\n"
    status, headers, report = await client.post(body)
    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    assert {name: report[name] for name in report if name not in ("batch_id", "quarantined_rows", "causes")} == {
        "rows": 5,
        "accepted": 1,
        "duplicates": 1,
        "conflicts": 1,
        "quarantined": 2,
        "dropped": {},
        "fractions": 0,
    }
    conflict = "event_id is known with other content"
    assert report["causes"] == {"mail is not a mail address": 1, "not JSON": 1, conflict: 1}
    places = {row["place"]: row["reasons"] for row in report["quarantined_rows"]}
    assert set(places) == {"line 3", "line 4", "line 5"}
    assert places["line 3"] == [f"{conflict}: version"]
    status, _, report = await client.post(body)
    assert (status, report["accepted"], report["duplicates"], report["conflicts"]) == (200, 0, 2, 1)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(GOOD), "gzip"),
        (gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:]), "x-gzip"),
        (gzip.compress(GOOD) + bytes(9), "GZIP"),
        (zlib.compress(GOOD), "deflate"),
        (zlib.compress(GOOD, wbits=-15), "deflate"),
    ],
)
async def test_a_coded_body_is_taken(light: Wire, body: bytes, coding: str) -> None:
    status, _, report = await light.post(body, Content_Encoding=coding)
    assert (status, report.get("accepted")) == (200, 1)


PACKED = gzip.compress(ndjson(*(event(n) for n in range(1_000))))
WRONG_SUM = PACKED[:-8] + bytes([PACKED[-8] ^ 1]) + PACKED[-7:]


@pytest.mark.parametrize(
    ("body", "coding", "status"),
    [
        (PACKED[: len(PACKED) // 2], "gzip", 400),
        (PACKED[:-1], "gzip", 400),
        (WRONG_SUM, "gzip", 400),
        (PACKED + b"more", "gzip", 400),
        (b"", "gzip", 400),
        (GOOD, "gzip", 400),
        (zlib.compress(GOOD)[:-2], "deflate", 400),
        (PACKED, "br", 415),
        (PACKED, "gzip, gzip", 415),
        (PACKED, "snappy", 415),
        (gzip.compress(b" " * (MAX_BYTES + 1)), "gzip", 413),
        (gzip.compress(b" " * MAX_BYTES) + gzip.compress(b" "), "gzip", 413),
    ],
)
async def test_a_body_that_is_not_whole_stores_nothing(
    sqlite_url: str, light: Wire, body: bytes, coding: str, status: int
) -> None:
    got, headers, problem = await light.post(body, Content_Encoding=coding)
    assert (got, problem["status"]) == (status, status)
    assert problem["next_step"]
    assert headers.get("Accept-Encoding") == ("gzip, deflate, x-gzip" if status == 415 else None)
    ledger = Ledger.open(sqlite_url)
    async with ledger.read(ORG) as reader:
        assert await usage.touched(reader) == []
    await ledger.close()


@pytest.mark.parametrize("kind", ["application/x-ndjson; charset=UTF8", 'application/jsonl; charset="utf-8"'])
async def test_utf8_is_utf8_in_any_spelling(light: Wire, kind: str) -> None:
    status, _, report = await light.post(b"\xef\xbb\xbf" + GOOD, kind)
    assert (status, report.get("accepted")) == (200, 1)


@pytest.mark.parametrize(
    ("body", "options", "status", "kind"),
    [
        (b"", {"who": "unknown"}, 401, "unauthenticated"),
        (b"", {"who": "reader"}, 403, "role-required"),
        (b"", {"who": "elsewhere"}, 404, "not-found"),
        (b"{}", {"kind": "application/json"}, 415, "unsupported-media-type"),
        (b"{}", {"kind": "ł"}, 415, "unsupported-media-type"),
        (b"{}", {"kind": "application/x-ndjson; charset=latin-1"}, 415, "unsupported-media-type"),
        (CSV, {"kind": "text/csv; charset=utf-7"}, 415, "unsupported-media-type"),
        (CSV, {"kind": "text/csv; separator=x"}, 415, "unsupported-media-type"),
        (CSV.replace(b",", b";"), {"kind": "csv"}, 400, "invalid-body"),
        (CSV.decode().encode("utf-16"), {"kind": "csv"}, 400, "invalid-body"),
        (b"", {"kind": "csv"}, 400, "invalid-body"),
        (b"mail,maill\n", {"kind": "csv"}, 400, "invalid-body"),
        (b"PAR1", {"kind": "parquet"}, 400, "invalid-body"),
        (b" \n[{}]", {}, 400, "invalid-body"),
        (b"{}\n" * 10_001, {}, 413, "batch-too-large"),
        (b" " * (MAX_BYTES + 1), {}, 413, "batch-too-large"),
    ],
)
async def test_what_is_refused_whole_is_a_problem(
    light: Wire, body: bytes, options: Any, status: int, kind: str
) -> None:
    got, headers, problem = await light.post(body, **options)
    assert (got, problem["status"], problem["type"]) == (status, status, f"https://r.example/ingest/v1/errors/{kind}")
    assert headers["Content-Type"].startswith("application/problem+json")
    assert problem["title"]
    assert ("WWW-Authenticate" in headers) == (status == 401)
    assert json.dumps(problem).count("Bearer good") == 0


async def test_an_empty_batch_is_a_sign_of_life(light: Wire) -> None:
    status, _, report = await light.post(b"")
    assert (status, report["rows"]) == (200, 0)


async def test_a_sender_lists_replays_and_drops_what_it_sent(client: Wire) -> None:
    await client.post(ndjson(event(1, mail="x"), event(2, mail="stranger@acme.example"), event(3, offering_code="?")))
    await client.post(ndjson(event(4, mail="y")), who="other")
    path = "/ingest/v1/quarantine"
    status, _, first = await client.ask("GET", f"{path}?limit=2")
    assert (status, first["rows"], len(first["quarantined_rows"])) == (200, 3, 2)
    assert first["causes"] == {
        "mail is not a mail address": 1,
        "offering_code is not known": 1,
        "the person is not known": 1,
    }
    rest = (await client.ask("GET", f"{path}?limit=2&cursor={first['next']}"))[2]
    assert (len(rest["quarantined_rows"]), rest["next"]) == (1, None)
    assert {row["event_id"] for row in first["quarantined_rows"] + rest["quarantined_rows"]} == {"e-1", "e-2", "e-3"}
    assert (await client.ask("GET", path, who="operator"))[2]["rows"] == 4
    replayed = (await client.ask("POST", f"{path}/replay?cause=the+person"))[2]
    assert (replayed["rows"], replayed["quarantined"], replayed["next"]) == (1, 1, None)
    assert (await client.ask("DELETE", f"{path}?reason=test"))[0] == 400
    assert (await client.ask("DELETE", f"{path}?cause=mail"))[0] == 400
    assert (await client.ask("DELETE", f"{path}?cause=mail&reason=test"))[2] == {"dropped": 1}
    assert (await client.ask("GET", path, who="other"))[2]["rows"] == 1
    assert (await client.ask("GET", path, who="reader"))[0] == 403


@pytest.mark.parametrize("asked", ["limit=0", "limit=x", "cursor=1", "cursor=x.y", "colour=red", "cause=%00"])
async def test_what_quarantine_cannot_be_asked(light: Wire, asked: str) -> None:
    status, _, problem = await light.ask("GET", f"/ingest/v1/quarantine?{asked}")
    assert (status, bool(problem["detail"])) == (400, True)
